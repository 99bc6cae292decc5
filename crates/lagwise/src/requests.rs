//! Requests that have begun: let in until the router shuts down, and counted until they end.
//!
//! A request is counted before it is asked whether it may go on, so that whoever shuts down and then
//! counts misses none that was let in. One that was let in goes on to its end, retries included. What
//! it borrowed is counted by the node it is of.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::error::Error;

/// The requests of a router.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    under_way: AtomicU32,
    refused: AtomicBool,
}

/// A request that has begun; ends when dropped.
#[derive(Debug)]
pub(crate) struct Begun<'a> {
    requests: &'a Requests,
    admitted: bool,
}

impl Requests {
    /// Counts a request, whether it may go on or not.
    pub(crate) fn begin(&self) -> Begun<'_> {
        // Both in one order with those of whoever shuts down: either it counts this request, or this
        // request sees that it is refused.
        self.under_way.fetch_add(1, Ordering::SeqCst);
        Begun {
            requests: self,
            admitted: !self.refused.load(Ordering::SeqCst),
        }
    }

    /// Lets in none from now on.
    pub(crate) fn refuse(&self) {
        self.refused.store(true, Ordering::SeqCst);
    }

    pub(crate) fn are_refused(&self) -> bool {
        self.refused.load(Ordering::SeqCst)
    }

    /// How many have begun and not ended.
    pub(crate) fn under_way(&self) -> u32 {
        self.under_way.load(Ordering::SeqCst)
    }
}

impl Begun<'_> {
    /// Whether the request may go on.
    ///
    /// # Errors
    /// If the router was being closed when it began.
    pub(crate) fn admit(&self) -> Result<(), Error> {
        if self.admitted {
            Ok(())
        } else {
            Err(Error::closed())
        }
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        self.requests.under_way.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_let_in_goes_on_and_is_counted_until_it_ends() {
        let requests = Requests::default();
        let early = requests.begin();
        requests.refuse();
        let late = requests.begin();
        assert!(early.admit().is_ok(), "it had begun");
        assert!(late.admit().is_err_and(|error| error.is_closed()));
        drop(late);
        assert_eq!(requests.under_way(), 1);
        drop(early);
        assert_eq!(requests.under_way(), 0);
    }
}
