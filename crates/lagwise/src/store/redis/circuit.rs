//! Whether Redis is tried at all.
//!
//! A server that does not answer costs each request the whole timeout. So after a few failures in a
//! row nobody tries for a while, and then one request does, for all. What is done without an answer is
//! not this module's business.

use std::time::Duration;

use lagwise_core::Instant;

/// How many failures in a row it takes.
const FEW: u32 = 3;

/// How long Redis is left alone; within it, one request at most pays the timeout.
const PAUSE: Duration = Duration::from_secs(1);

/// Closed while Redis answers.
#[derive(Debug, Default)]
pub(super) struct Circuit {
    failures: u32,
    next_try: Option<Instant>,
}

impl Circuit {
    /// Whether this request may try. One that is let through while Redis fails is the only one for a
    /// while, whatever becomes of it.
    pub(super) fn admit(&mut self, now: Instant) -> bool {
        if self.failures < FEW {
            return true;
        }
        if self.next_try.is_some_and(|next| now < next) {
            return false;
        }
        self.next_try = Some(now.after(PAUSE));
        true
    }

    pub(super) fn answered(&mut self) {
        *self = Self::default();
    }

    pub(super) fn failed(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        self.next_try = Some(now.after(PAUSE));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    fn failing() -> Circuit {
        let mut circuit = Circuit::default();
        for _ in 0..FEW {
            assert!(circuit.admit(at(0)), "a few may try");
            circuit.failed(at(0));
        }
        circuit
    }

    #[test]
    fn after_a_few_failures_in_a_row_one_request_a_second_tries() {
        let mut circuit = failing();
        assert!(!circuit.admit(at(999)));
        assert!(circuit.admit(at(1000)));
        assert!(!circuit.admit(at(1000)), "one is enough");
        // It was dropped, or is still waiting.
        assert!(circuit.admit(at(2000)));
        circuit.failed(at(2050));
        assert!(!circuit.admit(at(3000)));
        assert!(circuit.admit(at(3050)));
    }

    #[test]
    fn an_answer_lets_all_try_again() {
        let mut circuit = failing();
        assert!(circuit.admit(at(1000)));
        circuit.answered();
        assert!(circuit.admit(at(1000)));
        circuit.failed(at(1000));
        assert!(circuit.admit(at(1000)), "they were not in a row");
    }
}
