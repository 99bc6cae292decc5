//! Measures what routing costs: on a real cluster, in one process, beside what else people use.
//!
//! Each case prints its figures; all that is compared takes turns within the same rounds, so that a
//! machine that gets slower meanwhile does so for everybody. `cargo xtask bench` runs this.

mod callers;
mod case;
mod clock;
mod figure;
mod processor;
mod report;
mod rounds;
mod stage;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum as _};

use crate::case::{Case, Run};
use crate::report::Report;

type Error = Box<dyn std::error::Error + Send + Sync>;
type Result<T> = std::result::Result<T, Error>;

/// Measures what routing costs beside what else people use.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench")]
struct Arguments {
    /// What to measure; everything unless given.
    cases: Vec<Case>,
    /// Prints one JSON object: a name, and what was found under its unit.
    #[arg(long)]
    json: bool,
    /// A tenth of the rounds: shows that it runs, not what it costs.
    #[arg(long)]
    quick: bool,
    /// Puts the figures that matter most into this document as well.
    #[arg(long, value_name = "FILE")]
    into: Option<PathBuf>,
    /// Where Criterion has left what it measured.
    #[arg(long, value_name = "FOLDER", hide = true)]
    criterion: Option<PathBuf>,
    /// Only does this, so often: for who counts instructions.
    #[arg(long, hide = true, requires = "calls")]
    repeat: Option<String>,
    #[arg(long, hide = true)]
    calls: Option<u32>,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    match &arguments.repeat {
        Some(name) => {
            case::repeat(name, arguments.calls.unwrap_or(0))?;
            Ok(ExitCode::SUCCESS)
        }
        None => measure(arguments),
    }
}

#[tokio::main(worker_threads = 2)]
async fn measure(arguments: Arguments) -> Result<ExitCode> {
    let cases = match arguments.cases {
        all if all.is_empty() => Case::value_variants().to_vec(),
        some => some,
    };
    let mut report = Report::new(arguments.json);
    for case in cases {
        let run = Run {
            quick: arguments.quick,
            criterion: arguments.criterion.as_deref(),
        };
        report.add(case, case.measure(run).await?)?;
    }
    if let Some(document) = arguments.into {
        report.write_into(&document)?;
    }
    report.end()
}
