//! What the state that threads share is made of.
//!
//! Where the order of what several threads do matters, a module takes its pointers, counts, locks and
//! wakings from here alone. The crate `loom` puts a model of each in the place of this file, and runs
//! the very same modules in every order that there is. Nothing is decided here.

pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
pub(crate) use std::sync::{Mutex, MutexGuard};

/// Holds the one `Arc` that everybody loads.
pub(crate) use arc_swap::ArcSwap as Pointer;
/// Wakes whoever waits for a change.
pub(crate) use tokio::sync::Notify;
/// Sees the version change.
pub(crate) use tokio::sync::watch::Receiver as Versions;
/// Changes the version.
pub(crate) use tokio::sync::watch::Sender as Version;
