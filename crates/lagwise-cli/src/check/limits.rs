//! What is still well and what is not: the limits of a check.
//!
//! A limit that cannot be seen would be reported as broken for ever, so it is refused. What is made
//! of the limits is `judge`'s business.

use std::time::Duration;

use clap::Args;

use crate::failure::Failure;
use crate::format::{bytes, duration, short};

/// The limits.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct Limits {
    /// A replica that is further behind is a warning.
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "1s")]
    pub(crate) warn: Duration,
    /// A replica that is further behind is critical.
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "5s")]
    pub(crate) crit: Duration,
    /// A replica that lacks more of the log is a warning: a number, or one with kB, MB, GB. Unset,
    /// bytes are shown and not judged.
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    pub(crate) warn_bytes: Option<u64>,
    /// A replica that lacks more of the log is critical.
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    pub(crate) crit_bytes: Option<u64>,
    /// Fewer replicas in rotation than this are critical; with as many, what is wrong with another
    /// replica is a warning. Unset, each counts by itself.
    #[arg(long, value_name = "N")]
    pub(crate) min_replicas: Option<usize>,
}

impl Limits {
    /// Refuses what cannot be told apart.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let least = LEAST_WARN;
        let fault = if self.warn < least {
            format!(
                "--warn is {}, and less than {} cannot be told from the time that asking takes",
                short(self.warn),
                short(least)
            )
        } else if self.crit < self.warn {
            format!(
                "--crit is {}, and must not be below --warn, which is {}",
                short(self.crit),
                short(self.warn)
            )
        } else if self.warn_bytes > self.crit_bytes && self.crit_bytes.is_some() {
            "--crit-bytes must not be below --warn-bytes".to_owned()
        } else {
            return Ok(());
        };
        Err(Failure::Limits { fault })
    }

    /// How often to ask, so that the limits can be seen.
    pub(crate) fn interval(&self) -> Duration {
        (self.warn / 8).min(LONGEST_INTERVAL)
    }
}

const LEAST_WARN: Duration = Duration::from_millis(20);

/// A check takes a few of them.
const LONGEST_INTERVAL: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_that_cannot_be_told_apart_are_refused() {
        let limits = |warn, crit, warn_bytes, crit_bytes| Limits {
            warn: Duration::from_millis(warn),
            crit: Duration::from_millis(crit),
            warn_bytes,
            crit_bytes,
            min_replicas: None,
        };
        let refusal = |limits: Limits| limits.check().expect_err("it is refused").to_string();
        assert!(refusal(limits(10, 20, None, None)).contains("--warn is 10ms"));
        assert!(refusal(limits(500, 400, None, None)).contains("below --warn, which is 500ms"));
        assert!(refusal(limits(500, 500, Some(2), Some(1))).contains("--crit-bytes"));
        for well in [
            limits(500, 500, None, None),
            limits(20, 500, Some(2), None),
            limits(20, 500, Some(2), Some(2)),
        ] {
            assert!(well.check().is_ok(), "{well:?}");
            assert!(well.interval() * 4 <= well.warn, "{well:?}");
        }
    }
}
