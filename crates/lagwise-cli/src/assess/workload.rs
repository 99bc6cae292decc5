//! Which of what ran could have run on a replica.
//!
//! Each statement is judged as a router would judge it. What opens and ends transactions, or keeps a
//! connection in order, is no work that could move, and is counted apart; so are questions about the
//! server itself, which monitoring asks. A read in a transaction that may write stays with it, and
//! as counts do not tell which those are, the number of transactions bounds them.

use lagwise_core::{Because, Catalog, Redacted, Verdict, classify};

use super::sample::{Counted, Sample};

/// Everything that was counted, judged.
#[derive(Clone, Debug, Default)]
pub(super) struct Workload {
    pub(super) statements: Vec<Judged>,
    pub(super) transactions: Transactions,
}

/// One statement.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    /// Without literals and comments.
    pub(super) text: String,
    pub(super) fate: Fate,
    pub(super) calls: i64,
    pub(super) seconds: f64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It only reads.
    Moves,
    /// It stays on the primary: why.
    Stays(String),
    /// It is no statement of an application that could move or stay: what it is.
    Apart(Apart),
    /// Its text is hidden.
    Hidden,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Apart {
    /// BEGIN, COMMIT and their like.
    Transaction,
    /// SET, SHOW and their like.
    Connection,
    /// About one server, as monitoring asks.
    Server,
}

/// What is known of explicit transactions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Transactions {
    /// Those begun that are not READ ONLY; unknown where the server does not count them.
    pub(super) begun: Option<i64>,
    pub(super) read_only: i64,
    pub(super) reads_in_each: u32,
}

/// Calls and execution time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Sum {
    pub(super) calls: i64,
    pub(super) seconds: f64,
}

/// The least and the most that a share can be, from 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub(super) struct Share {
    pub(super) least: f64,
    pub(super) most: f64,
}

impl Workload {
    pub(super) fn judge(sample: &Sample, catalog: &Catalog, reads_in_each: u32) -> Self {
        let mut statements: Vec<Judged> = sample
            .statements
            .values()
            .map(|counted| judge(counted, catalog))
            .collect();
        statements.sort_by(|one, other| other.seconds.total_cmp(&one.seconds));
        let begun = |read_only: bool| -> i64 {
            let begins = statements
                .iter()
                .filter(|it| begins(&it.text) == Some(read_only));
            begins.map(|it| it.calls).sum()
        };
        let counted = sample.counts_utility != Some(false);
        let transactions = Transactions {
            begun: counted.then(|| begun(false)),
            read_only: begun(true),
            reads_in_each,
        };
        Self {
            statements,
            transactions,
        }
    }

    pub(super) fn sum(&self, which: impl Fn(&Fate) -> bool) -> Sum {
        let mut sum = Sum::default();
        for statement in self.statements.iter().filter(|it| which(&it.fate)) {
            sum.calls += statement.calls;
            sum.seconds += statement.seconds;
        }
        sum
    }

    pub(super) fn moves(&self) -> Sum {
        self.sum(|fate| *fate == Fate::Moves)
    }

    pub(super) fn hidden(&self) -> Sum {
        self.sum(|fate| *fate == Fate::Hidden)
    }

    pub(super) fn apart(&self) -> Sum {
        self.sum(|fate| matches!(fate, Fate::Apart(_)))
    }

    pub(super) fn all(&self) -> Sum {
        self.sum(|_| true)
    }

    /// How many of the reads may be in transactions that keep them on the primary.
    pub(super) fn held(&self) -> i64 {
        let reads = self.moves().calls;
        let Transactions {
            begun,
            reads_in_each,
            ..
        } = self.transactions;
        begun.map_or(reads, |begun| {
            reads.min(begun.saturating_mul(i64::from(reads_in_each)))
        })
    }

    /// Of the calls of statements, those that could move.
    pub(super) fn calls(&self) -> Share {
        let (moves, hidden) = (self.moves().calls, self.hidden().calls);
        let all = self.all().calls - self.apart().calls;
        Share {
            least: ratio(to_float(moves - self.held()), to_float(all)),
            most: ratio(to_float(moves + hidden), to_float(all)),
        }
    }

    /// Of all execution time, that of those; reads that are held are taken for average ones.
    pub(super) fn time(&self) -> Share {
        let (moves, hidden, all) = (self.moves(), self.hidden().seconds, self.all().seconds);
        let held = moves.seconds * ratio(to_float(self.held()), to_float(moves.calls));
        Share {
            least: ratio(moves.seconds - held, all),
            most: ratio(moves.seconds + hidden, all),
        }
    }
}

fn judge(counted: &Counted, catalog: &Catalog) -> Judged {
    let (text, fate) = match &counted.text {
        None => ("(hidden)".to_owned(), Fate::Hidden),
        Some(text) => {
            let shown = Redacted::new(text).to_string();
            let fate = fate(text, &shown, catalog);
            (shown, fate)
        }
    };
    Judged {
        text,
        fate,
        calls: counted.calls,
        seconds: counted.seconds,
    }
}

fn fate(text: &str, shown: &str, catalog: &Catalog) -> Fate {
    if let Some(apart) = apart(shown) {
        return Fate::Apart(apart);
    }
    let found = classify(text, catalog);
    match (found.verdict, found.because) {
        (Verdict::Read, _) => Fate::Moves,
        (_, Because::OfServer(_)) => Fate::Apart(Apart::Server),
        (_, because) => Fate::Stays(because.to_string()),
    }
}

/// What the first words, comments left out, say of a statement that does no work.
fn apart(shown: &str) -> Option<Apart> {
    let mut words = words(shown);
    match words.next()?.as_str() {
        "begin" | "start" | "commit" | "end" | "rollback" | "abort" | "savepoint" | "release" => {
            Some(Apart::Transaction)
        }
        "prepare" if words.next()? == "transaction" => Some(Apart::Transaction),
        "set" | "reset" | "show" | "discard" | "deallocate" | "listen" | "unlisten" => {
            Some(Apart::Connection)
        }
        _ => asks_catalog(shown).then_some(Apart::Server),
    }
}

/// Whether it reads from what the server has of its own, as tools do.
fn asks_catalog(shown: &str) -> bool {
    let words: Vec<String> = words(shown).collect();
    words.iter().enumerate().any(|(at, word)| {
        let names = words[at + 1..].iter().take(2);
        // With or without its schema.
        let of_server = |name: &String| name.starts_with("pg_") || name == "information_schema";
        let mut names = names.take_while(|name| !["where", "as", "join"].contains(&name.as_str()));
        (word == "from" || word == "join") && names.any(of_server)
    })
}

/// Whether it begins a transaction, and if so, whether one that is promised to only read, which a
/// replica can serve.
fn begins(shown: &str) -> Option<bool> {
    let words: Vec<String> = words(shown).collect();
    let first = words.first()?;
    if first != "begin" && first != "start" {
        return None;
    }
    let read_only = words.windows(2).any(|pair| pair == ["read", "only"]);
    let serializable = words.iter().any(|word| word == "serializable");
    Some(read_only && !serializable)
}

fn words(shown: &str) -> impl Iterator<Item = String> {
    let letter = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    shown
        .split(move |it| !letter(it))
        .filter(|word| !word.is_empty())
        .map(str::to_ascii_lowercase)
}

/// A part of a whole; of nothing, none.
pub(super) fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 {
        (part / whole).clamp(0.0, 1.0)
    } else {
        0.0
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "shares are shown with two digits"
)]
pub(super) fn to_float(calls: i64) -> f64 {
    calls as f64
}

#[cfg(test)]
mod tests {
    use lagwise_core::Catalog;

    use super::{Apart, Fate, Share, Workload, begins};
    use crate::assess::sample::{Counted, Key, Sample};

    fn workload(entries: &[(&str, i64)]) -> Workload {
        let mut sample = Sample::default();
        for (query, (text, calls)) in (0..).zip(entries) {
            let key = Key {
                user: 10,
                query: Some(query),
            };
            let counted = Counted {
                text: (!text.is_empty()).then(|| (*text).to_owned()),
                calls: *calls,
                seconds: super::to_float(*calls),
            };
            sample.add(key, counted);
        }
        Workload::judge(&sample, &Catalog::built_in(), 2)
    }

    #[test]
    fn each_statement_moves_or_stays_as_a_router_would_have_it() {
        let moves = |text: &str| workload(&[(text, 1)]).statements.remove(0).fate;
        assert_eq!(moves("select * from notes where id = $1"), Fate::Moves);
        assert_eq!(
            moves("select $1::interval, id from notes limit $2"),
            Fate::Moves
        );
        let stays =
            |text: &str, because: &str| assert_eq!(moves(text), Fate::Stays(because.to_owned()));
        stays("select id from notes for update", "for update locks rows");
        stays("SELECT id FROM notes FOR UPDATE", "FOR UPDATE locks rows");
        stays("select nextval($1)", "nextval writes");
        stays(
            "insert into notes values ($1)",
            "insert is not known to only read",
        );
        for text in [
            "BEGIN",
            "/* app */ commit",
            "start transaction",
            "Savepoint a",
            "ROLLBACK TO $1",
            "prepare transaction 'a'",
        ] {
            assert_eq!(moves(text), Fate::Apart(Apart::Transaction), "{text}");
        }
        for text in [
            "SET search_path = app",
            "show work_mem",
            "DISCARD ALL",
            "deallocate q",
        ] {
            assert_eq!(moves(text), Fate::Apart(Apart::Connection), "{text}");
        }
        assert_eq!(
            moves("select pg_current_wal_lsn()"),
            Fate::Apart(Apart::Server)
        );
        assert_eq!(moves(""), Fate::Hidden);
    }

    #[test]
    fn without_transactions_shares_are_exact_and_commits_are_no_calls() {
        let workload = workload(&[
            ("select 1 from notes", 60),
            ("insert into notes values ($1)", 40),
            ("set work_mem = '1MB'", 100),
        ]);
        let calls = Share {
            least: 0.6,
            most: 0.6,
        };
        let time = Share {
            least: 0.3,
            most: 0.3,
        };
        assert_eq!((workload.calls(), workload.time()), (calls, time));
    }

    #[test]
    fn transactions_hold_so_many_reads_and_those_that_only_read_hold_none() {
        let statements = [("select 1 from notes", 80), ("delete from notes", 20)];
        let with = |begin: (&'static str, i64)| {
            let mut all = statements.to_vec();
            all.push(begin);
            workload(&all).calls()
        };
        assert_eq!(
            with(("begin", 10)),
            Share {
                least: 0.6,
                most: 0.8
            }
        );
        assert_eq!(
            with(("BEGIN", 1_000)),
            Share {
                least: 0.0,
                most: 0.8
            }
        );
        assert_eq!(
            with(("begin read only", 10)),
            Share {
                least: 0.8,
                most: 0.8
            }
        );
    }

    #[test]
    fn what_is_hidden_widens_the_range_and_so_does_what_is_not_counted() {
        let hidden = workload(&[
            ("select 1 from notes", 50),
            ("delete from notes", 25),
            ("", 25),
        ]);
        assert_eq!(
            hidden.calls(),
            Share {
                least: 0.5,
                most: 0.75
            }
        );
        let mut uncounted = workload(&[("select 1 from notes", 50), ("delete from notes", 50)]);
        uncounted.transactions.begun = None;
        assert_eq!(
            uncounted.calls(),
            Share {
                least: 0.0,
                most: 0.5
            }
        );
    }

    #[test]
    fn a_transaction_moves_only_if_a_replica_can_serve_it() {
        for (text, expected) in [
            ("begin", Some(false)),
            (
                "START TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY",
                Some(true),
            ),
            ("begin isolation level serializable, read only", Some(false)),
            ("begin read write", Some(false)),
            ("commit", None),
            ("select begin from read only", None),
        ] {
            assert_eq!(begins(text), expected, "{text}");
        }
    }

    #[test]
    fn what_tools_ask_of_the_catalog_is_no_work_of_the_application() {
        let asked = |text: &str| {
            workload(&[(text, 1)]).statements.remove(0).fate == Fate::Apart(Apart::Server)
        };
        assert!(asked(
            "select n.nspname from pg_catalog.pg_class c join pg_namespace n on true"
        ));
        assert!(asked("select calls from public.pg_stat_statements s"));
        assert!(asked("with a as (select oid from pg_proc) select * from a"));
        assert!(asked("select 1 from information_schema.tables"));
        assert!(!asked("select pg_column_size(body) from notes"));
        assert!(!asked("select pg_size from notes where pg_size > $1"));
    }

    #[test]
    fn nothing_at_all_is_no_share() {
        assert_eq!(workload(&[]).time(), Share::default());
    }
}
