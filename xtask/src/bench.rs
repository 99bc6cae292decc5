//! `cargo xtask bench`: has everything measured, and nothing that a machine cannot measure stops the rest.
//!
//! Single functions are Criterion's business, whole statements the yardstick's, which puts all figures
//! together. What is measured is found there; here is only how to start it.

use std::fs;

use clap::Args;

use crate::failure::Failure;
use crate::invocation::{self, Invocation};
use crate::packages::Apt;
use crate::{postgres, proxies, valgrind};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// What to measure, such as `reads`; everything unless given. A name that does not exist is answered
    /// with all that do.
    cases: Vec<String>,
    /// Prints one JSON object on standard output: each figure under its name.
    #[arg(long)]
    json: bool,
    /// Shows that it runs, in a tenth of the time.
    #[arg(long)]
    quick: bool,
    /// Puts the figures that matter most into this document, such as `docs/performance.md`.
    #[arg(long, value_name = "FILE")]
    into: Option<String>,
}

/// The case that is Criterion's.
const FUNCTIONS: &str = "functions";

/// Where Criterion leaves what it measured.
const CRITERION: &str = "target/criterion";

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut apt = Apt::default();
    postgres::ensure(&mut apt)?;
    // A figure that cannot be had is left out, and who measures it says so.
    let (_proxies, _valgrind) = (proxies::ensure(&mut apt), valgrind::ensure(&mut apt));
    let has_functions = arguments.has_functions();
    if has_functions {
        // What an earlier run has left is no figure of this one. That there is none is no failure.
        fs::remove_dir_all(invocation::root().join(CRITERION)).ok();
        let bench = Invocation::cargo(["bench", "--package=lagwise-benches"]);
        let quick = arguments.quick.then_some(["--", "--quick"]);
        let quick = quick.into_iter().flatten().map(Into::into);
        bench.with(quick).run_aside()?;
    }
    let build = ["build", "--release", "--package=lagwise-yardstick"];
    Invocation::cargo(build).run_aside()?;
    let run = ["run", "--quiet", "--release", "--package=lagwise-yardstick"];
    let run = Invocation::cargo(run).with(arguments.passed_on(has_functions).map(Into::into));
    Err(run.become_it())
}

impl Arguments {
    fn has_functions(&self) -> bool {
        self.cases.is_empty() || self.cases.iter().any(|case| case == FUNCTIONS)
    }

    /// What the yardstick is told.
    fn passed_on(&self, has_functions: bool) -> impl Iterator<Item = String> {
        let flags = [(self.json, "--json"), (self.quick, "--quick")];
        let flags = flags.into_iter().filter(|(set, _)| *set);
        let into = self.into.iter().map(|file| format!("--into={file}"));
        let criterion = has_functions.then(|| format!("--criterion={CRITERION}"));
        std::iter::once("--".to_owned())
            .chain(flags.map(|(_, flag)| flag.to_owned()))
            .chain(into)
            .chain(criterion)
            .chain(self.cases.iter().cloned())
    }
}

#[cfg(test)]
mod tests {
    use super::Arguments;

    fn arguments(cases: &[&str]) -> Arguments {
        Arguments {
            cases: cases.iter().map(|case| (*case).to_owned()).collect(),
            json: true,
            quick: false,
            into: Some("file".to_owned()),
        }
    }

    #[test]
    fn what_is_asked_for_is_passed_on() {
        let passed: Vec<String> = arguments(&["reads"]).passed_on(false).collect();
        assert_eq!(passed, ["--", "--json", "--into=file", "reads"]);
    }

    #[test]
    fn functions_are_measured_where_everything_is_or_they_are_asked_for() {
        assert!(arguments(&[]).has_functions());
        assert!(arguments(&["reads", "functions"]).has_functions());
        assert!(!arguments(&["reads"]).has_functions());
    }
}
