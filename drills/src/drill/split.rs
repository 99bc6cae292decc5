//! Two nodes accept writes: a replica was promoted, and the old primary lives on, reachable.
//!
//! What the old one acknowledges now is on a history that will be thrown away.

use std::time::Duration;

use lagwise::Event;

use super::{SLACK, WARM_UP, remark};
use crate::contender::{Lagwise, Which};
use crate::load::{Load, PAUSE, Plan, Wrote};
use crate::report::{Column, Figure, Target};
use crate::{Result, clock, stage};

/// How many write.
const WRITERS: i32 = 6;

/// Runs it for one contender.
pub async fn run(which: Which, length: Duration) -> Result<Column> {
    let cluster = stage::set(&[]).await?;
    let entrant = which.connect(&cluster).await?;
    let plan = Plan {
        writers: WRITERS,
        readers: 2,
        asked: stage::READ,
        pause: PAUSE,
    };
    let load = Load::begin(&entrant.contender, plan);
    tokio::time::sleep(WARM_UP).await;
    let asked = clock::now();
    let (one, other) = (cluster.replica(0), cluster.replica(1));
    let (promoted, accepting) = tokio::join!(one.promote(), stage::accepts_writes(one));
    promoted?;
    let accepting = accepting?;
    other.follow(one).await?;
    tokio::time::sleep(length).await;
    let writes = load.end().await?.writes();

    let mut column = Column::default();
    let old: Vec<&Wrote> = writes
        .iter()
        .filter(|write| write.outcome.as_ref().is_ok_and(|by| by == "p"))
        .collect();
    let after: Vec<_> = old.iter().filter(|write| write.began > accepting).collect();
    column.count("writes to the old primary after the promotion", after.len());
    let last = after.iter().map(|write| write.ended).max();
    let last = last.map(|last| Figure::millis(accepting, Some(last)));
    column.enter(
        "the last write to the old primary after, ms",
        last.unwrap_or(Figure::None),
    );
    let new = |write: &&Wrote| write.outcome.as_ref().is_ok_and(|by| by == "r1");
    let first = writes.iter().filter(new).map(|write| write.ended).min();
    column.count(
        "writes to the new primary",
        writes.iter().filter(new).count(),
    );
    column.enter(
        "the first write to the new primary after, ms",
        Figure::millis(accepting, first),
    );
    let failed = writes
        .iter()
        .filter_map(|write| write.outcome.as_ref().err());
    column.count("writes that failed", failed.clone().count());
    remark(&mut column, failed);
    if let Some(router) = &entrant.router {
        detection(&mut column, router, (asked, accepting), &old);
    } else {
        column.enter("new primary noticed after, ms", Figure::None);
    }
    drop(entrant);
    cluster.shutdown().await?;
    Ok(column)
}

fn detection(
    column: &mut Column,
    router: &Lagwise,
    (asked, accepting): (Duration, Duration),
    old: &[&Wrote],
) {
    let found = |event: &Event| matches!(event, Event::PrimaryFound { .. });
    let found = router.first(asked, |it| it.node == "r1" && found(&it.event));
    let noticed = found.as_ref().map(|it| it.noticed);
    column.enter(
        "new primary noticed after, ms",
        Figure::millis(accepting, noticed),
    );
    let poll = router.poll_interval();
    let polls = noticed.map(|noticed| {
        let took = noticed.saturating_sub(accepting).as_secs_f64();
        took / poll.as_secs_f64()
    });
    let figure = polls.map_or_else(|| "never".to_owned(), |polls| format!("{polls:.1} polls"));
    column.judge(
        "a new primary beside the old one is noticed within two polls",
        Target::Goal,
        polls.is_some_and(|polls| polls <= 2.0),
        &figure,
    );
    column.judge(
        "a new primary beside the old one is noticed at all",
        Target::Law,
        noticed.is_some_and(|noticed| noticed < accepting + Duration::from_secs(1) + SLACK),
        figure,
    );
    let told = found.map_or(Duration::MAX, |it| it.told);
    let late = old.iter().filter(|write| write.began > told).count();
    column.count("writes to the old primary begun after that", late);
    let under_way = |write: &&&Wrote| write.began <= told && write.ended > told;
    let under_way = old.iter().filter(under_way).count();
    column.count("writes to the old primary under way then", under_way);
    column.judge(
        "no write reaches the older timeline after detection",
        Target::Law,
        late == 0,
        late,
    );
}
