//! The command line of lagwise: `lagwise --help`.
//!
//! Each command is a module with its arguments and its work in it; here is only how one is chosen
//! and how it ends. What a command finds goes to standard output, and what went wrong to standard
//! error, without passwords.

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use self::failure::Failure;

mod assess;
mod catalog;
mod check;
mod completions;
mod console;
mod doctor;
mod explain;
mod failure;
mod format;
mod man;
mod nodes;
mod printable;
mod sandbox;
mod serve;
mod server;
mod signal;
mod trouble;
mod vitals;
mod watch;

/// Checks, watches and explains a PostgreSQL primary and its replicas, by the verdicts of the router
/// that reads from them.
#[derive(Debug, Parser)]
#[command(name = "lagwise", version, after_help = AFTER_HELP)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = r#"Examples:
  lagwise sandbox                                  a cluster to try the others on
  eval "$(lagwise sandbox env)"                    in another terminal: where its nodes are
  lagwise watch                                    every node, as it changes
  lagwise check --warn 500ms --crit 2s             one verdict, for a monitoring system
  lagwise serve                                    metrics, health checks, a page
  lagwise doctor                                   what is set up badly, and what mends it
  lagwise assess                                   what replicas would take off the primary
  lagwise explain "select nextval('s')"            where a statement may run, and why

Nodes are named by flags, by LAGWISE_PRIMARY and LAGWISE_REPLICAS, by LAGWISE_URL with several hosts, or
by a file that the service reads as well: --config FILE, or LAGWISE_CONFIG. `lagwise COMMAND --help` has
examples and exit codes of each."#;

#[derive(Debug, Subcommand)]
enum Command {
    Assess(Box<assess::Arguments>),
    Check(check::Arguments),
    Completions(completions::Arguments),
    Doctor(doctor::Arguments),
    Explain(explain::Arguments),
    Man(man::Arguments),
    Sandbox(sandbox::Arguments),
    Serve(serve::Arguments),
    Watch(Box<watch::Arguments>),
}

fn main() -> ExitCode {
    let outcome = match Arguments::try_parse() {
        Ok(arguments) => run(arguments.command),
        Err(error) => refuse(&error),
    };
    match outcome {
        Ok(code) => code,
        Err(failure) => {
            if !failure.is_wanted() {
                console::complain(&failure);
            }
            failure.exit_code()
        }
    }
}

fn run(command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Assess(arguments) => assess::run(&arguments),
        Command::Check(arguments) => return check::run(&arguments),
        Command::Completions(arguments) => completions::run(&arguments, Arguments::command()),
        Command::Doctor(arguments) => return doctor::run(&arguments),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Man(arguments) => man::run(&arguments, Arguments::command()),
        Command::Sandbox(arguments) => sandbox::run(arguments),
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Watch(arguments) => watch::run(&arguments),
    }
    .map(|()| ExitCode::SUCCESS)
}

/// A command line that cannot be meant, or one that asks for help.
fn refuse(error: &clap::Error) -> Result<ExitCode, Failure> {
    console::wanted(error.print())?;
    match (error.exit_code(), std::env::args_os().nth(1)) {
        (0, _) => Ok(ExitCode::SUCCESS),
        (_, Some(command)) if command == "check" => check::refuse(error),
        _ => Ok(ExitCode::from(failure::USAGE)),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::Arguments;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
