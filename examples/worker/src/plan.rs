//! How much is to be done, from the command line.

use std::time::Duration;

use clap::Parser;

/// Enqueues jobs right after writes, runs them in sessions that see those writes, and says where
/// their reads went.
#[derive(Clone, Debug, Parser)]
#[command(name = "lagwise-worker", bin_name = "cargo run -p lagwise-worker --")]
pub struct Plan {
    /// How many documents are written, with a job for each.
    #[arg(long, value_name = "N", default_value = "400", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub jobs: u32,
    /// How many of them in a second.
    #[arg(long, value_name = "N", default_value = "80", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub rate: u32,
    /// How many workers run jobs at the same time.
    #[arg(long, value_name = "N", default_value = "4", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub workers: u32,
    /// How many replicas the program's own cluster has.
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u8).range(0..=5))]
    pub replicas: u8,
    /// For how many seconds replay stands still on all of them, a second after the start.
    #[arg(long, value_name = "N", default_value = "0", value_parser = clap::value_parser!(u32).range(0..=600))]
    pub pause: u32,
}

impl Plan {
    /// The time between two writes.
    #[must_use]
    pub fn pace(&self) -> Duration {
        Duration::from_secs(1) / self.rate
    }

    /// How long replay stands still, if it does.
    #[must_use]
    pub fn pause(&self) -> Option<Duration> {
        (self.pause > 0).then(|| Duration::from_secs(self.pause.into()))
    }
}
