//! placeholder, being written
use super::{Catalog, Verdict};
use core::fmt;

/// What a text does, and what in it says so.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Classification<'a> {
    /// Where it may run.
    pub verdict: Verdict,
    /// The token or name that decided it.
    pub because: Because<'a>,
    /// Where in the text that is: a byte offset.
    pub at: usize,
    /// Whether the text begins a transaction and does not end it.
    pub leaves_transaction_open: bool,
}

/// What decided a verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Because<'a> {
    /// Nothing in it does anything but read.
    OnlyReads,
    /// It opens with a command that writes, or that is not known to only read.
    Command(&'a str),
}

impl fmt::Display for Because<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OnlyReads => f.write_str("it only reads"),
            Self::Command(word) => write!(f, "{word} is not known to only read"),
        }
    }
}

/// Tells from its text where a statement may run.
#[must_use]
pub fn classify<'a>(sql: &'a str, _catalog: &Catalog) -> Classification<'a> {
    let read = sql
        .trim_start()
        .get(..6)
        .is_some_and(|w| w.eq_ignore_ascii_case("select"));
    Classification {
        verdict: if read { Verdict::Read } else { Verdict::Write },
        because: if read {
            Because::OnlyReads
        } else {
            Because::Command(sql)
        },
        at: 0,
        leaves_transaction_open: false,
    }
}
