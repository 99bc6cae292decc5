//! The rules inside a query: what locks, what changes rows, and where names begin and end.
//!
//! They look at one token and a little of what came before it. That is enough because SQL marks
//! what matters by its words: a lock by `FOR UPDATE`, a change of rows by `DELETE FROM`, wherever in
//! the query it stands. Words that are labels, behind a dot or `AS`, mark nothing.

use super::lexer::{Kind, Token};
use super::name::Name;
use super::scan::{Class, Prev, Scan, Word};
use super::{Because, Verdict};
use crate::statement::classify::keywords::Keyword;

/// More open parentheses than any statement that people write has.
const DEEPEST: usize = 256;

/// The open parentheses, and what is known of each.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frames {
    depth: usize,
    flags: [u8; DEEPEST],
}

/// A list of `WITH` queries is being read: behind a comma comes the name of another.
pub(super) const WITH_LIST: u8 = 1;
/// An expression can begin right behind the closing parenthesis.
const NO_OPERAND: u8 = 2;
/// `AS` names a type in it.
pub(super) const TYPE: u8 = 4;

impl Default for Frames {
    fn default() -> Self {
        Self {
            depth: 0,
            flags: [0; DEEPEST],
        }
    }
}

impl Frames {
    pub(super) const fn depth(&self) -> usize {
        self.depth
    }

    /// Follows the parentheses of a statement that is not looked through.
    pub(super) fn count(&mut self, kind: Kind) {
        match kind {
            Kind::Open => self.depth = self.depth.saturating_add(1),
            Kind::Close => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
    }

    /// Whether there was room for another one.
    fn open(&mut self, flags: u8) -> bool {
        self.depth = self.depth.saturating_add(1);
        self.flags
            .get_mut(self.depth)
            .map(|place| *place = flags)
            .is_some()
    }

    /// The flags of the innermost one, which is closed; nothing if none is open.
    pub(super) fn close(&mut self) -> Option<u8> {
        let flags = self.flags();
        self.depth = self.depth.checked_sub(1)?;
        Some(flags)
    }

    pub(super) fn flags(&self) -> u8 {
        self.flags.get(self.depth).copied().unwrap_or_default()
    }

    fn set(&mut self, flag: u8, is_set: bool) {
        if let Some(flags) = self.flags.get_mut(self.depth) {
            *flags = if is_set {
                *flags | flag
            } else {
                *flags & !flag
            };
        }
    }
}

/// A name, perhaps of several parts: `a`, `a.b`, `a.b.c`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chain<'a> {
    /// What stands before it.
    pub(super) before: Prev<'a>,
    /// The part before the last.
    pub(super) schema: Option<Name<'a>>,
    /// The last part.
    pub(super) name: Name<'a>,
    pub(super) at: usize,
}

impl Chain<'_> {
    /// Whether the last part of it stands behind a dot, and so is never a keyword.
    pub(super) fn is_behind_dot(&self) -> bool {
        self.schema.is_some() || self.before.class == Class::Dot
    }
}

impl<'a> Scan<'a, '_> {
    /// Looks at one token of a query.
    pub(super) fn query_token(&mut self, token: &Token<'a>) {
        if self.prev.class == Class::Dot && matches!(token.kind, Kind::Word | Kind::Quoted) {
            self.another_part(token);
            return;
        }
        if token.kind != Kind::Dot {
            self.name_ends(token.kind == Kind::Open);
        }
        let class = match token.kind {
            Kind::Word => self.word(token),
            Kind::Quoted => {
                self.changes_rows(None);
                self.name_begins(token);
                Class::Quoted
            }
            Kind::Unicode => self.unicode(token),
            Kind::Open => return self.query_open(token),
            Kind::Close => return self.query_close(token),
            Kind::Comma => Class::Comma(matches!(self.prev.class, Class::Close(_))),
            Kind::Dot => {
                if self.prev.class == Class::Dot {
                    self.chain = None;
                }
                Class::Dot
            }
            Kind::Operator => {
                self.operator(token);
                Class::Operator
            }
            Kind::String | Kind::Value => Class::Value,
            Kind::Cast => Class::Cast,
            _ => Class::Other,
        };
        self.passed(class, token);
    }

    fn passed(&mut self, class: Class, token: &Token<'a>) {
        self.prev = Prev {
            class,
            text: token.text,
            at: token.at,
        };
    }

    fn name_begins(&mut self, token: &Token<'a>) {
        self.chain = Some(Chain {
            before: self.prev,
            schema: None,
            name: Name::new(token.text),
            at: token.at,
        });
    }

    /// Takes a name behind a dot, whatever is before the dot.
    fn another_part(&mut self, token: &Token<'a>) {
        let Some(chain) = self.chain.take() else {
            self.name_begins(token);
            self.passed(Class::Label, token);
            return;
        };
        if chain.is_behind_dot() {
            self.names_object(&chain, false);
        }
        self.chain = Some(Chain {
            schema: Some(chain.name),
            name: Name::new(token.text),
            ..chain
        });
        self.passed(Class::Label, token);
    }

    fn word(&mut self, token: &Token<'a>) -> Class {
        let key = Name::new(token.text).key();
        let word = match (control(key.as_bytes()), self.prev.class) {
            (Word::On, Class::Word(Word::Distinct)) => Word::DistinctOn,
            (word, _) => word,
        };
        // `CREATE .. AS SELECT` that is only explained has a query there.
        let is_query = self.only_explains() && matches!(word, Word::Select | Word::With);
        let is_label = self.prev.class == Class::Word(Word::As) && !is_query;
        if self.only_explains() && key.as_bytes() == b"execute" {
            // `EXPLAIN CREATE .. AS EXECUTE`
            let because = Because::SessionCommand(token.text);
            self.found(Verdict::Session, because, token.at);
        }
        if !is_label {
            self.decides(word, key.as_bytes(), token);
        }
        self.name_begins(token);
        if is_label {
            Class::Label
        } else {
            Class::Word(word)
        }
    }

    /// Looks at a word that may lock rows or change them.
    fn decides(&mut self, word: Word, key: &[u8], token: &Token<'a>) {
        match word {
            Word::Select | Word::Insert | Word::Update | Word::Delete | Word::Merge => {
                self.frames.set(WITH_LIST, false);
            }
            Word::With if matches!(self.prev.class, Class::Start | Class::Open) => {
                self.frames.set(WITH_LIST, true);
            }
            _ => {}
        }
        if self.only_explains() {
            return;
        }
        match (self.prev.class, word) {
            (Class::Word(Word::For), _) if matches!(key, b"update" | b"share" | b"no" | b"key") => {
                let because = Because::RowLock(token.text);
                self.found(Verdict::Write, because, self.prev.at);
            }
            (Class::Word(Word::Insert | Word::Merge), Word::Into)
            | (Class::Word(Word::Delete), Word::From) => {
                let because = Because::ChangesRows(self.prev.text);
                self.found(Verdict::Write, because, self.prev.at);
            }
            (_, Word::Into) => self.found(Verdict::Write, Because::Into, token.at),
            _ => self.changes_rows(Some(key)),
        }
    }

    /// `UPDATE` and then a name, or `ONLY` and then a name, is a change of rows.
    fn changes_rows(&mut self, word: Option<&[u8]>) {
        if self.prev.class != Class::Word(Word::Update) || self.only_explains() {
            return;
        }
        let is_reserved = |word: &[u8]| Keyword::of(word) == Some(Keyword::Reserved);
        if word.is_none_or(|word| word == b"only" || !is_reserved(word)) {
            let because = Because::ChangesRows(self.prev.text);
            self.found(Verdict::Write, because, self.prev.at);
        }
    }

    /// A name with escapes is not decoded. It is harmless where it can only be a label.
    fn unicode(&mut self, token: &Token<'a>) -> Class {
        let is_label = self.prev.class == Class::Word(Word::As);
        if !is_label || self.frames.flags() & TYPE != 0 {
            self.found(Verdict::Write, Because::UnicodeName, token.at);
        }
        Class::Label
    }

    fn operator(&mut self, token: &Token<'a>) {
        // They are one operator.
        let name = if token.text == "!=" { "<>" } else { token.text };
        if self.catalog.is_operator(name) {
            let because = Because::WritingOperator(token.text);
            self.found(Verdict::Write, because, token.at);
        }
    }

    pub(super) fn query_open(&mut self, token: &Token<'a>) {
        if matches!(self.prev.class, Class::Close(_)) {
            // `WITH a AS (..) (SELECT ..)`
            self.frames.set(WITH_LIST, false);
        }
        let flags = match self.prev.class {
            Class::Word(Word::DistinctOn | Word::With) => NO_OPERAND,
            Class::Word(Word::Other) => match Name::new(self.prev.text).key().as_bytes() {
                b"operator" => NO_OPERAND,
                b"cast" | b"treat" | b"xmlserialize" => TYPE,
                _ => 0,
            },
            _ => 0,
        };
        if !self.frames.open(flags) {
            self.found(Verdict::Write, Because::TooDeep, token.at);
        }
        self.passed(Class::Open, token);
    }

    fn query_close(&mut self, token: &Token<'a>) {
        let Some(flags) = self.frames.close() else {
            self.found(Verdict::Write, Because::Parentheses, token.at);
            return;
        };
        self.passed(Class::Close(flags & NO_OPERAND != 0), token);
    }
}

/// The words that decide something. Comparing lengths first makes all others cheap.
fn control(word: &[u8]) -> Word {
    match word {
        b"as" => Word::As,
        b"delete" => Word::Delete,
        b"distinct" => Word::Distinct,
        b"for" => Word::For,
        b"from" => Word::From,
        b"insert" => Word::Insert,
        b"into" => Word::Into,
        b"merge" => Word::Merge,
        b"on" => Word::On,
        b"select" | b"values" | b"table" => Word::Select,
        b"update" => Word::Update,
        b"with" => Word::With,
        _ => Word::Other,
    }
}
