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
mod signal;
mod trouble;
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
