//! A replica accepts connections and answers nothing.
//!
//! Nobody is told of a hang; it is only not heard from any more. Callers give each read a deadline.

use std::time::Duration;

use lagwise::Event;

use super::{SLACK, WARM_UP, remark};
use crate::contender::{Asked, Which};
use crate::load::{Load, PAUSE, Plan, Read};
use crate::report::{Column, Figure, Target};
use crate::tally::{self, Window};
use crate::{Result, clock, stage};

/// The deadline of each read.
const DEADLINE: Duration = Duration::from_secs(1);

/// How many read.
const READERS: usize = 8;

/// Runs it for one contender.
pub async fn run(which: Which, length: Duration) -> Result<Column> {
    let cluster = stage::set(&[]).await?;
    let entrant = which.connect(&cluster).await?;
    let plan = Plan {
        writers: 0,
        readers: READERS,
        asked: Asked {
            deadline: Some(DEADLINE),
            ..stage::READ
        },
        pause: PAUSE,
    };
    let load = Load::begin(&entrant.contender, plan);
    tokio::time::sleep(WARM_UP).await;
    let begun = clock::now();
    tokio::time::sleep(WARM_UP).await;
    let hung = clock::now();
    cluster.replica(0).freeze()?;
    tokio::time::sleep(length).await;
    let thawed = clock::now();
    cluster.replica(0).thaw()?;
    tokio::time::sleep(WARM_UP).await;
    let ended = clock::now();
    let reads = load.end().await?.reads();

    let (before, during) = (window(begun, hung), window(hung, thawed));
    let mut column = Column::default();
    deadlines(&mut column, &during.reads(&reads));
    let told = |window: Window| tally::told(tally::latency(&window.reads(&reads)));
    column.enter("before, p50 / p99 / max, ms", told(before));
    column.enter("during, p50 / p99 / max, ms", told(during));
    column.enter("after, p50 / p99 / max, ms", told(window(thawed, ended)));
    if let Some(router) = &entrant.router {
        let is_out = |event: &Event| matches!(event, Event::Ejected { .. });
        let out = router.first(hung, |it| it.node == "r1" && is_out(&it.event));
        let out = out.map(|it| it.noticed);
        column.enter("out of rotation after, ms", Figure::millis(hung, out));
        let others = window(out.unwrap_or(thawed), thawed);
        column.enter("once it was out, p50 / p99 / max, ms", told(others));
        speeds(&mut column, hung, out);
        ratio(&mut column, &before.reads(&reads), &others.reads(&reads));
    } else {
        column.enter("out of rotation after, ms", Figure::None);
    }
    drop(entrant);
    cluster.shutdown().await?;
    Ok(column)
}

const fn window(from: Duration, until: Duration) -> Window {
    Window { from, until }
}

fn deadlines(column: &mut Column, during: &[&Read]) {
    column.count("reads", during.len());
    let failed = tally::errors(during);
    column.count("reads that failed, also by their deadline", failed);
    let over: Vec<_> = during
        .iter()
        .filter(|read| read.took() > DEADLINE + SLACK)
        .collect();
    let cut = during.iter().filter(|read| read.took() >= DEADLINE).count();
    column.count("reads that took their whole deadline", cut);
    column.count("reads beyond their deadline", over.len());
    remark(
        column,
        during.iter().filter_map(|read| read.outcome.as_ref().err()),
    );
    let longest = during
        .iter()
        .map(|read| read.took())
        .max()
        .unwrap_or_default();
    column.judge(
        "no read takes longer than its deadline of 1 s",
        Target::Law,
        over.is_empty(),
        format!("{} of {}, longest {longest:.0?}", over.len(), during.len()),
    );
    column.judge(
        "each read gets an answer",
        Target::Goal,
        failed == 0,
        format!("{failed} did not"),
    );
}

fn speeds(column: &mut Column, hung: Duration, out: Option<Duration>) {
    let took = out.map(|out| out.saturating_sub(hung));
    column.judge(
        "the node is out within 1 s",
        Target::Goal,
        took.is_some_and(|took| took <= Duration::from_secs(1)),
        Figure::millis(hung, out).to_string() + " ms",
    );
}

fn ratio(column: &mut Column, before: &[&Read], others: &[&Read]) {
    let p99 = |reads: &[&Read]| tally::latency(reads).map(|latency| latency.p99.as_secs_f64());
    let ratio = match (p99(before), p99(others)) {
        (Some(before), Some(others)) => others / before.max(f64::EPSILON),
        _ => f64::INFINITY,
    };
    column.judge(
        "p99 of the others is within twice that of before",
        Target::Goal,
        ratio <= 2.0,
        format!("{ratio:.2} x"),
    );
}
