//! How long a search has gone on: when to stop is all that it decides.

use std::time::Instant;

pub(crate) struct Started(Instant);

impl Started {
    #[expect(
        clippy::disallowed_methods,
        reason = "a search ends when its time is up"
    )]
    pub(crate) fn now() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn seconds(&self) -> u64 {
        self.0.elapsed().as_secs()
    }
}
