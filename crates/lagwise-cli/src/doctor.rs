//! `lagwise doctor`: what is set up badly, why it matters, and what mends it.
//!
//! Most trouble with replicas is set up long before it hurts: a slot that nobody uses, a timeout of
//! zero, a pooler in between. Every node is looked at once and nothing is changed. Each group of rules
//! is a module that turns what was seen into findings. How far replicas are behind is `check`'s
//! business.

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio::task::JoinSet;

use crate::console::{self, Findings as Output};
use crate::failure::Failure;
use crate::format::{Format, duration};
use crate::nodes::{NodeArgs, Nodes};
use crate::signal::{self, Interrupt};

use self::cluster::Cluster;
use self::examine::Examined;
use self::finding::Finding;

mod access;
mod clocks;
mod cluster;
mod examine;
mod finding;
mod history;
mod identity;
mod replay;
mod report;
mod room;
mod seen;
mod stream;
mod writes;

/// Looks at every node and says what is set up badly: what, why it matters, and what mends it.
///
/// It says nothing where all is well. Nothing is changed on any server.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub(crate) struct Arguments {
    /// How many processes of the service there are, each with a pool for each node.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    instances: u32,
    /// Also says what was looked at.
    #[arg(long)]
    verbose: bool,
    /// How long a node may take to answer everything.
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "10s")]
    timeout: Duration,
    /// What to print: for people, or a JSON object.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    #[command(flatten)]
    nodes: NodeArgs,
}

const AFTER_HELP: &str = r#"Examples:
  lagwise doctor --primary postgres://app@db-1/shop --replica postgres://app@db-2/shop
  lagwise doctor --config lagwise.toml --instances 12
  lagwise doctor --url postgres://app@db-1,db-2,db-3/shop --verbose --format json

It is told most by a role with pg_monitor, and sees what the service sees by the service's role.

Passwords:
  PGPASSWORD, ~/.pgpass and service files are read. Messages never show a password.

Color is used on a terminal, unless NO_COLOR is set.

Exit codes:
  0  nothing was found, or only notes
  1  warnings: it will hurt one day; or standard output could not be written
  2  problems: it hurts now; or the command line cannot be meant
  3  a node could not be looked at, and nothing worse was found"#;

/// Looks, and says what was found.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let nodes = arguments.nodes.resolve()?;
    let runtime = signal::runtime()?;
    let cluster = runtime.block_on(arguments.look(&nodes));
    // A name that is still being resolved would hold a runtime that is dropped.
    runtime.shutdown_background();
    let cluster = cluster?;
    let findings = findings(&cluster);
    let worst = findings.iter().map(|finding| finding.severity).max();
    let exit_code = worst.map_or(0, finding::Severity::exit_code);
    let said = match arguments.format {
        Format::Json => report::json(&cluster, &findings, exit_code)
            .map_err(|error| Failure::Output(io::Error::other(error)))?,
        Format::Text if arguments.verbose => {
            report::text(&findings, console::colored()) + &report::looked_at(&cluster)
        }
        Format::Text => report::text(&findings, console::colored()),
    };
    let mut output = Output::new();
    output.put(said.as_bytes())?;
    output.show()?;
    Ok(exit_code.into())
}

/// What every rule finds, the worst first.
fn findings(cluster: &Cluster) -> Vec<Finding> {
    let rules = [
        access::findings,
        identity::findings,
        history::findings,
        stream::findings,
        replay::findings,
        writes::findings,
        room::findings,
        clocks::findings,
    ];
    let mut findings: Vec<Finding> = rules.iter().flat_map(|rule| rule(cluster)).collect();
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    findings
}

async fn stand(place: usize, examined: Examined, patience: Duration) -> (usize, Examined) {
    (place, examined.stand(patience).await)
}

impl Arguments {
    /// Looks at all nodes at once.
    async fn look(&self, nodes: &Nodes) -> Result<Cluster, Failure> {
        let mut interrupt = Interrupt::listen()?;
        let mut looks = JoinSet::new();
        for (place, node) in nodes.config().nodes().iter().cloned().enumerate() {
            let patience = self.timeout;
            looks.spawn(async move { (place, Examined::of(node, patience).await) });
        }
        let looks = async {
            let mut stands = JoinSet::new();
            for (place, examined) in looks.join_all().await {
                stands.spawn(stand(place, examined, self.timeout));
            }
            stands.join_all().await
        };
        let mut examined = tokio::select! {
            examined = looks => examined,
            () = interrupt.come() => return Err(Failure::Interrupted),
        };
        examined.sort_by_key(|(place, _)| *place);
        let mut max_lag = Duration::default();
        let watcher = nodes.watcher().policy(|policy| max_lag = policy.max_lag);
        drop(watcher);
        Ok(Cluster {
            nodes: examined.into_iter().map(|(_, examined)| examined).collect(),
            max_lag,
            pool: nodes.config().pool_connections(),
            instances: self.instances,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::cluster::tests::well;
    use super::*;

    #[test]
    fn nothing_is_said_where_all_is_well() {
        let cluster = Cluster::of(vec![well(false), well(true), well(true)]);
        assert_eq!(findings(&cluster), []);
    }
}
