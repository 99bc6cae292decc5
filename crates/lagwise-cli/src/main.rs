//! The command line of lagwise: `lagwise --help`.
//!
//! Each command is a module with its arguments and its work in it; here is only how one is chosen
//! and how it ends. What a command finds goes to standard output, and what went wrong to standard
//! error, without passwords.

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

mod catalog;
mod completions;
mod console;
mod explain;
mod failure;
mod format;
mod man;
mod nodes;
mod printable;
mod signal;
mod vitals;
mod watch;

/// Routes sqlx traffic over a PostgreSQL primary and its replicas.
#[derive(Debug, Parser)]
#[command(name = "lagwise", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Completions(completions::Arguments),
    Explain(explain::Arguments),
    Man(man::Arguments),
    Watch(Box<watch::Arguments>),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Completions(arguments) => completions::run(&arguments, Arguments::command()),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Man(arguments) => man::run(&arguments, Arguments::command()),
        Command::Watch(arguments) => watch::run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.is_wanted() {
                console::complain(&failure);
            }
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
