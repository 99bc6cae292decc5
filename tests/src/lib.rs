//! What lagwise promises, checked on real clusters.
//!
//! The laws are in `tests/laws`; here is what several of them need: a cluster with a router over it,
//! a load that remembers when each commit was acknowledged, a checker of what sessions saw, and
//! waits for conditions. Nothing here decides what is right: that stands in the tests.
#![expect(
    clippy::missing_errors_doc,
    reason = "a test that cannot go on fails with what went wrong"
)]

pub mod checker;
pub mod cluster;
pub mod counters;
pub mod ear;
pub mod observe;
pub mod readers;
pub mod service;
pub mod statements;
pub mod workload;

/// What a test and all its parts return: the first thing that went wrong.
pub type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// A failure with a message of its own.
pub fn fail<T>(message: impl Into<String>) -> Outcome<T> {
    Err(message.into().into())
}
