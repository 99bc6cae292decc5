//! How often a node was chosen, and why.
//!
//! Whoever looks at the status of a router sees its routes, whether or not an exporter of metrics is
//! installed. A route costs one addition, and neither a lock nor memory. What a route is, `route` says.

use std::sync::atomic::{AtomicU64, Ordering};

use lagwise_core::Reason;

/// The routes to one node, by their reasons.
#[derive(Debug, Default)]
pub(crate) struct Tally([AtomicU64; Reason::ALL.len()]);

impl Tally {
    /// The node was chosen.
    pub(crate) fn count(&self, reason: Reason) {
        if let Some(counted) = self.0.get(reason.index()) {
            // Relaxed: a number to look at, which nothing is ordered against.
            counted.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The reasons that there were, and how often each.
    #[cfg_attr(not(feature = "status"), expect(dead_code, reason = "nobody looks"))]
    pub(crate) fn counts(&self) -> impl Iterator<Item = (Reason, u64)> {
        let counts = self.0.iter().map(|count| count.load(Ordering::Relaxed));
        Reason::ALL
            .into_iter()
            .zip(counts)
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
    }
}
