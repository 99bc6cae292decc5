//! Runs instances of a service under faults and says which promises were broken.
//!
//! `lagwise-chaos --minutes 5 --seed 7`. It exits with an error on a breach; the seed repeats the faults
//! and the sessions' choices. The hidden subcommand `instance` is one process of the service.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use lagwise_chaos::Result;
use lagwise_chaos::jar::Carrier;
use lagwise_chaos::naive::flaw::Flaw;
use lagwise_chaos::nemesis::Parting;
use lagwise_chaos::plan::Plan;
use lagwise_chaos::report::Report;
use lagwise_chaos::run;
use lagwise_chaos::service::{Instance, Service};

/// Hops over instances of a notes service under faults, and judges what its sessions saw.
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    part: Option<Part>,
    /// What everything random starts from; drawn if not given.
    #[arg(long)]
    seed: Option<u64>,
    /// How long the faults take, about.
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,
    /// How many instances of the service run.
    #[arg(long, default_value_t = 3)]
    instances: usize,
    /// How many sessions hop over them.
    #[arg(long, default_value_t = 8)]
    sessions: usize,
    /// Carries tokens in the header, not in cookies.
    #[arg(long)]
    header: bool,
    /// Has the failover lose acknowledged writes.
    #[arg(long)]
    lose_writes: bool,
    /// The service under test.
    #[arg(long, default_value = "axum-notes")]
    service: Service,
    /// What is wrong with the naive service.
    #[arg(long)]
    flaw: Option<Flaw>,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// One process of the service.
    #[command(hide = true)]
    Instance(Instance),
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let mut arguments = Arguments::parse();
    if let Some(Part::Instance(instance)) = arguments.part.take() {
        instance.run().await?;
        return Ok(ExitCode::SUCCESS);
    }
    let plan = plan(&arguments)?;
    let mut out = std::io::stdout();
    let (seed, length) = (plan.seed, plan.length);
    writeln!(out, "seed {seed}, about {length:.0?} of faults\n")?;
    let record = run::run(plan).await?;
    write!(out, "{}", Report(&record))?;
    Ok(match record.verdict.breaches.len() {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

fn plan(arguments: &Arguments) -> Result<Plan> {
    let mut plan = Plan::new(arguments.service, std::env::current_exe()?);
    plan.seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
    plan.length = Duration::try_from_secs_f64(arguments.minutes * 60.0)?;
    plan.instances = arguments.instances.max(1);
    plan.sessions = arguments.sessions;
    plan.flaw = arguments.flaw;
    if arguments.header {
        plan.carrier = Carrier::Header;
    }
    if arguments.lose_writes {
        plan.parting = Parting::CutOff;
    }
    Ok(plan)
}
