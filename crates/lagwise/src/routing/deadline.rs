//! How long a read may take.
//!
//! A server that hangs, a lock that is held, a network that swallows: nothing of it ends by itself, so
//! whoever waits for an answer waits for the read's deadline as well. What is then under way is cut:
//! its connection cannot be used again, because the answer may still come.

use lagwise_core::Instant;

use crate::clock;
use crate::error::Error;
use crate::observe;

/// Waits until a deadline has passed; forever where there is none.
pub(crate) async fn passed(deadline: Instant) {
    if deadline == Instant::NEVER {
        std::future::pending::<()>().await;
    } else {
        // Boxed: few reads have one, and all would carry a place for it.
        Box::pin(tokio::time::sleep(clock::until(deadline))).await;
    }
}

/// The end of a read whose deadline has passed.
pub(super) fn time_out() -> Error {
    observe::refused("deadline");
    Error::timed_out()
}

/// What a statement ends with that was cut at its deadline.
pub(crate) fn timed_out() -> sqlx::Error {
    Error::timed_out().into()
}

/// Whether a statement was cut at its deadline.
pub(super) fn is_timed_out(error: &sqlx::Error) -> bool {
    Error::behind(error).is_some_and(Error::is_timed_out)
}
