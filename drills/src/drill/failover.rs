//! The primary dies under load, with acknowledged writes that no replica has.
//!
//! What counts is when callers can write again once a node accepts writes, and whether whoever wrote
//! what is gone is told so. How long an operator takes to promote is nobody's figure.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{WARM_UP, remark};
use crate::contender::{Entrant, Kind, Row, Which};
use crate::load::{Journal, Load, PAUSE, Plan, Wrote};
use crate::report::{Column, Figure, Target};
use crate::tally::{self, Window};
use crate::{Result, clock, stage};

/// How long replicas are cut off before the primary dies: what it acknowledges then is lost.
const CUT_OFF: Duration = Duration::from_millis(300);

/// How many write: all places of a pool, so that some are under way when the primary dies.
const WRITERS: i32 = 10;

/// How many read.
const READERS: usize = 6;

/// What is known from outside.
#[derive(Debug)]
struct Known {
    cut: Duration,
    killed: Duration,
    accepting: Duration,
    ended: Duration,
    kept: BTreeSet<Row>,
}

/// Runs it for one contender.
pub async fn run(which: Which, length: Duration) -> Result<Column> {
    let cluster = stage::set(&[]).await?;
    let entrant = which.connect(&cluster).await?;
    let plan = Plan {
        writers: WRITERS,
        readers: READERS,
        asked: stage::READ,
        pause: PAUSE,
    };
    let load = Load::begin(&entrant.contender, plan);
    tokio::time::sleep(WARM_UP).await;

    let (one, other) = (cluster.replica(0), cluster.replica(1));
    let cut = clock::now();
    for replica in cluster.replicas() {
        replica.upstream_wire().cut();
    }
    tokio::time::sleep(CUT_OFF).await;
    let killed = clock::now();
    cluster.primary().kill().await?;
    for replica in cluster.replicas() {
        replica.upstream_wire().heal();
    }
    let (promoted, accepting) = tokio::join!(one.promote(), stage::accepts_writes(one));
    promoted?;
    let accepting = accepting?;
    other.follow(one).await?;
    tokio::time::sleep(length).await;
    let ended = clock::now();
    let journal = load.end().await?;
    let known = Known {
        cut,
        killed,
        accepting,
        ended,
        kept: stage::rows(one).await?,
    };
    let mut column = Column::default();
    writes(&mut column, &journal.writes(), &known);
    reads(&mut column, &journal, &known);
    losses(&mut column, &entrant, &journal.writes(), &known);
    drop(entrant);
    cluster.shutdown().await?;
    Ok(column)
}

/// When a writer was first acknowledged something by the new primary.
fn first(writes: &[Wrote], writer: i32) -> Option<Duration> {
    let mine = |write: &&Wrote| write.row.writer == writer;
    let by_new = writes
        .iter()
        .filter(mine)
        .filter(|write| is_by(write, "r1"));
    by_new.map(|write| write.ended).min()
}

fn is_by(write: &Wrote, node: &str) -> bool {
    write.outcome.as_ref().is_ok_and(|by| by == node)
}

fn writes(column: &mut Column, writes: &[Wrote], known: &Known) {
    let firsts: Vec<_> = (0..WRITERS).map(|writer| first(writes, writer)).collect();
    let any = firsts.iter().flatten().min().copied();
    let all: Option<Vec<_>> = firsts.into_iter().collect();
    let all = all.and_then(|all| all.into_iter().max());
    column.enter(
        "from the kill to the promotion, ms",
        Figure::millis(known.killed, Some(known.accepting)),
    );
    column.enter(
        "first write after the promotion, ms",
        Figure::millis(known.accepting, any),
    );
    column.enter(
        "all writers write again, ms",
        Figure::millis(known.accepting, all),
    );
    let failed = |kinds: &[Kind]| tally::failed(writes.iter().map(|write| &write.outcome), kinds);
    column.count(
        "writes that failed: not applied, for sure",
        failed(&[Kind::NotDone, Kind::Refused]),
    );
    column.count(
        "writes that failed: perhaps applied",
        failed(&[Kind::Unknown, Kind::Late]),
    );
    column.count("writes without an answer", failed(&[Kind::Unanswered]));
    let wrong = |write: &&Wrote| {
        let said = write.outcome.as_ref().err().map(|failure| failure.kind);
        let not_applied = matches!(said, Some(Kind::NotDone | Kind::Refused));
        not_applied && known.kept.contains(&write.row)
    };
    let wrong = writes.iter().filter(wrong).count();
    column.count("writes said not to be applied, and there", wrong);
    remark(
        column,
        writes.iter().filter_map(|w| w.outcome.as_ref().err()),
    );
    let in_time = any.is_some_and(|any| any < known.accepting + Duration::from_secs(1));
    let figure = Figure::millis(known.accepting, any);
    column.judge(
        "writes succeed within 1 s of the new primary accepting them",
        Target::Goal,
        in_time,
        format!("{figure} ms"),
    );
    column.judge(
        "no write that is said not to be applied is there",
        Target::Law,
        wrong == 0,
        wrong,
    );
}

fn reads(column: &mut Column, journal: &Journal, known: &Known) {
    let reads = journal.reads();
    let window = Window {
        from: known.cut,
        until: known.ended,
    };
    let during = window.reads(&reads);
    column.count("reads", during.len());
    let errors = tally::errors(&during);
    column.count("reads that failed", errors);
    column.enter(
        "reads, p50 / p99 / max, ms",
        tally::told(tally::latency(&during)),
    );
    remark(
        column,
        during.iter().filter_map(|read| read.outcome.as_ref().err()),
    );
    column.judge(
        "reads on healthy replicas see no error",
        Target::Law,
        errors == 0,
        format!("{errors} of {}", during.len()),
    );
}

fn losses(column: &mut Column, entrant: &Entrant, writes: &[Wrote], known: &Known) {
    let gone = |by: &str| {
        let gone = |write: &&Wrote| is_by(write, by) && !known.kept.contains(&write.row);
        writes
            .iter()
            .filter(gone)
            .map(|write| write.row)
            .collect::<BTreeSet<_>>()
    };
    let (by_old, by_new) = (gone("p"), gone("r1"));
    column.count("writes lost, acknowledged by the old primary", by_old.len());
    column.count("writes lost, acknowledged by the new primary", by_new.len());
    let Some(router) = &entrant.router else {
        column.enter("writes lost, reported as possibly lost", Figure::Count(0));
        return;
    };
    let reported = router.reported_lost();
    let told = by_old.intersection(&reported).count();
    column.count("writes lost, reported as possibly lost", told);
    let acknowledged: Vec<&Wrote> = writes
        .iter()
        .filter(|write| write.outcome.is_ok())
        .collect();
    let in_vain: Vec<_> = acknowledged
        .iter()
        .filter(|write| reported.contains(&write.row) && known.kept.contains(&write.row))
        .collect();
    column.count("writes kept, reported as possibly lost", in_vain.len());
    let earliest = in_vain.iter().map(|write| write.ended).min();
    let before = earliest.map(|ended| known.cut.saturating_sub(ended));
    column.enter(
        "the earliest of those, before the cut, ms",
        before.map_or(Figure::None, Figure::took),
    );
    column.judge(
        "nothing acknowledged by the new primary is missing",
        Target::Law,
        by_new.is_empty(),
        by_new.len(),
    );
    column.judge(
        "every lost write is reported as possibly lost",
        Target::Law,
        told == by_old.len(),
        format!("{told} of {}", by_old.len()),
    );
    // As-of is the last poll that the replica had passed, so twice the interval is what it may be old.
    let bound = router.poll_interval() * 2 + super::SLACK;
    column.judge(
        "none is that was acknowledged before the last proved as-of (within two polls of the cut)",
        Target::Law,
        before.is_none_or(|before| before <= bound),
        format!("{} in vain, {bound:?} allowed", in_vain.len()),
    );
}
