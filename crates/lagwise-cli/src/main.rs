//! The command line of lagwise: `lagwise --help`.
//!
//! Each command is a module with its arguments and its work in it; here is only how one is chosen
//! and how it ends. What a command finds goes to standard output, and what went wrong to standard
//! error, without passwords.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod assess;
mod catalog;
mod console;
mod explain;
mod failure;
mod format;
mod nodes;
mod printable;
mod sandbox;
mod signal;
mod vitals;

/// Routes sqlx traffic over a PostgreSQL primary and its replicas.
#[derive(Debug, Parser)]
#[command(name = "lagwise", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Assess(assess::Arguments),
    Explain(explain::Arguments),
    Sandbox(sandbox::Arguments),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Assess(arguments) => assess::run(&arguments),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Sandbox(arguments) => sandbox::run(arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            console::complain(&failure);
            failure.exit_code()
        }
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
