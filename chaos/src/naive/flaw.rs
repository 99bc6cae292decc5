//! The mistakes that hand-made session tokens are known for, each on request.
//!
//! A checker is worth what it catches. Each flaw changes one decision of the service and no more; which
//! scenario shows it stands in `tests/flaws.rs`.

use clap::ValueEnum;

/// One mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Flaw {
    /// Positions are compared as text, so that 99 is after 100.
    TextOrder,
    /// A replica has to be past the token, not at it: on an idle cluster none ever is.
    StrictlyAfter,
    /// The token is taken before the commit, whose record comes after it.
    BeforeCommit,
    /// A handler that fails after its write sends no token.
    DroppedOnError,
    /// Only writes raise the token.
    NotFromReads,
    /// The primary is kept while it answers, whatever the timelines say.
    OldPrimary,
    /// Positions of a lost timeline are taken for ones of the present.
    TimelineIgnored,
    /// No token but a time: reads stay on the primary for a while since the write's start, not its end.
    StickyFromStart,
    /// Lag is the age of the last replayed commit: on an idle primary it grows.
    LagOfLastCommit,
    /// The same, but none if all that was received is replayed: a stream that stopped looks fresh.
    NoLagIfReplayed,
}
