//! The project's own commands: `cargo xtask demo | test | chaos | drill | fuzz | loom | simulate |
//! plant | bench`.
//!
//! A fresh clone, Rust and a Debian machine are all that anyone needs: what else a command
//! depends on, it looks for, installs where it may, and otherwise names with the way to get it.
//! Standard output belongs to what a command runs; our own words go to standard error. What is
//! tested and measured is the business of the crates; here is only how to start it.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::failure::Failure;
use crate::invocation::Invocation;
use crate::packages::Apt;
use crate::step::Step;

mod bench;
mod browser;
mod clock;
mod console;
mod failure;
mod fuzz;
mod invocation;
mod loom;
mod packages;
mod plant;
mod policy;
mod postgres;
mod promtool;
mod proxies;
mod redis;
mod simulate;
mod step;
mod test;
mod valgrind;

#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    about = "The project's own commands",
    bin_name = "cargo xtask"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Shows lagwise at work on real servers; installs PostgreSQL when it is missing.
    #[command(disable_help_flag = true)]
    Demo {
        /// Passed to the demo as they are.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Checks everything, fastest first, and stops at the first failure; installs PostgreSQL, Redis
    /// and Chromium where they are missing.
    Test {
        /// Runs this step alone.
        #[arg(long, value_name = "NAME")]
        step: Option<Step>,
    },
    /// Drives several instances of a service over HTTP while servers are paused, cut off, killed and
    /// promoted, and judges what their sessions saw.
    #[command(disable_help_flag = true)]
    Chaos {
        /// Passed to it as they are, such as `--seed 7 --minutes 5`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Has a primary die, replicas hang, lag and return, and measures what callers see of it: with
    /// lagwise, and with what else people use.
    #[command(disable_help_flag = true)]
    Drill {
        /// Passed to it as they are, such as `failover --seconds 5 --format json`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Invents statements, and looks for one that the classifier gets wrong.
    Fuzz {
        /// How long to look, in seconds.
        #[arg(
            long,
            value_name = "N",
            default_value_t = 60,
            conflicts_with = "replay"
        )]
        #[arg(value_parser = clap::value_parser!(u32).range(1..))]
        seconds: u32,
        /// Judges the text in this file, and no other.
        #[arg(long, value_name = "FILE")]
        replay: Option<PathBuf>,
    },
    /// Looks for a law of the core that breaks, over millions of simulated steps a minute.
    Simulate {
        /// Runs this seed; with a time, this one first.
        #[arg(long, value_name = "S")]
        seed: Option<u64>,
        /// How long to look; a minute unless set, or until one seed that is named has run.
        #[arg(long, value_name = "M")]
        #[arg(value_parser = clap::value_parser!(u32).range(1..))]
        minutes: Option<u32>,
    },
    /// Plants bugs in a copy of the core, and sees the simulation find each of them.
    Plant {
        /// Plants those alone whose name holds this text.
        #[arg(long, value_name = "TEXT")]
        only: Option<String>,
    },
    /// Runs what threads share in every order that there is, and puts the laws of it to each.
    Loom {
        /// Only the laws whose names hold this.
        #[arg(value_name = "LAW")]
        law: Option<OsString>,
    },
    /// Measures what routing costs: single functions, and statements on a real cluster beside a bare
    /// connection, the driver's pool and proxies.
    Bench(bench::Arguments),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Demo { arguments } => on_servers("lagwise-demo", arguments),
        Command::Chaos { arguments } => on_servers("lagwise-chaos", arguments),
        Command::Drill { arguments } => on_servers("lagwise-drills", arguments),
        Command::Test { step } => test::run(step),
        Command::Fuzz {
            replay: Some(file), ..
        } => fuzz::replay(&file),
        Command::Fuzz { seconds, .. } => fuzz::explore(seconds),
        Command::Simulate { seed, minutes } => simulate::run(seed, minutes),
        Command::Plant { only } => plant::run(only.as_deref()),
        Command::Loom { law } => loom::check(law),
        Command::Bench(arguments) => bench::run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            console::say(&format!("error: {failure}"));
            ExitCode::FAILURE
        }
    }
}

/// Becomes a program that starts servers, so that its exit code, its signals and its terminal are its
/// own.
fn on_servers(package: &str, arguments: Vec<OsString>) -> Result<(), Failure> {
    postgres::ensure(&mut Apt::default())?;
    // Built by a run of its own: the quiet one below would hide minutes of first compilation.
    Invocation::cargo(["build", "--package", package]).run()?;
    let run = Invocation::cargo(["run", "--quiet", "--package", package, "--"]);
    Err(run.with(arguments).become_it())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::{Arguments, Command, Parser};

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn options_of_the_demo_are_left_to_the_demo() {
        let line = [
            "xtask",
            "demo",
            "--json",
            "--seconds",
            "3",
            "--naive",
            "--help",
        ];
        match Arguments::try_parse_from(line)
            .expect("the line is valid")
            .command
        {
            Command::Demo { arguments } => assert_eq!(arguments, line[2..]),
            other => panic!("{other:?} is not the demo"),
        }
    }

    #[test]
    fn a_search_has_a_length_or_one_input() {
        let parse = |line: &str| Arguments::try_parse_from(line.split(' '));
        for line in [
            "xtask fuzz",
            "xtask fuzz --seconds 9",
            "xtask fuzz --replay f",
        ] {
            assert!(parse(line).is_ok(), "{line}");
        }
        for line in [
            "xtask fuzz --seconds 0",
            "xtask fuzz --seconds 9 --replay f",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
