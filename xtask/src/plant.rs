//! Plants bugs in the core, and sees the simulation find each of them: `cargo xtask plant`.
//!
//! A simulation that finds nothing may be blind. So each of these is put into a copy of the core, by
//! the exact text that it replaces, and the simulation has to name a law that it breaks. A text that
//! is no longer there fails as well: the bug has to be planted anew. The bugs are in `plant::bugs`.

mod bugs;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use self::bugs::{BUGS, Bug};
use crate::clock::Started;
use crate::console;
use crate::failure::Failure;
use crate::invocation::{Invocation, root};
use crate::simulate::PROFILE;

/// The copy, and what is built of it. What is planted last is built over what was before.
const PLOT: &str = "target/plant";

/// Nothing else of the workspace is needed.
const MEMBERS: &str = "members = [\"crates/*\", \"examples/*\", \"tests\", \"benches\", \"chaos\", \"drills\", \"yardstick\", \"xtask\"]";

/// So many runs are tried before a bug counts as not found: some seconds.
const SEEDS: &str = "300";

/// What became of a bug.
struct Found {
    bug: &'static Bug,
    law: Option<String>,
    after: String,
    took: Duration,
}

/// Plants every bug, or those whose name holds a text.
pub(crate) fn run(only: Option<&str>) -> Result<(), Failure> {
    let plot = root().join(PLOT);
    lay_out(&plot)?;
    let chosen = |bug: &&Bug| only.is_none_or(|text| bug.name.contains(text));
    // A core that breaks a law of itself would seem to find every bug.
    search(&plot).run_into(&plot.join("said"))?;
    let mut found = Vec::new();
    for bug in BUGS.iter().filter(chosen) {
        let one = plant(&plot, bug)?;
        console::say(&row(&one));
        found.push(one);
    }
    console::say(&table(&found));
    let missed = found.iter().find(|found| found.law.is_none());
    missed.map_or(Ok(()), |missed| {
        Err(Failure::BugNotFound {
            name: missed.bug.name,
        })
    })
}

/// Copies the core and its simulation, without its other tests and what those need.
fn lay_out(plot: &Path) -> Result<(), Failure> {
    let core = Path::new("crates/lagwise-core");
    let copy = plot.join(core);
    for folder in ["src", "tests"] {
        // What is no longer there must not stay in the copy.
        let _gone = fs::remove_dir_all(copy.join(folder));
    }
    copy_all(&root().join(core).join("src"), &copy.join("src"))?;
    let simulation = "tests/simulation";
    copy_all(&root().join(core).join(simulation), &copy.join(simulation))?;
    write(&plot.join("Cargo.lock"), &read(&root().join("Cargo.lock"))?)?;
    let workspace = read(&root().join("Cargo.toml"))?;
    let alone = "members = [\"crates/lagwise-core\"]";
    write(
        &plot.join("Cargo.toml"),
        &replaced(&workspace, MEMBERS, alone, "the workspace")?,
    )?;
    let manifest = read(&root().join(core).join("Cargo.toml"))?;
    let (before, rest) = manifest
        .split_once("[dev-dependencies]")
        .ok_or(Failure::NotPlanted {
            name: "a copy without other tests",
        })?;
    let lints = rest.find("[lints]").map_or("", |at| &rest[at..]);
    write(&copy.join("Cargo.toml"), &format!("{before}{lints}"))
}

fn plant(plot: &Path, bug: &'static Bug) -> Result<Found, Failure> {
    let file = plot.join("crates/lagwise-core/src").join(bug.file);
    let sound = read(&file)?;
    write(&file, &replaced(&sound, bug.right, bug.wrong, bug.name)?)?;
    let began = Started::now();
    let said = plot.join("said");
    let built = cargo(plot, &["--no-run"]).run_into(&said);
    let ran = search(plot);
    let ran = built.map(|()| ran.run_into(&said).is_err());
    write(&file, &sound)?;
    let said = read(&said)?;
    let fails = ran.inspect_err(|_| console::say(&said))?;
    let line = |start: &str| said.lines().find_map(|line| line.strip_prefix(start));
    Ok(Found {
        bug,
        law: line("BROKEN ").filter(|_| fails).map(str::to_owned),
        after: line("FOUND after ").unwrap_or("").to_owned(),
        took: began.elapsed(),
    })
}

fn search(plot: &Path) -> Invocation {
    let test = "every_law_holds_over_the_seeds_asked_for";
    cargo(plot, &["--", "--exact", test, "--nocapture"])
}

fn cargo(plot: &Path, words: &[&str]) -> Invocation {
    let manifest = format!("--manifest-path={}", plot.join("Cargo.toml").display());
    let target = format!("--target-dir={}", plot.join("target").display());
    let test = [
        "test",
        "--quiet",
        "--offline",
        PROFILE,
        "--package=lagwise-core",
    ];
    let words = words.iter().map(Into::into);
    Invocation::cargo(test)
        .with([manifest.into(), target.into(), "--test=simulation".into()])
        .with(words)
        .with_env("LAGWISE_SIM_SEEDS", SEEDS)
        .with_env("LAGWISE_SIM_FROM", "0")
        .with_env("LAGWISE_SIM_SHRINK", "0")
        .with_env("RUST_BACKTRACE", "0")
}

fn replaced(text: &str, right: &str, wrong: &str, name: &'static str) -> Result<String, Failure> {
    if text.matches(right).count() == 1 {
        Ok(text.replacen(right, wrong, 1))
    } else {
        Err(Failure::NotPlanted { name })
    }
}

fn table(found: &[Found]) -> String {
    let mut table = String::from("\nbug → found after → law that breaks\n");
    for one in found {
        table += &row(one);
        table.push('\n');
    }
    table
}

fn row(one: &Found) -> String {
    let law = one.law.as_deref().unwrap_or("NOT FOUND");
    let seconds = one.took.as_secs_f64();
    format!("{} → {} ({seconds:.1} s) → {law}", one.bug.name, one.after)
}

fn copy_all(from: &Path, to: &Path) -> Result<(), Failure> {
    let not_read = |source| Failure::NotRead {
        file: from.to_path_buf(),
        source,
    };
    fs::create_dir_all(to).map_err(|source| Failure::NotWritten {
        file: to.to_path_buf(),
        source,
    })?;
    for entry in fs::read_dir(from).map_err(not_read)?.flatten() {
        let target: PathBuf = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_all(&entry.path(), &target)?;
        } else {
            write(&target, &read(&entry.path())?)?;
        }
    }
    Ok(())
}

fn read(file: &Path) -> Result<String, Failure> {
    fs::read_to_string(file).map_err(|source| Failure::NotRead {
        file: file.to_path_buf(),
        source,
    })
}

/// Leaves a file alone that says so already: it need not be built again.
fn write(file: &Path, text: &str) -> Result<(), Failure> {
    if fs::read_to_string(file).is_ok_and(|there| there == text) {
        return Ok(());
    }
    fs::write(file, text).map_err(|source| Failure::NotWritten {
        file: file.to_path_buf(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::{BUGS, MEMBERS, read, replaced, root};

    #[test]
    fn each_bug_can_still_be_planted() {
        let workspace = read(&root().join("Cargo.toml")).expect("it is there");
        assert!(workspace.contains(MEMBERS));
        for bug in BUGS {
            let file = root().join("crates/lagwise-core/src").join(bug.file);
            let sound = read(&file).expect("the file is there");
            let planted = replaced(&sound, bug.right, bug.wrong, bug.name);
            assert!(
                planted.is_ok_and(|planted| planted != sound),
                "{}: the text that it replaces is not there once",
                bug.name
            );
        }
    }
}
