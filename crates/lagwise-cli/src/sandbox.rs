//! `lagwise sandbox`: a real cluster to develop against, and its faults at one's fingertips.
//!
//! Whoever moves a service to replicas has to see once what it does when one of them is late, cut off
//! or promoted, and has no cluster at hand to break. One process starts a primary and replicas and
//! stays until Ctrl-C; from any other terminal the same command breaks and mends them, and answers
//! when the change is in force. Both find each other by a folder. Nothing of it outlives the process.
//!
//! How servers are started and broken is the business of `lagwise_testkit`.

use std::path::PathBuf;

use clap::Args;

use crate::console::Findings;
use crate::failure::Failure;
use crate::format::Format;

use self::order::Order;
use self::shape::Shape;

mod answer;
mod control;
mod obey;
mod order;
mod place;
mod promote;
mod shape;
mod stage;
mod standing;
mod start;
mod status;

/// Starts a real local cluster and stays until Ctrl-C; from another terminal, breaks and mends it.
///
/// Without a command it starts a primary and its replicas, prints their addresses, and removes
/// everything when it ends. With one, it tells the sandbox that runs in the same folder what to do,
/// and returns when that is in force.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP, disable_help_subcommand = true)]
pub(crate) struct Arguments {
    /// The folder of the sandbox, which goes with it; by default one in the folder for temporary
    /// files, the same for every terminal of a user.
    #[arg(long, value_name = "DIR", global = true)]
    dir: Option<PathBuf>,
    /// What to print: for people, or one line of JSON.
    #[arg(long, value_enum, default_value_t = Format::Text, global = true)]
    format: Format,
    #[command(flatten)]
    shape: Shape,
    #[command(subcommand)]
    order: Option<Order>,
}

const AFTER_HELP: &str = r#"Examples:
  lagwise sandbox --replicas 2                   starts, prints addresses, stays until Ctrl-C
  lagwise sandbox --port 5500                    primary on 5500, replicas on the ports after it
  lagwise sandbox --setting max_connections=50 --setting log_statement=all

From another terminal:
  eval "$(lagwise sandbox env)"                  sets LAGWISE_PRIMARY and its like
  lagwise sandbox status
  lagwise sandbox delay replica-1 2s             ends with: delay replica-1 0
  lagwise sandbox pause replica-1                ends with: resume replica-1
  lagwise sandbox cut replica-1                  ends with: heal replica-1

A failover:
  lagwise sandbox kill primary
  lagwise sandbox promote replica-1              the other replicas follow it
  lagwise sandbox start primary                  comes back as a replica of replica-1

Two primaries at once:
  lagwise sandbox promote replica-1 --leave-primary
  lagwise sandbox kill primary                   and start it again: it comes back as a replica

A replica that diverged:
  lagwise sandbox cut replica-1                  then write something to the primary
  lagwise sandbox kill primary
  lagwise sandbox promote replica-1
  lagwise sandbox start primary --no-rewind      a replica with rows that no other node has

Names and roles:
  Nodes are called primary, replica-1, replica-2 and so on, whatever their roles become.
  `promote` while the primary runs is a switchover: the primary is stopped in order, loses
  nothing, and comes back as a replica.

Addresses:
  Applications are the role `app` with the password `app`, which owns the database `app` and may
  read statistics. The superuser `postgres` needs no password. Addresses stay the same until the
  end, also those of nodes that are down. Servers count statements with pg_stat_statements
  where that is installed, as `lagwise assess` wants it.

JSON:
  The start prints one line when all nodes are ready; every command prints one of the same shape:
  {"ok": true, "said": "..", "dir": "..", "primary": "..", "nodes": [..], "env": {..}}, or
  {"ok": false, "error": ".."}. What is not known, as the role of a node that is down, is null.

Exit codes:
  0  done; of a start: it was ended by Ctrl-C or a signal, and nothing is left
  1  it could not be done
  2  the command line cannot be meant"#;

/// Starts a sandbox, or tells a running one what to do.
pub(crate) fn run(arguments: Arguments) -> Result<(), Failure> {
    let dir = place::chosen(arguments.dir)?;
    let Some(order) = arguments.order else {
        return start::run(&dir, &arguments.shape, arguments.format);
    };
    if arguments.shape != Shape::default() {
        let fault = "options of a start do not go with a command; the sandbox runs already";
        return Err(Failure::SandboxUsage(fault));
    }
    let answer = control::ask(&dir, &order)?;
    let text = match (arguments.format, &order) {
        (Format::Json, _) => answer.as_json(),
        (Format::Text, _) if answer.error.is_some() => String::new(),
        (Format::Text, Order::Status) => status::table(&answer.nodes),
        (Format::Text, Order::Env) => answer.env.as_shell(),
        (Format::Text, _) => format!("{}\n", answer.said),
    };
    let mut findings = Findings::new();
    findings.put(text.as_bytes())?;
    findings.show()?;
    match answer.error {
        Some(error) => Err(Failure::Sandbox(error)),
        None => Ok(()),
    }
}
