//! The demo's one clock: that of the router, so that all times shown are of one scale.

use std::time::Duration;

/// The present, as the time since the origin of the router's clock.
pub(crate) fn now() -> Duration {
    Duration::from_nanos(lagwise::now().as_nanos())
}

/// A run's own time, which begins at zero.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch {
    origin: Duration,
}

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self { origin: now() }
    }

    /// How long the run has lasted.
    pub(crate) fn elapsed(self) -> Duration {
        self.at(now())
    }

    /// How long the run had lasted at a time on the clock; zero for what was before it.
    pub(crate) const fn at(self, time: Duration) -> Duration {
        time.saturating_sub(self.origin)
    }

    /// Waits until the run has lasted this long.
    pub(crate) async fn reach(self, moment: Duration) {
        tokio::time::sleep(moment.saturating_sub(self.elapsed())).await;
    }
}
