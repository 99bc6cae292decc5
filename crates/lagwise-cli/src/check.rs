//! `lagwise check`: one verdict on a cluster or a node, for Nagios, Icinga and whatever else runs
//! plugins, and for scripts.
//!
//! The monitor of the library looks at the nodes for as long as it takes to be sure, which is a
//! fraction of a second where all is well, and never longer than `--timeout`. A process that has just
//! begun knows nothing: that a replica is near is proved by its passing where the primary stood when it
//! was asked, and that it is late by its not passing that for `--crit`.

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum as _};
use lagwise::PgRouter;

use crate::console::Findings as Output;
use crate::failure::Failure;
use crate::format::{Format, duration, short};
use crate::nodes::{NodeArgs, Nodes};
use crate::signal;

use self::judge::Verdict;
use self::limits::Limits;
use self::look::{Findings, Look};

mod facts;
mod judge;
mod limits;
mod look;
mod report;
mod stream;

/// Gives one verdict on a cluster, or on one of its nodes, as a monitoring plugin does.
///
/// OK means that a node accepts writes, and that every replica is proved to be no further behind than
/// `--warn`, replays, and has a stream. What is unknown is never OK, and a primary that nobody writes
/// to makes nobody late.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub(crate) struct Arguments {
    /// Judges this node alone.
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// How long the check may take. A node that has not answered by then is down, and what else is not
    /// known by then is unknown.
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "10s")]
    timeout: Duration,
    /// What to print: the lines of a plugin, or a JSON object.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    #[command(flatten)]
    limits: Limits,
    #[command(flatten)]
    nodes: NodeArgs,
}

const AFTER_HELP: &str = r#"Examples:
  lagwise check --primary postgres://mon@db-1/shop --replica postgres://mon@db-2/shop
  lagwise check --url postgres://mon@db-1,db-2,db-3/shop --warn 500ms --crit 2s
  lagwise check --config lagwise.toml --node replica-1
  lagwise check --config lagwise.toml --min-replicas 2 --crit-bytes 1GB --format json

Output:
  The first line is the verdict, what is wrong, and figures behind a |; a line for each node follows.
  Lag is "at most" what is proved, or "at least" what a replica has not replayed for.

Verdicts, the worst of all nodes counts, but for --min-replicas:
  CRITICAL  a node is down or does not answer; it has another history, another cluster's data, or
            accepts writes beside the primary; nobody accepts writes; a replica is behind --crit
  UNKNOWN   a node answers but refuses the login, the database or TLS; lag cannot be told
  WARNING   a replica is behind --warn; its stream is cut or its replay paused, and it lacks
            nothing yet
  OK        everything else, also a primary that was given as a replica, and the other way round

A lag beyond --crit is proved by waiting for as long: with a --crit beyond --timeout, commit
timestamps decide whether a replica that is behind --warn is critical, while the primary writes.

A role without grants will do; pg_monitor also sees a stream that is open and silent.

Passwords:
  PGPASSWORD, ~/.pgpass and service files are read. Messages never show a password.

Exit codes:
  0  OK
  1  WARNING
  2  CRITICAL
  3  UNKNOWN, and whatever kept the check from being made: a command line that cannot be meant,
     a file that cannot be read, an interruption"#;

/// Makes the check and says what it found; the exit code is the verdict.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let (verdict, said) = match arguments.check() {
        Ok(findings) => (findings.verdict(), arguments.tell(&findings)?),
        Err(failure) => (Verdict::Unknown, arguments.excuse(&failure)),
    };
    say(&said)?;
    Ok(verdict.exit_code().into())
}

/// What a plugin does that was started wrongly, `lagwise check` of all: nobody reads its standard error.
pub(crate) fn refuse(error: &clap::Error) -> Result<ExitCode, Failure> {
    let text = error.render().to_string();
    // What is missing stands in lines below the first, up to an empty one.
    let lines = text.lines().take_while(|line| !line.is_empty());
    let fault = lines.map(str::trim).collect::<Vec<_>>().join(" ");
    let fault = fault.trim_start_matches("error: ");
    // What is no text is no format either.
    let arguments = std::env::args_os().map(|argument| argument.to_string_lossy().into_owned());
    let said = match wants_json(arguments) {
        true => report::unchecked_json(fault),
        false => report::unchecked(fault),
    };
    say(&said)?;
    Ok(Verdict::Unknown.exit_code().into())
}

/// Whether a command line that cannot be meant asks for JSON nevertheless.
fn wants_json(arguments: impl Iterator<Item = String>) -> bool {
    let arguments: Vec<String> = arguments.collect();
    let pairs = arguments.windows(2);
    let mut named = pairs
        .filter(|pair| pair[0] == "--format")
        .map(|pair| pair[1].as_str());
    let mut joined = arguments
        .iter()
        .filter_map(|argument| argument.strip_prefix("--format="));
    let is_json = |format: &str| Format::from_str(format, false) == Ok(Format::Json);
    named.any(is_json) || joined.any(is_json)
}

fn say(text: &str) -> Result<(), Failure> {
    let mut output = Output::new();
    // Whoever wants no more still gets the exit code.
    output.put(text.as_bytes())?;
    output.show()?;
    Ok(())
}

impl Arguments {
    fn check(&self) -> Result<Findings, Failure> {
        self.limits.check()?;
        if self.timeout < LEAST_TIMEOUT {
            let fault = format!(
                "--timeout is {}, and must be at least {}",
                short(self.timeout),
                short(LEAST_TIMEOUT)
            );
            return Err(Failure::Limits { fault });
        }
        let nodes = self.nodes.resolve()?;
        if let Some(name) = &self.node {
            let known = nodes
                .config()
                .nodes()
                .iter()
                .map(lagwise::config::Node::name);
            if !known.clone().any(|known| known == name) {
                let names: Vec<&str> = known.collect();
                let fault = format!("--node is {name}, but the nodes are {}", names.join(", "));
                return Err(Failure::Limits { fault });
            }
        }
        let runtime = signal::runtime()?;
        let findings = runtime.block_on(self.look(&nodes));
        // A name that is still being resolved would hold a runtime that is dropped.
        runtime.shutdown_background();
        findings
    }

    async fn look(&self, nodes: &Nodes) -> Result<Findings, Failure> {
        let router = self.watcher(nodes)?;
        let mut look = Look::new(nodes, &self.limits, self.node.as_deref());
        let most = self.timeout.saturating_sub(FAREWELL);
        look.run(nodes, &router, self.patience(), most).await
    }

    /// The limits of the service say who takes reads; how often to ask, those of the check.
    fn watcher(&self, nodes: &Nodes) -> Result<PgRouter, Failure> {
        let (interval, patience) = (self.limits.interval(), self.patience());
        let builder = nodes.watcher().policy(|policy| {
            let least = policy.max_lag / 4;
            let interval = policy.poll_interval.min(interval).min(least);
            let unseen_for = policy.unseen_for.max(patience);
            *policy = policy.clone().with_poll_interval(interval);
            policy.unseen_for = unseen_for;
            policy.probe_timeout = policy.probe_timeout.max(patience);
            policy.sticky_window = policy.sticky_window.max(policy.probe_timeout);
            policy.idle_poll_interval = policy.poll_interval;
            policy.max_backoff = policy.poll_interval * 4;
        });
        builder.connect_lazy().map_err(Failure::Nodes)
    }

    /// How long a server may take to answer.
    fn patience(&self) -> Duration {
        let share = (self.timeout / 4).clamp(LEAST_PATIENCE, LONGEST_PATIENCE);
        share.min(self.timeout.saturating_sub(FAREWELL))
    }

    fn tell(&self, findings: &Findings) -> Result<String, Failure> {
        match self.format {
            Format::Text => Ok(report::text(findings, &self.limits)),
            Format::Json => {
                report::json(findings).map_err(|error| Failure::Output(io::Error::other(error)))
            }
        }
    }

    fn excuse(&self, failure: &Failure) -> String {
        match self.format {
            Format::Text => report::unchecked(&failure.to_string()),
            Format::Json => report::unchecked_json(&failure.to_string()),
        }
    }
}

/// Enough for a few questions.
const LEAST_TIMEOUT: Duration = Duration::from_millis(500);

/// What starting and ending the process may take of the timeout.
const FAREWELL: Duration = Duration::from_millis(200);

/// A server that is well and busy may take as long to let one in, however short the check is to be.
const LEAST_PATIENCE: Duration = Duration::from_millis(250);

/// A server that takes longer to answer is of no use to anybody.
const LONGEST_PATIENCE: Duration = Duration::from_millis(2500);

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn a_server_has_a_share_of_the_time_and_never_too_little_to_answer() {
        for (timeout, patience) in [("500ms", 250), ("1s", 250), ("4s", 1000), ("1m", 2500)] {
            let line = ["lagwise", "check", "--timeout", timeout];
            let parsed = crate::Arguments::try_parse_from(line).expect("it can be meant");
            let crate::Command::Check(check) = parsed.command else {
                panic!("it is a check: {parsed:?}");
            };
            assert_eq!(
                check.patience(),
                Duration::from_millis(patience),
                "{timeout}"
            );
        }
    }
}
