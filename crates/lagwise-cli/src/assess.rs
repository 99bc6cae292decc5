//! `lagwise assess`: would replicas help?
//!
//! Before anybody pays for replicas, somebody wants to know how much of the work could move to them, and
//! what keeps the rest. The server has counted what it runs (`pg_stat_statements`), and the router's own
//! rules say of each statement where it may run; so the answer is a sum, told with all that it assumes.
//! What cannot be known from counts is a range, never a guess.
//!
//! Which statement may move, `lagwise_core` decides, with the catalog of that server.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use lagwise_core::Overrides;

use crate::console::{self, Findings};
use crate::failure::Failure;
use crate::format::{Format, duration, short};
use crate::nodes::NodeArgs;
use crate::signal::{self, Interrupt};

use self::report::Report;
use self::sample::Sample;
use self::source::Source;
use self::workload::Workload;

mod chart;
mod page;
mod report;
mod sample;
mod source;
mod text;
mod workload;

/// Says how much of the primary's work could move to replicas, and what keeps the rest.
///
/// Reads `pg_stat_statements` on the primary, judges each statement as a router does, and adds up calls
/// and execution time. It changes nothing.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub(crate) struct Arguments {
    /// The database to look at, on the same server; that of the primary's address if not given.
    #[arg(long, value_name = "NAME")]
    database: Option<String>,
    /// Looks twice, so long apart, and reports what ran in between; else all since statistics were
    /// reset. Ctrl-C reports what ran until then.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    watch: Option<Duration>,
    /// How many reads are assumed, at most, in each transaction that is begun and not READ ONLY:
    /// counts do not tell.
    #[arg(long, value_name = "COUNT", default_value_t = 2)]
    reads_per_transaction: u32,
    /// How many statements to list of each kind.
    #[arg(long, value_name = "COUNT", default_value_t = 10)]
    top: usize,
    /// What to print.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Writes a page with charts as well; it needs nothing else, and can be sent around.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// How long the server may take for each answer.
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "30s")]
    timeout: Duration,
    #[command(flatten)]
    nodes: NodeArgs,
}

const AFTER_HELP: &str = r#"Examples:
  lagwise assess --primary postgres://app@db-1/shop
  lagwise assess --primary postgres://app@db-1/shop --html report.html
  lagwise assess --config lagwise.toml --watch 10m --format json

What is needed:
  The extension pg_stat_statements, in the database that is looked at, and a role that may read
  what others run: a member of pg_read_all_stats, or of pg_monitor. No replica is needed.

What is counted:
  "calls" are those of statements. BEGIN, COMMIT, SET and their like, and questions about the server
  itself, are apart: they are no statements that could move. "time" is all execution time
  that was recorded, theirs as well. What lagwise asks by itself is left out: from a service's router
  too, if that is of this version or newer.

Ranges:
  A read in a transaction that is not READ ONLY stays on the primary, and counts do not tell
  which reads those are. So a share is a range, from "each such transaction holds as many reads
  as --reads-per-transaction says" to "none holds any".

Exit codes:
  0  the report was made
  1  it could not be: no server, no pg_stat_statements, a file that cannot be written
  2  the command line cannot be meant
  130  it was ended by Ctrl-C or a signal before anything was counted"#;

/// Makes the report.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let nodes = arguments.nodes.resolve()?;
    let report = signal::runtime()?.block_on(async {
        let mut interrupt = Interrupt::listen()?;
        let limit = arguments.timeout;
        let first = async {
            let database = arguments.database.as_deref();
            let mut source = Source::find(nodes.config(), database, limit).await?;
            // Before anything else is asked, which would be counted.
            let sample = source.sample().await?;
            Ok::<_, Failure>((source, sample))
        };
        let (source, sample) = tokio::select! {
            first = first => first?,
            () = interrupt.come() => return Err(Failure::Interrupted),
        };
        if let Some(watch) = arguments.watch {
            wait(watch, &mut interrupt).await;
        }
        tokio::select! {
            report = assess(source, sample, arguments) => report,
            () = interrupt.come() => Err(Failure::Interrupted),
        }
    })?;
    if let Some(file) = &arguments.html {
        write(file, &page::render(&report))?;
    }
    let text = match arguments.format {
        Format::Text => text::render(&report, console::colored()),
        Format::Json => report.as_json(),
    };
    let mut findings = Findings::new();
    findings.put(text.as_bytes())?;
    findings.show()?;
    Ok(())
}

async fn assess(
    mut source: Source,
    mut sample: Sample,
    arguments: &Arguments,
) -> Result<Report, Failure> {
    if arguments.watch.is_some() {
        sample = source.sample().await?.since(&sample)?;
    }
    let catalog = source.catalog(&Overrides::default()).await?;
    let workload = Workload::judge(&sample, &catalog, arguments.reads_per_transaction);
    Ok(Report::new(
        source.name(),
        &sample,
        &workload,
        arguments.top,
    ))
}

/// Waits for the second look, or for somebody who has waited enough.
async fn wait(watch: Duration, interrupt: &mut Interrupt) {
    let long = short(watch);
    console::progress(&format!(
        "watching for {long}; Ctrl-C reports what ran until then"
    ));
    tokio::select! {
        () = tokio::time::sleep(watch) => {}
        () = interrupt.come() => {}
    }
}

fn write(file: &Path, page: &str) -> Result<(), Failure> {
    std::fs::write(file, page).map_err(|error| {
        let file = file.display();
        Failure::Assess(format!(
            "{file} could not be written: {error}; name another file with --html"
        ))
    })
}
