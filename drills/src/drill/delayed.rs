//! All replicas are late, under a read load that the primary could not carry.
//!
//! Reads hold their connection without using a processor, so that a small machine shows who gets the
//! primary's connections, and not who gets its processor.

use std::time::Duration;

use lagwise_testkit::Cluster;
use tokio::sync::watch;

use super::{WARM_UP, remark};
use crate::contender::{Asked, Kind, Lagwise, Which};
use crate::load::{Journal, Load, Plan, Read};
use crate::report::{Column, Figure, Target};
use crate::tally::{self, Window};
use crate::{Result, clock, stage};

/// How old a row may be, where that can be asked for.
const BOUND: Duration = Duration::from_secs(1);

/// Longer than a drill: replicas show what they had when it began.
const DELAY: Duration = Duration::from_mins(2);

/// How many read: the replicas carry them, and the primary's budget a third of them.
const READERS: usize = 300;

/// The rest between two reads of one of them.
const PAUSE: Duration = Duration::from_millis(600);

/// How many write.
const WRITERS: i32 = 4;

/// The rest between two beats, which is how exact staleness is measured.
const BEAT: Duration = Duration::from_millis(20);

/// What a busy machine adds to a staleness between its proof and the moment it is looked at.
const BLUR: Duration = Duration::from_millis(100);

/// Runs it for one contender.
pub async fn run(which: Which, length: Duration) -> Result<Column> {
    let cluster = stage::set(&[]).await?;
    let entrant = which.connect(&cluster).await?;
    let (stop, stopped) = watch::channel(false);
    let mut beating = tokio::task::JoinSet::new();
    beating.spawn(stage::beat(cluster.primary().clone(), BEAT, stopped));
    let plan = Plan {
        writers: WRITERS,
        readers: READERS,
        asked: Asked {
            query: stage::SLOW_READ,
            deadline: None,
            within: Some(BOUND),
        },
        pause: PAUSE,
    };
    let load = Load::begin(&entrant.contender, plan);
    let worked = faults(&cluster, length).await;
    let journal = load.end().await?;
    stop.send(true).ok();
    while let Some(ended) = beating.join_next().await {
        ended??;
    }
    let worked = worked?;
    let mut column = Column::default();
    throughput(&mut column, &journal, &worked);
    primary(&mut column, &worked);
    served(&mut column, &journal, &worked);
    drop(entrant);
    cluster.shutdown().await?;
    Ok(column)
}

/// The stretches of the drill, and what the primary saw in the second.
#[derive(Debug)]
struct Worked {
    before: Window,
    during: Window,
    at_once: u64,
}

async fn faults(cluster: &Cluster, length: Duration) -> Result<Worked> {
    tokio::time::sleep(WARM_UP).await;
    let from = clock::now();
    tokio::time::sleep(length).await;
    let before = Window {
        from,
        until: clock::now(),
    };
    for replica in cluster.replicas() {
        replica.set_apply_delay(DELAY).await?;
    }
    // Late by the bound, and by what it takes to notice.
    let late = BOUND + Duration::from_millis(500);
    for replica in cluster.replicas() {
        while stage::shown(replica).await? + late > clock::now() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let from = clock::now();
    let (stop, stopped) = watch::channel(false);
    let looks = stage::most_at_once(cluster.primary().clone(), stopped);
    let waits = async {
        tokio::time::sleep(length).await;
        stop.send(true).ok();
    };
    let (at_once, ()) = tokio::join!(looks, waits);
    let during = Window {
        from,
        until: clock::now(),
    };
    Ok(Worked {
        before,
        during,
        at_once: at_once?,
    })
}

fn throughput(column: &mut Column, journal: &Journal, worked: &Worked) {
    let writes = journal.writes();
    let before = worked.before.writes_per_second(&writes);
    let during = worked.during.writes_per_second(&writes);
    let ratio = during / before.max(f64::EPSILON);
    column.enter("writes/s undisturbed", Figure::Decimal(before));
    column.enter("writes/s during", Figure::Decimal(during));
    column.enter("writes/s during / undisturbed", Figure::ratio(ratio));
    column.judge(
        "writes keep 80 % of their undisturbed throughput",
        Target::Goal,
        ratio >= 0.8,
        format!("{:.0} %", ratio * 100.0),
    );
}

fn primary(column: &mut Column, worked: &Worked) {
    let (at_once, budget) = (worked.at_once, u64::from(Lagwise::budget()));
    let most = usize::try_from(at_once).unwrap_or(usize::MAX);
    column.count("reads on the primary, most at once", most);
    column.judge(
        "the primary's fallback reads stay within the budget",
        Target::Law,
        at_once <= budget,
        format!("{at_once} at once, {budget} allowed"),
    );
}

/// How old a row was when its read began; what a read took is not held against it.
fn staleness(read: &Read) -> Option<Duration> {
    let seen = read.outcome.as_ref().ok()?;
    let beat = Duration::from_millis(u64::try_from(seen.number).ok()?);
    Some(read.began.saturating_sub(beat))
}

fn served(column: &mut Column, journal: &Journal, worked: &Worked) {
    let reads = journal.reads();
    let during = worked.during.reads(&reads);
    let outcomes = || during.iter().map(|read| &read.outcome);
    let seconds = worked.during.until.saturating_sub(worked.during.from);
    let answered = outcomes().filter(|outcome| outcome.is_ok()).count();
    column.count("reads answered", answered);
    column.enter(
        "reads answered by the primary, %",
        tally::share(&during, "p"),
    );
    let refused = tally::failed(outcomes(), &[Kind::Refused]);
    column.count("reads refused, by a type of its own", refused);
    column.count(
        "reads that failed otherwise",
        tally::errors(&during) - refused,
    );
    column.enter(
        "reads, p50 / p99 / max, ms",
        tally::told(tally::latency(&during)),
    );
    let mut stale: Vec<Duration> = during.iter().filter_map(|read| staleness(read)).collect();
    stale.sort_unstable();
    let beyond = stale.iter().filter(|stale| **stale > BOUND + BLUR).count();
    let oldest = stale.last().copied();
    column.count("rows older than 1 s", beyond);
    column.enter(
        "the oldest row, ms",
        oldest.map_or(Figure::None, Figure::took),
    );
    remark(
        column,
        outcomes().filter_map(|outcome| outcome.as_ref().err()),
    );
    column.judge(
        "no read sees a row older than the bound that it stated",
        Target::Law,
        beyond == 0,
        format!("{beyond} of {answered} in {seconds:.1?}"),
    );
}
