//! Walks over a text, statement by statement, and keeps the worst that it finds.
//!
//! The server runs every statement of a text, so one look at the first word is not enough. Each
//! statement is opened by a command; those that are queries, or show or send the rows of one, are
//! read to their end by the rules of `query`, and of all others only the end is of interest.

use super::lexer::{Backslash, Kind, Lexer, Token};
use super::name::Name;
use super::query::{Chain, Frames};
use super::transaction::Transaction;
use super::{Because, Classification, Verdict};
use crate::statement::Catalog;

pub(super) struct Scan<'a, 'c> {
    pub(super) catalog: &'c Catalog,
    pub(super) phase: Phase,
    /// What was found in the text, worst first.
    pub(super) verdict: Verdict,
    because: Because<'a>,
    at: usize,
    transaction: Transaction,
    /// The token before, as far as the rules need it.
    pub(super) prev: Prev<'a>,
    /// A name that may go on after a dot.
    pub(super) chain: Option<Chain<'a>>,
    pub(super) frames: Frames,
    pub(super) opening: Opening,
    /// The command of a statement while its object is looked for.
    pub(super) written: Prev<'a>,
    /// The words of `CREATE .. BEGIN ATOMIC .. END`, in which a semicolon ends nothing.
    pub(super) body: Body,
}

/// Where in a statement the scan is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Before its command, or behind the parentheses that open it.
    Start,
    /// In a query.
    Query,
    /// Behind `EXPLAIN`.
    Explain,
    /// In the parentheses behind `EXPLAIN`.
    ExplainOptions,
    /// Behind `COPY`, in the name of a table and its columns.
    CopyTable,
    /// Behind `COPY .. TO`.
    CopyTarget,
    /// Behind `COPY .. TO STDOUT`.
    CopyOptions,
    /// Behind a command that writes, before the name of what it writes.
    Object,
    /// In something that decides nothing any more.
    Rest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Prev<'a> {
    pub(super) class: Class,
    pub(super) text: &'a str,
    pub(super) at: usize,
}

/// What a token was to the tokens after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Start,
    /// A word without quotes that is no label.
    Word(Word),
    /// A name behind a dot or `AS`, whatever keyword it looks like.
    Label,
    Quoted,
    /// A string, number or parameter.
    Value,
    Operator,
    Cast,
    Open,
    /// A closing parenthesis; `true` if an expression can begin right behind it.
    Close(bool),
    /// A comma; `true` if a parenthesis was closed before it.
    Comma(bool),
    Dot,
    Other,
}

/// The words that decide something, or that tell what a parenthesis is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    As,
    Delete,
    Distinct,
    /// `ON` of `DISTINCT ON`.
    DistinctOn,
    For,
    From,
    Insert,
    Into,
    Merge,
    On,
    /// Any word that a query begins with: `SELECT`, `VALUES`, `TABLE`.
    Select,
    Update,
    With,
    Other,
}

/// What came of a whole text.
pub(super) struct Outcome<'a> {
    pub(super) found: Classification<'a>,
    /// The first string that ends elsewhere under the other meaning of a backslash.
    pub(super) ambiguous: Option<usize>,
    /// Whether the text cannot be cut into tokens, so that no server runs any of it.
    pub(super) is_refused: bool,
}

/// What opens a statement that holds another one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Opening {
    pub(super) form: Form,
    /// Whether nothing was read behind its command.
    pub(super) is_first: bool,
    /// Whether the statement that is explained also runs.
    analyze: bool,
    /// Whether the option being read is `ANALYZE`, and was not switched off.
    option: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Form {
    #[default]
    Plain,
    Explain,
    Copy,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Body {
    pub(super) is_create: bool,
    depth: usize,
}

impl<'a, 'c> Scan<'a, 'c> {
    const NOTHING: Prev<'a> = Prev {
        class: Class::Start,
        text: "",
        at: 0,
    };

    /// Classifies the text under one meaning of a backslash.
    pub(super) fn run(sql: &'a str, catalog: &'c Catalog, backslash: Backslash) -> Outcome<'a> {
        let mut scan = Self {
            catalog,
            phase: Phase::Start,
            verdict: Verdict::Read,
            because: Because::OnlyReads,
            at: 0,
            transaction: Transaction::default(),
            prev: Self::NOTHING,
            chain: None,
            frames: Frames::default(),
            opening: Opening::default(),
            written: Self::NOTHING,
            body: Body::default(),
        };
        let mut lexer = Lexer::new(sql, backslash);
        loop {
            let token = lexer.token();
            match token.kind {
                Kind::End => break,
                Kind::Broken(broken) => {
                    scan.transaction.is_open = false;
                    scan.found(Verdict::Write, Because::Broken(broken.as_str()), token.at);
                    return scan.outcome(lexer.ambiguous, broken.is_refused());
                }
                _ => scan.token(&token),
            }
        }
        scan.end_of_statement(sql.len());
        scan.outcome(lexer.ambiguous, false)
    }

    fn outcome(&self, ambiguous: Option<usize>, is_refused: bool) -> Outcome<'a> {
        let found = Classification {
            verdict: self.verdict,
            because: self.because,
            at: self.at,
            leaves_transaction_open: self.transaction.is_open,
        };
        Outcome {
            found,
            ambiguous,
            is_refused,
        }
    }

    /// Keeps a finding if it is worse than what was found before. A write is the worst there is, so
    /// nothing else is looked for in that statement.
    pub(super) fn found(&mut self, verdict: Verdict, because: Because<'a>, at: usize) {
        let rank = |verdict| match verdict {
            Verdict::Read => 0,
            Verdict::Session => 1,
            Verdict::Write => 2,
        };
        if rank(verdict) > rank(self.verdict) {
            (self.verdict, self.because, self.at) = (verdict, because, at);
        }
        if self.verdict == Verdict::Write {
            self.phase = Phase::Rest;
        }
    }

    fn token(&mut self, token: &Token<'a>) {
        let is_word = token.kind == Kind::Word;
        if is_word && self.phase != Phase::Start && self.is_followed() {
            self.follow(token);
        }
        match (token.kind, self.phase) {
            (Kind::Semicolon, _) => self.semicolon(token),
            (_, Phase::Start) => self.start(token),
            (_, Phase::Query) => self.query(token),
            (_, Phase::Explain) => self.explain(token),
            (_, Phase::ExplainOptions) => self.explain_option(token),
            (_, Phase::CopyTable) => self.copy_table(token),
            (_, Phase::CopyTarget) => self.copy_target(token),
            (_, Phase::Object) => self.object(token),
            (_, Phase::CopyOptions | Phase::Rest) => self.frames.count(token.kind),
        }
    }

    const fn is_followed(&self) -> bool {
        self.body.is_create || !self.transaction.is_idle()
    }

    /// Follows what every statement may do to the transaction, and to the meaning of a semicolon.
    fn follow(&mut self, token: &Token<'a>) {
        let key = Name::new(token.text).key();
        let word = key.as_bytes();
        self.transaction.goes_on(word);
        if !self.body.is_create {
            return;
        }
        let after_begin = self.prev.text.eq_ignore_ascii_case("begin");
        self.body.depth = match word {
            b"atomic" if after_begin && self.body.depth == 0 => 1,
            b"case" if self.body.depth > 0 => self.body.depth.saturating_add(1),
            b"end" => self.body.depth.saturating_sub(1),
            _ => self.body.depth,
        };
        self.prev.text = token.text;
    }

    fn semicolon(&mut self, token: &Token<'a>) {
        let is_rest = self.phase == Phase::Rest;
        if is_rest && (self.body.depth > 0 || self.frames.depth() > 0) {
            // The actions of a rule, or the body of a function.
            return;
        }
        self.end_of_statement(token.at);
        self.prev = Self::NOTHING;
        // Once a write was found, only transactions are of interest.
        self.phase = Phase::Start;
        self.frames = Frames::default();
        self.opening = Opening::default();
        self.body = Body::default();
    }

    fn end_of_statement(&mut self, at: usize) {
        self.name_ends(false);
        match self.phase {
            Phase::Explain | Phase::ExplainOptions => self.unknown("EXPLAIN", at),
            Phase::CopyTable | Phase::CopyTarget => {
                self.found(Verdict::Write, Because::CopyElsewhere, at);
            }
            Phase::Object => self.unknown(self.written.text, self.written.at),
            Phase::Start | Phase::Query | Phase::CopyOptions if self.frames.depth() > 0 => {
                self.found(Verdict::Write, Because::Parentheses, at);
            }
            Phase::Start | Phase::Query | Phase::CopyOptions | Phase::Rest => {}
        }
        self.transaction.ends();
    }

    pub(super) fn unknown(&mut self, word: &'a str, at: usize) {
        self.found(Verdict::Write, Because::Command(word), at);
    }

    /// The command of a statement, or a parenthesis before it.
    fn start(&mut self, token: &Token<'a>) {
        match token.kind {
            Kind::Open => self.query_token(token),
            Kind::Word => {
                let key = Name::new(token.text).key();
                if self.frames.depth() == 0 && self.opening.form == Form::Plain {
                    self.transaction.begins(key.as_bytes());
                    self.body.is_create = key.as_bytes() == b"create";
                }
                self.command(token, key.as_bytes());
            }
            _ => {
                self.unknown(token.text, token.at);
                self.phase = Phase::Rest;
            }
        }
    }

    /// Whether the statement is planned and not run: then it neither locks nor writes.
    pub(super) const fn only_explains(&self) -> bool {
        matches!(self.opening.form, Form::Explain) && !self.opening.analyze
    }

    /// Between `EXPLAIN` and the statement that it explains.
    fn explain(&mut self, token: &Token<'a>) {
        let is_first = core::mem::take(&mut self.opening.is_first);
        let key = Name::new(token.text).key();
        match (token.kind, key.as_bytes()) {
            (Kind::Open, _) if is_first => {
                self.phase = Phase::ExplainOptions;
                self.opening.is_first = true;
                self.query_open(token);
            }
            (Kind::Word, b"analyze" | b"analyse") => self.opening.analyze = true,
            (Kind::Word, b"verbose") => {}
            _ => {
                self.prev = Self::NOTHING;
                self.phase = Phase::Start;
                self.start(token);
            }
        }
    }

    fn explain_option(&mut self, token: &Token<'a>) {
        let starts = core::mem::take(&mut self.opening.is_first);
        let key = Name::new(token.text).key();
        match (token.kind, key.as_bytes()) {
            // `EXPLAIN (SELECT ..)` has no options.
            (Kind::Open, _) | (Kind::Word, b"select" | b"values" | b"table" | b"with")
                if starts =>
            {
                self.phase = Phase::Start;
                self.start(token);
            }
            (Kind::Word | Kind::Quoted, b"analyze" | b"analyse") | (Kind::Unicode, _) => {
                self.opening.option = true;
            }
            (Kind::Word | Kind::Quoted, b"off" | b"false")
            | (Kind::String, b"'off'" | b"'false'")
            | (Kind::Value, b"0") => self.opening.option = false,
            (Kind::Comma, _) => {
                self.opening.analyze |= core::mem::take(&mut self.opening.option);
            }
            (Kind::Close, _) => {
                self.opening.analyze |= core::mem::take(&mut self.opening.option);
                self.frames.close();
                self.phase = Phase::Explain;
            }
            (Kind::Open, _) => self.unknown("EXPLAIN", token.at),
            _ => {}
        }
    }

    /// Behind `COPY`: a query in parentheses, or a table and perhaps its columns.
    fn copy_table(&mut self, token: &Token<'a>) {
        let is_first = core::mem::take(&mut self.opening.is_first);
        let is_out = self.frames.depth() == 0;
        match token.kind {
            Kind::Open if is_first => {
                self.phase = Phase::Start;
                self.query_token(token);
            }
            Kind::Word if is_out && token.text.eq_ignore_ascii_case("to") => {
                self.name_ends(false);
                if self.phase == Phase::CopyTable {
                    self.phase = Phase::CopyTarget;
                }
            }
            Kind::Word if is_out && token.text.eq_ignore_ascii_case("from") => {
                self.found(Verdict::Write, Because::CopyElsewhere, token.at);
            }
            _ => self.query_token(token),
        }
    }

    /// The rest of `COPY` is options once it is known to go to the client.
    fn copy_target(&mut self, token: &Token<'a>) {
        let is = |word: &str| token.kind == Kind::Word && token.text.eq_ignore_ascii_case(word);
        if is("stdout") {
            self.phase = Phase::CopyOptions;
        } else {
            self.found(Verdict::Write, Because::CopyElsewhere, token.at);
        }
    }

    fn query(&mut self, token: &Token<'a>) {
        self.query_token(token);
        let is_copy = self.opening.form == Form::Copy;
        if is_copy && self.frames.depth() == 0 && self.phase == Phase::Query {
            self.phase = Phase::CopyTable;
        }
    }
}
