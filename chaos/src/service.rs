//! Which service is tested, and how one instance of it runs in a process of its own.
//!
//! This is the one place that knows the services. An instance is this program again, with the
//! subcommand `instance`: it prints `listening on http://ADDRESS` first, and ends when its standard
//! input does, so that none outlives a run that was killed.

use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args, Command, ValueEnum};
use tokio::io::AsyncReadExt as _;

use crate::naive::flaw::Flaw;
use crate::{Result, naive};

/// A service that speaks the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Service {
    /// The example that is built on lagwise.
    AxumNotes,
    /// The model with tokens made by hand, and with flaws on request.
    Naive,
}

impl Service {
    /// Whether a write that is asked to fail is made and then answered by an error.
    #[must_use]
    pub const fn fails_on_request(self) -> bool {
        matches!(self, Self::Naive)
    }
}

/// What a service is told; the flags are those of `axum-notes`.
#[derive(Args, Clone, Debug)]
pub struct Config {
    /// The address to listen on; port 0 for a free one.
    #[arg(long)]
    pub listen: String,
    /// The address of the primary.
    #[arg(long)]
    pub primary: String,
    /// The address of a replica.
    #[arg(long)]
    pub replica: Vec<String>,
    /// How old a read may be.
    #[arg(long, value_parser = duration, default_value = "2s")]
    pub max_lag: Duration,
}

/// One instance, as the hidden subcommand is told.
#[derive(Args, Clone, Debug)]
pub struct Instance {
    /// The service to run.
    #[arg(long)]
    service: Service,
    /// What is wrong with it.
    #[arg(long)]
    flaw: Option<Flaw>,
    /// Ends when standard input does.
    #[arg(long)]
    until_stdin_closes: bool,
    /// The service's own flags, after `--`.
    #[arg(last = true)]
    flags: Vec<String>,
}

impl Instance {
    /// Runs the service until it breaks, or its parent is gone.
    pub async fn run(self) -> Result {
        tokio::select! {
            ended = serve(self.service, self.flaw, self.flags) => ended,
            ended = parent_is_gone(), if self.until_stdin_closes => ended,
        }
    }
}

/// Runs a service with its own flags. A further service is one arm more.
async fn serve(service: Service, flaw: Option<Flaw>, flags: Vec<String>) -> Result {
    match service {
        Service::Naive => naive::run(&config(flags)?, flaw).await,
        Service::AxumNotes => Ok(axum_notes::run(config(flags)?).await?),
    }
}

/// What a service makes of its flags.
fn config<T: Args>(flags: Vec<String>) -> Result<T> {
    let command = T::augment_args(Command::new("instance").no_binary_name(true));
    let matches = command.try_get_matches_from(flags)?;
    Ok(T::from_arg_matches(&matches)?)
}

async fn parent_is_gone() -> Result {
    let mut stdin = tokio::io::stdin();
    let mut heard = [0; 64];
    while stdin.read(&mut heard).await? > 0 {}
    Ok(())
}

/// Says where an instance listens, for whoever started it.
pub(crate) fn announce(address: SocketAddr) -> Result {
    let mut out = std::io::stdout();
    writeln!(out, "listening on http://{address}")?;
    out.flush()?;
    Ok(())
}

/// A duration such as `500ms`, `2s` or `1m`.
fn duration(text: &str) -> std::result::Result<Duration, String> {
    let digits = text.trim_end_matches(|letter: char| !letter.is_ascii_digit());
    let number: u64 = digits.parse().map_err(|_| format!("no number in {text}"))?;
    match text.strip_prefix(digits) {
        Some("ms") => Ok(Duration::from_millis(number)),
        Some("s") => Ok(Duration::from_secs(number)),
        Some("m") => Ok(Duration::from_secs(60 * number)),
        _ => Err(format!("no unit in {text}: ms, s or m")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_a_number_and_a_unit() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)), "ms");
        assert_eq!(duration("2s"), Ok(Duration::from_secs(2)), "s");
        assert_eq!(duration("1m"), Ok(Duration::from_secs(60)), "m");
        assert!(duration("2").is_err(), "no unit");
        assert!(duration("fast").is_err(), "no number");
    }
}
