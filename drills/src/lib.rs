//! What callers see on the days on which things fail, with lagwise and with what else people use.
//!
//! Each drill runs on a real cluster, once for each contender, with the same load and the same faults
//! at the same moments of the same script, one after the other: only figures of one run are compared.
//! What is counted is counted by the callers and the servers, and not by the one who is judged.
//!
//! Whether lagwise keeps its laws in general is the business of `tests` and `chaos`.
#![expect(
    clippy::missing_errors_doc,
    reason = "a drill that cannot go on fails with what went wrong"
)]

pub mod clock;
pub mod contender;
pub mod drill;
pub mod load;
pub mod report;
pub mod stage;
pub mod tally;

/// What every step of a drill returns: the first thing that went wrong.
pub type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// A failure with a message of its own.
pub fn fail<T>(message: impl Into<String>) -> Result<T> {
    Err(message.into().into())
}
