//! A cluster and instances of a service, and faults happening to them, each begun and ended.
//!
//! A fault is healed, and the replicas have caught up, before the next phase begins. Who is primary
//! changes in a run, so that nobody here asks for a node by its first role. What a fault is, is the
//! `nemesis`'s business; `roles` holds the changes of roles, `siege` what takes work all the time.

use std::time::Duration;

use lagwise_testkit::{Cluster, Node, Stop};

use crate::history::Failover;
use crate::instances::{Instances, Launch};
use crate::nemesis::{Fault, Kind, Parting, Victim};
use crate::{Result, clock, fail, trail};

mod roles;
mod siege;

use siege::Siege;

/// Late, but within every bound of a run.
const LATE: Duration = Duration::from_millis(700);

/// Beyond every bound of a run.
const TOO_LATE: Duration = Duration::from_secs(3);

/// How many connections a server has: soon used up, and the fewest that a standby of the kit starts with.
const SLOTS: u32 = 100;

/// What faults happen to.
#[derive(Debug)]
pub struct Stage {
    /// The servers.
    pub cluster: Cluster,
    /// The service.
    pub instances: Instances,
    /// The changes of the primary so far.
    pub failovers: Vec<Failover>,
    parting: Parting,
    /// Which of the cluster's nodes is the primary.
    primary: usize,
    /// Another cluster, if there is to be one.
    stranger: Option<Cluster>,
}

/// A fault that goes on.
#[derive(Debug)]
pub struct Ongoing {
    injury: Injury,
    /// The nodes it befell.
    nodes: Vec<Node>,
    siege: Option<Siege>,
}

/// When a fault happened to whom, for whoever asks how long it took to notice.
#[derive(Clone, Debug)]
pub struct Injury {
    /// What it was.
    pub fault: Fault,
    /// The nodes that it concerns, as the service names them; of a change of roles, the new primary.
    pub nodes: Vec<String>,
    /// When it was about to happen; of a change of roles, when the new primary took writes.
    pub begun: Duration,
    /// When its healing began.
    pub healing: Duration,
    /// When it was healed.
    pub healed: Duration,
}

impl Ongoing {
    /// What goes on.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        self.injury.fault
    }
}

/// What a stage is set with.
#[derive(Debug)]
pub struct Setting<'a> {
    /// How instances are started.
    pub launch: Launch,
    /// How many of them.
    pub instances: usize,
    /// The faults that may come.
    pub kinds: &'a [Kind],
    /// What a failover loses.
    pub parting: Parting,
}

impl Stage {
    /// Starts a primary with two replicas, the instances, and another cluster if a fault needs one.
    pub async fn set(setting: Setting<'_>) -> Result<Self> {
        let builder = Cluster::builder().replicas(2);
        let builder = builder.setting("max_connections", SLOTS.to_string());
        let cluster = builder.start().await?;
        let stranger = match setting.kinds.contains(&Kind::LeadAbroad) {
            true => Some(Cluster::builder().own_system_identifier().start().await?),
            false => None,
        };
        let instances = Instances::start(setting.launch, setting.instances, &cluster).await?;
        trail::lay(cluster.primary()).await?;
        cluster.wait_caught_up().await?;
        Ok(Self {
            cluster,
            instances,
            failovers: Vec::new(),
            parting: setting.parting,
            primary: 0,
            stranger,
        })
    }

    /// Has a fault happen.
    pub async fn begin(&mut self, fault: Fault) -> Result<Ongoing> {
        let nodes = self.victims(fault);
        let begun = clock::now();
        let mut ongoing = Ongoing {
            injury: Injury {
                fault,
                nodes: self.names(&nodes),
                begun,
                healing: begun,
                healed: begun,
            },
            nodes,
            siege: None,
        };
        match fault.kind.victim() {
            Victim::Role => self.change_roles(&mut ongoing).await?,
            Victim::Instance => self.instances.kill(fault.whose).await?,
            Victim::Primary | Victim::Replica | Victim::Replicas => {
                for node in ongoing.nodes.clone() {
                    self.hurt(&node, &mut ongoing).await?;
                }
            }
        }
        // What is over by now, such as a restart, is not healed any more.
        ongoing.injury.healed = clock::now();
        Ok(ongoing)
    }

    /// Heals it, and tells what it was.
    pub async fn end(&mut self, ongoing: Ongoing) -> Result<Injury> {
        let Ongoing {
            mut injury,
            nodes,
            siege,
        } = ongoing;
        let healing = clock::now();
        if let Some(siege) = siege {
            siege.raise().await?;
        }
        match injury.fault.kind.victim() {
            Victim::Role => self.reunite(&injury, &nodes).await?,
            Victim::Instance => self.instances.restart(injury.fault.whose).await?,
            Victim::Primary | Victim::Replica | Victim::Replicas => {
                for node in &nodes {
                    heal(node, injury.fault.kind).await?;
                }
            }
        }
        if injury.fault.kind == Kind::RestartPrimary {
            injury.healing = injury.healed;
        } else {
            (injury.healing, injury.healed) = (healing, clock::now());
        }
        Ok(injury)
    }

    async fn hurt(&self, node: &Node, ongoing: &mut Ongoing) -> Result {
        match ongoing.injury.fault.kind {
            Kind::PauseReplay | Kind::PauseAll => node.pause_replay().await?,
            Kind::DelayApply => node.set_apply_delay(LATE).await?,
            Kind::DelayAll => node.set_apply_delay(TOO_LATE).await?,
            Kind::FreezeStream => node.freeze_stream()?,
            Kind::CutClients | Kind::CutPrimary => node.client_wire().cut(),
            Kind::LoseClients | Kind::LosePrimary => node.client_wire().blackhole(),
            Kind::DelayClients => node.client_wire().delay(Duration::from_millis(30)),
            Kind::CutStream => node.upstream_wire().cut(),
            Kind::LoseStream => node.upstream_wire().blackhole(),
            Kind::DelayStream => node.upstream_wire().delay(Duration::from_millis(150)),
            Kind::FreezeServer | Kind::FreezePrimary => node.freeze()?,
            Kind::KillReplica | Kind::KillAll => node.kill().await?,
            Kind::StopReplica => node.stop(Stop::Fast).await?,
            Kind::FillSlots => {
                let (siege, begun) = Siege::of_slots(node).await;
                (ongoing.siege, ongoing.injury.begun) = (Some(siege), begun);
            }
            Kind::Conflicts => {
                ongoing.siege = Some(Siege::of_snapshots(node, self.primary()).await?);
            }
            Kind::LeadAstray => node.lead_clients_to(self.other_than(node)?),
            Kind::LeadAbroad => match &self.stranger {
                Some(stranger) => node.lead_clients_to(stranger.primary()),
                None => return fail("there is no other cluster"),
            },
            Kind::RestartPrimary => node.restart(Stop::Immediate).await?,
            Kind::KillInstance
            | Kind::FailOver
            | Kind::SwitchOver
            | Kind::SplitBrain
            | Kind::ReturnUnrewound => {}
        }
        Ok(())
    }

    /// Waits till all replicas stream and have caught up with what was there.
    pub async fn settle(&self) -> Result {
        self.cluster.wait_streaming().await?;
        self.cluster.wait_caught_up().await?;
        Ok(())
    }

    /// The node that takes writes.
    #[must_use]
    pub fn primary(&self) -> &Node {
        &self.cluster.nodes()[self.primary]
    }

    /// The replicas, as the service names them.
    #[must_use]
    pub fn replicas(&self) -> Vec<String> {
        self.names(&self.standbys())
    }

    /// Ends all servers and instances.
    pub async fn strike(self) -> Result {
        drop(self.instances);
        if let Some(stranger) = self.stranger {
            stranger.shutdown().await?;
        }
        Ok(self.cluster.shutdown().await?)
    }

    /// The nodes that a fault befalls; the old primary of a change of roles.
    fn victims(&self, fault: Fault) -> Vec<Node> {
        match fault.kind.victim() {
            Victim::Replica => {
                let standbys = self.standbys();
                let whose = fault.whose.checked_rem(standbys.len()).unwrap_or(0);
                standbys.into_iter().skip(whose).take(1).collect()
            }
            Victim::Replicas => self.standbys(),
            Victim::Primary | Victim::Role => vec![self.primary().clone()],
            Victim::Instance => Vec::new(),
        }
    }

    fn standbys(&self) -> Vec<Node> {
        let nodes = self.cluster.nodes().iter();
        nodes.filter(|node| node.is_standby()).cloned().collect()
    }

    fn other_than(&self, node: &Node) -> Result<&Node> {
        let other = |other: &&Node| other.is_standby() && other.name() != node.name();
        match self.cluster.nodes().iter().find(other) {
            Some(other) => Ok(other),
            None => fail("there is no other replica"),
        }
    }

    /// What the service calls these nodes: by their first roles, whatever they are now.
    fn names(&self, nodes: &[Node]) -> Vec<String> {
        let numbered = (0..).zip(self.cluster.nodes());
        let theirs = |node: &Node| nodes.iter().any(|other| other.name() == node.name());
        numbered
            .filter(|(_, node)| theirs(node))
            .map(|(number, _)| service_name(number))
            .collect()
    }
}

/// What the service calls the node of this number.
fn service_name(number: usize) -> String {
    match number {
        0 => "primary".to_owned(),
        replica => format!("replica-{replica}"),
    }
}

async fn heal(node: &Node, kind: Kind) -> Result {
    match kind {
        Kind::PauseReplay | Kind::PauseAll => node.resume_replay().await?,
        Kind::DelayApply | Kind::DelayAll => node.set_apply_delay(Duration::ZERO).await?,
        Kind::FreezeStream => node.thaw_stream()?,
        Kind::CutClients
        | Kind::CutPrimary
        | Kind::LoseClients
        | Kind::LosePrimary
        | Kind::DelayClients => node.client_wire().heal(),
        Kind::CutStream | Kind::LoseStream | Kind::DelayStream => node.upstream_wire().heal(),
        Kind::FreezeServer | Kind::FreezePrimary => node.thaw()?,
        Kind::KillReplica | Kind::KillAll | Kind::StopReplica => node.start().await?,
        Kind::LeadAstray | Kind::LeadAbroad => node.lead_clients_to(node),
        Kind::FillSlots
        | Kind::Conflicts
        | Kind::RestartPrimary
        | Kind::KillInstance
        | Kind::FailOver
        | Kind::SwitchOver
        | Kind::SplitBrain
        | Kind::ReturnUnrewound => {}
    }
    Ok(())
}
