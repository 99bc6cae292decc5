//! How often a node was chosen, and why.
//!
//! Whoever looks at the status of a router sees its routes, whether or not an exporter of metrics is
//! installed. A route costs one addition, and neither a lock nor memory; an exporter is told of all since
//! the last time now and then. What a route is, `route` says.

use std::sync::atomic::{AtomicU64, Ordering};

use lagwise_core::Reason;

/// The routes to one node, by their reasons.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    routes: [AtomicU64; Reason::ALL.len()],
    /// How many of them have been told of.
    told: [AtomicU64; Reason::ALL.len()],
}

impl Tally {
    /// The node was chosen.
    pub(crate) fn count(&self, reason: Reason) {
        if let Some(counted) = self.routes.get(reason.index()) {
            // Relaxed: a number to look at, which nothing is ordered against.
            counted.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The reasons that there were, and how often each.
    #[cfg_attr(
        not(any(test, feature = "status")),
        expect(dead_code, reason = "nobody looks")
    )]
    pub(crate) fn counts(&self) -> impl Iterator<Item = (Reason, u64)> {
        let counts = self
            .routes
            .iter()
            .map(|count| count.load(Ordering::Relaxed));
        Reason::ALL
            .into_iter()
            .zip(counts)
            .filter(|(_, count)| *count > 0)
    }

    /// Whether it ever was.
    pub(crate) fn is_any(&self) -> bool {
        let mut routes = self.routes.iter();
        routes.any(|count| count.load(Ordering::Relaxed) > 0)
    }

    /// The reasons that there were since this was last asked, and how often each.
    pub(crate) fn untold(&self) -> impl Iterator<Item = (Reason, u64)> {
        let untold = self.routes.iter().zip(&self.told).map(|(count, told)| {
            let count = count.load(Ordering::Relaxed);
            count.saturating_sub(told.fetch_max(count, Ordering::Relaxed))
        });
        Reason::ALL
            .into_iter()
            .zip(untold)
            .filter(|(_, count)| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use lagwise_core::Reason;

    use super::Tally;

    #[test]
    fn every_reason_has_a_place_of_its_own() {
        let tally = Tally::default();
        for (times, reason) in (1..).zip(Reason::ALL) {
            for _ in 0..times {
                tally.count(reason);
            }
        }
        let counts: Vec<_> = tally.counts().collect();
        let expected: Vec<_> = Reason::ALL.into_iter().zip(1..).collect();
        assert_eq!(counts, expected);
        assert_eq!(tally.untold().collect::<Vec<_>>(), expected);
        tally.count(Reason::Write);
        assert_eq!(tally.untold().collect::<Vec<_>>(), [(Reason::Write, 1)]);
    }
}
