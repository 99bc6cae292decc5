//! A short run with a fixed seed, over three processes: no breach, no operation that hangs, and most
//! reads off the primary while nothing is wrong.
//!
//! Long runs with other seeds are `cargo run -p lagwise-chaos`.

use std::path::PathBuf;
use std::time::Duration;

use lagwise_chaos::Result;
use lagwise_chaos::checker::Guarantee;
use lagwise_chaos::jar::Carrier;
use lagwise_chaos::nemesis::Parting;
use lagwise_chaos::plan::Plan;
use lagwise_chaos::report::Report;
use lagwise_chaos::run::{FLOOR, run};
use lagwise_chaos::service::Service;

/// The service that is run here: `AxumNotes` once `service.rs` runs it.
const SERVICE: Service = Service::AxumNotes;

async fn holds(carrier: Carrier, parting: Parting) -> Result {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_lagwise-chaos"));
    let mut plan = Plan::new(SERVICE, program);
    (plan.carrier, plan.parting) = (carrier, parting);
    plan.length = Duration::from_secs(15);
    (plan.faults, plan.pairs) = (6, 1);
    let record = run(plan).await?;
    let told = Report(&record);
    assert!(record.verdict.breaches.is_empty(), "no breach\n{told}");
    assert!(
        !record.verdict.broke(Guarantee::Hung),
        "nothing hangs\n{told}"
    );
    let share = record.healthy_share().unwrap_or(0);
    assert!(
        share >= FLOOR,
        "{share} % of the healthy reads left\n{told}"
    );
    let lossy = parting == Parting::CutOff;
    let lost = record.verdict.lost_by_cluster > 0;
    assert!(lost || !lossy, "a failover that lost something\n{told}");
    assert!(record.verdict.writes > 100, "enough to judge by\n{told}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_of_a_cookie_keep_their_guarantees() -> Result {
    holds(Carrier::Cookie, Parting::CaughtUp).await
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_of_a_header_keep_them_also_when_writes_are_lost() -> Result {
    holds(Carrier::Header, Parting::CutOff).await
}
