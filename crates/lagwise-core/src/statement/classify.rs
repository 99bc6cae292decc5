//! Tells from the text of a statement whether any server may answer it.
//!
//! It is not a parser. It cuts the text into tokens as the server does and knows which tokens can
//! do harm; a text that no server accepts may get any verdict, since it does nothing anywhere. The
//! rule for everything else is that what is not known to be harmless is a write:
//!
//! - a statement is a read if it is a query, or shows or sends the rows of one, and
//! - no row is locked or changed in it, no table made, and
//! - every function that is called is known to only read, on every server alike, and
//! - nothing is named that a catalog, or the server itself, marks as other.
//!
//! One pass, no recursion, no allocation; the time is in proportion to the length of the text.
//! What the names stand for is `catalog`'s business.

mod because;
mod calls;
mod command;
mod effects;
mod keywords;
mod lexer;
mod name;
mod names;
mod query;
mod redact;
mod scan;
mod transaction;

pub use because::Because;
pub use redact::Redacted;

pub(in crate::statement) use effects::{Effect, Origin, is_harmless, of_function};
pub(in crate::statement) use lexer::names_in;
pub(in crate::statement) use name::{Key, Name};

use self::lexer::Backslash;
use self::scan::{Outcome, Scan};
use super::{Catalog, Verdict};

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
    ///
    /// It is not known of a text that is too long to be looked through, unless that is the first
    /// thing it does.
    pub leaves_transaction_open: bool,
}

/// A text longer than this is not looked through. It takes about a millisecond to look through one
/// of this length, and texts of reads are a thousand times shorter.
const LONGEST: usize = 1024 * 1024;

/// Tells from its text where a statement may run.
///
/// The text is that of one or of several statements. Of several the worst counts: a write, then
/// what belongs to a connection, then a read.
///
/// ```
/// use lagwise_core::{Catalog, Verdict, classify};
///
/// let catalog = Catalog::built_in();
/// assert_eq!(classify("select 'for update'", &catalog).verdict, Verdict::Read);
///
/// let found = classify("select nextval('tickets')", &catalog);
/// assert_eq!(found.verdict, Verdict::Write);
/// assert_eq!(found.because.to_string(), "nextval writes");
/// assert_eq!(found.at, 7);
/// ```
#[must_use]
pub fn classify<'a>(sql: &'a str, catalog: &Catalog) -> Classification<'a> {
    if sql.len() > LONGEST {
        return too_long(sql, catalog);
    }
    look_through(sql, catalog)
}

fn look_through<'a>(sql: &'a str, catalog: &Catalog) -> Classification<'a> {
    let Outcome {
        found, ambiguous, ..
    } = Scan::run(sql, catalog, Backslash::Letter);
    let Some(at) = ambiguous.filter(|_| found.verdict != Verdict::Write) else {
        return found;
    };
    // The server may have been told that a backslash escapes a quote. Then the same text is cut
    // elsewhere, and has to be harmless as well, unless it is nothing that the server would accept.
    let Outcome {
        found: other,
        is_refused,
        ..
    } = Scan::run(sql, catalog, Backslash::Escape);
    if is_refused || other.verdict == Verdict::Read || other.verdict == found.verdict {
        return found;
    }
    Classification {
        verdict: other.verdict,
        because: Because::BackslashQuote,
        at,
        leaves_transaction_open: found.leaves_transaction_open || other.leaves_transaction_open,
    }
}

/// It goes to the primary, whatever it does. But a script that begins a transaction and ends it may
/// run, and only a look at all of it tells.
fn too_long<'a>(sql: &'a str, catalog: &Catalog) -> Classification<'a> {
    let is_letter = |letter: char| letter.is_ascii_alphabetic();
    let word = sql.trim_start().split(|letter| !is_letter(letter)).next();
    let is = |begin: &str| word.is_some_and(|word| begin.eq_ignore_ascii_case(word));
    let begins = is("begin") || is("start");
    Classification {
        verdict: Verdict::Write,
        because: Because::TooLong,
        at: sql.floor_char_boundary(LONGEST),
        leaves_transaction_open: begins && look_through(sql, catalog).leaves_transaction_open,
    }
}
