//! What the files that are compiled here take from the router: the same as there.

pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

pub(crate) use arc_swap::ArcSwap as Pointer;
/// Wakes whoever waits for a change.
pub(crate) use tokio::sync::Notify;
pub(crate) use tokio::sync::watch::Receiver as Versions;
pub(crate) use tokio::sync::watch::Sender as Version;
