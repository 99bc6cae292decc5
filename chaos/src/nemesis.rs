//! What can go wrong, with whom, and with what else at once.
//!
//! A fault is begun and ended by the `stage`; here is only what it is, so that an order of faults can
//! be drawn from a seed without a cluster. Two faults make a pair if each can be ended as if it were
//! alone: not two of one node, and beside a change of roles nothing that its steps have to wait for.

use std::fmt;

use clap::ValueEnum;

mod order;

pub use self::order::order;

/// What can go wrong. The names on the command line are those in tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Kind {
    /// Replay stops; the log still comes.
    PauseReplay,
    /// Replay is late, by less than the bound.
    DelayApply,
    /// The log stops coming.
    FreezeStream,
    /// The service and a replica are cut off from each other.
    CutClients,
    /// Packets between the service and a replica vanish.
    LoseClients,
    /// Packets between the service and a replica are late, both ways.
    DelayClients,
    /// A replica and its primary are cut off from each other.
    CutStream,
    /// Packets between a replica and its primary vanish.
    LoseStream,
    /// Packets between a replica and its primary are late, both ways.
    DelayStream,
    /// A replica hangs.
    FreezeServer,
    /// A replica crashes.
    KillReplica,
    /// A replica is shut down, and refuses connections.
    StopReplica,
    /// A replica has no connection left to give.
    FillSlots,
    /// Replay cancels reads whose snapshots stand in its way.
    Conflicts,
    /// A replica's address leads to the other one.
    LeadAstray,
    /// A replica's address leads to another cluster.
    LeadAbroad,
    /// Replay stops on all replicas.
    PauseAll,
    /// Replay is late on all replicas, by more than the bound.
    DelayAll,
    /// All replicas crash.
    KillAll,
    /// The primary restarts.
    RestartPrimary,
    /// The service and the primary are cut off from each other; replication goes on.
    CutPrimary,
    /// Packets between the service and the primary vanish; replication goes on.
    LosePrimary,
    /// The primary hangs, and nobody is promoted.
    FreezePrimary,
    /// An instance of the service is killed.
    KillInstance,
    /// The primary crashes, a replica is promoted, and the old one comes back rewound.
    FailOver,
    /// The primary is shut down, a replica is promoted, and the old one follows it.
    SwitchOver,
    /// A replica is promoted, and the old primary does not know: it goes on taking writes.
    SplitBrain,
    /// The same as a failover, but the old primary comes back with what the cluster lost.
    ReturnUnrewound,
}

/// Whom a fault befalls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Victim {
    /// One replica.
    Replica,
    /// All of them.
    Replicas,
    /// The primary.
    Primary,
    /// One instance of the service.
    Instance,
    /// The primary's role itself.
    Role,
}

/// What an instance is expected to notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Nothing that it has to act on.
    Nothing,
    /// That a replica must not serve.
    Out,
    /// That the primary cannot be asked.
    PrimaryLost,
    /// That another node is the primary.
    NewPrimary,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 28] = [
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
        Self::StopReplica,
        Self::FillSlots,
        Self::Conflicts,
        Self::LeadAstray,
        Self::LeadAbroad,
        Self::PauseAll,
        Self::DelayAll,
        Self::KillAll,
        Self::RestartPrimary,
        Self::CutPrimary,
        Self::LosePrimary,
        Self::FreezePrimary,
        Self::KillInstance,
        Self::FailOver,
        Self::SwitchOver,
        Self::SplitBrain,
        Self::ReturnUnrewound,
    ];

    /// Whom it befalls.
    #[must_use]
    pub const fn victim(self) -> Victim {
        match self {
            Self::PauseAll | Self::DelayAll | Self::KillAll => Victim::Replicas,
            Self::RestartPrimary | Self::CutPrimary | Self::LosePrimary | Self::FreezePrimary => {
                Victim::Primary
            }
            Self::KillInstance => Victim::Instance,
            Self::FailOver | Self::SwitchOver | Self::SplitBrain | Self::ReturnUnrewound => {
                Victim::Role
            }
            _ => Victim::Replica,
        }
    }

    /// What instances are expected to notice, if it lasts.
    #[must_use]
    pub const fn notice(self) -> Notice {
        match (self, self.victim()) {
            (Self::DelayApply | Self::DelayClients | Self::DelayStream | Self::Conflicts, _)
            | (_, Victim::Instance) => Notice::Nothing,
            (_, Victim::Replica | Victim::Replicas) => Notice::Out,
            (_, Victim::Primary) => Notice::PrimaryLost,
            (_, Victim::Role) => Notice::NewPrimary,
        }
    }

    /// Whether it only concerns the way between the service and a replica.
    const fn is_of_clients(self) -> bool {
        matches!(
            self,
            Self::CutClients | Self::LoseClients | Self::DelayClients
        )
    }

    /// Whether it may happen while the other goes on, which was begun before it.
    #[must_use]
    pub const fn goes_with(self, first: Self) -> bool {
        match (first.victim(), self.victim()) {
            // Steps of a change of roles ask every server, and none knows more than one primary.
            (Victim::Role, Victim::Replica) => self.is_of_clients(),
            // A new process may not know that there is a newer primary, which is no breach.
            (Victim::Role, Victim::Instance) => !matches!(first, Self::SplitBrain),
            // What is without an instance has no clients' faults to go with.
            (Victim::Replica, Victim::Replica | Victim::Primary | Victim::Instance)
            | (Victim::Replicas, Victim::Primary | Victim::Instance)
            | (Victim::Primary, Victim::Instance) => true,
            _ => false,
        }
    }
}

/// As on the command line.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = self.to_possible_value();
        f.write_str(named.as_ref().map_or("", |value| value.get_name()))
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

/// Such as `pause-replay 1`.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind.victim() {
            Victim::Replica | Victim::Instance => write!(f, "{} {}", self.kind, self.whose + 1),
            Victim::Replicas | Victim::Primary | Victim::Role => write!(f, "{}", self.kind),
        }
    }
}

/// What the replicas have when the primary dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parting {
    /// All but the last instants.
    CaughtUp,
    /// Nothing of the last moments: acknowledged writes are lost.
    CutOff,
}
