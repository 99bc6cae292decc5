//! What the server has counted, at one instant or between two.
//!
//! The counts of a statement may begin anew while others go on, as its entry was evicted for want of
//! room; counts that went back are taken for new ones. Where they come from is `source`'s business.

use std::collections::BTreeMap;

use crate::failure::Failure;

/// Counts since the statistics were reset, or since another sample.
#[derive(Clone, Debug, Default)]
pub(super) struct Sample {
    pub(super) statements: BTreeMap<Key, Counted>,
    /// When the statistics were reset, by the server's clock, as it writes it.
    pub(super) reset: Option<String>,
    /// For how long it counted, if that is known.
    pub(super) seconds: Option<f64>,
    /// The server's clock, in seconds.
    pub(super) clock: f64,
    /// How often entries were evicted for want of room, if that is known.
    pub(super) evictions: Option<i64>,
    /// Execution time in other databases, in seconds.
    pub(super) elsewhere: f64,
    /// Whether BEGIN, COMMIT and their like are counted, if that is known.
    pub(super) counts_utility: Option<bool>,
    /// Whether it is what was watched, rather than all there is.
    pub(super) watched: bool,
}

/// What the server counts apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) user: i64,
    /// None of a statement whose text is hidden.
    pub(super) query: Option<i64>,
}

/// One statement.
#[derive(Clone, Debug, Default)]
pub(super) struct Counted {
    /// None if this role may not see it, or the server has lost it.
    pub(super) text: Option<String>,
    pub(super) calls: i64,
    pub(super) seconds: f64,
}

impl Sample {
    /// Adds one statement; several of which the texts are hidden are one.
    pub(super) fn add(&mut self, key: Key, counted: Counted) {
        let entry = self.statements.entry(key).or_default();
        entry.calls += counted.calls;
        entry.seconds += counted.seconds;
        entry.text = entry.text.take().or(counted.text);
    }

    /// What was counted after another sample.
    pub(super) fn since(mut self, before: &Self) -> Result<Self, Failure> {
        if self.reset != before.reset {
            let message = "the statistics were reset while they were watched; watch again";
            return Err(Failure::Assess(message.to_owned()));
        }
        for (key, counted) in &mut self.statements {
            let Some(earlier) = before.statements.get(key) else {
                continue;
            };
            if earlier.calls <= counted.calls && earlier.seconds <= counted.seconds {
                counted.calls -= earlier.calls;
                counted.seconds -= earlier.seconds;
            }
        }
        self.statements.retain(|_, counted| counted.calls > 0);
        self.seconds = Some((self.clock - before.clock).max(0.0));
        self.evictions = self
            .evictions
            .zip(before.evictions)
            .map(|(now, then)| now - then);
        self.elsewhere = (self.elsewhere - before.elsewhere).max(0.0);
        self.watched = true;
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::{Counted, Key, Sample};

    fn sample(entries: &[(i64, i64, f64)]) -> Sample {
        let mut sample = Sample::default();
        for &(query, calls, seconds) in entries {
            let key = Key {
                user: 10,
                query: Some(query),
            };
            let text = Some(format!("select {query}"));
            sample.add(
                key,
                Counted {
                    text,
                    calls,
                    seconds,
                },
            );
        }
        sample
    }

    #[test]
    fn what_ran_between_two_looks_is_their_difference() {
        let before = sample(&[(1, 10, 1.0), (2, 5, 0.5), (3, 100, 9.0)]);
        let mut after = sample(&[(1, 15, 1.75), (2, 5, 0.5), (3, 2, 0.25), (4, 1, 0.125)]);
        after.clock = 60.0;
        let between = after.since(&before).expect("nothing was reset");
        let counted: Vec<_> = between
            .statements
            .iter()
            .map(|(key, counted)| (key.query, counted.calls, counted.seconds))
            .collect();
        // The third was evicted and has come back, the second did not run.
        let expected = [(Some(1), 5, 0.75), (Some(3), 2, 0.25), (Some(4), 1, 0.125)];
        assert_eq!(counted, expected);
        assert_eq!(between.seconds, Some(60.0));
    }

    #[test]
    fn what_was_reset_in_between_is_no_difference() {
        let before = sample(&[(1, 10, 1.0)]);
        let mut after = sample(&[(1, 1, 0.1)]);
        after.reset = Some("2026-11-21".to_owned());
        let refusal = after
            .since(&before)
            .expect_err("they have nothing in common");
        assert!(refusal.to_string().contains("watch again"), "{refusal}");
    }
}
