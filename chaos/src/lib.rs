//! Whether a service keeps its sessions' guarantees, judged from outside.
//!
//! Several instances of a notes service run as processes over one real cluster. Sessions hop between
//! them at random and carry nothing but a cookie, or nothing but a header, while servers are delayed,
//! cut off, frozen, killed, promoted, and promoted behind each other's backs, one fault at a time and
//! in pairs. Every request is entered in a history, and the history is judged at the end.
//!
//! The judge knows HTTP and SQL, and nothing of the router: it cannot share its mistakes. What
//! instances say of the nodes dates what they noticed, and accuses them; it excuses a write to an old
//! primary for a moment at most. Which guarantees hold by design is the business of the service's
//! documentation.
#![expect(
    clippy::missing_errors_doc,
    reason = "a run that cannot go on fails with what went wrong"
)]

pub mod checker;
pub mod client;
pub mod clock;
pub mod history;
pub mod instances;
pub mod jar;
pub mod load;
pub mod naive;
pub mod nemesis;
pub mod plan;
pub mod report;
pub mod run;
pub mod service;
pub mod stage;
pub mod times;
pub mod trail;
pub mod watch;

/// What every step of a run returns: the first thing that went wrong.
pub type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// A failure with a message of its own.
pub fn fail<T>(message: impl Into<String>) -> Result<T> {
    Err(message.into().into())
}
