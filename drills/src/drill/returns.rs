//! A replica is killed under reads, and started again a moment later.

use std::time::Duration;

use lagwise::Event;

use super::{WARM_UP, remark};
use crate::contender::{Lagwise, Which};
use crate::load::{Load, PAUSE, Plan, Read};
use crate::report::{Column, Figure, Target};
use crate::tally::{self, Window};
use crate::{Result, clock, stage};

/// How many read.
const READERS: usize = 8;

/// Runs it for one contender.
pub async fn run(which: Which, length: Duration) -> Result<Column> {
    let cluster = stage::set(&[]).await?;
    let entrant = which.connect(&cluster).await?;
    let plan = Plan {
        writers: 1,
        readers: READERS,
        asked: stage::READ,
        pause: PAUSE,
    };
    let load = Load::begin(&entrant.contender, plan);
    tokio::time::sleep(WARM_UP).await;
    let killed = clock::now();
    cluster.replica(0).kill().await?;
    tokio::time::sleep(length / 2).await;
    cluster.replica(0).start().await?;
    cluster.replica(0).wait_ready().await?;
    let returned = clock::now();
    cluster.wait_streaming().await?;
    tokio::time::sleep(length).await;
    let ended = clock::now();
    let reads = load.end().await?.reads();

    let mut column = Column::default();
    served(&mut column, &reads, (killed, returned, ended));
    match &entrant.router {
        Some(router) => noticed(&mut column, router, killed, returned),
        None => column.enter("out of rotation after, ms", Figure::None),
    }
    drop(entrant);
    cluster.shutdown().await?;
    Ok(column)
}

fn served(
    column: &mut Column,
    reads: &[Read],
    (killed, returned, ended): (Duration, Duration, Duration),
) {
    let window = |from, until| Window { from, until };
    let all = window(killed, ended).reads(reads);
    column.count("reads", all.len());
    let (failed, after) = (tally::errors(&all), window(returned, ended).reads(reads));
    column.count("reads that failed", failed);
    column.count("reads that failed after its return", tally::errors(&after));
    remark(
        column,
        all.iter().filter_map(|read| read.outcome.as_ref().err()),
    );
    column.enter(
        "reads, p50 / p99 / max, ms",
        tally::told(tally::latency(&all)),
    );
    let back = |read: &&&Read| read.outcome.as_ref().is_ok_and(|seen| seen.node == "r1");
    let back = after.iter().filter(back).map(|read| read.ended).min();
    column.enter(
        "its first read after its return, ms",
        Figure::millis(returned, back),
    );
    let second = Duration::from_secs(1);
    let from = back.unwrap_or(ended);
    column.enter(
        "its share in the second after that, %",
        tally::share(&window(from, from + second).reads(reads), "r1"),
    );
    let last = window(ended.saturating_sub(second), ended).reads(reads);
    column.enter("its share in the last second, %", tally::share(&last, "r1"));
    column.judge(
        "no read fails because a replica dies or returns",
        Target::Law,
        failed == 0,
        format!("{failed} of {}", all.len()),
    );
}

fn noticed(column: &mut Column, router: &Lagwise, killed: Duration, returned: Duration) {
    let is = |node: &str, event: fn(&Event) -> bool, after| {
        let first = router.first(after, |it| it.node == node && event(&it.event));
        first.map(|it| it.noticed)
    };
    let out = is("r1", |event| matches!(event, Event::Ejected { .. }), killed);
    let back = is(
        "r1",
        |event| matches!(event, Event::Readmitted { .. }),
        killed,
    );
    column.enter("out of rotation after, ms", Figure::millis(killed, out));
    column.enter(
        "back in rotation after its return, ms",
        Figure::millis(returned, back),
    );
}
