//! How many instructions a decision takes: a number that a busy machine does not change.
//!
//! The program runs itself under callgrind, which counts them, once with some calls and once with twice
//! as many. What both do besides is the same, so the difference is that of the calls alone. Where there
//! is no valgrind nothing is said of them.

use std::env;
use std::hint::black_box;
use std::io::{Write as _, stderr};
use std::process::Command;

use lagwise_benches::decision::{Before, Decisions, POINT};

use crate::Result;
use crate::figure::{Figure, Unit};

/// What can be repeated, by its name.
const WORKS: [(&str, u16, Work); 6] = [
    ("decision/2 replicas", 2, decide),
    ("decision/8 replicas", 8, decide),
    ("decision/64 replicas", 64, decide),
    ("decision/256 replicas", 256, decide),
    ("cached class", 2, classify),
    ("session check", 2, check),
];

type Work = fn(&mut Decisions);

fn decide(decisions: &mut Decisions) {
    black_box(decisions.decide(black_box(POINT)));
}

fn classify(decisions: &mut Decisions) {
    black_box(decisions.classify(black_box(POINT)));
}

fn check(decisions: &mut Decisions) {
    black_box(decisions.floor());
}

pub(super) fn measure(quick: bool) -> Result<Vec<Figure>> {
    if Command::new("valgrind").arg("--version").output().is_err() {
        writeln!(
            stderr(),
            "instructions are left out: there is no valgrind (apt-get install valgrind)"
        )?;
        return Ok(Vec::new());
    }
    let calls = if quick { 100 } else { 10_000 };
    let mut figures = Vec::new();
    for (name, ..) in WORKS {
        let (once, twice) = (count(name, calls)?, count(name, 2 * calls)?);
        let each = (twice - once) / f64::from(calls);
        let name = format!("instructions/{name}");
        figures.push(Figure::of(name, Unit::Instructions, &[each]));
    }
    Ok(figures)
}

/// The instructions of the whole program when it repeats a work so many times.
fn count(name: &str, calls: u32) -> Result<f64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(env::current_exe()?)
        .args(["--repeat", name, "--calls", &calls.to_string()])
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    let collected = said.lines().find_map(|line| line.split_once("Collected :"));
    match collected {
        Some((_, number)) if output.status.success() => Ok(number.trim().parse()?),
        _ => Err(format!("callgrind counted nothing: {said}").into()),
    }
}

/// What the program does where it is run by itself.
pub(super) fn repeat(name: &str, calls: u32) -> Result<()> {
    let work = WORKS.iter().find(|(known, ..)| *known == name);
    let (_, replicas, work) = work.ok_or("nothing is called so")?;
    let mut decisions = Decisions::among(*replicas, Before::Wrote);
    for _ in 0..calls {
        work(&mut decisions);
    }
    Ok(())
}
