//! Looks for texts that break a law of the classifier: `cargo xtask fuzz`.
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

/// What was learned, kept from run to run.
const CORPUS: &str = "target/fuzz/corpus/classify";

/// Inputs that broke a law; each run begins with them.
const FOUND: &str = "target/fuzz/found";

/// What the engine said last.
const LOG: &str = "target/fuzz/log";

/// Statements that somebody thought of; fuzzing begins with them too, and does not write here.
const SEEDS: &str = "fuzz/seeds/classify";

pub(crate) const NO_COMPILER: &str =
    "no C++ compiler, which the fuzzing engine is built with: `apt-get install g++`";

/// Whether the engine can be built: it comes as C++ sources.
pub(crate) fn has_compiler() -> bool {
    let compiler = env::var_os("CXX").unwrap_or_else(|| OsString::from("c++"));
    Invocation::new(compiler, ["--version"]).succeeds()
}

/// Invents texts for that long, and stops at the first that breaks a law.
pub(crate) fn explore(seconds: u32) -> Result<(), Failure> {
    let binary = build()?;
    for folder in [CORPUS, FOUND] {
        let path = root().join(folder);
        fs::create_dir_all(&path).map_err(|source| Failure::NotWritten { file: path, source })?;
    }
    // The engine ends with pages of what nobody reads, so it is shown when there is a finding.
    let log = root().join(LOG);
    let outcome = exploration(&binary, seconds).run_into(&log);
    let said = fs::read_to_string(&log).unwrap_or_default();
    match &outcome {
        Ok(()) => console::say(&format!("{} texts, and no law broken", texts(&said))),
        Err(_) => console::say(&said),
    }
    outcome.map_err(|failure| {
        let found = matches!(failure, Failure::Refused { .. })
            .then(|| newest(&root().join(FOUND)))
            .flatten();
        match found {
            Some(name) => Failure::LawBroken {
                input: Path::new(FOUND).join(name),
            },
            None => failure,
        }
    })
}

/// How many texts the engine says that it tried.
fn texts(said: &str) -> &str {
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
    Invocation::new(build()?, [file]).run()
}

/// The binary with the laws in it.
fn build() -> Result<String, Failure> {
    if !has_compiler() {
        return Err(Failure::NoCompiler);
    }
    let host = Invocation::new("rustc", ["--print=host-tuple"]);
    let host = host.output().ok_or(Failure::NoHost)?;
    let host = host.trim();
    lint(host).run()?;
    cargo("build", host).run()?;
    Ok(format!("target/fuzz/{host}/release/classify"))
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

fn exploration(binary: &str, seconds: u32) -> Invocation {
    let time = format!("-max_total_time={seconds}");
    let found = format!("-artifact_prefix={FOUND}/");
    Invocation::new(
        binary,
        [
            CORPUS,
            SEEDS,
            FOUND,
            "-dict=fuzz/classify.dict",
            // Longer statements hold more of the same.
            "-max_len=4096",
            // A text that takes seconds is a finding: classifying is linear.
            "-timeout=5",
            "-verbosity=0",
            "-print_final_stats=1",
            &found,
            &time,
        ],
    )
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

    use super::{SEEDS, exploration, lint, newest, texts};
    use crate::invocation::root;

    #[test]
    fn what_is_learned_is_kept_apart_from_the_seeds() {
        let line = exploration("classify", 7).to_string();
        let folders = "classify target/fuzz/corpus/classify fuzz/seeds/classify target/fuzz/found ";
        assert!(line.starts_with(folders), "the first is written to: {line}");
        assert!(line.ends_with("-max_total_time=7"), "{line}");
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
    fn texts_are_counted_by_the_engine() {
        let said = "INFO: seed\nstat::number_of_executed_units: 1814005\nstat::x: 7\n";
        assert_eq!(texts(said), "1814005");
        assert_eq!(texts(""), "some");
    }

    #[test]
    fn there_are_seeds_to_begin_with() {
        assert!(newest(&root().join(SEEDS)).is_some(), "{SEEDS} has a file");
        assert!(
            root().join("fuzz/classify.dict").is_file(),
            "there are tokens"
        );
        assert_eq!(newest(Path::new("/nowhere")), None);
    }
}
