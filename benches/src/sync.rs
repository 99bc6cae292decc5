//! What the files that are compiled here take from the router: the same as there.

pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

pub(crate) use arc_swap::ArcSwap as Pointer;
pub(crate) use tokio::sync::watch::Receiver as Versions;
pub(crate) use tokio::sync::watch::Sender as Version;
