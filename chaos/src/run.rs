//! One run: a healthy phase, every fault of the plan, a failover, and the verdict.
//!
//! Sessions work all the time. A phase is a fault's time and the recovery from it; what happens in it
//! is put down to the fault.

use std::sync::Arc;
use std::time::Duration;

use lagwise_testkit::Cluster;

use crate::checker::{self, Floor, Terms, Verdict};
use crate::client::Field;
use crate::history::{Ending, Entry, Failover};
use crate::instances::Instances;
use crate::load::{Load, Work};
use crate::nemesis::{self, Fault, Stage};
use crate::plan::Plan;
use crate::{Result, clock, trail};

/// The keys that sessions share: few, so that they meet.
const KEYS: u32 = 6;

/// The share of the reads that has to leave a healthy primary, in percent.
pub const FLOOR: usize = 80;

/// The name of the phase without a fault.
pub const HEALTHY: &str = "none";

/// A part of a run.
#[derive(Clone, Debug)]
pub struct Phase {
    /// What was wrong in it.
    pub name: String,
    /// When it began.
    pub from: Duration,
    /// When it ended.
    pub until: Duration,
}

/// All that a run showed.
#[derive(Debug)]
pub struct Record {
    /// What it was asked for.
    pub plan: Plan,
    /// Its parts, in order.
    pub phases: Vec<Phase>,
    /// What sessions did and saw.
    pub entries: Vec<Entry>,
    /// What is true in the end.
    pub ending: Ending,
    /// What it amounts to.
    pub verdict: Verdict,
}

/// A run under way.
struct Run {
    stage: Stage,
    phases: Vec<Phase>,
}

/// Runs a plan on a cluster of its own.
pub async fn run(plan: Plan) -> Result<Record> {
    let cluster = Cluster::builder().replicas(2).start().await?;
    let instances = Instances::start(plan.launch(), plan.instances, &cluster).await?;
    trail::lay(cluster.primary()).await?;
    cluster.wait_caught_up().await?;
    let field = Field::new(Arc::clone(&instances.addresses), plan.deadline);
    let work = Work::begin(&field, load(&plan));
    let mut run = Run {
        stage: Stage { cluster, instances },
        phases: Vec::new(),
    };
    let failovers = vec![run.all_phases(&plan).await?];
    work.end().await;
    let cluster = &run.stage.cluster;
    let primary = match failovers[0].primary.as_str() {
        "replica-1" => cluster.replica(0),
        _ => cluster.replica(1),
    };
    let ending = Ending {
        trail: trail::follow(primary).await?,
        failovers,
    };
    let entries = field.history.entries();
    let verdict = checker::judge(&entries, &ending, &terms(&plan, &run.phases));
    let record = Record {
        plan,
        phases: run.phases,
        entries,
        ending,
        verdict,
    };
    drop(run.stage.instances);
    run.stage.cluster.shutdown().await?;
    Ok(record)
}

fn load(plan: &Plan) -> Load {
    Load {
        sessions: plan.sessions,
        keys: KEYS,
        carrier: plan.carrier,
        fails: plan.service.fails_on_request(),
        seed: plan.seed,
    }
}

fn terms(plan: &Plan, phases: &[Phase]) -> Terms {
    let healthy = phases.iter().find(|phase| phase.name == HEALTHY);
    Terms {
        deadline: plan.deadline,
        bound: Some(plan.max_lag),
        reports_loss: true,
        floor: healthy.map(|phase| Floor {
            percent: FLOOR,
            from: phase.from,
            until: phase.until,
        }),
    }
}

impl Run {
    /// The healthy phase, the faults in the seed's order, and the failover, of about equal length.
    async fn all_phases(&mut self, plan: &Plan) -> Result<Failover> {
        let mut order = nemesis::order(plan.seed, plan.instances, plan.pairs);
        let pairs = order.split_off(order.len() - plan.pairs);
        order.truncate(plan.faults);
        order.extend(pairs);
        let parts = u32::try_from(order.len() + 2)?;
        let length = plan.length / parts;

        let from = clock::now();
        tokio::time::sleep(length).await;
        self.enter(HEALTHY.to_owned(), from);
        for faults in order {
            self.phase(&faults, length).await?;
        }
        let from = clock::now();
        let failover = self.stage.fail_over(plan.parting).await?;
        tokio::time::sleep(length).await;
        self.enter("failover".to_owned(), from);
        Ok(failover)
    }

    /// Two thirds of a phase are the fault, and the rest is what comes after it.
    async fn phase(&mut self, faults: &[Fault], length: Duration) -> Result {
        let from = clock::now();
        for fault in faults {
            self.stage.begin(*fault).await?;
        }
        tokio::time::sleep(length * 2 / 3).await;
        for fault in faults.iter().rev() {
            self.stage.end(*fault).await?;
        }
        self.stage.settle().await?;
        let rest = (from + length).saturating_sub(clock::now());
        tokio::time::sleep(rest).await;
        let names: Vec<String> = faults.iter().map(ToString::to_string).collect();
        self.enter(names.join("+"), from);
        Ok(())
    }

    fn enter(&mut self, name: String, from: Duration) {
        let until = clock::now();
        self.phases.push(Phase { name, from, until });
    }
}

impl Record {
    /// The share of the reads of a phase that left the primary, in percent.
    #[must_use]
    pub fn share(&self, phase: &Phase) -> Option<usize> {
        checker::share(&self.entries, &self.ending, (phase.from, phase.until))
    }

    /// The same for the phase without a fault.
    #[must_use]
    pub fn healthy_share(&self) -> Option<usize> {
        let phase = self.phases.iter().find(|phase| phase.name == HEALTHY)?;
        self.share(phase)
    }
}
