//! Every limit and interval in one place, checked against each other before any of them is used.
//!
//! A limit that the monitor cannot see, or a return limit above the leaving one, would be obeyed to
//! the letter and send every read to the primary. So a [`Policy`] is only used as a [`ValidPolicy`],
//! and the check lists all that is wrong with it and what to change, not just the first thing.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Deref;
use core::time::Duration;

use thiserror::Error;

/// How the monitor looks, when a replica leaves and returns, and what a read does without one.
///
/// ```
/// use core::time::Duration;
/// use lagwise_core::Policy;
///
/// let mut policy = Policy::default();
/// policy.max_lag = Duration::from_millis(300);
/// let refused = policy.validate().unwrap_err();
/// assert!(refused.to_string().contains("poll_interval"), "100 ms cannot prove 300 ms");
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Policy {
    /// How often each node is asked while anybody reads. Until the primary moves on, replicas that have
    /// shown all there is are asked half as often, if that is within `idle_poll_interval`. 100 ms.
    pub poll_interval: Duration,
    /// How often, once nothing has read for `idle_after` and every replica is settled. 250 ms.
    pub idle_poll_interval: Duration,
    /// After how long without a read the monitor slows down. 10 s.
    pub idle_after: Duration,
    /// How often, from the moment that anything about the primary changes until every replica has
    /// taken its place again; less often the longer that takes, from two seconds on. 20 ms.
    pub settle_interval: Duration,
    /// The least pause between two probes of a node for which a session waits. 1 ms.
    pub demand_interval: Duration,
    /// How long a probe, or a connection for one, may take. 500 ms.
    pub probe_timeout: Duration,
    /// The longest pause between two tries to reach a node that does not answer. 1 s.
    pub max_backoff: Duration,
    /// A replica whose staleness bound is beyond this leaves the rotation. 1 s.
    pub max_lag: Duration,
    /// A replica returns below this. Half of `max_lag`.
    pub return_lag: Duration,
    /// Observations in a row beyond `max_lag` until a replica leaves. 2.
    pub leave_after: u32,
    /// Observations in a row below `return_lag` until it returns. 3.
    pub return_after: u32,
    /// How long after its return a replica gets less than its share of reads. 10 s.
    pub slow_start: Duration,
    /// A node without an observation for this long is out. 500 ms.
    pub unseen_for: Duration,
    /// Lag takes no replica out while fewer than this many others are in rotation. 0: lag may take
    /// out all of them.
    pub min_in_rotation: u16,
    /// Beyond this lag a replica leaves even so. 60 s.
    pub lag_ceiling: Duration,
    /// What lag means while the primary cannot be asked.
    pub primary_loss: PrimaryLoss,
    /// How long a write that has not been sent waits for a node that accepts it. 5 s.
    pub write_wait: Duration,
    /// How long a read waits for a replica to have what it needs before it falls back. 20 ms.
    pub wait: Duration,
    /// How long a read waits for a connection of a replica before it looks elsewhere, where there is
    /// an elsewhere. 250 ms.
    pub acquire_patience: Duration,
    /// While at least this many percent of the replicas that nobody has drained are out for lag, and
    /// below `lag_ceiling`, they serve reads with neither a floor nor a bound that the primary cannot
    /// take: up to 100, and never at 0. 50.
    pub panic_threshold: u32,
    /// How many reads may wait so at once; one more falls back without waiting. 1,024.
    pub max_waiting: u32,
    /// How long a token may wait for the position of the session's last write, before it is given
    /// out without. 250 ms.
    pub capture_timeout: Duration,
    /// How long a session stays on the primary after a write whose outcome is unknown. 2 s.
    pub sticky_window: Duration,
    /// Where the reads come from: nodes of this zone are preferred.
    pub zone: Option<Arc<str>>,
}

/// What a replica's lag counts for while the primary cannot be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum PrimaryLoss {
    /// The rotation stays as it was when the primary was last seen: reads that stated no bound go
    /// on. Bounds and floors are still honored, so reads that stated one find no replica once the
    /// bound has passed.
    #[default]
    Freeze,
    /// The staleness bound goes on growing, and takes every replica out at `max_lag`.
    HonorBound,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            poll_interval: Duration::from_millis(100),
            idle_poll_interval: Duration::from_millis(250),
            idle_after: Duration::from_secs(10),
            settle_interval: Duration::from_millis(20),
            demand_interval: Duration::from_millis(1),
            probe_timeout: Duration::from_millis(500),
            max_backoff: Duration::from_secs(1),
            max_lag: Duration::from_secs(1),
            return_lag: Duration::from_millis(500),
            leave_after: 2,
            return_after: 3,
            slow_start: Duration::from_secs(10),
            unseen_for: Duration::from_millis(500),
            min_in_rotation: 0,
            lag_ceiling: Duration::from_secs(60),
            primary_loss: PrimaryLoss::default(),
            write_wait: Duration::from_secs(5),
            wait: Duration::from_millis(20),
            acquire_patience: Duration::from_millis(250),
            panic_threshold: 50,
            max_waiting: 1024,
            capture_timeout: Duration::from_millis(250),
            sticky_window: Duration::from_secs(2),
            zone: None,
        }
    }
}

impl Policy {
    /// Sets `max_lag`, and what is derived from it: half of it to return, and an idle interval that
    /// can still prove it.
    #[must_use]
    pub fn with_max_lag(mut self, max_lag: Duration) -> Self {
        self.max_lag = max_lag;
        self.return_lag = max_lag / 2;
        self.lag_ceiling = self.lag_ceiling.max(max_lag);
        self.with_idle_interval()
    }

    /// Sets `poll_interval`, and what is counted in polls: a node is unseen after five, or a second.
    #[must_use]
    pub fn with_poll_interval(mut self, interval: Duration) -> Self {
        self.poll_interval = interval;
        self.unseen_for = interval
            .saturating_mul(5)
            .min(Duration::from_secs(1))
            .max(interval.saturating_mul(2));
        self.max_backoff = self.max_backoff.max(interval);
        self.demand_interval = self.demand_interval.min(interval);
        self.settle_interval = self.settle_interval.min(interval);
        self.with_idle_interval()
    }

    /// The slowest polls that prove `max_lag` and keep a node from counting as unseen.
    fn with_idle_interval(mut self) -> Self {
        self.idle_poll_interval = (self.max_lag / 4)
            .min(self.unseen_for / 2)
            .max(self.poll_interval);
        self
    }

    /// Checks the settings one by one and against each other.
    ///
    /// # Errors
    /// Every setting that cannot be honored, with its value and what to change.
    pub fn validate(self) -> Result<ValidPolicy, PolicyError> {
        let faults: Vec<PolicyFault> = self.faults().collect();
        if faults.is_empty() {
            Ok(ValidPolicy(self))
        } else {
            Err(PolicyError { faults })
        }
    }

    fn faults(&self) -> impl Iterator<Item = PolicyFault> {
        self.interval_faults()
            .into_iter()
            .chain(self.rotation_faults())
            .chain(self.read_faults())
            .flatten()
    }

    fn interval_faults(&self) -> [Option<PolicyFault>; 8] {
        let provable = self.poll_interval.saturating_mul(4);
        [
            fault(
                self.poll_interval < Duration::from_millis(1),
                "poll_interval",
                self.poll_interval,
                Advice::AtLeast(Duration::from_millis(1)),
            ),
            fault(
                self.max_lag < provable,
                "max_lag",
                self.max_lag,
                Advice::ProvableLag {
                    poll_interval: self.poll_interval,
                    least: provable,
                },
            ),
            fault(
                self.idle_poll_interval < self.poll_interval
                    || self.idle_poll_interval > self.max_lag / 2,
                "idle_poll_interval",
                self.idle_poll_interval,
                Advice::Between(self.poll_interval, self.max_lag / 2),
            ),
            fault(
                self.demand_interval.is_zero() || self.demand_interval > self.poll_interval,
                "demand_interval",
                self.demand_interval,
                Advice::Between(Duration::from_micros(1), self.poll_interval),
            ),
            fault(
                self.settle_interval < Duration::from_millis(1)
                    || self.settle_interval > self.poll_interval,
                "settle_interval",
                self.settle_interval,
                Advice::Between(Duration::from_millis(1), self.poll_interval),
            ),
            fault(
                self.probe_timeout < Duration::from_millis(1),
                "probe_timeout",
                self.probe_timeout,
                Advice::AtLeast(Duration::from_millis(1)),
            ),
            fault(
                self.max_backoff < self.poll_interval,
                "max_backoff",
                self.max_backoff,
                Advice::AtLeast(self.poll_interval),
            ),
            fault(
                self.unseen_for < self.idle_poll_interval.saturating_mul(2),
                "unseen_for",
                self.unseen_for,
                Advice::AtLeast(self.idle_poll_interval.saturating_mul(2)),
            ),
        ]
    }

    fn read_faults(&self) -> [Option<PolicyFault>; 4] {
        let most = Duration::from_secs(60);
        [
            fault(
                self.wait > most,
                "wait",
                self.wait,
                Advice::Between(Duration::ZERO, most),
            ),
            fault(
                self.write_wait > most * 10,
                "write_wait",
                self.write_wait,
                Advice::Between(Duration::ZERO, most * 10),
            ),
            fault(
                self.acquire_patience < Duration::from_millis(1) || self.acquire_patience > most,
                "acquire_patience",
                self.acquire_patience,
                Advice::Between(Duration::from_millis(1), most),
            ),
            fault(
                self.panic_threshold > 100,
                "panic_threshold",
                self.panic_threshold,
                Advice::Percent,
            ),
        ]
    }

    fn rotation_faults(&self) -> [Option<PolicyFault>; 6] {
        [
            fault(
                self.return_lag >= self.max_lag
                    || self.return_lag < self.poll_interval.saturating_mul(2),
                "return_lag",
                self.return_lag,
                Advice::Between(
                    self.poll_interval.saturating_mul(2),
                    self.max_lag.saturating_sub(Duration::from_millis(1)),
                ),
            ),
            fault(
                self.leave_after == 0,
                "leave_after",
                self.leave_after,
                Advice::AtLeastOne,
            ),
            fault(
                self.return_after == 0,
                "return_after",
                self.return_after,
                Advice::AtLeastOne,
            ),
            fault(
                self.lag_ceiling < self.max_lag,
                "lag_ceiling",
                self.lag_ceiling,
                Advice::AtLeast(self.max_lag),
            ),
            fault(
                self.sticky_window < self.probe_timeout,
                "sticky_window",
                self.sticky_window,
                Advice::AtLeast(self.probe_timeout),
            ),
            fault(
                self.capture_timeout < Duration::from_millis(1)
                    || self.capture_timeout > Duration::from_secs(10),
                "capture_timeout",
                self.capture_timeout,
                Advice::Between(Duration::from_millis(1), Duration::from_secs(10)),
            ),
        ]
    }
}

/// A policy whose settings can all be honored.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidPolicy(Policy);

impl Deref for ValidPolicy {
    type Target = Policy;

    fn deref(&self) -> &Policy {
        &self.0
    }
}

/// A policy that cannot be honored: everything that is wrong with it.
#[derive(Clone, Debug, Error, PartialEq)]
pub struct PolicyError {
    faults: Vec<PolicyFault>,
}

impl PolicyError {
    /// The settings at fault.
    #[must_use]
    pub fn faults(&self) -> &[PolicyFault] {
        &self.faults
    }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, fault) in self.faults.iter().enumerate() {
            let separator = if place == 0 { "" } else { "; " };
            write!(f, "{separator}{fault}")?;
        }
        Ok(())
    }
}

/// One setting that cannot be honored.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyFault {
    setting: &'static str,
    value: Value,
    advice: Advice,
}

impl PolicyFault {
    /// The name of the setting, as it stands in [`Policy`].
    #[must_use]
    pub const fn setting(&self) -> &'static str {
        self.setting
    }
}

impl fmt::Display for PolicyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}, ", self.setting, self.value)?;
        match self.advice {
            Advice::AtLeast(least) => write!(f, "but must be at least {least:?}"),
            Advice::AtLeastOne => f.write_str("but must be at least 1"),
            Advice::Between(least, most) => write!(f, "but must be from {least:?} to {most:?}"),
            Advice::Percent => f.write_str("but is a percentage: from 0, which is never, to 100"),
            Advice::ProvableLag {
                poll_interval,
                least,
            } => write!(
                f,
                "which a poll_interval of {poll_interval:?} cannot prove: raise max_lag to {least:?}, \
                 or lower poll_interval to a quarter of it"
            ),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Advice {
    AtLeast(Duration),
    AtLeastOne,
    Between(Duration, Duration),
    Percent,
    ProvableLag {
        poll_interval: Duration,
        least: Duration,
    },
}

#[derive(Clone, Debug, PartialEq)]
enum Value {
    Time(Duration),
    Count(u32),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(duration) => write!(f, "{duration:?}"),
            Self::Count(count) => write!(f, "{count}"),
        }
    }
}

impl From<Duration> for Value {
    fn from(duration: Duration) -> Self {
        Self::Time(duration)
    }
}

impl From<u32> for Value {
    fn from(count: u32) -> Self {
        Self::Count(count)
    }
}

fn fault(
    wrong: bool,
    setting: &'static str,
    value: impl Into<Value>,
    advice: Advice,
) -> Option<PolicyFault> {
    wrong.then(|| PolicyFault {
        setting,
        value: value.into(),
        advice,
    })
}

#[cfg(test)]
mod tests {
    use std::string::{String, ToString};

    use super::*;

    fn refusal(change: impl FnOnce(&mut Policy)) -> String {
        let mut policy = Policy::default();
        change(&mut policy);
        policy.validate().unwrap_err().to_string()
    }

    #[test]
    fn the_defaults_are_honored() {
        assert!(Policy::default().validate().is_ok());
    }

    #[test]
    fn derived_settings_follow_the_ones_they_derive_from() {
        for millis in [40, 400, 1_000, 2_500, 30_000, 600_000] {
            let interval = Duration::from_millis(millis / 4).min(Duration::from_millis(100));
            let policy = Policy::default()
                .with_poll_interval(interval)
                .with_max_lag(Duration::from_millis(millis));
            let checked = policy.clone().validate();
            assert!(
                checked.is_ok(),
                "max_lag {millis} ms: {}",
                checked.unwrap_err()
            );
        }
    }

    #[test]
    fn no_duration_is_too_long_to_be_refused() {
        let policy = Policy::default()
            .with_poll_interval(Duration::MAX)
            .with_max_lag(Duration::MAX);
        assert!(
            policy.validate().is_err(),
            "nothing is proved by such polls"
        );
        let refused = refusal(|policy| policy.idle_poll_interval = Duration::MAX);
        assert!(refused.contains("idle_poll_interval is "), "{refused}");
    }

    #[test]
    fn a_refusal_names_the_setting_the_value_and_the_way_out() {
        assert_eq!(
            refusal(|policy| policy.max_lag = Duration::from_millis(399)),
            "max_lag is 399ms, which a poll_interval of 100ms cannot prove: raise max_lag to 400ms, or \
             lower poll_interval to a quarter of it; idle_poll_interval is 250ms, but must be from \
             100ms to 199.5ms; return_lag is 500ms, but must be from 200ms to 398ms"
        );
        assert_eq!(
            refusal(|policy| policy.leave_after = 0),
            "leave_after is 0, but must be at least 1"
        );
        for (change, setting) in [
            (
                (|p| p.return_lag = p.max_lag) as fn(&mut Policy),
                "return_lag",
            ),
            (|p| p.return_after = 0, "return_after"),
            (|p| p.lag_ceiling = Duration::from_millis(10), "lag_ceiling"),
            (|p| p.poll_interval = Duration::ZERO, "poll_interval"),
            (|p| p.unseen_for = Duration::from_millis(1), "unseen_for"),
            (|p| p.sticky_window = Duration::ZERO, "sticky_window"),
            (|p| p.wait = Duration::from_secs(3600), "wait"),
            (|p| p.acquire_patience = Duration::ZERO, "acquire_patience"),
            (|p| p.panic_threshold = 101, "panic_threshold"),
            (|p| p.probe_timeout = Duration::ZERO, "probe_timeout"),
            (|p| p.max_backoff = Duration::ZERO, "max_backoff"),
            (|p| p.demand_interval = Duration::ZERO, "demand_interval"),
        ] {
            let refused = refusal(change);
            assert!(
                refused.contains(&std::format!("{setting} is ")),
                "{setting}: {refused}"
            );
        }
    }
}
