//! Waits for conditions, each with a deadline.
//!
//! A test that sleeps is either slow or wrong on a slower machine; so everything here asks again
//! and again until the answer is yes, and says at the deadline what it waited for and what the last
//! answer was. Which condition to wait for is the caller's business.

use std::future::Future;
use std::time::Duration;

use crate::clock::Deadline;
use crate::error::{Error, Result};

/// Long enough not to load the machine with questions, short enough not to be felt.
const PAUSE: Duration = Duration::from_millis(5);

/// Asks until the answer is `Some`; an error counts as "not yet" and is told at the deadline.
pub(crate) async fn until<T, F, Answer>(patience: Duration, what: &str, mut ask: F) -> Result<T>
where
    F: FnMut() -> Answer,
    Answer: Future<Output = Result<Option<T>>>,
{
    let deadline = Deadline::after(patience);
    let mut last = None;
    loop {
        // A server that hangs must not make the wait hang with it.
        match tokio::time::timeout(deadline.remaining(), ask()).await {
            Ok(Ok(Some(answer))) => return Ok(answer),
            Ok(Ok(None)) => last = None,
            Ok(Err(error)) => last = Some(error),
            Err(_elapsed) => {}
        }
        if deadline.passed() {
            return Err(late(patience, what, last));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Asks until the answer is `true`.
pub(crate) async fn until_true<F, Answer>(patience: Duration, what: &str, mut ask: F) -> Result<()>
where
    F: FnMut() -> Answer,
    Answer: Future<Output = Result<bool>>,
{
    until(patience, what, || {
        let answer = ask();
        async { Ok(answer.await?.then_some(())) }
    })
    .await
}

fn late(patience: Duration, what: &str, last: Option<Error>) -> Error {
    let message = format!("waited {patience:?} in vain: {what}");
    match last {
        Some(error) => Error::because(message, error),
        None => Error::new(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_wait_that_fails_names_its_condition_and_the_last_error() {
        let patience = Duration::from_millis(20);
        let ask = async || Err(Error::new("refused"));
        let error = until_true(patience, "r1 streams", ask).await.unwrap_err();
        assert_eq!(
            format!("{error:?}"),
            "waited 20ms in vain: r1 streams: refused"
        );
    }

    #[tokio::test]
    async fn a_question_that_hangs_does_not_outlive_the_deadline() {
        let patience = Duration::from_millis(20);
        let ask = async || std::future::pending().await;
        assert!(until_true(patience, "never", ask).await.is_err());
    }
}
