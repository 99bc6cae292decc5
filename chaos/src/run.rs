//! One run: a healthy phase, the faults in the seed's order while there is time, and the verdict.
//!
//! Sessions work all the time. A phase is a fault's time and the recovery from it; what happens in it
//! is put down to the fault. The next phase begins when every instance has all nodes back.

use std::sync::Arc;
use std::time::Duration;

use crate::checker::{self, Floor, Terms, Verdict};
use crate::client::Field;
use crate::history::{Ending, Entry, Excuse, History};
use crate::load::{Load, Work};
use crate::nemesis::{self, Fault, Notice, Victim};
use crate::plan::Plan;
use crate::stage::{Injury, Ongoing, Setting, Stage};
use crate::times::{Evidence, Times};
use crate::watch::{Views, Watch};
use crate::{Result, clock, trail};

/// The keys that sessions share: few, so that they meet.
const KEYS: u32 = 6;

/// How many operations a share is taken of.
const ENOUGH: usize = 300;

/// The name of the phase without a fault.
pub const HEALTHY: &str = "none";

/// How long instances may take to have all nodes back before the next phase begins all the same.
const RECOVERY: Duration = Duration::from_secs(10);

/// Longer than this after a promotion, no instance may be unaware of the new primary.
const UNAWARE: Duration = Duration::from_secs(2);

/// What passes between the moment that an event is dated with and the one from which it is acted on.
const GRACE: Duration = Duration::from_millis(10);

/// A part of a run.
#[derive(Clone, Debug)]
pub struct Phase {
    /// What was wrong in it.
    pub name: String,
    /// When it began.
    pub from: Duration,
    /// When it ended.
    pub until: Duration,
    /// What happened in it.
    pub injuries: Vec<Injury>,
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
    /// What instances said of the nodes.
    pub views: Views,
    /// What is true in the end.
    pub ending: Ending,
    /// What it amounts to.
    pub verdict: Verdict,
}

/// A run under way.
struct Run {
    stage: Stage,
    watch: Watch,
    history: Arc<History>,
    phases: Vec<Phase>,
}

/// Runs a plan on a cluster of its own.
pub async fn run(plan: Plan) -> Result<Record> {
    let stage = Stage::set(Setting {
        launch: plan.launch(),
        instances: plan.instances,
        kinds: &plan.kinds,
        parting: plan.parting,
    })
    .await?;
    let addresses = Arc::clone(&stage.instances.addresses);
    let watch = Watch::begin(&addresses, plan.instances);
    let field = Field::new(addresses, plan.deadline);
    let mut run = Run {
        stage,
        watch,
        history: Arc::clone(&field.history),
        phases: Vec::new(),
    };
    run.recover(&[]).await;
    let work = Work::begin(&field, load(&plan));
    run.all_phases(&plan).await?;
    work.end().await;
    let views = run.watch.views();
    let mut ending = Ending {
        trail: trail::follow(run.stage.primary()).await?,
        failovers: std::mem::take(&mut run.stage.failovers),
    };
    excuse(&mut ending, &views);
    let entries = field.history.entries();
    let verdict = checker::judge(&entries, &ending, &terms(&plan, &run.phases));
    run.stage.strike().await?;
    Ok(Record {
        plan,
        phases: run.phases,
        entries,
        views,
        ending,
        verdict,
    })
}

/// Says till when each instance may not have known of a primary that had a rival.
fn excuse(ending: &mut Ending, views: &Views) {
    for failover in &mut ending.failovers {
        let Excuse::Unaware(until) = &mut failover.excuse else {
            continue;
        };
        let last = failover.promoted + UNAWARE;
        *until = (0..views.0.len())
            .map(|instance| {
                let aware =
                    |view: &crate::watch::View| view.primary.as_ref() == Some(&failover.primary);
                let aware = views.first(instance, failover.killed, aware);
                let aware = aware.map_or(last, |aware| aware + GRACE);
                aware.clamp(failover.promoted, last)
            })
            .collect();
    }
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
            percent: plan.floor,
            from: phase.from,
            until: phase.until,
        }),
    }
}

impl Run {
    /// The healthy phase, and then the faults in the seed's order while there is time.
    async fn all_phases(&mut self, plan: &Plan) -> Result {
        let order = nemesis::order(plan.seed, plan.instances, &plan.kinds);
        let from = clock::now();
        tokio::time::sleep(plan.fault).await;
        // A share of few is no share: on a busy machine the first reads take their time.
        while self.history.count() < ENOUGH && clock::now().saturating_sub(from) < RECOVERY * 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.enter(HEALTHY.to_owned(), from, Vec::new());
        for faults in order.into_iter().take(plan.phases) {
            if clock::now().saturating_sub(from) >= plan.length {
                break;
            }
            self.phase(&faults, plan.fault).await?;
        }
        Ok(())
    }

    /// A fault, or several at once, and what comes after.
    async fn phase(&mut self, faults: &[Fault], length: Duration) -> Result {
        let from = clock::now();
        let mut ongoing = Vec::new();
        for fault in faults {
            ongoing.push(self.stage.begin(*fault).await?);
        }
        tokio::time::sleep(length).await;
        let mut injuries = Vec::new();
        // What was begun last ends first; but an instance is well only over nodes that are.
        let is_instance = |ongoing: &Ongoing| ongoing.fault().kind.victim() == Victim::Instance;
        ongoing.reverse();
        ongoing.sort_by_key(is_instance);
        for ongoing in ongoing {
            injuries.push(self.stage.end(ongoing).await?);
        }
        injuries.reverse();
        self.stage.settle().await?;
        self.recover(&injuries).await;
        let names: Vec<String> = faults.iter().map(ToString::to_string).collect();
        self.enter(names.join(" + "), from, injuries);
        Ok(())
    }

    /// Waits till all instances have all nodes back, and have written where the primary was away; who
    /// takes too long is seen in the figures.
    async fn recover(&self, injuries: &[Injury]) {
        let replicas = self.stage.replicas();
        let from = clock::now();
        let of_primary = |injury: &&Injury| {
            let notice = injury.fault.kind.notice();
            matches!(notice, Notice::PrimaryLost | Notice::NewPrimary)
        };
        let healed = injuries.iter().filter(of_primary);
        let healed = healed.map(|injury| injury.healed).max();
        let is_well = || {
            self.watch.all_serve(&replicas) && healed.is_none_or(|healed| self.all_wrote(healed))
        };
        while !is_well() && clock::now().saturating_sub(from) < RECOVERY {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Whether a write was acknowledged through every instance since a moment.
    fn all_wrote(&self, since: Duration) -> bool {
        let wrote = self.history.wrote_since(since);
        (0..self.stage.instances.count()).all(|instance| wrote.contains(&instance))
    }

    fn enter(&mut self, name: String, from: Duration, injuries: Vec<Injury>) {
        let until = clock::now();
        self.phases.push(Phase {
            name,
            from,
            until,
            injuries,
        });
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

    /// How long it took to notice the faults of a phase, and to get over them.
    #[must_use]
    pub fn times(&self, phase: &Phase) -> [Times; 2] {
        let evidence = Evidence {
            views: &self.views,
            entries: &self.entries,
            ending: &self.ending,
        };
        evidence.of(&phase.injuries, phase.until)
    }
}
