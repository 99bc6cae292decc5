//! Faults of a real cluster and of the service's instances, each begun and ended.
//!
//! The order comes from a seed: all faults alone, then some in pairs. A fault is healed, and the
//! replicas have caught up, before the next begins. The promotion stands apart, since nothing ends it.

use std::fmt;
use std::time::Duration;

use lagwise_testkit::{Cluster, Node, Stop};

use crate::history::Failover;
use crate::instances::Instances;
use crate::{Result, clock, fail};

/// What can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Replay stops; the log still comes.
    PauseReplay,
    /// Replay is late.
    DelayApply,
    /// The log stops coming.
    FreezeStream,
    /// The service and a replica are cut off from each other.
    CutClients,
    /// Packets between the service and a replica vanish.
    LoseClients,
    /// Packets between the service and a replica are late.
    DelayClients,
    /// A replica and its primary are cut off from each other.
    CutStream,
    /// Packets between a replica and its primary vanish.
    LoseStream,
    /// Packets between a replica and its primary are late.
    DelayStream,
    /// A replica hangs.
    FreezeServer,
    /// A replica crashes.
    KillReplica,
    /// The primary restarts.
    RestartPrimary,
    /// An instance of the service is killed.
    KillInstance,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::PauseReplay,
        Self::DelayApply,
        Self::FreezeStream,
        Self::CutClients,
        Self::LoseClients,
        Self::DelayClients,
        Self::CutStream,
        Self::LoseStream,
        Self::DelayStream,
        Self::FreezeServer,
        Self::KillReplica,
        Self::RestartPrimary,
        Self::KillInstance,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::PauseReplay => "pause replay",
            Self::DelayApply => "delay apply",
            Self::FreezeStream => "freeze stream",
            Self::CutClients => "cut clients",
            Self::LoseClients => "lose clients",
            Self::DelayClients => "delay clients",
            Self::CutStream => "cut stream",
            Self::LoseStream => "lose stream",
            Self::DelayStream => "delay stream",
            Self::FreezeServer => "freeze server",
            Self::KillReplica => "kill replica",
            Self::RestartPrimary => "restart primary",
            Self::KillInstance => "kill instance",
        }
    }
}

/// A fault of one replica or instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What goes wrong.
    pub kind: Kind,
    /// Whose: a number from 0; of no meaning where there is only one.
    pub whose: usize,
}

/// Such as `pause replay 1`.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::RestartPrimary => write!(f, "{}", self.kind.name()),
            kind => write!(f, "{} {}", kind.name(), self.whose + 1),
        }
    }
}

/// What a seed makes of the faults: each alone, then as many pairs as asked for.
#[must_use]
pub fn order(seed: u64, instances: usize, pairs: usize) -> Vec<Vec<Fault>> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut draw = |kind| Fault {
        kind,
        whose: match kind {
            Kind::KillInstance => random.usize(0..instances),
            _ => random.usize(0..2),
        },
    };
    let mut all: Vec<Fault> = Kind::ALL.into_iter().map(&mut draw).collect();
    let mut other = all.clone();
    random.shuffle(&mut all);
    let mut phases: Vec<Vec<Fault>> = all.iter().map(|fault| vec![*fault]).collect();
    for _ in 0..pairs {
        random.shuffle(&mut other);
        // Two faults of one node may undo each other; two nodes' never do.
        let mut second = other[1];
        if second.kind != Kind::KillInstance {
            second.whose = 1 - other[0].whose.min(1);
        }
        phases.push(vec![other[0], second]);
    }
    phases
}

/// What the replicas have when the primary dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parting {
    /// All but the last instants.
    CaughtUp,
    /// Nothing of the last moments: acknowledged writes are lost.
    CutOff,
}

/// How long replicas are cut off before a primary dies.
const CUT_OFF: Duration = Duration::from_millis(400);

/// What faults happen to.
#[derive(Debug)]
pub struct Stage {
    /// The servers; the primary is still the one of the start.
    pub cluster: Cluster,
    /// The service.
    pub instances: Instances,
}

impl Stage {
    /// Has a fault happen.
    pub async fn begin(&mut self, fault: Fault) -> Result {
        let replica = self.replica(fault);
        match fault.kind {
            Kind::PauseReplay => replica.pause_replay().await?,
            Kind::DelayApply => replica.set_apply_delay(Duration::from_millis(700)).await?,
            Kind::FreezeStream => replica.freeze_stream()?,
            Kind::CutClients => replica.client_wire().cut(),
            Kind::LoseClients => replica.client_wire().blackhole(),
            Kind::DelayClients => replica.client_wire().delay(Duration::from_millis(30)),
            Kind::CutStream => replica.upstream_wire().cut(),
            Kind::LoseStream => replica.upstream_wire().blackhole(),
            Kind::DelayStream => replica.upstream_wire().delay(Duration::from_millis(150)),
            Kind::FreezeServer => replica.freeze()?,
            Kind::KillReplica => replica.kill().await?,
            Kind::RestartPrimary => self.cluster.primary().restart(Stop::Immediate).await?,
            Kind::KillInstance => self.instances.kill(fault.whose).await?,
        }
        Ok(())
    }

    /// Heals it.
    pub async fn end(&mut self, fault: Fault) -> Result {
        let replica = self.replica(fault);
        match fault.kind {
            Kind::PauseReplay => replica.resume_replay().await?,
            Kind::DelayApply => replica.set_apply_delay(Duration::ZERO).await?,
            Kind::FreezeStream => replica.thaw_stream()?,
            Kind::CutClients | Kind::LoseClients | Kind::DelayClients => {
                replica.client_wire().heal();
            }
            Kind::CutStream | Kind::LoseStream | Kind::DelayStream => {
                replica.upstream_wire().heal();
            }
            Kind::FreezeServer => replica.thaw()?,
            Kind::KillReplica => replica.start().await?,
            Kind::RestartPrimary => {}
            Kind::KillInstance => self.instances.restart(fault.whose).await?,
        }
        Ok(())
    }

    /// Waits till all replicas stream and have caught up with what was there.
    pub async fn settle(&self) -> Result {
        self.cluster.wait_streaming().await?;
        self.cluster.wait_caught_up().await?;
        Ok(())
    }

    /// Kills the primary, promotes the replica that has received most, and has the other follow it.
    pub async fn fail_over(&self, parting: Parting) -> Result<Failover> {
        if parting == Parting::CutOff {
            for replica in self.cluster.replicas() {
                replica.upstream_wire().cut();
            }
            tokio::time::sleep(CUT_OFF).await;
        }
        let killed = clock::now();
        self.cluster.primary().kill().await?;
        for replica in self.cluster.replicas() {
            replica.upstream_wire().heal();
        }
        let [one, other] = self.cluster.replicas() else {
            return fail("a failover takes two replicas");
        };
        let (chosen, rest, name) = if received(one).await? >= received(other).await? {
            (one, other, "replica-1")
        } else {
            (other, one, "replica-2")
        };
        chosen.promote().await?;
        let promoted = clock::now();
        rest.follow(chosen).await?;
        rest.wait_streaming().await?;
        Ok(Failover {
            killed,
            promoted,
            primary: name.to_owned(),
        })
    }

    fn replica(&self, fault: Fault) -> Node {
        self.cluster.replica(fault.whose % 2).clone()
    }
}

/// How much of the log a replica has.
async fn received(replica: &Node) -> Result<i64> {
    let query = "select pg_wal_lsn_diff(
        greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()), '0/0')::bigint";
    Ok(replica.query_scalar(query).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_one_order_and_every_fault_comes_alone_first() {
        let phases = order(7, 3, 4);
        assert_eq!(phases, order(7, 3, 4), "the same again");
        assert_ne!(phases, order(8, 3, 4), "another for another seed");
        let alone = |kind| {
            phases
                .iter()
                .any(|faults| faults.len() == 1 && faults[0].kind == kind)
        };
        assert!(Kind::ALL.into_iter().all(alone), "each alone");
        assert_eq!(
            phases.iter().filter(|faults| faults.len() == 2).count(),
            4,
            "pairs"
        );
    }
}
