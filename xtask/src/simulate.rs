//! Looks for a broken law of the core: `cargo xtask simulate`.
//!
//! The simulation and its laws are in `crates/lagwise-core/tests/simulation`; here is how to build it
//! fast enough and for how long to run it.

use std::ffi::OsString;

use crate::failure::Failure;
use crate::invocation::Invocation;

/// How it is built: fast, soon, and with every assertion.
pub(crate) const PROFILE: &str = "--profile=simulate";

const UNTIL_TIME_IS_UP: &str = "every_law_holds_until_the_time_is_up";

/// One run of this seed alone.
const ASKED_FOR: &str = "every_law_holds_over_the_seeds_asked_for";

/// Tries one seed after another for so many minutes, or one alone where no time is given.
pub(crate) fn run(seed: Option<u64>, minutes: Option<u32>) -> Result<(), Failure> {
    invocation(seed, minutes).run()
}

fn invocation(seed: Option<u64>, minutes: Option<u32>) -> Invocation {
    let run = |test: &str| {
        let words = [
            "test",
            "--quiet",
            PROFILE,
            "--package=lagwise-core",
            "--test=simulation",
            "--",
            "--exact",
            test,
            "--nocapture",
        ];
        Invocation::cargo(words.map(OsString::from)).with_env("RUST_BACKTRACE", "0")
    };
    match (seed, minutes) {
        (Some(seed), None) => run(ASKED_FOR).with_env("LAGWISE_SIM_SEED", seed.to_string()),
        (from, minutes) => {
            let seconds = u64::from(minutes.unwrap_or(1)) * 60;
            let run = run(UNTIL_TIME_IS_UP);
            let run = run.with_env("LAGWISE_SIM_SECONDS", seconds.to_string());
            match from {
                Some(from) => run.with_env("LAGWISE_SIM_FROM", from.to_string()),
                None => run,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::invocation;

    #[test]
    fn a_seed_is_one_run_and_with_a_time_it_is_the_first_of_many() {
        let line = |seed, minutes| invocation(seed, minutes).to_string();
        assert!(line(Some(7), None).contains("LAGWISE_SIM_SEED=7 cargo test"));
        let many = line(Some(7), Some(2));
        assert!(many.contains("LAGWISE_SIM_SECONDS=120 LAGWISE_SIM_FROM=7 cargo test"));
        assert!(line(None, None).contains("LAGWISE_SIM_SECONDS=60 cargo test"));
    }
}
