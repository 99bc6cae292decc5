//! Short runs with a fixed seed, over three processes: no breach, all faults had their turn, and most
//! reads are off the primary while nothing is wrong.
//!
//! Long runs with other seeds are `cargo xtask chaos`.

use std::path::PathBuf;
use std::time::Duration;

use lagwise_chaos::Result;
use lagwise_chaos::jar::Carrier;
use lagwise_chaos::nemesis::{Kind, Parting};
use lagwise_chaos::plan::Plan;
use lagwise_chaos::report::Report;
use lagwise_chaos::run::{Phase, Record, run};
use lagwise_chaos::service::Service;

/// Longer than any run here takes.
const PATIENCE: Duration = Duration::from_secs(100);

/// How many reads in a hundred have to leave a healthy primary here: reads that wait for a replica
/// give up sooner on a machine that runs other tests too.
const FLOOR: usize = 30;

async fn holds(carrier: Carrier, parting: Parting, kinds: &[Kind]) -> Result<Record> {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_lagwise-chaos"));
    let mut plan = Plan::new(Service::AxumNotes, program);
    (plan.carrier, plan.parting) = (carrier, parting);
    plan.kinds = kinds.to_vec();
    plan.fault = Duration::from_millis(1500);
    // Each fault alone and one pair, however slow the machine is.
    plan.length = PATIENCE;
    plan.phases = kinds.len() + 1;
    plan.floor = FLOOR;
    let record = run(plan).await?;
    let told = Report(&record);
    assert!(record.verdict.breaches.is_empty(), "no breach\n{told}");
    let share = record.healthy_share().unwrap_or(0);
    assert!(
        share >= FLOOR,
        "{share} % of the healthy reads left\n{told}"
    );
    assert!(record.verdict.writes > 100, "enough to judge by\n{told}");
    for kind in kinds {
        let alone = |phase: &&Phase| phase.name.starts_with(&kind.to_string());
        let phase = record.phases.iter().find(alone);
        assert!(phase.is_some(), "{kind} had its turn\n{told}");
    }
    Ok(record)
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_of_a_cookie_keep_their_guarantees_also_when_two_take_writes() -> Result {
    let record = holds(
        Carrier::Cookie,
        Parting::CaughtUp,
        &[
            Kind::FreezeServer,
            Kind::LeadAbroad,
            Kind::FillSlots,
            Kind::SwitchOver,
            Kind::SplitBrain,
        ],
    )
    .await?;
    let told = Report(&record);
    assert_eq!(
        record.ending.failovers.len(),
        2,
        "the primary changed twice\n{told}"
    );
    let split = |phase: &&Phase| phase.name == Kind::SplitBrain.to_string();
    let split = record.phases.iter().find(split).expect("it had its turn");
    let [noticed, _] = record.times(split);
    assert_eq!(noticed.missing, 0, "all instances noticed\n{told}");
    assert_eq!(
        noticed.taken.len(),
        record.plan.instances,
        "and said so\n{told}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_of_a_header_keep_them_also_when_writes_are_lost() -> Result {
    let record = holds(
        Carrier::Header,
        Parting::CutOff,
        &[
            Kind::PauseReplay,
            Kind::LoseClients,
            Kind::KillInstance,
            Kind::RestartPrimary,
            Kind::FailOver,
        ],
    )
    .await?;
    let lost = record.verdict.lost_by_cluster > 0;
    assert!(lost, "a failover that lost something\n{}", Report(&record));
    Ok(())
}
