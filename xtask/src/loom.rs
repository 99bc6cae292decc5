//! Runs what threads share in every order that there is: `cargo xtask loom`.
//!
//! The laws, and the models of locks and atomics, are in `loom`, a workspace of its own; here is how
//! to build it. Everything is under `target/loom`, apart from ordinary builds.

use std::ffi::OsString;

use crate::failure::Failure;
use crate::invocation::Invocation;

/// Puts the laws to every order, or those whose names hold `law`.
pub(crate) fn check(law: Option<OsString>) -> Result<(), Failure> {
    lint().run()?;
    laws(law).run()
}

fn lint() -> Invocation {
    cargo("clippy").with(["--all-targets", "--", "--deny=warnings"].map(OsString::from))
}

fn laws(law: Option<OsString>) -> Invocation {
    // An order in which all threads sleep ends the process, and what was kept back would be lost. How the
    // law got there is in the model, not on a stack.
    cargo("test")
        .with(law)
        .with(["--", "--nocapture"].map(OsString::from))
        .with_env("RUST_BACKTRACE", "0")
}

/// Optimized: there are hundreds of thousands of orders.
fn cargo(command: &str) -> Invocation {
    Invocation::cargo([
        command,
        "--manifest-path=loom/Cargo.toml",
        "--target-dir=target/loom",
        "--release",
    ])
}

#[cfg(test)]
mod tests {
    use super::{laws, lint};

    #[test]
    fn the_laws_are_built_apart_and_optimized() {
        let line = laws(Some("counts".into())).to_string();
        let expected = "RUST_BACKTRACE=0 cargo test --manifest-path=loom/Cargo.toml \
                        --target-dir=target/loom --release counts -- --nocapture";
        assert_eq!(line, expected);
    }

    #[test]
    fn lints_come_after_the_separator() {
        let line = lint().to_string();
        assert!(
            line.ends_with(" --all-targets -- --deny=warnings"),
            "{line}"
        );
    }
}
