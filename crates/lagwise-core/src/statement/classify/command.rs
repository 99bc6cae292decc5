//! What the command of a statement says, and the name behind one that writes.
//!
//! A command tells most of it. One that writes is bound to a connection if what it writes is: a
//! temporary table, by `TEMP` or by its schema.

use super::calls::is_temporary;
use super::keywords::Keyword;
use super::lexer::{Kind, Token};
use super::name::Name;
use super::scan::{Class, Form, Phase, Prev, Scan};
use super::{Because, Verdict};

impl<'a> Scan<'a, '_> {
    /// Looks at the first word of a statement, or of one in parentheses or behind `EXPLAIN`.
    pub(super) fn command(&mut self, token: &Token<'a>, word: &[u8]) {
        let is_nested = self.frames.depth() > 0;
        match word {
            b"select" | b"values" | b"table" | b"with" => {
                self.phase = Phase::Query;
                self.query_token(token);
            }
            b"insert" | b"update" | b"delete" | b"merge" | b"create" | b"declare"
                if self.only_explains() =>
            {
                self.phase = Phase::Query;
                self.query_token(token);
            }
            _ if is_nested => self.unknown(token.text, token.at),
            b"explain" if self.opening.form == Form::Plain => {
                self.opening.form = Form::Explain;
                self.opening.is_first = true;
                self.phase = Phase::Explain;
            }
            b"copy" if self.opening.form == Form::Plain => {
                self.opening.form = Form::Copy;
                self.opening.is_first = true;
                self.phase = Phase::CopyTable;
            }
            b"alter" | b"create" | b"delete" | b"drop" | b"insert" | b"truncate" | b"update" => {
                self.written = Prev {
                    class: Class::Start,
                    text: token.text,
                    at: token.at,
                };
                self.opening.is_first = true;
                self.phase = Phase::Object;
            }
            _ if is_of_the_connection(word) => {
                let because = Because::SessionCommand(token.text);
                self.found(Verdict::Session, because, token.at);
                self.phase = Phase::Rest;
            }
            _ => self.unknown(token.text, token.at),
        }
        if self.verdict == Verdict::Write {
            self.phase = Phase::Rest;
        }
        self.prev.text = token.text;
    }

    /// Between a command that writes and the name of what it writes there are only keywords.
    pub(super) fn object(&mut self, token: &Token<'a>) {
        let key = Name::new(token.text).key();
        let word = key.as_bytes();
        let is_name = matches!(token.kind, Kind::Word | Kind::Quoted);
        if is_name && is_temporary(word) {
            let because = Because::TemporarySchema(token.text);
            self.found(Verdict::Session, because, token.at);
            self.phase = Phase::Rest;
        } else if token.kind != Kind::Word || Keyword::of(word).is_none() {
            self.unknown(self.written.text, self.written.at);
        } else if self.opening.is_first && self.body.is_create {
            self.create(token, word);
        }
    }

    /// `CREATE TEMP ..`, which `CREATE TABLE temp` is not.
    fn create(&mut self, token: &Token<'a>, word: &[u8]) {
        match word {
            b"or" | b"replace" | b"local" | b"global" => {}
            b"temp" | b"temporary" => {
                let because = Because::SessionCommand(token.text);
                self.found(Verdict::Session, because, token.at);
                self.phase = Phase::Rest;
            }
            _ => self.opening.is_first = false,
        }
    }
}

/// Commands that read or change what belongs to the connection. `SHOW` is among them: it tells of
/// the settings of whatever connection it happens to run on.
fn is_of_the_connection(command: &[u8]) -> bool {
    matches!(
        command,
        b"abort"
            | b"begin"
            | b"close"
            | b"commit"
            | b"deallocate"
            | b"declare"
            | b"discard"
            | b"end"
            | b"execute"
            | b"fetch"
            | b"listen"
            | b"load"
            | b"lock"
            | b"move"
            | b"prepare"
            | b"release"
            | b"reset"
            | b"rollback"
            | b"savepoint"
            | b"set"
            | b"show"
            | b"start"
            | b"unlisten"
    )
}
