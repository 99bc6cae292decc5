//! What a verdict is based on, in words for people.
//!
//! A router that sends a read to the primary must be able to say why, with the name that made it
//! do so. Texts may be hostile: what is shown of one is short, and without control characters.

use core::fmt::{self, Write as _};

use crate::statement::{RelationKind, Verdict};

/// What decided a verdict. Names and words are as the text spells them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Because<'a> {
    /// Nothing in it does anything but read.
    OnlyReads,
    /// It opens with a command that writes, or that is not known to only read.
    Command(&'a str),
    /// It opens with a command that is about the connection.
    SessionCommand(&'a str),
    /// It locks the rows that it reads: the first word behind `FOR`.
    RowLock(&'a str),
    /// `SELECT .. INTO` makes a table.
    Into,
    /// A query inserts, updates, deletes or merges rows.
    ChangesRows(&'a str),
    /// `COPY` reads from, or writes to, something else than the connection.
    CopyElsewhere,
    /// It calls a function of the server or of a contrib extension that writes.
    Writes(&'a str),
    /// It calls such a function that takes a lock which replicas refuse.
    Locks(&'a str),
    /// It calls a function, or names a view, that is about the connection.
    OfConnection(&'a str),
    /// It calls a function, or names a view, that acts on one server or tells about that one.
    OfServer(&'a str),
    /// It calls a function that runs what it is given as text: a query, or what a name stands for.
    RunsText(&'a str),
    /// It calls a function that the catalog says may write.
    WritingFunction(&'a str),
    /// It calls a function that neither the server nor the catalog knows.
    UnknownFunction(&'a str),
    /// It names a table that a replica cannot read, or whose rows are not its own.
    Relation {
        /// The table.
        name: &'a str,
        /// What it is.
        kind: RelationKind,
    },
    /// It names a view whose definition does not only read.
    View {
        /// The view.
        name: &'a str,
        /// The verdict on its definition.
        verdict: Verdict,
    },
    /// It names a relation that the application wants on the primary.
    Override(&'a str),
    /// It names a type whose input, output or cast may write.
    WritingType(&'a str),
    /// It uses an operator whose function may write.
    WritingOperator(&'a str),
    /// It names a schema of temporary tables.
    TemporarySchema(&'a str),
    /// It holds a name in `U&".."`, which is not looked at.
    UnicodeName,
    /// It holds a string that ends elsewhere under `standard_conforming_strings = off`, and with
    /// that setting it does not only read.
    BackslashQuote,
    /// It cannot be cut into tokens, and this is why.
    Broken(&'static str),
    /// It has a parenthesis too few or too many.
    Parentheses,
    /// Its parentheses are nested too deeply to follow.
    TooDeep,
    /// It is too long to be looked through.
    TooLong,
}

impl fmt::Display for Because<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::OnlyReads => f.write_str("it only reads"),
            Self::Command(word) => write!(f, "{} is not known to only read", Shown(word)),
            Self::SessionCommand(word) => write!(f, "{} belongs to the connection", Shown(word)),
            Self::RowLock(word) => {
                // As the word behind it is spelled.
                let small = word.starts_with(|letter: char| letter.is_ascii_lowercase());
                let before = if small { "for" } else { "FOR" };
                write!(f, "{before} {} locks rows", Shown(word))
            }
            Self::Into => f.write_str("INTO makes a table"),
            Self::ChangesRows(word) => write!(f, "{} changes rows", Shown(word)),
            Self::CopyElsewhere => f.write_str("COPY does not only send rows to the client"),
            Self::Writes(name) => write!(f, "{} writes", Shown(name)),
            Self::Locks(name) => write!(f, "{} takes a lock that replicas refuse", Shown(name)),
            Self::OfConnection(name) | Self::TemporarySchema(name) => {
                write!(f, "{} belongs to the connection", Shown(name))
            }
            Self::OfServer(name) => write!(f, "{} is about one server", Shown(name)),
            Self::RunsText(name) => write!(f, "{} runs what it is given as text", Shown(name)),
            Self::WritingFunction(name) => write!(f, "{} may write", Shown(name)),
            Self::UnknownFunction(name) => write!(f, "{} is not known to only read", Shown(name)),
            Self::Relation { name, kind } => write!(f, "{} is {kind}", Shown(name)),
            Self::View { name, verdict } => {
                let is = match verdict {
                    Verdict::Read => "that only reads",
                    Verdict::Write => "that is not known to only read",
                    Verdict::Session => "of what belongs to the connection",
                };
                write!(f, "{} is a view {is}", Shown(name))
            }
            Self::Override(name) => write!(f, "{} is declared to write", Shown(name)),
            Self::WritingType(name) => write!(f, "the type {} may write", Shown(name)),
            Self::WritingOperator(name) => write!(f, "the operator {} may write", Shown(name)),
            Self::UnicodeName => f.write_str("a name is written with U& escapes"),
            Self::BackslashQuote => {
                f.write_str("a string ends elsewhere under standard_conforming_strings = off")
            }
            Self::Broken(why) => f.write_str(why),
            Self::Parentheses => f.write_str("its parentheses do not match"),
            Self::TooDeep => f.write_str("its parentheses are nested too deeply"),
            Self::TooLong => f.write_str("it is too long to be looked through"),
        }
    }
}

impl fmt::Display for RelationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Foreign => "a foreign table",
            Self::Sequence => "a sequence",
            Self::Unlogged => "an unlogged table",
        })
    }
}

/// A piece of a text that is not trusted: cut, and without what a terminal would act on.
struct Shown<'a>(&'a str);

/// Longer than this, no name means anything to the server.
const LONGEST: usize = 64;

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut letters = self.0.chars();
        for letter in letters.by_ref().take(LONGEST) {
            let is_bidi = matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
                || matches!(letter, '\u{2060}'..='\u{2069}' | '\u{feff}');
            if letter.is_control() || is_bidi {
                write!(f, "{}", letter.escape_unicode())?;
            } else {
                f.write_char(letter)?;
            }
        }
        if letters.next().is_some() {
            f.write_str("..")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn a_hostile_name_is_shown_short_and_without_control() {
        let shown = Because::UnknownFunction("\"a\r\n\u{1b}[31m\u{202e}\"").to_string();
        assert_eq!(
            shown,
            "\"a\\u{d}\\u{a}\\u{1b}[31m\\u{202e}\" is not known to only read"
        );
        let long = Because::Command(&"x".repeat(1_000_000)).to_string();
        assert!(long.len() < 100, "{}", long.len());
    }
}
