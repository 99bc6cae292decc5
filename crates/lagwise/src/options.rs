//! What a read asks for.

use std::time::Duration;

use lagwise_core::{Fallback, Floor, Policy, Requirement};

use crate::hedge::Hedged;

/// A read that sees every commit acknowledged longer ago than this.
///
/// ```no_run
/// # async fn example(db: lagwise::PgRouter) -> Result<(), lagwise::Error> {
/// use std::time::Duration;
/// use lagwise::Within;
///
/// let report = db.read_with(Within(Duration::from_secs(5))).await?;
/// # drop(report); Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a bound is a duration and nothing else"
)]
pub struct Within(pub Duration);

/// What a read must see, and what it does when no replica can show it.
///
/// Inside a session the session's floor is added to it.
///
/// ```
/// use std::time::Duration;
/// use lagwise::{Fallback, ReadOptions};
///
/// let report = ReadOptions::new()
///     .within(Duration::from_secs(30))
///     .wait(Duration::from_millis(100))
///     .fallback(Fallback::Refuse);
/// # drop(report);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct ReadOptions {
    within: Option<Duration>,
    primary: bool,
    pub(crate) fallback: Option<Fallback>,
    pub(crate) wait: Option<Duration>,
    pub(crate) deadline: Option<Duration>,
    pub(crate) hedged: Option<Hedged>,
}

impl ReadOptions {
    /// A read that any replica in rotation may serve, with the router's fallback and wait.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A read on the primary, which spends none of the fallback's budget.
    #[must_use]
    pub fn primary() -> Self {
        Self {
            primary: true,
            ..Self::default()
        }
    }

    /// Sees every commit acknowledged longer ago than `bound`.
    ///
    /// A bound below twice the poll interval is hardly ever proved without a wait.
    #[must_use]
    pub fn within(mut self, bound: Duration) -> Self {
        self.within = Some(self.within.map_or(bound, |within| within.min(bound)));
        self
    }

    /// What to do when no replica has it. The router's unless set.
    #[must_use]
    pub const fn fallback(mut self, fallback: Fallback) -> Self {
        self.fallback = Some(fallback);
        self
    }

    /// How long to wait for a replica that has it. The policy's unless set.
    #[must_use]
    pub const fn wait(mut self, wait: Duration) -> Self {
        self.wait = Some(wait);
        self
    }

    /// How long the whole read may take, from when it is asked for: the wait, getting a connection, and
    /// where the router runs the statement, its running too; of a stream, until its last row. The
    /// router's unless set. Past it the read fails with an error that
    /// [is timed out](crate::Error::is_timed_out), and its connection is cut.
    ///
    /// What is done on a [`ReadConnection`](crate::ReadConnection) or in a read-only transaction that was
    /// handed out is the caller's own business. A statement that was cut goes on at the server until it
    /// finds that nobody listens: `statement_timeout` and `client_connection_check_interval` end it there.
    #[must_use]
    pub const fn deadline(mut self, limit: Duration) -> Self {
        self.deadline = Some(limit);
        self
    }

    /// Whether it may be hedged: see [`Hedge`](crate::Hedge). It may, where the router hedges, unless set.
    #[must_use]
    pub const fn hedge(mut self, hedged: Hedged) -> Self {
        self.hedged = Some(hedged);
        self
    }

    /// These options, and where they say nothing, those.
    pub(crate) fn over(self, defaults: &Self) -> Self {
        Self {
            within: match (self.within, defaults.within) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            },
            primary: self.primary || defaults.primary,
            fallback: self.fallback.or(defaults.fallback),
            wait: self.wait.or(defaults.wait),
            deadline: self.deadline.or(defaults.deadline),
            hedged: self.hedged.or(defaults.hedged),
        }
    }

    /// How stale it may be, where it says so.
    pub(crate) const fn bound(&self) -> Option<Duration> {
        self.within
    }

    /// All that it must be able to see, with what its session needs.
    pub(crate) fn requirement(&self, floor: Floor) -> Requirement {
        let mut requirement = Requirement::at_least(floor);
        if let Some(bound) = self.within {
            requirement = requirement.and(Requirement::within(bound));
        }
        if self.primary {
            requirement = requirement.and(Requirement::primary());
        }
        requirement
    }

    pub(crate) fn wait_under(&self, policy: &Policy) -> Duration {
        self.wait.unwrap_or(policy.wait)
    }
}

impl From<Within> for ReadOptions {
    fn from(Within(bound): Within) -> Self {
        Self::new().within(bound)
    }
}
