//! What the demo is asked for on the command line.
//!
//! Everything that cannot work is refused here, before any server starts, with what to ask for
//! instead. How the demo then looks is `display`'s business.

use std::time::Duration;

use clap::Parser;

/// A shorter run has no room for a replica to lag, to return, to die and to return again.
const LEAST_SECONDS: u64 = 6;

/// Nobody watches longer than an hour.
const MOST_SECONDS: u64 = 3600;

/// More sessions than this need more connections and threads than one machine should give.
const MOST_SESSIONS: usize = 1000;

/// Shows lagwise at work: a primary, two replicas, many sessions, and a replica that is delayed,
/// killed and started again.
#[derive(Clone, Debug, Parser)]
#[command(name = "lagwise-demo", bin_name = "cargo xtask demo")]
pub(crate) struct Arguments {
    /// How long the workload runs, in seconds, from 6 to 3600.
    #[arg(long, value_name = "N", default_value = "30", value_parser = seconds)]
    seconds: u64,
    /// How many sessions write and read at the same time, from 1 to 1000.
    #[arg(long, value_name = "N", default_value = "32", value_parser = sessions)]
    pub(crate) sessions: usize,
    /// Prints the result as one JSON object, and nothing else.
    #[arg(long)]
    pub(crate) json: bool,
    /// Runs the same workload without lagwise, each read on a random replica.
    #[arg(long)]
    pub(crate) naive: bool,
    /// What the choices of the workload are drawn from.
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub(crate) seed: u64,
}

impl Arguments {
    pub(crate) const fn mode(&self) -> Mode {
        if self.naive {
            Mode::Naive
        } else {
            Mode::Routed
        }
    }

    /// How long the workload runs.
    pub(crate) const fn length(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

/// Which way the statements take to the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Through sessions of a router.
    Routed,
    /// Through plain pools: writes to the primary, reads to a random replica.
    Naive,
}

fn seconds(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(seconds) if seconds < LEAST_SECONDS => Err(format!(
            "a replica needs at least {LEAST_SECONDS} seconds to leave and return twice"
        )),
        Ok(seconds) if seconds > MOST_SECONDS => Err(format!("at most {MOST_SECONDS} seconds")),
        Ok(seconds) => Ok(seconds),
        Err(_) => Err("this is no whole number of seconds".to_owned()),
    }
}

fn sessions(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("without a session there is nothing to see: ask for at least 1".to_owned()),
        Ok(sessions) if sessions > MOST_SESSIONS => {
            Err(format!("at most {MOST_SESSIONS} sessions fit one machine"))
        }
        Ok(sessions) => Ok(sessions),
        Err(_) => Err("this is no number of sessions".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Arguments, String> {
        let command = ["demo"].iter().chain(arguments);
        Arguments::try_parse_from(command).map_err(|error| error.to_string())
    }

    #[test]
    fn half_a_minute_of_32_routed_sessions_is_the_default() {
        let arguments = parse(&[]).unwrap();
        assert_eq!(arguments.length(), Duration::from_secs(30));
        assert_eq!(arguments.sessions, 32);
        assert_eq!(arguments.mode(), Mode::Routed);
        assert!(!arguments.json);
    }

    #[test]
    fn a_run_too_short_for_the_scenario_is_refused_with_the_least_length() {
        let refusal = parse(&["--seconds", "5"]).unwrap_err();
        assert!(refusal.contains("at least 6 seconds"), "{refusal}");
        assert!(parse(&["--seconds", "6"]).is_ok());
    }

    #[test]
    fn what_is_no_count_is_refused() {
        assert!(parse(&["--sessions", "0"]).is_err());
        assert!(parse(&["--sessions", "1001"]).is_err());
        assert!(parse(&["--seconds", "ten"]).is_err());
        assert!(parse(&["--seconds", "3601"]).is_err());
    }
}
