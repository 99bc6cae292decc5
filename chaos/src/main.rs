//! Runs instances of a service under faults and says which promises were broken.
//!
//! `lagwise-chaos --minutes 5 --seed 7`. Every fault comes alone, in the seed's order, and then in pairs
//! as far as the minutes go. It exits with an error on a breach; the seed repeats the faults and the
//! sessions' choices. The hidden subcommand `instance` is one process of the service.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use lagwise_chaos::Result;
use lagwise_chaos::jar::Carrier;
use lagwise_chaos::naive::flaw::Flaw;
use lagwise_chaos::nemesis::{Kind, Parting};
use lagwise_chaos::plan::Plan;
use lagwise_chaos::report::{self, Report};
use lagwise_chaos::run::{self, Record};
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
    /// How long phases are begun: every fault alone takes about four.
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,
    /// How many seconds a fault lasts.
    #[arg(long, default_value_t = 3.0)]
    fault_seconds: f64,
    /// Only these faults, alone and in pairs.
    #[arg(long, value_name = "FAULT", value_delimiter = ',')]
    only: Vec<Kind>,
    /// Lists the faults, and ends.
    #[arg(long)]
    list: bool,
    /// How the outcome is told.
    #[arg(long, default_value = "text")]
    format: Format,
    /// How many instances of the service run.
    #[arg(long, default_value_t = 3)]
    instances: usize,
    /// How many sessions hop over them.
    #[arg(long, default_value_t = 8)]
    sessions: usize,
    /// Carries tokens in the header, not in cookies.
    #[arg(long)]
    header: bool,
    /// Has every failover lose acknowledged writes.
    #[arg(long)]
    lose_writes: bool,
    /// Writes every operation to this file, a line for each.
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
    /// The service under test.
    #[arg(long, default_value = "axum-notes")]
    service: Service,
    /// What is wrong with the naive service.
    #[arg(long)]
    flaw: Option<Flaw>,
}

/// How an outcome is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A table for people.
    Text,
    /// For programs.
    Json,
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
    let mut out = std::io::stdout();
    if arguments.list {
        for value in Kind::value_variants()
            .iter()
            .filter_map(Kind::to_possible_value)
        {
            let what = value.get_help().map(ToString::to_string);
            writeln!(out, "{:<18}{}", value.get_name(), what.unwrap_or_default())?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let plan = plan(&arguments)?;
    if arguments.format == Format::Text {
        let (seed, length) = (plan.seed, plan.length);
        writeln!(out, "seed {seed}, about {length:.0?} of faults\n")?;
    }
    let record = run::run(plan).await?;
    if let Some(path) = &arguments.history {
        write_history(&record, path)?;
    }
    match arguments.format {
        Format::Text => write!(out, "{}", Report(&record))?,
        Format::Json => writeln!(out, "{:#}", report::json(&record))?,
    }
    Ok(match record.verdict.breaches.len() {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

fn write_history(record: &Record, path: &Path) -> Result {
    let mut file = BufWriter::new(File::create(path)?);
    for entry in &record.entries {
        writeln!(file, "{entry}")?;
    }
    for failover in &record.ending.failovers {
        writeln!(file, "{failover}")?;
    }
    Ok(file.flush()?)
}

fn plan(arguments: &Arguments) -> Result<Plan> {
    let mut plan = Plan::new(arguments.service, std::env::current_exe()?);
    plan.seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
    plan.length = Duration::try_from_secs_f64(arguments.minutes * 60.0)?;
    plan.fault = Duration::try_from_secs_f64(arguments.fault_seconds)?;
    if !arguments.only.is_empty() {
        plan.kinds.clone_from(&arguments.only);
    }
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
