//! Runs the steps of `cargo xtask test`, stops at the first failure, and closes with a summary.
//!
//! What a step is, `step` says.

use std::fmt::Write as _;
use std::time::Duration;

use crate::clock::Started;
use crate::failure::Failure;
use crate::invocation::Invocation;
use crate::packages::Apt;
use crate::step::{Need, Step};
use crate::{browser, console, fuzz, postgres, promtool, redis};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Passed,
    Skipped(&'static str),
    Failed,
}

#[derive(Debug)]
struct Record {
    step: Step,
    outcome: Outcome,
    took: Duration,
}

/// Runs one step, or all of them.
pub(crate) fn run(only: Option<Step>) -> Result<(), Failure> {
    let steps = only.map_or_else(|| Step::ALL.to_vec(), |step| vec![step]);
    let mut records = Vec::new();
    let mut apt = Apt::default();
    let mut result = Ok(());
    for step in steps.iter().copied() {
        console::say(&format!("\n== {} ==", step.name()));
        let started = Started::now();
        let outcome = match perform(step, &mut apt) {
            Ok(outcome) => outcome,
            Err(failure) => {
                result = Err(failure);
                Outcome::Failed
            }
        };
        records.push(Record {
            step,
            outcome,
            took: started.elapsed(),
        });
        if result.is_err() {
            break;
        }
    }
    console::say(&summary(&steps, &records));
    result
}

fn perform(step: Step, apt: &mut Apt) -> Result<Outcome, Failure> {
    for need in step.needs() {
        if let Some(why) = meet(*need, apt)? {
            console::say(&format!("skipped: {why}"));
            return Ok(Outcome::Skipped(why));
        }
    }
    for invocation in step.invocations() {
        invocation.run()?;
    }
    Ok(Outcome::Passed)
}

/// Sees to it that there is what a step needs, or says why the step is to be skipped.
fn meet(need: Need, apt: &mut Apt) -> Result<Option<&'static str>, Failure> {
    match need {
        Need::Postgres => postgres::ensure(apt)?,
        Need::Redis => redis::ensure(apt)?,
        Need::Browser => browser::ensure(apt)?,
        Need::Promtool => promtool::ensure(apt)?,
        Need::CxxCompiler if !fuzz::has_compiler() => return Ok(Some(fuzz::NO_COMPILER)),
        Need::CargoDeny if !Invocation::cargo(["deny", "--version"]).succeeds() => {
            let why = "cargo-deny is not installed: `cargo install --locked cargo-deny`";
            return Ok(Some(why));
        }
        Need::CxxCompiler | Need::CargoDeny => {}
    }
    Ok(None)
}

fn summary(steps: &[Step], records: &[Record]) -> String {
    let mut table = String::from("\nstep          took      outcome\n");
    let mut total = Duration::ZERO;
    for step in steps {
        let (took, outcome) = match records.iter().find(|record| record.step == *step) {
            Some(record) => {
                total = total.saturating_add(record.took);
                let outcome = match record.outcome {
                    Outcome::Passed => "passed".to_owned(),
                    Outcome::Skipped(why) => format!("skipped: {why}"),
                    Outcome::Failed => "FAILED".to_owned(),
                };
                (format!("{:.1} s", record.took.as_secs_f64()), outcome)
            }
            None => ("-".to_owned(), "not run".to_owned()),
        };
        row(&mut table, step.name(), &took, &outcome);
    }
    row(
        &mut table,
        "total",
        &format!("{:.1} s", total.as_secs_f64()),
        "",
    );
    table
}

fn row(table: &mut String, name: &str, took: &str, outcome: &str) {
    let line = format!("{name:<12}{took:>8}      {outcome}");
    // Writing to a string cannot fail.
    let _written = writeln!(table, "{}", line.trim_end());
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Outcome, Record, Step, summary};

    #[test]
    fn a_summary_shows_what_ran_what_did_not_and_the_whole() {
        let record = |step, outcome, millis| Record {
            step,
            outcome,
            took: Duration::from_millis(millis),
        };
        let records = [
            record(Step::Format, Outcome::Passed, 300),
            record(Step::Dependencies, Outcome::Skipped("no tool"), 0),
            record(Step::Lint, Outcome::Failed, 61_240),
        ];
        let steps = [Step::Format, Step::Dependencies, Step::Lint, Step::Tests];
        let table = summary(&steps, &records);
        let lines: Vec<&str> = table.trim().lines().collect();
        assert_eq!(
            lines,
            [
                "step          took      outcome",
                "format         0.3 s      passed",
                "dependencies   0.0 s      skipped: no tool",
                "lint          61.2 s      FAILED",
                "tests              -      not run",
                "total         61.5 s",
            ]
        );
    }
}
