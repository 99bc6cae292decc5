//! The settings of a file, each as its own name in the code.
//!
//! A setting that is not there leaves the default; one that is unknown is an error, since a limit that
//! is misspelled is a limit that does not hold. Durations are written as `750ms` or `2s`.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, Visitor};
use sqlx::Postgres;
use sqlx::pool::PoolOptions;

use lagwise_core::{Fallback, Policy, PrimaryLoss};

use crate::budget::Budget;
use crate::builder::RouterBuilder;
use crate::hedge::Hedge;
use crate::statements::{BoundStatements, OutsideSession};

/// What stands in the file beside the nodes.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Settings {
    max_lag: Option<Span>,
    poll_interval: Option<Span>,
    wait: Option<Span>,
    zone: Option<String>,
    fallback: Option<FallbackName>,
    connect_timeout: Option<Span>,
    read_deadline: Option<Span>,
    catalog_interval: Option<Span>,
    outside_session: Option<OutsideName>,
    bound_statements: Option<BoundName>,
    dry_run: bool,
    reads: Vec<String>,
    writes: Vec<String>,
    policy: PolicyTable,
    budget: BudgetTable,
    hedge: Option<HedgeTable>,
    pool: Option<PoolTable>,
}

impl Settings {
    pub(super) fn apply(&self, builder: RouterBuilder<Postgres>) -> RouterBuilder<Postgres> {
        let mut builder = builder.budget(self.budget.read()).dry_run(self.dry_run);
        // Before the table of the policy: what is derived from these may be set there.
        if let Some(Span(interval)) = self.poll_interval {
            builder = builder.poll_interval(interval);
        }
        if let Some(Span(lag)) = self.max_lag {
            builder = builder.max_lag(lag);
        }
        if let Some(Span(wait)) = self.wait {
            builder = builder.wait(wait);
        }
        if let Some(zone) = &self.zone {
            builder = builder.zone(zone.as_str());
        }
        if let Some(fallback) = self.fallback {
            builder = builder.fallback(fallback.into());
        }
        if let Some(Span(timeout)) = self.connect_timeout {
            builder = builder.connect_timeout(timeout);
        }
        if let Some(Span(limit)) = self.read_deadline {
            builder = builder.read_deadline(limit);
        }
        if let Some(Span(interval)) = self.catalog_interval {
            builder = builder.catalog_interval(interval);
        }
        if let Some(outside) = self.outside_session {
            builder = builder.outside_session(outside.into());
        }
        if let Some(bound) = self.bound_statements {
            builder = builder.bound_statements(bound.into());
        }
        if let Some(hedge) = &self.hedge {
            builder = builder.hedge(hedge.read());
        }
        builder = self
            .reads
            .iter()
            .fold(builder, |builder, name| builder.reads(name));
        builder = self
            .writes
            .iter()
            .fold(builder, |builder, name| builder.writes(name));
        builder.policy(|policy| self.policy.apply(policy))
    }

    /// The pools of all nodes, where the file says something of them.
    pub(super) fn pool(&self) -> Option<PoolOptions<Postgres>> {
        self.pool.as_ref().map(PoolTable::read)
    }
}

/// A table whose settings replace fields of the same name.
macro_rules! replaces {
    ($(#[$doc:meta])* $table:ident of $whole:ty { $($field:ident: $kind:ty),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        struct $table { $($field: Option<$kind>),+ }

        impl $table {
            fn apply(&self, whole: &mut $whole) {
                $(if let Some(value) = self.$field { whole.$field = value.into(); })+
            }
        }
    };
}

replaces! {
    /// See [`Policy`].
    PolicyTable of Policy {
        idle_poll_interval: Span,
        idle_after: Span,
        settle_interval: Span,
        demand_interval: Span,
        probe_timeout: Span,
        max_backoff: Span,
        return_lag: Span,
        leave_after: u32,
        return_after: u32,
        slow_start: Span,
        unseen_for: Span,
        min_in_rotation: u16,
        lag_ceiling: Span,
        primary_loss: LossName,
        write_wait: Span,
        acquire_patience: Span,
        panic_threshold: u32,
        max_waiting: u32,
        capture_timeout: Span,
        sticky_window: Span,
    }
}

/// See [`Budget`].
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct BudgetTable {
    concurrent: Option<u32>,
    per_second: Option<u32>,
    queue: Option<usize>,
    queue_for: Option<Span>,
}

impl BudgetTable {
    fn read(&self) -> Budget {
        let mut budget = Budget::new();
        if let Some(reads) = self.concurrent {
            budget = budget.concurrent(reads);
        }
        if let Some(reads) = self.per_second {
            budget = budget.per_second(reads);
        }
        if let Some(reads) = self.queue {
            budget = budget.queue(reads);
        }
        if let Some(Span(wait)) = self.queue_for {
            budget = budget.queue_for(wait);
        }
        budget
    }
}

/// See [`Hedge`]. The table alone turns it on.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct HedgeTable {
    percentile: Option<u32>,
    share: Option<u32>,
    at_least: Option<Span>,
}

impl HedgeTable {
    fn read(&self) -> Hedge {
        let mut hedge = Hedge::new();
        if let Some(percent) = self.percentile {
            hedge = hedge.percentile(percent);
        }
        if let Some(percent) = self.share {
            hedge = hedge.share(percent);
        }
        if let Some(Span(pause)) = self.at_least {
            hedge = hedge.at_least(pause);
        }
        hedge
    }
}

/// See [`PoolOptions`].
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct PoolTable {
    max_connections: Option<u32>,
    acquire_timeout: Option<Span>,
    idle_timeout: Option<Span>,
    max_lifetime: Option<Span>,
}

impl PoolTable {
    fn read(&self) -> PoolOptions<Postgres> {
        let mut pool = PoolOptions::new();
        if let Some(most) = self.max_connections {
            pool = pool.max_connections(most);
        }
        if let Some(Span(timeout)) = self.acquire_timeout {
            pool = pool.acquire_timeout(timeout);
        }
        if let Some(Span(timeout)) = self.idle_timeout {
            pool = pool.idle_timeout(timeout);
        }
        if let Some(Span(lifetime)) = self.max_lifetime {
            pool = pool.max_lifetime(lifetime);
        }
        pool
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum FallbackName {
    Freshest,
    Primary,
    PrimaryThenFreshest,
    Refuse,
}

impl From<FallbackName> for Fallback {
    fn from(name: FallbackName) -> Self {
        match name {
            FallbackName::Freshest => Self::Freshest,
            FallbackName::Primary => Self::Primary,
            FallbackName::PrimaryThenFreshest => Self::PrimaryThenFreshest,
            FallbackName::Refuse => Self::Refuse,
        }
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum LossName {
    Freeze,
    HonorBound,
}

impl From<LossName> for PrimaryLoss {
    fn from(name: LossName) -> Self {
        match name {
            LossName::Freeze => Self::Freeze,
            LossName::HonorBound => Self::HonorBound,
        }
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum OutsideName {
    ByStatement,
    Primary,
}

impl From<OutsideName> for OutsideSession {
    fn from(name: OutsideName) -> Self {
        match name {
            OutsideName::ByStatement => Self::ByStatement,
            OutsideName::Primary => Self::Primary,
        }
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum BoundName {
    Allow,
    Refuse,
}

impl From<BoundName> for BoundStatements {
    fn from(name: BoundName) -> Self {
        match name {
            BoundName::Allow => Self::Allow,
            BoundName::Refuse => Self::Refuse,
        }
    }
}

/// A duration as people write it.
#[derive(Clone, Copy, Debug)]
struct Span(Duration);

impl From<Span> for Duration {
    fn from(Span(duration): Span) -> Self {
        duration
    }
}

struct DurationText;

impl Visitor<'_> for DurationText {
    type Value = Span;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number with a unit, such as \"750ms\" or \"2s\"")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Span, E> {
        let none = "a duration is a number with a unit, such as \"750ms\" or \"2s\"";
        humantime::parse_duration(text)
            .map(Span)
            .map_err(|_unshown| E::custom(none))
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(DurationText)
    }
}
