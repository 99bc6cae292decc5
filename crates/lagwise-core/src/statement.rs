//! What a statement needs of the server that answers it, told from its text.
//!
//! The rule is an allow-list. [`classify()`] says [`Verdict::Read`] only when everything in the text is
//! known to be harmless on *another server in recovery*; what it does not know goes to the primary.
//! What the text cannot show, such as a user's function that writes, comes from a [`Catalog`].
//! Comments never steer a verdict.
//!
//! Where a statement runs and what happens if a server refuses it is not decided here.

mod cache;
mod catalog;
mod classify;

pub use cache::Verdicts;
pub use catalog::{Catalog, CatalogObject, NameError, Overrides, RelationKind};
pub use classify::{Because, Classification, Redacted, classify};

/// Where a statement may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a statement may go to a replica, must go to the primary, or is bound to a connection"
)]
pub enum Verdict {
    /// It only reads, and any server in recovery gives the same answer.
    Read,
    /// It writes, locks, acts on one server, or may do so: it goes to the primary.
    Write,
    /// It reads or changes what belongs to one connection: settings, prepared statements, cursors,
    /// temporary tables, advisory locks, an open transaction. It goes to the primary, and means
    /// something only on a connection that the caller holds.
    Session,
}

impl Verdict {
    /// `read`, `write` or `session`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Session => "session",
        }
    }
}

impl core::fmt::Display for Verdict {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.as_str())
    }
}
