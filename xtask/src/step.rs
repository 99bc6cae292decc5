//! The steps of `cargo xtask test`: what each runs, and what it needs.
//!
//! They are named and ordered here, fastest first, so that a slip in spelling is not found after
//! minutes of compilation. Running them is `test`'s business.

use std::env;

use clap::ValueEnum;

use crate::invocation::Invocation;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Step {
    /// The sources are formatted.
    Format,
    /// No lint fires, in any crate.
    Lint,
    /// No lint fires in lagwise under each choice of its features.
    Features,
    /// Unit tests, and tests on real clusters.
    Tests,
    /// The examples in the documentation.
    Doctests,
    /// The documentation has no broken link.
    Docs,
    /// No order of threads breaks a law of what they share.
    Loom,
    /// No invented statement breaks a law of the classifier.
    Fuzz,
    /// Licenses, advisories and duplicates among the dependencies.
    Dependencies,
}

/// What a step asks of the machine besides Rust.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    Postgres,
    Redis,
    /// A browser, and the program that has it do what a test wants.
    Browser,
    /// What reads alert rules and figures as Prometheus does.
    Promtool,
    /// Without it the step is skipped, and the summary says so.
    CxxCompiler,
    /// Without it the step is skipped, and the summary says so.
    CargoDeny,
}

impl Step {
    pub(crate) const ALL: [Self; 9] = [
        Self::Format,
        Self::Lint,
        Self::Features,
        Self::Tests,
        Self::Doctests,
        Self::Docs,
        Self::Loom,
        Self::Fuzz,
        Self::Dependencies,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Format => "format",
            Self::Lint => "lint",
            Self::Features => "features",
            Self::Tests => "tests",
            Self::Doctests => "doctests",
            Self::Docs => "docs",
            Self::Loom => "loom",
            Self::Fuzz => "fuzz",
            Self::Dependencies => "dependencies",
        }
    }

    pub(crate) fn needs(self) -> &'static [Need] {
        match self {
            Self::Format | Self::Lint | Self::Features | Self::Docs | Self::Loom => &[],
            Self::Tests => &[Need::Postgres, Need::Redis, Need::Browser, Need::Promtool],
            Self::Doctests => &[Need::Postgres, Need::Redis],
            Self::Fuzz => &[Need::CxxCompiler],
            Self::Dependencies => &[Need::CargoDeny],
        }
    }

    pub(crate) fn invocations(self) -> Vec<Invocation> {
        match self {
            Self::Format => vec![
                Invocation::cargo(["fmt", "--all", "--check"]),
                // Workspaces of their own.
                Invocation::cargo(["fmt", "--manifest-path=fuzz/Cargo.toml", "--check"]),
                Invocation::cargo(["fmt", "--manifest-path=loom/Cargo.toml", "--check"]),
            ],
            Self::Lint => vec![Invocation::cargo([
                "clippy",
                "--workspace",
                "--all-targets",
                "--",
                "--deny=warnings",
            ])],
            Self::Features => FEATURES.into_iter().map(lint_lagwise).collect(),
            Self::Tests => vec![tests(&["--workspace"]), tests(&PLAIN_POOL)],
            Self::Doctests => vec![Invocation::cargo(["test", "--doc", "--workspace"])],
            Self::Docs => vec![
                Invocation::cargo([
                    "doc",
                    "--workspace",
                    "--no-deps",
                    "--document-private-items",
                ])
                .with_env("RUSTDOCFLAGS", "-D warnings"),
            ],
            Self::Loom => vec![Invocation::cargo(["xtask", "loom"])],
            // As long as nobody minds; who changes the classifier runs it for longer.
            Self::Fuzz => vec![Invocation::cargo(["xtask", "fuzz", "--seconds=20"])],
            Self::Dependencies => vec![Invocation::cargo([
                "deny", "check", "bans", "licenses", "sources",
            ])],
        }
    }
}

/// The choices of features that users make; in a check of the whole workspace, the choices of
/// all members are one.
const FEATURES: [&[&str]; 4] = [
    &[],
    &["--no-default-features"],
    &["--no-default-features", "--features=postgres"],
    &["--all-features"],
];

fn lint_lagwise(features: &[&str]) -> Invocation {
    let words = [
        &["clippy", "--package=lagwise"],
        features,
        &["--", "--deny=warnings"],
    ];
    Invocation::cargo(words.concat())
}

/// The example as it was before it moved to a router.
const PLAIN_POOL: [&str; 2] = ["--package=lagwise-notes", "--features=plain-pool"];

/// Runs every test of what is chosen once, and no bench.
fn tests(chosen: &[&'static str]) -> Invocation {
    let unattended = env::var_os("CI").is_some_and(|value| value == "true");
    let nextest = Invocation::cargo(["nextest", "--version"]).succeeds();
    let words: &[&str] = match (nextest, unattended) {
        (true, true) => &["nextest", "run", "--profile=ci"],
        (true, false) => &["nextest", "run"],
        // `--all-targets` would run the benches too.
        (false, _) => &["test", "--lib", "--bins", "--tests", "--examples"],
    };
    Invocation::cargo([words, chosen].concat())
}

#[cfg(test)]
mod tests {
    use super::{FEATURES, Step, ValueEnum as _, lint_lagwise};

    #[test]
    fn a_step_is_chosen_by_the_name_it_is_shown_under() {
        for step in Step::ALL {
            assert_eq!(Step::from_str(step.name(), false), Ok(step));
        }
        assert_eq!(
            Step::ALL,
            Step::value_variants(),
            "each step runs, in the order shown"
        );
    }

    #[test]
    fn lints_of_a_choice_of_features_come_before_the_separator() {
        let lines = FEATURES.map(|features| lint_lagwise(features).to_string());
        let expected = "cargo clippy --package=lagwise --no-default-features -- --deny=warnings";
        assert_eq!(lines[1], expected);
    }
}
