//! Whether what sessions saw is what a session is promised.
//!
//! A write is `UPDATE ... SET version = version + 1 RETURNING version`: the row's lock orders all
//! writes of a key, so a history is checked in one pass and without a search. Checked are: a session
//! reads its own acknowledged writes; its reads on replicas do not go back (from a replica to the
//! primary they may, by an instant); no version of a key was written twice; none was read that its
//! writer never made.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use lagwise::{PgSession, Role};
use lagwise_core::Instant;
use sqlx::postgres::PgConnection;

use crate::Outcome;

/// Makes the registers' table; for [`start`](crate::cluster::start).
pub const REGISTERS: &str = "
    create table registers (key int primary key, version bigint not null, nonce bigint not null);
    insert into registers select key, 0, 0 from generate_series(0, 63) key;
";

/// One operation of a session.
#[derive(Clone, Debug)]
struct Entry {
    session: usize,
    key: i32,
    version: i64,
    nonce: i64,
    began: Instant,
    ended: Instant,
    /// Where it was read; none for a write.
    read: Option<Place>,
}

/// A node, and its role at the time.
#[derive(Clone, Debug)]
struct Place {
    node: Arc<str>,
    role: Role,
}

/// What sessions did and saw.
#[derive(Debug, Default)]
pub struct Chronicle(Mutex<Vec<Entry>>);

/// What the chronicle amounts to.
#[derive(Debug, Default)]
pub struct Verdict {
    /// How many writes were acknowledged.
    pub writes: usize,
    /// How many reads were answered.
    pub reads: usize,
    /// How many of them by replicas.
    pub on_replicas: usize,
    /// Each breach of a promise.
    pub breaches: Vec<String>,
}

/// An operation that has begun.
struct Turn {
    session: usize,
    key: i32,
    began: Instant,
}

impl Turn {
    fn begin(session: usize, key: i32) -> Self {
        Self {
            session,
            key,
            began: lagwise::now(),
        }
    }

    /// The operation has ended now, with this version and nonce.
    fn end(self, (version, nonce): (i64, i64), read: Option<Place>) -> Entry {
        Entry {
            session: self.session,
            key: self.key,
            version,
            nonce,
            began: self.began,
            ended: lagwise::now(),
            read,
        }
    }
}

impl Chronicle {
    /// Writes a register in a session, at once, and enters it.
    pub async fn write(&self, session: usize, db: &PgSession, key: i32) -> Outcome<i64> {
        let turn = Turn::begin(session, key);
        let nonce = fastrand::i64(1..);
        let mut connection = db.write().await?;
        let version = bump(&mut connection, key, nonce).await?;
        let entry = turn.end((version, nonce), None);
        drop(connection);
        self.enter(entry);
        Ok(version)
    }

    /// Writes a register in a transaction of a session, and enters it.
    pub async fn commit(&self, session: usize, db: &PgSession, key: i32) -> Outcome<i64> {
        let turn = Turn::begin(session, key);
        let nonce = fastrand::i64(1..);
        let mut transaction = db.begin().await?;
        let version = bump(&mut transaction, key, nonce).await?;
        transaction.commit().await?;
        self.enter(turn.end((version, nonce), None));
        Ok(version)
    }

    /// Reads a register in a session, and enters it.
    pub async fn read(&self, session: usize, db: &PgSession, key: i32) -> Outcome<i64> {
        let turn = Turn::begin(session, key);
        let mut connection = db.read().await?;
        let (version, nonce) = look(&mut connection, key).await?;
        let place = Place {
            node: Arc::clone(&connection.route().node),
            role: connection.route().role,
        };
        let entry = turn.end((version, nonce), Some(place));
        drop(connection);
        self.enter(entry);
        Ok(version)
    }

    /// Writes a register in a session by a statement of its own, and enters it.
    pub async fn write_by_statement(
        &self,
        session: usize,
        db: &PgSession,
        key: i32,
    ) -> Outcome<i64> {
        let turn = Turn::begin(session, key);
        let nonce = fastrand::i64(1..);
        let bumped = sqlx::query_scalar(BUMP).bind(key).bind(nonce);
        let version = bumped.fetch_one(db).await?;
        self.enter(turn.end((version, nonce), None));
        Ok(version)
    }

    /// Reads a register in a session by a statement of its own, and enters it. The server says which
    /// one it is, by `here()`.
    pub async fn read_by_statement(
        &self,
        session: usize,
        db: &PgSession,
        key: i32,
    ) -> Outcome<i64> {
        let turn = Turn::begin(session, key);
        let read = "select version, nonce, here() from registers where key = $1";
        let row: (i64, i64, String) = sqlx::query_as(read).bind(key).fetch_one(db).await?;
        let (version, nonce, node) = row;
        let role = if node == "p" {
            Role::Primary
        } else {
            Role::Replica
        };
        let place = Place {
            node: Arc::from(node),
            role,
        };
        self.enter(turn.end((version, nonce), Some(place)));
        Ok(version)
    }

    /// Judges everything that was entered.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut verdict = Verdict::default();
        let mut threads: BTreeMap<(usize, i32), Vec<&Entry>> = BTreeMap::new();
        for entry in entries.iter() {
            let thread = threads.entry((entry.session, entry.key)).or_default();
            thread.push(entry);
            match &entry.read {
                None => verdict.writes += 1,
                Some(place) => {
                    verdict.reads += 1;
                    verdict.on_replicas += usize::from(place.role == Role::Replica);
                }
            }
        }
        find_forks(&entries, &mut verdict.breaches);
        for thread in threads.values() {
            judge_thread(thread, &mut verdict.breaches);
        }
        verdict
    }

    fn enter(&self, entry: Entry) {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.push(entry);
    }
}

impl Verdict {
    /// Fails on any breach, and where too little was seen to judge by.
    pub fn expect(&self, reads: usize, on_replicas: usize) -> Outcome {
        if let Some(first) = self.breaches.first() {
            return crate::fail(format!(
                "{} breaches in {} reads, the first of them: {first}",
                self.breaches.len(),
                self.reads
            ));
        }
        if self.reads < reads || self.on_replicas < on_replicas {
            return crate::fail(format!(
                "too little to judge by: {} reads, {} of them on replicas",
                self.reads, self.on_replicas
            ));
        }
        Ok(())
    }
}

/// Adds one to a register, and returns its new version.
pub async fn bump(connection: &mut PgConnection, key: i32, nonce: i64) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(BUMP)
        .bind(key)
        .bind(nonce)
        .fetch_one(connection)
        .await
}

const BUMP: &str =
    "update registers set version = version + 1, nonce = $2 where key = $1 returning version";

/// A register's version and nonce.
pub async fn look(connection: &mut PgConnection, key: i32) -> Result<(i64, i64), sqlx::Error> {
    sqlx::query_as("select version, nonce from registers where key = $1")
        .bind(key)
        .fetch_one(connection)
        .await
}

/// One version of a key has one writer, and everybody who reads it sees what that one wrote.
fn find_forks(entries: &[Entry], breaches: &mut Vec<String>) {
    let mut written: BTreeMap<(i32, i64), i64> = BTreeMap::new();
    for entry in entries {
        let nonce = *written
            .entry((entry.key, entry.version))
            .or_insert(entry.nonce);
        if nonce != entry.nonce {
            breaches.push(format!(
                "two histories: version {} of key {} is both {nonce} and {}",
                entry.version, entry.key, entry.nonce
            ));
        }
    }
}

/// One session's operations on one key. Only what had ended before a read began binds the read.
fn judge_thread(thread: &[&Entry], breaches: &mut Vec<String>) {
    let mut by_end = thread.to_vec();
    by_end.sort_by_key(|entry| entry.ended);
    let mut reads: Vec<&&Entry> = thread.iter().filter(|entry| entry.read.is_some()).collect();
    reads.sort_by_key(|entry| entry.began);
    let (mut wrote, mut shown) = (0, (0, Arc::<str>::from("no node")));
    let mut ended = by_end.into_iter().peekable();
    for read in reads {
        while let Some(before) = ended.next_if(|entry| entry.ended < read.began) {
            match &before.read {
                None => wrote = wrote.max(before.version),
                Some(place) if place.role == Role::Replica && before.version > shown.0 => {
                    shown = (before.version, Arc::clone(&place.node));
                }
                Some(_) => {}
            }
        }
        let Some(place) = &read.read else { continue };
        if read.version < wrote {
            breaches.push(format!(
                "session {} wrote version {wrote} of key {} and then read {} on {}",
                read.session, read.key, read.version, place.node
            ));
        }
        if place.role == Role::Replica && read.version < shown.0 {
            breaches.push(format!(
                "session {} read version {} of key {} on {} and then {} on {}",
                read.session, shown.0, read.key, shown.1, read.version, place.node
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(nanos: u64) -> Instant {
        Instant::from_nanos(nanos)
    }

    fn write(version: i64, began: u64) -> Entry {
        Entry {
            session: 1,
            key: 1,
            version,
            nonce: version,
            began: at(began),
            ended: at(began + 5),
            read: None,
        }
    }

    fn read(version: i64, began: u64, node: &str, role: Role) -> Entry {
        let node = Arc::from(node);
        Entry {
            read: Some(Place { node, role }),
            ..write(version, began)
        }
    }

    fn breaches(entries: Vec<Entry>) -> Vec<String> {
        Chronicle(Mutex::new(entries)).verdict().breaches
    }

    #[test]
    fn a_version_with_two_writers_is_a_breach() {
        let other = Entry {
            nonce: 9,
            session: 2,
            ..write(1, 20)
        };
        assert_eq!(breaches(vec![write(1, 1), other]).len(), 1, "two histories");
        assert_eq!(breaches(vec![write(1, 1), write(2, 20)]).len(), 0, "one");
    }

    #[test]
    fn a_read_without_the_sessions_own_write_is_a_breach_on_any_node() {
        for role in [Role::Primary, Role::Replica] {
            let history = |began| vec![write(2, 10), read(1, began, "r1", role)];
            assert_eq!(breaches(history(20)).len(), 1, "{role}: after the write");
            assert_eq!(breaches(history(12)).len(), 0, "{role}: while it ran");
        }
    }

    #[test]
    fn a_read_that_goes_back_is_a_breach_between_replicas_alone() {
        let then = |node, role| vec![read(2, 10, "r1", Role::Replica), read(1, 20, node, role)];
        assert_eq!(breaches(then("r2", Role::Replica)).len(), 1, "to a replica");
        assert_eq!(
            breaches(then("p", Role::Primary)).len(),
            0,
            "to the primary"
        );
    }
}
