//! Shows a statement without what may be private in it.
//!
//! A log must say which statement it speaks of, and a statement's literals are somebody's data. Its
//! words are the application's own. So words and operators are shown, and everything else that
//! carries a value is a question mark; comments are left out.

use core::fmt::{self, Write as _};

use super::lexer::{Backslash, Kind, Lexer};

/// A statement's text, to be printed without literals and comments, in one line of bounded length.
///
/// ```
/// use lagwise_core::Redacted;
///
/// let sql = "select * from notes -- hers\n where author = 'Ada' and id > 7";
/// assert_eq!(
///     Redacted::new(sql).to_string(),
///     "select * from notes where author = ? and id > ?"
/// );
/// ```
#[derive(Clone, Copy)]
pub struct Redacted<'a>(&'a str);

impl<'a> Redacted<'a> {
    /// Shows `sql` without what may be private in it.
    #[must_use]
    pub const fn new(sql: &'a str) -> Self {
        Self(sql)
    }
}

/// More than this of a statement tells nobody more.
const MOST_BYTES: usize = 300;

impl fmt::Display for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lexer = Lexer::new(self.0, Backslash::Letter);
        let mut left = MOST_BYTES;
        let mut end = 0;
        let mut value = false;
        loop {
            let token = lexer.token();
            // Behind a number without a gap is the rest of it, as in `1e3`.
            let rest = value && token.at == end && token.kind == Kind::Word;
            value = rest || token.kind == Kind::Value;
            let text = match token.kind {
                Kind::End => return Ok(()),
                // Where a string ends differs with a setting, so nothing behind it is sure.
                Kind::Broken(_) => return f.write_char('…'),
                _ if lexer.ambiguous.is_some() => return f.write_char('…'),
                _ if rest => "",
                Kind::String | Kind::Value => "?",
                _ => token.text,
            };
            if token.at > end && end > 0 {
                f.write_char(' ')?;
            }
            end = token.at.saturating_add(token.text.len());
            let shown = text.chars().take(left);
            shown
                .map(printable)
                .try_for_each(|letter| f.write_char(letter))?;
            left = left.saturating_sub(text.len());
            if left == 0 {
                return f.write_char('…');
            }
        }
    }
}

/// A letter that no terminal and no log takes for an order.
fn printable(letter: char) -> char {
    if letter.is_control() { '?' } else { letter }
}

impl fmt::Debug for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::{String, ToString as _};

    use super::*;

    fn redacted(sql: &str) -> String {
        Redacted::new(sql).to_string()
    }

    #[test]
    fn words_are_shown_and_values_are_not() {
        for (sql, shown) in [
            (
                "select 'a', E'b\\'c', $$d$$, $t$e$t$, 1.5e3",
                "select ?, ?, ?, ?, ?",
            ),
            ("select U&'\\0061', B'1', x'ff'", "select ?, ?, ?"),
            ("select $1::int", "select ?::int"),
            ("/* secret */ select 1 -- secret", "select ?"),
            ("select \"Name\"\n\tfrom  t", "select \"Name\" from t"),
            ("select \"a\u{1b}[2J\" from t", "select \"a?[2J\" from t"),
        ] {
            assert_eq!(redacted(sql), shown, "{sql}");
        }
    }

    #[test]
    fn what_cannot_be_cut_into_words_is_not_shown() {
        assert_eq!(redacted("select 'secret"), "select…");
        assert_eq!(
            redacted("select 1; select 'x\\', secret, '"),
            "select ?; select…"
        );
        assert_eq!(redacted(""), "");
    }

    #[test]
    fn a_long_text_is_cut() {
        let shown = redacted(&"select ".repeat(1000));
        assert!(shown.ends_with('…'));
        assert!(shown.chars().count() < 400, "{shown}");
    }
}
