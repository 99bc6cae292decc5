//! A timer that is set again and again, and touched only when it has to ring sooner.
//!
//! Each timer that becomes the earliest one of a runtime wakes the thread that waits for timers, only to
//! have it wait for a shorter time. Most of what the monitor waits for comes long before its deadline, so
//! an alarm that rings too early, now and then, costs less than one that is set for each wait.

use std::pin::Pin;
use std::time::Duration;

use tokio::time::{Sleep, sleep};

/// A timer for one wait after the other.
pub(super) struct Alarm(Pin<Box<Sleep>>);

impl Alarm {
    pub(super) fn new() -> Self {
        Self(Box::pin(sleep(Duration::ZERO)))
    }

    /// Waits for so long, never less. A dropped call has no effect.
    pub(super) async fn after(&mut self, timeout: Duration) {
        let due = sleep(timeout).deadline();
        if self.0.is_elapsed() || self.0.deadline() > due {
            self.0.as_mut().reset(due);
        }
        loop {
            self.0.as_mut().await;
            if self.0.deadline() >= due {
                return;
            }
            self.0.as_mut().reset(due);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{Future, pending, ready};

    use tokio::time::advance;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// What comes of a future within so long; none where it takes longer.
    async fn limit<T>(
        alarm: &mut Alarm,
        timeout: Duration,
        future: impl Future<Output = T>,
    ) -> Option<T> {
        tokio::select! {
            biased;
            done = future => Some(done),
            () = alarm.after(timeout) => None,
        }
    }

    /// Whether a wait that began now would have ended after so long, and not before.
    async fn lasts(alarm: &mut Alarm, timeout: Duration) {
        let began = sleep(Duration::ZERO).deadline();
        assert_eq!(limit(alarm, timeout, pending::<()>()).await, None);
        let took = sleep(Duration::ZERO).deadline() - began;
        assert!(took >= timeout, "{took:?} of {timeout:?}");
        assert!(took <= timeout + 2 * MS, "{took:?} of {timeout:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn every_wait_has_its_whole_length() {
        let mut alarm = Alarm::new();
        for length in [100, 500, 20, 500, 500, 1] {
            lasts(&mut alarm, MS * length).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_after_one_that_was_not_needed_has_its_whole_length() {
        let mut alarm = Alarm::new();
        for (unneeded, then) in [(500, 500), (500, 100), (100, 500)] {
            assert_eq!(limit(&mut alarm, MS * unneeded, ready(7)).await, Some(7));
            advance(MS * 90).await;
            lasts(&mut alarm, MS * then).await;
            let late = sleep(MS * 90);
            assert_eq!(limit(&mut alarm, MS * unneeded, late).await, Some(()));
            lasts(&mut alarm, MS * then).await;
        }
    }
}
