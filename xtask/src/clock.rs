//! The one place that reads a clock: how long a step of `cargo xtask test` took.
//!
//! Nothing is decided by it.

use std::time::{Duration, Instant};

/// A moment that a duration can be counted from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Started(Instant);

impl Started {
    #[expect(
        clippy::disallowed_methods,
        reason = "a duration that is only shown to a person"
    )]
    pub(crate) fn now() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}
