//! What [`publish`](crate::publish) is made of: a pointer that is replaced as a whole, and a number
//! that can be waited for.
//!
//! They stand here by names of their own, so that the protocol over them can be checked with a model of
//! each in its place.

/// Holds the one `Arc` that everybody loads.
pub(crate) use arc_swap::ArcSwap as Pointer;
/// Sees the version change.
pub(crate) use tokio::sync::watch::Receiver as Versions;
/// Changes the version.
pub(crate) use tokio::sync::watch::Sender as Version;
