//! What the state that threads share is made of.
//!
//! It stands here by names of its own, so that the crate `loom` can put a model in its place and run the
//! memory of verdicts in every order that there is. Nothing is decided here, and there is no lock.

pub(crate) use core::sync::atomic::{AtomicU64, Ordering};
