//! Drills the days on which things fail, and compares what callers saw.
//!
//! `lagwise-drills failover hung-replica --seconds 5 --format markdown`. It exits with an error where
//! lagwise breaks a law; a goal that a busy machine does not reach is only told.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum as _};
use lagwise_drills::Result;
use lagwise_drills::contender::Which;
use lagwise_drills::drill::Drill;
use lagwise_drills::report::Format;

/// Has a primary die, replicas hang, lag and return, and measures what callers see.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask drill", bin_name = "cargo xtask drill")]
struct Arguments {
    /// What to drill; everything unless given.
    drills: Vec<Drill>,
    /// How long a fault is watched.
    #[arg(long, value_name = "N", default_value_t = 2.5)]
    seconds: f64,
    /// How the report looks; JSON is one line for each drill.
    #[arg(long, default_value = "text")]
    format: Format,
    /// Drills lagwise alone.
    #[arg(long)]
    alone: bool,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let length = Duration::try_from_secs_f64(arguments.seconds)?;
    let drills = match arguments.drills {
        all if all.is_empty() => Drill::value_variants().to_vec(),
        some => some,
    };
    let contenders = match arguments.alone {
        true => vec![Which::Lagwise],
        false => Which::here(),
    };
    let mut out = std::io::stdout();
    if arguments.format != Format::Json {
        for which in &contenders {
            writeln!(out, "* {}: {}", which.name(), which.told())?;
        }
        writeln!(out)?;
    }
    let mut broken = Vec::new();
    for drill in drills {
        let table = drill.compare(&contenders, length).await?;
        writeln!(out, "{}", table.show(arguments.format)?.trim_end())?;
        if arguments.format != Format::Json {
            writeln!(out)?;
        }
        if table.breaks_a_law() {
            broken.push(table.name);
        }
    }
    if broken.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let message = format!("a law was broken in {}", broken.join(", "));
    writeln!(std::io::stderr(), "error: {message}")?;
    Ok(ExitCode::FAILURE)
}
