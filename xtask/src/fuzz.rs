//! Looks for inputs that break a law: `cargo xtask fuzz`.
//!
//! The laws are in `fuzz/fuzz_targets`; here is how to build them with coverage counters and without
//! a nightly compiler, where to keep what was learned, and what to say of an input that was found.
//! Everything is under `target/fuzz`, apart from ordinary builds, which know nothing of counters.
//! `cargo fuzz run --sanitizer=none classify` works too, for those who have it.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::console;
use crate::failure::Failure;
use crate::invocation::{Invocation, root};

/// What cargo-fuzz asks of the compiler, but for sanitizers: there is no unsafe code to watch.
const COUNTERS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares --cfg=fuzzing -Ccodegen-units=1";

/// What is fuzzed, and what the engine is told of it besides.
const TARGETS: [(&str, &[&str]); 2] = [
    // Longer statements hold more of the same.
    ("classify", &["-dict=fuzz/classify.dict", "-max_len=4096"]),
    // Two claims, and a little more.
    ("claim", &["-max_len=96"]),
];

/// What was learned, kept from run to run.
const CORPUS: &str = "target/fuzz/corpus";

/// Inputs that broke a law; each run begins with them.
const FOUND: &str = "target/fuzz/found";

/// What the engine said last.
const LOG: &str = "target/fuzz/log";

/// Inputs that somebody thought of; fuzzing begins with them too, and does not write here.
const SEEDS: &str = "fuzz/seeds";

pub(crate) const NO_COMPILER: &str =
    "no C++ compiler, which the fuzzing engine is built with: `apt-get install g++`";

/// Whether the engine can be built: it comes as C++ sources.
pub(crate) fn has_compiler() -> bool {
    let compiler = env::var_os("CXX").unwrap_or_else(|| OsString::from("c++"));
    Invocation::new(compiler, ["--version"]).succeeds()
}

/// Invents inputs for that long altogether, and stops at the first that breaks a law.
pub(crate) fn explore(seconds: u32) -> Result<(), Failure> {
    let host = build()?;
    let share = seconds.div_ceil(u32::try_from(TARGETS.len()).unwrap_or(1));
    TARGETS
        .iter()
        .try_for_each(|(target, options)| explore_one(&host, target, options, share))
}

fn explore_one(host: &str, target: &str, options: &[&str], seconds: u32) -> Result<(), Failure> {
    let found = format!("{FOUND}/{target}");
    for folder in [format!("{CORPUS}/{target}"), found.clone()] {
        let path = root().join(folder);
        fs::create_dir_all(&path).map_err(|source| Failure::NotWritten { file: path, source })?;
    }
    // The engine ends with pages of what nobody reads, so it is shown when there is a finding.
    let log = root().join(LOG);
    let outcome = exploration(&binary(host, target), target, options, seconds).run_into(&log);
    let said = fs::read_to_string(&log).unwrap_or_default();
    match &outcome {
        Ok(()) => console::say(&format!(
            "{target}: {} inputs, and no law broken",
            inputs(&said)
        )),
        Err(_) => console::say(&said),
    }
    outcome.map_err(|failure| {
        let newest = matches!(failure, Failure::Refused { .. })
            .then(|| newest(&root().join(&found)))
            .flatten();
        match newest {
            Some(name) => Failure::LawBroken {
                input: Path::new(&found).join(name),
            },
            None => failure,
        }
    })
}

/// How many inputs the engine says that it tried.
fn inputs(said: &str) -> &str {
    said.lines()
        .find_map(|line| line.strip_prefix("stat::number_of_executed_units:"))
        .map_or("some", str::trim)
}

/// Judges one input again.
pub(crate) fn replay(file: &Path) -> Result<(), Failure> {
    let file = fs::canonicalize(file).map_err(|source| Failure::NotRead {
        file: file.to_path_buf(),
        source,
    })?;
    Invocation::new(binary(&build()?, target_of(&file)), [file]).run()
}

/// What an input is of: its folder says so, among the seeds as among what was found.
fn target_of(file: &Path) -> &'static str {
    let folder = file.parent().and_then(Path::file_name);
    let named = TARGETS
        .iter()
        .find(|(target, _)| folder == Some(target.as_ref()));
    named.unwrap_or(&TARGETS[0]).0
}

/// The binary with the laws in it.
fn binary(host: &str, target: &str) -> String {
    format!("target/fuzz/{host}/release/{target}")
}

/// Builds all of them, and says for which machine.
fn build() -> Result<String, Failure> {
    if !has_compiler() {
        return Err(Failure::NoCompiler);
    }
    let host = Invocation::new("rustc", ["--print=host-tuple"]);
    let host = host.output().ok_or(Failure::NoHost)?;
    let host = host.trim();
    lint(host).run()?;
    cargo("build", host).run()?;
    Ok(host.to_owned())
}

fn lint(host: &str) -> Invocation {
    cargo("clippy", host).with(["--", "--deny=warnings"].map(OsString::from))
}

/// With a target that is named, build scripts are built without counters.
fn cargo(command: &str, host: &str) -> Invocation {
    let target = format!("--target={host}");
    Invocation::cargo([
        command,
        "--manifest-path=fuzz/Cargo.toml",
        "--target-dir=target/fuzz",
        "--release",
        &target,
    ])
    .with_env("RUSTFLAGS", COUNTERS)
}

fn exploration(binary: &str, target: &str, options: &[&str], seconds: u32) -> Invocation {
    let [corpus, seeds, known] = [CORPUS, SEEDS, FOUND].map(|folder| format!("{folder}/{target}"));
    let found = format!("-artifact_prefix={known}/");
    let time = format!("-max_total_time={seconds}");
    Invocation::new(binary, [corpus, seeds, known])
        .with(options.iter().map(OsString::from))
        .with([
            // An input that takes seconds is a finding: everything here is linear.
            OsString::from("-timeout=5"),
            OsString::from("-verbosity=0"),
            OsString::from("-print_final_stats=1"),
            OsString::from(found),
            OsString::from(time),
        ])
}

/// The name of the file that was written last.
fn newest(folder: &Path) -> Option<PathBuf> {
    let files = fs::read_dir(folder).ok()?.flatten();
    let written = |file: &fs::DirEntry| file.metadata().and_then(|about| about.modified()).ok();
    let file = files.max_by_key(written)?;
    Some(PathBuf::from(file.file_name()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{SEEDS, TARGETS, exploration, inputs, lint, newest, target_of};
    use crate::invocation::root;

    #[test]
    fn what_is_learned_is_kept_apart_from_the_seeds() {
        let line = exploration("binary", "claim", &["-max_len=96"], 7).to_string();
        let folders = "binary target/fuzz/corpus/claim fuzz/seeds/claim target/fuzz/found/claim ";
        assert!(line.starts_with(folders), "the first is written to: {line}");
        assert!(line.ends_with("-max_total_time=7"), "{line}");
    }

    #[test]
    fn an_input_is_judged_by_the_target_whose_folder_it_lies_in() {
        for (file, target) in [
            ("target/fuzz/found/claim/crash-1", "claim"),
            ("fuzz/seeds/classify/with.sql", "classify"),
            ("/tmp/whatever", "classify"),
        ] {
            assert_eq!(target_of(Path::new(file)), target, "{file}");
        }
    }

    #[test]
    fn counters_are_built_apart_and_lints_come_after_the_separator() {
        let line = lint("x86_64-unknown-linux-gnu").to_string();
        assert!(
            line.starts_with("RUSTFLAGS='-Cpasses=sancov-module "),
            "{line}"
        );
        let end = "cargo clippy --manifest-path=fuzz/Cargo.toml --target-dir=target/fuzz --release \
                   --target=x86_64-unknown-linux-gnu -- --deny=warnings";
        assert!(line.ends_with(end), "{line}");
    }

    #[test]
    fn inputs_are_counted_by_the_engine() {
        let said = "INFO: seed\nstat::number_of_executed_units: 1814005\nstat::x: 7\n";
        assert_eq!(inputs(said), "1814005");
        assert_eq!(inputs(""), "some");
    }

    #[test]
    fn there_are_seeds_to_begin_with() {
        for (target, _) in TARGETS {
            let seeds = root().join(SEEDS).join(target);
            assert!(newest(&seeds).is_some(), "{target} has a seed");
        }
        assert!(
            root().join("fuzz/classify.dict").is_file(),
            "there are tokens"
        );
        assert_eq!(newest(Path::new("/nowhere")), None);
    }
}
