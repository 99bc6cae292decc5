//! What a router knows, for people and programs.
//!
//! A [`Cluster`] is one look at everything the monitor knows, ready to be serialized: whoever asks
//! costs the nodes nothing. It holds names, positions and durations, and never an address, a user or a
//! password. What is unknown is absent, never zero.

mod report;

pub use self::report::{Cluster, Node, Pool};
