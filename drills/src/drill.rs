//! The scripts: which fault, when, under which load, and what is counted.
//!
//! A script is the same for all contenders; only figures that a contender alone can give, such as when
//! a router noticed, depend on whose turn it is.

pub mod conflicts;
pub mod delayed;
pub mod failover;
pub mod hung;
pub mod returns;
pub mod split;

use std::time::Duration;

use clap::ValueEnum;

use crate::Result;
use crate::contender::Which;
use crate::report::{Column, Table};
use crate::tally;

/// What can be drilled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Drill {
    /// The primary dies, and a replica is promoted.
    Failover,
    /// A replica hangs.
    HungReplica,
    /// All replicas are late.
    AllDelayed,
    /// A replica is promoted while the primary lives.
    SplitBrain,
    /// A replica dies, and returns.
    ReplicaDiesAndReturns,
    /// Replicas cancel reads to go on replaying.
    Conflicts,
}

impl Drill {
    /// Its name and what happens in it.
    #[must_use]
    pub const fn told(self) -> (&'static str, &'static str) {
        match self {
            Self::Failover => (
                "failover",
                "The replicas lose the stream for 300 ms, the primary is killed, a replica is promoted \
                 and the other one follows it.",
            ),
            Self::HungReplica => (
                "hung-replica",
                "One of two replicas is stopped (SIGSTOP) while callers read with a deadline of 1 s.",
            ),
            Self::AllDelayed => (
                "all-delayed",
                "Both replicas replay late, under reads that the primary could not carry; reads ask \
                 for rows at most 1 s old, where that can be asked for.",
            ),
            Self::SplitBrain => (
                "split-brain",
                "A replica is promoted and the old primary lives on, reachable, while callers write.",
            ),
            Self::ReplicaDiesAndReturns => (
                "replica-dies-and-returns",
                "One of two replicas is killed while callers read, and started again.",
            ),
            Self::Conflicts => (
                "conflicts",
                "Replicas cancel reads after 10 ms of conflict with what they have to replay \
                 (max_standby_streaming_delay), while reads take 30 ms.",
            ),
        }
    }

    /// Runs it for one contender, on a cluster of its own.
    pub async fn run(self, which: Which, length: Duration) -> Result<Column> {
        match self {
            Self::Failover => failover::run(which, length).await,
            Self::HungReplica => hung::run(which, length).await,
            Self::AllDelayed => delayed::run(which, length).await,
            Self::SplitBrain => split::run(which, length).await,
            Self::ReplicaDiesAndReturns => returns::run(which, length).await,
            Self::Conflicts => conflicts::run(which, length).await,
        }
    }

    /// A check of lag makes a difference where replicas lag.
    fn concerns(self, which: Which) -> bool {
        self == Self::AllDelayed || which != Which::Checked
    }

    /// Runs it for each contender, one after the other.
    pub async fn compare(self, contenders: &[Which], length: Duration) -> Result<Table> {
        let (name, told) = self.told();
        let mut columns = Vec::new();
        for which in contenders.iter().filter(|which| self.concerns(**which)) {
            let mut column = self.run(*which, length).await?;
            // Targets are promises, and nobody else made them.
            if *which != Which::Lagwise {
                column.verdicts.clear();
            }
            columns.push((which.name(), column));
        }
        Ok(Table {
            name,
            told,
            columns,
        })
    }
}

/// How long callers work before anything happens.
const WARM_UP: Duration = Duration::from_millis(1_000);

/// How late a caller may wake up on a busy machine, and its request still count as in time.
const SLACK: Duration = Duration::from_millis(250);

/// The commonest things that callers were told, as remarks.
fn remark<'a>(column: &mut Column, failures: impl Iterator<Item = &'a crate::contender::Failed>) {
    for (text, count) in tally::texts(failures).into_iter().take(3) {
        column.remarks.push(format!("{count} x {text}"));
    }
}
