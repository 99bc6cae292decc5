//! Sessions kept in this process: for a service of one instance, and for tests.
//!
//! There is room for so many. What has to go before its time is not forgotten silently: until that
//! time has passed, whoever is not found may be the one that went. Other processes are not this
//! module's business.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_core::future::BoxFuture;
use lagwise_core::{Claim, Instant};

use super::name::name;
use super::{KEEP_FOR, Recalled, SessionStore, StoreError};
use crate::clock;

/// Keeps sessions in this process, so many at most, and each for five minutes from its last raise
/// unless said otherwise.
///
/// ```no_run
/// # async fn example(db: lagwise::PgRouter) -> Result<(), Box<dyn std::error::Error>> {
/// use lagwise::MemoryStore;
///
/// let store = MemoryStore::new(100_000);
///
/// // The browser writes.
/// let session = db.session_of(&store, "user:42").await;
/// sqlx::query("update profiles set name = 'Ada' where id = 42").execute(&session).await?;
/// session.remember(&store, "user:42").await;
///
/// // The phone reads that.
/// let session = db.session_of(&store, "user:42").await;
/// let name: String = sqlx::query_scalar("select name from profiles where id = 42")
///     .fetch_one(&session)
///     .await?;
/// # drop(name); Ok(()) }
/// ```
pub struct MemoryStore {
    kept: Mutex<Kept>,
    capacity: usize,
    keep_for: Duration,
}

impl MemoryStore {
    /// A store that keeps `capacity` sessions at most.
    ///
    /// One that is full forgets those that were raised least recently. Until their time has passed,
    /// any session that it does not find is [`Recalled::Unknown`]: give it room for all sessions that
    /// are raised within [`keep_for`](Self::keep_for). Each takes some 250 bytes.
    #[must_use]
    pub const fn new(capacity: usize) -> Self {
        Self {
            kept: Mutex::new(Kept::new()),
            capacity,
            keep_for: KEEP_FOR,
        }
    }

    /// Keeps each session for that long from its last raise: at least as long as a replica that takes
    /// reads may lag.
    #[must_use]
    pub const fn keep_for(mut self, keep_for: Duration) -> Self {
        self.keep_for = keep_for;
        self
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SessionStore for MemoryStore {
    fn load<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Recalled, StoreError>> {
        let recalled = self.kept().load(clock::now(), &name(key));
        Box::pin(future::ready(Ok(recalled)))
    }

    fn raise<'a>(
        &'a self,
        key: &'a str,
        claim: &'a Claim,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        let now = clock::now();
        let mut kept = self.kept();
        kept.raise(now, now.after(self.keep_for), name(key), *claim);
        kept.shrink(self.capacity);
        Box::pin(future::ready(Ok(())))
    }
}

impl fmt::Debug for MemoryStore {
    /// Whose sessions they are is nobody's business.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("kept", &self.kept().entries.len())
            .field("capacity", &self.capacity)
            .field("keep_for", &self.keep_for)
            .finish()
    }
}

/// What is kept, by name and by the end of its time.
struct Kept {
    entries: BTreeMap<Arc<str>, Entry>,
    ends: BTreeSet<(Instant, Arc<str>)>,
    /// Until then, what is not found may have been evicted.
    in_doubt_until: Instant,
}

#[derive(Clone, Copy)]
struct Entry {
    claim: Claim,
    until: Instant,
    /// Until then, an entry of the same name that was evicted may have said more.
    in_doubt_until: Instant,
}

impl Kept {
    const fn new() -> Self {
        Self {
            entries: BTreeMap::new(),
            ends: BTreeSet::new(),
            in_doubt_until: Instant::from_nanos(0),
        }
    }

    fn load(&mut self, now: Instant, name: &str) -> Recalled {
        self.expire(now);
        match self.entries.get(name) {
            Some(entry) => {
                let mut claim = entry.claim;
                claim.beyond |= now < entry.in_doubt_until;
                Recalled::Claim(claim)
            }
            None if now < self.in_doubt_until => Recalled::Unknown,
            None => Recalled::Nothing,
        }
    }

    fn raise(&mut self, now: Instant, until: Instant, name: String, claim: Claim) {
        self.expire(now);
        let name: Arc<str> = name.into();
        let before = self.entries.get(&name).copied();
        let entry = match before {
            Some(before) => Entry {
                claim: before.claim.merge(claim),
                until: before.until.max(until),
                in_doubt_until: before.in_doubt_until,
            },
            None => Entry {
                claim,
                until,
                in_doubt_until: self.in_doubt_until,
            },
        };
        if let Some(before) = before {
            self.ends.remove(&(before.until, Arc::clone(&name)));
        }
        self.ends.insert((entry.until, Arc::clone(&name)));
        self.entries.insert(name, entry);
    }

    /// Evicts what has the least time left, until no more than `capacity` are kept.
    fn shrink(&mut self, capacity: usize) {
        while self.entries.len() > capacity {
            let Some((until, name)) = self.ends.pop_first() else {
                return;
            };
            self.entries.remove(&name);
            self.in_doubt_until = self.in_doubt_until.max(until);
        }
    }

    /// Drops what has had its time.
    fn expire(&mut self, now: Instant) {
        while self.ends.first().is_some_and(|(until, _)| *until <= now) {
            if let Some((_, name)) = self.ends.pop_first() {
                self.entries.remove(&name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use lagwise_core::{Lsn, SystemId, Timeline, WallTime};

    use super::*;

    fn at(second: u64) -> Instant {
        Instant::from_nanos(second * 1_000_000_000)
    }

    fn wrote(lsn: u64) -> Claim {
        let issued = WallTime::from_millis(lsn);
        let mut claim = Claim::new(SystemId::new(1), Timeline::new(1), issued);
        claim.lsn = Some(Lsn::new(lsn));
        claim
    }

    /// Raises at a second, for ten of them, in a store with that much room.
    fn raise(kept: &mut Kept, room: usize, second: u64, name: &str, lsn: u64) {
        kept.raise(at(second), at(second + 10), name.to_owned(), wrote(lsn));
        kept.shrink(room);
    }

    #[test]
    fn raises_are_merged_and_never_replaced_by_less() {
        let mut kept = Kept::new();
        raise(&mut kept, 9, 0, "a", 700);
        raise(&mut kept, 9, 1, "a", 300);
        let Recalled::Claim(claim) = kept.load(at(2), "a") else {
            panic!("it is kept");
        };
        assert_eq!(claim.lsn, Some(Lsn::new(700)));
        assert_eq!(kept.load(at(2), "b"), Recalled::Nothing);
    }

    #[test]
    fn a_session_is_kept_from_its_last_raise_on_and_then_is_nothing() {
        let mut kept = Kept::new();
        raise(&mut kept, 9, 0, "a", 1);
        raise(&mut kept, 9, 8, "a", 2);
        assert!(matches!(kept.load(at(17), "a"), Recalled::Claim(_)));
        assert_eq!(kept.load(at(18), "a"), Recalled::Nothing);
        assert!(kept.entries.is_empty() && kept.ends.is_empty());
    }

    #[test]
    fn a_shorter_time_does_not_shorten_a_longer_one() {
        let mut kept = Kept::new();
        kept.raise(at(0), at(20), "a".to_owned(), wrote(1));
        kept.raise(at(1), at(5), "a".to_owned(), wrote(2));
        assert!(matches!(kept.load(at(19), "a"), Recalled::Claim(_)));
        assert_eq!(kept.ends.len(), 1);
    }

    #[test]
    fn what_was_evicted_before_its_time_is_unknown_until_that_has_passed() {
        let mut kept = Kept::new();
        raise(&mut kept, 2, 0, "a", 1);
        raise(&mut kept, 2, 1, "b", 1);
        assert_eq!(kept.load(at(1), "c"), Recalled::Nothing, "there was room");
        raise(&mut kept, 2, 2, "c", 1);
        assert_eq!(kept.load(at(3), "a"), Recalled::Unknown);
        assert!(matches!(kept.load(at(3), "b"), Recalled::Claim(_)));
        assert_eq!(kept.load(at(9), "a"), Recalled::Unknown);
        assert_eq!(kept.load(at(10), "a"), Recalled::Nothing);
    }

    #[test]
    fn what_was_evicted_is_not_known_again_by_a_raise_that_says_less() {
        let mut kept = Kept::new();
        raise(&mut kept, 1, 0, "a", 900);
        raise(&mut kept, 1, 1, "b", 1);
        raise(&mut kept, 1, 2, "a", 5);
        let beyond = |recalled| match recalled {
            Recalled::Claim(claim) => claim.beyond,
            other => panic!("it is kept: {other:?}"),
        };
        assert!(beyond(kept.load(at(3), "a")), "900 was evicted");
        // The eviction of b, at second 2, is of no concern to a.
        assert!(!beyond(kept.load(at(10), "a")), "900 would be gone by now");
    }

    #[test]
    fn a_store_without_room_knows_that_it_knows_nothing() {
        let mut kept = Kept::new();
        raise(&mut kept, 0, 0, "a", 1);
        assert_eq!(kept.load(at(1), "a"), Recalled::Unknown);
    }

    #[test]
    fn what_is_printed_names_nobody() {
        let store = MemoryStore::new(7);
        drop(store.raise("ada@example.org", &wrote(1)));
        let text = format!("{store:?}");
        assert!(text.contains("kept: 1") && !text.contains("ada"), "{text}");
    }
}
