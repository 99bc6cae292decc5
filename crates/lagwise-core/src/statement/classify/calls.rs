//! Tells calls from everything else that looks like one, and asks what is called.
//!
//! `f (x)` is a call unless grammar says otherwise: `in (1)`, `over (w)`, `numeric(10, 2)`, and the
//! columns behind an alias, `from t a(x)`. An alias comes behind something that is complete: a
//! name, a closing parenthesis, `AS`. Behind every keyword a name may be called, so it counts as a
//! call. And a name that is known to write counts wherever a parenthesis follows it.

use super::effects::{self, Effect};
use super::keywords::Keyword;
use super::name::{Key, Name};
use super::query::{Chain, WITH_LIST};
use super::scan::{Class, Phase, Prev, Scan, Word};
use super::{Because, Verdict};
use crate::statement::catalog::{Called, Named};

/// What a name with a parenthesis behind it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// It can only be grammar.
    Grammar,
    /// It is an alias or grammar, if the name is not one that is known to write.
    Alias,
    /// It is called.
    Call,
}

impl<'a> Scan<'a, '_> {
    /// Judges the name that has just ended, if one has.
    pub(super) fn name_ends(&mut self, is_open: bool) {
        let Some(chain) = self.chain.take() else {
            return;
        };
        self.names_object(&chain, is_open);
        if is_open && self.phase != Phase::CopyTable {
            self.calls(&chain);
        }
    }

    /// Looks for relations, types and attributes by the name of it, wherever it stands.
    ///
    /// Behind a dot, any function of one argument is called without parentheses: `('s').nextval`.
    pub(super) fn names_object(&mut self, chain: &Chain<'a>, is_open: bool) {
        let key = chain.name.key();
        let schema = chain.schema.map(Name::key);
        let schema = schema.as_ref().map(Key::as_bytes);
        if schema.is_some_and(is_temporary) {
            let name = chain.schema.map_or("", |schema| schema.text);
            self.found(Verdict::Session, Because::TemporarySchema(name), chain.at);
        }
        let name = chain.name.text;
        let is_attribute = chain.is_behind_dot() && !is_open;
        let because = match self.catalog.named(schema, key.as_bytes(), is_attribute) {
            Named::Reads => return,
            Named::Unknown => {
                let of_relation = effects::of_relation(key.as_bytes()).filter(|_| !is_open);
                let attribute = is_attribute.then(|| effects::of_attribute(key.as_bytes()));
                let of_attribute = attribute.flatten();
                if let Some(effect) = of_relation.or(of_attribute) {
                    self.built_in(name, effect, chain.at);
                }
                return;
            }
            Named::Relation(kind) => Because::Relation { name, kind },
            Named::View => Because::View {
                name,
                verdict: Verdict::Write,
            },
            Named::SessionView => Because::View {
                name,
                verdict: Verdict::Session,
            },
            Named::Override => Because::Override(name),
            Named::Type => Because::WritingType(name),
            Named::Attribute => Because::WritingFunction(name),
        };
        let verdict = match because {
            Because::View { verdict, .. } => verdict,
            _ => Verdict::Write,
        };
        let is_word = !chain.is_behind_dot() && !chain.name.is_quoted();
        if is_word && Keyword::of(key.as_bytes()) == Some(Keyword::Reserved) {
            return;
        }
        self.found(verdict, because, chain.at);
    }

    /// Judges a name that a parenthesis follows.
    fn calls(&mut self, chain: &Chain<'a>) {
        let key = chain.name.key();
        let place = self.place(chain, key.as_bytes());
        if place == Place::Grammar {
            return;
        }
        let schema = chain.schema.map(Name::key);
        let schema = schema.as_ref().map(Key::as_bytes);
        let name = chain.name.text;
        match self.catalog.called(schema, key.as_bytes()) {
            Called::Reads => {}
            Called::Unknown if place == Place::Alias => {}
            Called::Unknown => {
                self.found(Verdict::Write, Because::UnknownFunction(name), chain.at);
            }
            Called::Writes => {
                self.found(Verdict::Write, Because::WritingFunction(name), chain.at);
            }
            Called::BuiltIn(effect) => self.built_in(name, effect, chain.at),
        }
    }

    fn built_in(&mut self, name: &'a str, effect: Effect, at: usize) {
        let (verdict, because) = match effect {
            Effect::Writes => (Verdict::Write, Because::Writes(name)),
            Effect::Locks => (Verdict::Write, Because::Locks(name)),
            Effect::Session => (Verdict::Session, Because::OfConnection(name)),
            Effect::ServerLocal => (Verdict::Write, Because::OfServer(name)),
            Effect::RunsText => (Verdict::Write, Because::RunsText(name)),
        };
        self.found(verdict, because, at);
    }

    fn place(&self, chain: &Chain<'a>, key: &[u8]) -> Place {
        let is_word = !chain.is_behind_dot() && !chain.name.is_quoted();
        let keyword = is_word.then(|| Keyword::of(key)).flatten();
        match keyword {
            Some(Keyword::Reserved) => return Place::Grammar,
            Some(Keyword::FunctionOrType | Keyword::Column) => return Place::Alias,
            Some(Keyword::Unreserved) if is_grammar(key, &chain.before) => return Place::Alias,
            _ => {}
        }
        let is_alias = match chain.before.class {
            Class::Cast => return Place::Grammar,
            Class::Word(Word::As | Word::Into) | Class::Label => true,
            // An option of a column of `XMLTABLE` may be quoted, and an expression comes behind it.
            Class::Quoted => !matches!(chain.before.text, "\"path\"" | "\"default\""),
            Class::Word(_) => self.is_before_alias(key, &chain.before),
            Class::Close(begins_operand) => !begins_operand,
            Class::Comma(after_close) => after_close && self.frames.flags() & WITH_LIST != 0,
            _ => false,
        };
        // What a `WITH` query, a table or an alias is called has one part.
        let is_into = chain.before.class == Class::Word(Word::Into);
        if is_alias && (chain.schema.is_none() || is_into) {
            Place::Alias
        } else {
            Place::Call
        }
    }

    /// Whether an alias may come behind a word: behind a name, and behind few keywords.
    fn is_before_alias(&self, name: &[u8], before: &Prev<'a>) -> bool {
        let before = Name::new(before.text).key();
        match before.as_bytes() {
            b"ordinality" => true,
            // `CREATE .. AS` that is only explained.
            b"table" | b"view" | b"exists" => self.only_explains(),
            b"with" | b"recursive" => self.frames.flags() & WITH_LIST != 0,
            b"tablesample" => matches!(
                name,
                b"bernoulli" | b"system" | b"system_rows" | b"system_time"
            ),
            word => Keyword::of(word).is_none(),
        }
    }
}

/// Whether a schema is that of a connection's temporary tables.
pub(super) fn is_temporary(schema: &[u8]) -> bool {
    schema == b"pg_temp" || schema.starts_with(b"pg_temp_") || schema.starts_with(b"pg_toast_temp_")
}

/// Whether an unreserved word with a parenthesis behind it is grammar, by what is before it.
fn is_grammar(word: &[u8], before: &Prev<'_>) -> bool {
    let key = Name::new(before.text).key();
    let is_word = matches!(before.class, Class::Word(_));
    let after = |words: &[&[u8]]| is_word && words.contains(&key.as_bytes());
    let is_operand = match before.class {
        Class::Close(begins_operand) => !begins_operand,
        Class::Quoted | Class::Label | Class::Value => true,
        Class::Word(_) => Keyword::of(key.as_bytes()).is_none(),
        _ => false,
    };
    match word {
        b"by" => after(&[b"group", b"order", b"partition", b"first"]),
        b"columns" | b"escape" | b"filter" | b"over" | b"passing" | b"repeatable" | b"value" => {
            is_operand
        }
        b"conflict" => after(&[b"on"]),
        b"cube" | b"rollup" => {
            matches!(before.class, Class::Comma(_) | Class::Open)
                || after(&[b"by", b"distinct", b"all"])
        }
        b"first" | b"next" => after(&[b"fetch"]),
        b"insert" => after(&[b"then"]),
        b"materialized" => after(&[b"as", b"not"]),
        b"operator" => true,
        b"ref" => after(&[b"by"]),
        b"second" => before.class == Class::Value || after(&[b"interval", b"to"]),
        b"set" => is_operand || after(&[b"update"]),
        b"sets" => after(&[b"grouping"]),
        b"system" => after(&[b"tablesample"]),
        b"varying" => after(&[b"bit", b"char", b"character", b"nchar"]),
        b"zone" => after(&[b"time"]),
        _ => false,
    }
}
