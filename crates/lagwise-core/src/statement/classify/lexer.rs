//! Cuts a text into tokens exactly where PostgreSQL's own scanner cuts it.
//!
//! A classifier that disagrees with the server about where a string or comment ends can be shown one
//! statement while the server runs another. So the rules here are those of the server's `scan.l`,
//! and where they differ between versions or settings, the token says so or is refused.
//!
//! What the tokens mean is not decided here.

use super::name::Name;

/// Cuts one text, once, from left to right.
#[derive(Clone, Debug)]
pub(super) struct Lexer<'a> {
    sql: &'a str,
    at: usize,
    backslash: Backslash,
    /// The first `'..'` that ends elsewhere under the other meaning of a backslash.
    pub(super) ambiguous: Option<usize>,
}

/// What a backslash means in a plain `'..'`: `standard_conforming_strings`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Backslash {
    /// Itself. It is the server's default.
    Letter,
    /// It escapes what follows.
    Escape,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    pub(super) text: &'a str,
    pub(super) at: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A name or keyword without quotes.
    Word,
    /// `".."`
    Quoted,
    /// `U&".."`: the name is not the text between the quotes.
    Unicode,
    /// Any sort of string.
    String,
    /// A number, or a parameter such as `$1`.
    Value,
    Operator,
    /// `::`
    Cast,
    Open,
    Close,
    /// `[`, `]` or `:`
    Punctuation,
    Comma,
    Dot,
    Semicolon,
    End,
    Broken(Broken),
}

/// Why no token can be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// A string does not end.
    String,
    /// A quoted name does not end, or is empty.
    Name,
    /// A comment does not end.
    Comment,
    /// A letter that no token begins with.
    Letter,
    /// A letter that looks like white space, and is that on some servers or on none.
    Blank,
    /// An operator that is longer than any can be.
    Operator,
}

impl Broken {
    /// Whether every server refuses such a text, under the setting that it was cut for.
    pub(super) const fn is_refused(self) -> bool {
        match self {
            Self::String | Self::Name | Self::Comment | Self::Letter => true,
            Self::Blank | Self::Operator => false,
        }
    }

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::String => "a string does not end",
            Self::Name => "a quoted name does not end or is empty",
            Self::Comment => "a comment does not end",
            Self::Letter => "a letter has no meaning in SQL",
            Self::Blank => "a letter only looks like white space",
            Self::Operator => "an operator is too long",
        }
    }
}

/// The server refuses operators of 64 bytes. The limit also bounds how often a byte is looked at.
const LONGEST_OPERATOR: usize = 64;

impl<'a> Lexer<'a> {
    pub(super) const fn new(sql: &'a str, backslash: Backslash) -> Self {
        Self {
            sql,
            at: 0,
            backslash,
            ambiguous: None,
        }
    }

    pub(super) fn token(&mut self) -> Token<'a> {
        let kind = self.skip_gap();
        let start = self.at;
        let kind = kind.map_or_else(Kind::Broken, |()| self.cut());
        Token {
            kind,
            text: self.sql.get(start..self.at).unwrap_or_default(),
            at: start,
        }
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        let at = self.at.saturating_add(ahead);
        self.sql.as_bytes().get(at).copied()
    }

    fn rest(&self) -> &'a [u8] {
        self.sql.as_bytes().get(self.at..).unwrap_or_default()
    }

    fn advance(&mut self, bytes: usize) {
        self.at = self.at.saturating_add(bytes).min(self.sql.len());
    }

    /// Advances by one token and says what it is.
    fn cut(&mut self) -> Kind {
        let Some(first) = self.peek(0) else {
            return Kind::End;
        };
        match (first, self.peek(1)) {
            (b'\'', _) => self.string(self.backslash == Backslash::Escape),
            (b'e' | b'E', Some(b'\'')) => {
                self.advance(1);
                self.string(true)
            }
            (b'b' | b'B' | b'x' | b'X', Some(b'\'')) => {
                self.advance(1);
                self.bits()
            }
            (b'u' | b'U', Some(b'&')) if self.peek(2) == Some(b'\'') => {
                self.advance(2);
                // A server with escapes in plain strings refuses this sort of string.
                self.string(false)
            }
            (b'u' | b'U', Some(b'&')) if self.peek(2) == Some(b'"') => {
                self.advance(2);
                self.quoted(Kind::Unicode)
            }
            (b'"', _) => self.quoted(Kind::Quoted),
            (b'$', _) => self.dollar(),
            (b'0'..=b'9', _) => self.number(),
            (b':', Some(b':')) => {
                self.advance(2);
                Kind::Cast
            }
            _ if is_word_start(first) => self.word(),
            _ if is_operator(first) => self.operator(),
            _ => self.punctuation(first),
        }
    }

    fn punctuation(&mut self, first: u8) -> Kind {
        self.advance(1);
        match first {
            b'(' => Kind::Open,
            b')' => Kind::Close,
            b'[' | b']' | b':' => Kind::Punctuation,
            b',' => Kind::Comma,
            b'.' => Kind::Dot,
            b';' => Kind::Semicolon,
            // Vertical tabs are white space since PostgreSQL 16.
            b'\x0b' => Kind::Broken(Broken::Blank),
            _ => Kind::Broken(Broken::Letter),
        }
    }

    /// Letters, digits, `_` and `$`; every byte outside ASCII is a letter to the server, so also
    /// the white space there. Nobody means that as a name, so it is refused.
    fn word(&mut self) -> Kind {
        let start = self.at;
        let rest = self.rest();
        let is_end = |byte: &u8| !(is_word_start(*byte) || byte.is_ascii_digit() || *byte == b'$');
        let length = rest.iter().position(is_end).unwrap_or(rest.len());
        self.advance(length);
        let text = self.sql.get(start..self.at).unwrap_or_default();
        if !text.is_ascii() && text.chars().any(is_blank) {
            return Kind::Broken(Broken::Blank);
        }
        Kind::Word
    }

    /// The digits of a number and its point. What follows, such as `e10` or `_000`, is a token of
    /// its own: some servers take `1.for` for a number and a keyword.
    fn number(&mut self) -> Kind {
        self.digits();
        if self.peek(0) == Some(b'.') && self.peek(1) != Some(b'.') {
            self.advance(1);
            self.digits();
        }
        Kind::Value
    }

    fn digits(&mut self) -> Kind {
        let rest = self.rest();
        let is_end = |byte: &u8| !byte.is_ascii_digit();
        self.advance(rest.iter().position(is_end).unwrap_or(rest.len()));
        Kind::Value
    }

    /// `$1`, or `$tag$..$tag$`.
    fn dollar(&mut self) -> Kind {
        let rest = self.rest();
        let after = rest.get(1..).unwrap_or_default();
        if after.first().is_some_and(u8::is_ascii_digit) {
            self.advance(1);
            return self.digits();
        }
        let is_end = |byte: &u8| !(is_word_start(*byte) || byte.is_ascii_digit());
        let length = after.iter().position(is_end).unwrap_or(after.len());
        let starts = after.first().is_some_and(|first| !first.is_ascii_digit());
        if !starts || after.get(length) != Some(&b'$') {
            self.advance(1);
            return Kind::Broken(Broken::Letter);
        }
        let quote = rest.get(..length.saturating_add(2)).unwrap_or_default();
        self.advance(quote.len());
        // A comparison costs no more than what lies before the next `$`, so this is linear.
        while let Some(next) = self.rest().iter().position(|byte| *byte == b'$') {
            self.advance(next);
            if self.rest().starts_with(quote) {
                self.advance(quote.len());
                return Kind::String;
            }
            self.advance(1);
        }
        Kind::Broken(Broken::String)
    }

    /// The bytes of an operator up to a comment, without a `+` or `-` at its end that is not its.
    fn operator(&mut self) -> Kind {
        let rest = self.rest();
        let mut length = 0;
        let mut keeps_sign = false;
        while let Some(byte) = rest.get(length).copied().filter(|byte| is_operator(*byte)) {
            let next = rest.get(length.saturating_add(1));
            if matches!((byte, next), (b'-', Some(b'-')) | (b'/', Some(b'*'))) {
                break;
            }
            keeps_sign |= b"~!@#^&|`?%".contains(&byte);
            length = length.saturating_add(1);
            if length == LONGEST_OPERATOR {
                return Kind::Broken(Broken::Operator);
            }
        }
        let signs_last = |length: usize| matches!(rest.get(length), Some(b'+' | b'-'));
        while length > 1 && !keeps_sign && signs_last(length.saturating_sub(1)) {
            length = length.saturating_sub(1);
        }
        self.advance(length);
        Kind::Operator
    }

    fn quoted(&mut self, kind: Kind) -> Kind {
        self.advance(1);
        let start = self.at;
        while let Some(next) = self.rest().iter().position(|byte| *byte == b'"') {
            self.advance(next);
            if self.peek(1) == Some(b'"') {
                self.advance(2);
                continue;
            }
            let is_empty = self.at == start;
            self.advance(1);
            let empty = Kind::Broken(Broken::Name);
            return if is_empty { empty } else { kind };
        }
        Kind::Broken(Broken::Name)
    }

    /// `B'..'` or `X'..'`, in which nothing is escaped.
    fn bits(&mut self) -> Kind {
        self.advance(1);
        while let Some(length) = self.rest().iter().position(|byte| *byte == b'\'') {
            self.advance(length);
            if self.ends_here() {
                return Kind::String;
            }
            self.advance(1);
        }
        Kind::Broken(Broken::String)
    }

    /// From the opening quote to the last one, also over lines.
    fn string(&mut self, escapes: bool) -> Kind {
        self.advance(1);
        while let Some(next) = self.rest().iter().position(|byte| b"'\\".contains(byte)) {
            self.advance(next);
            match (self.peek(0), self.peek(1)) {
                (Some(b'\''), Some(b'\'')) => self.advance(2),
                (Some(b'\''), _) if self.ends_here() => return Kind::String,
                (Some(b'\''), _) => self.advance(1),
                (_, Some(b'\'')) if !escapes => {
                    self.ambiguous = self.ambiguous.or(Some(self.at));
                    self.advance(1);
                }
                // Whether it escapes or not, two backslashes leave the quote behind them alone.
                (_, Some(b'\\')) => self.advance(2),
                (_, Some(_)) if escapes => self.advance(2),
                _ => self.advance(1),
            }
        }
        Kind::Broken(Broken::String)
    }

    /// Advances behind a quote that ends a string, or to the quote that continues it in another
    /// line. Says whether it ended.
    fn ends_here(&mut self) -> bool {
        self.advance(1);
        let mut ahead = self.clone();
        let mut lines = false;
        loop {
            match ahead.peek(0) {
                Some(b'\n' | b'\r') => {
                    lines = true;
                    ahead.advance(1);
                }
                Some(b' ' | b'\t' | b'\x0c') => ahead.advance(1),
                Some(b'-') if ahead.peek(1) == Some(b'-') => ahead.skip_line(),
                Some(b'\'') if lines => {
                    self.at = ahead.at;
                    return false;
                }
                _ => return true,
            }
        }
    }

    /// Skips white space and comments.
    fn skip_gap(&mut self) -> Result<(), Broken> {
        loop {
            match (self.peek(0), self.peek(1)) {
                (Some(b' ' | b'\t' | b'\n' | b'\r' | b'\x0c'), _) => self.advance(1),
                (Some(b'-'), Some(b'-')) => self.skip_line(),
                (Some(b'/'), Some(b'*')) => self.skip_comment()?,
                _ => return Ok(()),
            }
        }
    }

    fn skip_line(&mut self) {
        let rest = self.rest();
        let end = rest.iter().position(|byte| b"\n\r".contains(byte));
        self.advance(end.unwrap_or(rest.len()));
    }

    /// Comments nest.
    fn skip_comment(&mut self) -> Result<(), Broken> {
        self.advance(2);
        let mut depth = 1_usize;
        while depth > 0 {
            let (bytes, inside) = match (self.peek(0), self.peek(1)) {
                (Some(b'/'), Some(b'*')) => (2, depth.saturating_add(1)),
                (Some(b'*'), Some(b'/')) => (2, depth.saturating_sub(1)),
                (Some(_), _) => (1, depth),
                (None, _) => return Err(Broken::Comment),
            };
            self.advance(bytes);
            depth = inside;
        }
        Ok(())
    }
}

const fn is_word_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || !byte.is_ascii()
}

const fn is_operator(byte: u8) -> bool {
    matches!(
        byte,
        b'~' | b'!'
            | b'@'
            | b'#'
            | b'^'
            | b'&'
            | b'|'
            | b'`'
            | b'?'
            | b'+'
            | b'-'
            | b'*'
            | b'/'
            | b'%'
            | b'<'
            | b'>'
            | b'='
    )
}

/// White space, or a mark without any width.
fn is_blank(letter: char) -> bool {
    letter.is_whitespace() || matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}')
}

/// The names in a text, each with the part before it and the last dot, if there is one.
pub(in crate::statement) fn names_in(
    sql: &str,
) -> impl Iterator<Item = (Option<Name<'_>>, Name<'_>)> {
    let mut lexer = Lexer::new(sql, Backslash::Letter);
    let mut before: Option<Name<'_>> = None;
    let mut is_dot = false;
    core::iter::from_fn(move || {
        loop {
            let token = lexer.token();
            match token.kind {
                Kind::Word | Kind::Quoted => {
                    let name = Name::new(token.text);
                    let schema = before.replace(name).filter(|_| is_dot);
                    is_dot = false;
                    return Some((schema, name));
                }
                Kind::Dot => is_dot = true,
                Kind::End | Kind::Broken(_) => return None,
                _ => (before, is_dot) = (None, false),
            }
        }
    })
}
