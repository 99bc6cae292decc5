//! Since when one and the same server is known to answer at a node's address.
//!
//! An address may lead elsewhere from one moment to the next, while connections that were opened before
//! go on leading to where they did. So a connection that was opened under another server is not handed
//! out, nor one that may have been left in the middle of something. When a new one turns out to lead elsewhere than the monitor's own does, the monitor connects
//! anew as well. Which server is ours is not this module's business.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use lagwise_core::{Instant, ServerStart};

/// The server at an address, as last observed.
#[derive(Debug, Default)]
pub(crate) struct Tenure {
    /// When that server was started; zero before one was seen.
    started: AtomicI64,
    /// Connections opened before this may lead to another one.
    since: AtomicU64,
    /// The monitor's connection may lead to another one.
    doubted: AtomicBool,
}

impl Tenure {
    /// The monitor has heard a server that was started then.
    pub(crate) fn observe(&self, now: Instant, started: ServerStart) {
        let before = self.started.swap(started.as_micros(), Ordering::AcqRel);
        if before != 0 && before != started.as_micros() {
            self.renew(now);
        }
    }

    /// A connection goes back to its pool in an unknown state, and nobody can tell which: none that was
    /// opened before is handed out.
    pub(crate) fn renew(&self, now: Instant) {
        self.since.fetch_max(now.as_nanos(), Ordering::AcqRel);
    }

    /// Whether a connection that was opened at this instant may lead to the server that is known.
    pub(crate) fn covers(&self, opened: Instant) -> bool {
        opened.as_nanos() >= self.since.load(Ordering::Acquire)
    }

    /// A new connection leads to another server than the monitor knows.
    pub(crate) fn doubt(&self) {
        self.doubted.store(true, Ordering::Release);
    }

    /// Whether that was so since the last time this was asked.
    pub(crate) fn take_doubt(&self) -> bool {
        self.doubted.swap(false, Ordering::AcqRel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_covered_until_another_server_answers() {
        let [first, later] = [Instant::from_nanos(5), Instant::from_nanos(9)];
        let tenure = Tenure::default();
        assert!(tenure.covers(first), "nobody was seen yet");
        tenure.observe(Instant::from_nanos(6), ServerStart::new(1));
        assert!(tenure.covers(first), "it was the first to be seen");
        tenure.observe(Instant::from_nanos(8), ServerStart::new(2));
        assert!(!tenure.covers(first), "it may lead to the one before");
        assert!(tenure.covers(later));
    }

    #[test]
    fn a_doubt_is_taken_once() {
        let tenure = Tenure::default();
        assert!(!tenure.take_doubt());
        tenure.doubt();
        assert!(tenure.take_doubt());
        assert!(!tenure.take_doubt());
    }
}
