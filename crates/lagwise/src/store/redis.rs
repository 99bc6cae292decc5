//! Sessions kept in Redis or Valkey, for all instances of a service.
//!
//! Three things make it sound. The merge is one script, so that instances do not undo each other. The
//! server says whether it has run, and evicted nothing, for as long as sessions are kept; if it has
//! not, what it says is not all there was. And an instance that could not reach it, or could not keep
//! something, does not trust it for as long either, and says so to the others as soon as it can.
//!
//! How a connection is kept is [`line`](mod@line)'s business, when to try again is [`circuit`]'s, and whom to
//! believe is [`doubt`]'s.

mod circuit;
mod doubt;
mod line;

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_core::future::BoxFuture;
use lagwise_core::Claim;
use redis::Script;

use self::circuit::Circuit;
use self::doubt::Doubt;
use self::line::{Failure, Line};
use super::name::name;
use super::{KEEP_FOR, Recalled, SessionStore, StoreError};
use crate::clock;

/// Keeps sessions in Redis or Valkey, each for five minutes from its last raise unless said
/// otherwise. Needs the feature `redis`.
///
/// ```no_run
/// # async fn example(db: lagwise::PgRouter) -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use lagwise::RedisStore;
///
/// let store = RedisStore::new("redis://cache-1/")?
///     .prefix("shop:lagwise:")
///     .timeout(Duration::from_millis(20));
///
/// let session = db.session_of(&store, "user:42").await;
/// sqlx::query("update profiles set name = 'Ada' where id = 42").execute(&session).await?;
/// session.remember(&store, "user:42").await;
/// # Ok(()) }
/// ```
///
/// # What it does when Redis fails
///
/// Each operation ends within its [`timeout`](Self::timeout). After a few failures in a row nothing
/// is tried for a second, and then by one request. For [`keep_for`](Self::keep_for) after the last
/// failure this instance treats every session as one of which not all is known, and if something
/// could not be kept, it has every instance do so as soon as it reaches Redis again. The same follows
/// where Redis restarts, with or without its data, fails over, or evicts.
///
/// What no instance can know is what another one fails to keep while that one alone cannot reach
/// Redis.
///
/// # What it asks of Redis
///
/// One server of version 6 or later, or the writable one of a failover group; not a cluster that
/// spreads its keys. Its user may `GET`, `SET`, `PERSIST`, `TIME`, `INFO` and run scripts. Set
/// `maxmemory-policy` to `noeviction`: any eviction has all sessions doubted for
/// [`keep_for`](Self::keep_for). All that use one [`prefix`](Self::prefix) keep sessions equally long,
/// over the same PostgreSQL cluster.
///
/// For `rediss://` turn on a feature for TLS of the crate `redis`, such as `tokio-rustls-comp`.
pub struct RedisStore {
    line: Line,
    load: Script,
    raise: Script,
    prefix: String,
    keep_for: Duration,
    timeout: Duration,
    trust: Mutex<Trust>,
}

/// What this instance makes of Redis.
#[derive(Debug, Default)]
struct Trust {
    circuit: Circuit,
    doubt: Doubt,
}

/// One operation of a script.
#[derive(Clone, Copy)]
struct Asked<'a> {
    script: &'a Script,
    key: &'a str,
    claim: Option<&'a Claim>,
    within: Duration,
}

impl RedisStore {
    /// A store that connects when it is first used, and whenever it has to: a service starts without
    /// Redis as well. Its URL is as the crate `redis` has it, with user, password and database.
    ///
    /// # Errors
    /// If the URL is none.
    pub fn new(url: &str) -> Result<Self, StoreError> {
        Ok(Self {
            line: Line::to(url).map_err(Failure::into_error)?,
            load: Script::new(concat!(
                include_str!("redis/trust.lua"),
                include_str!("redis/load.lua")
            )),
            raise: Script::new(concat!(
                include_str!("redis/trust.lua"),
                include_str!("redis/raise.lua")
            )),
            prefix: "lagwise:".to_owned(),
            keep_for: KEEP_FOR,
            timeout: TIMEOUT,
            trust: Mutex::default(),
        })
    }

    /// Begins the name of every key with `prefix`; it is `lagwise:` if nothing is said.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Keeps each session for that long from its last raise: at least as long as a replica that takes
    /// reads may lag. It is also how long Redis is doubted after it may have forgotten something.
    #[must_use]
    pub const fn keep_for(mut self, keep_for: Duration) -> Self {
        self.keep_for = keep_for;
        self
    }

    /// Waits that long for Redis, for each operation; 50 ms if nothing is said.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Finds out whether Redis can be used, for a service that would rather not start without.
    ///
    /// # Errors
    /// If Redis cannot be reached within a few seconds, or its user may not do what the store has to.
    ///
    /// # Cancel safety
    /// A dropped call has no effect.
    pub async fn check(&self) -> Result<(), StoreError> {
        let asked = Asked {
            script: &self.load,
            key: "",
            claim: None,
            within: PATIENCE,
        };
        let found = self.invoke::<Found>(asked, false).await;
        found.map(drop).map_err(Failure::into_error)
    }

    async fn fetch(&self, key: &str) -> Result<Recalled, StoreError> {
        let asked = Asked {
            script: &self.load,
            key,
            claim: None,
            within: self.timeout,
        };
        let began = clock::now();
        let (bytes, doubted): Found = self.ask(asked).await.map_err(Failure::into_error)?;
        let in_doubt = doubted || self.trust().doubt.is_in_doubt(began);
        let Some(bytes) = bytes else {
            return Ok(if in_doubt {
                Recalled::Unknown
            } else {
                Recalled::Nothing
            });
        };
        let mut claim = Claim::decode(&bytes).ok_or_else(|| Failure::Unreadable.into_error())?;
        claim.beyond |= in_doubt;
        Ok(Recalled::Claim(claim))
    }

    async fn keep(&self, key: &str, claim: &Claim) -> Result<(), StoreError> {
        let mut unkept = Unkept {
            store: self,
            is_kept: false,
        };
        let asked = Asked {
            script: &self.raise,
            key,
            claim: Some(claim),
            within: self.timeout,
        };
        let kept: Result<(), Failure> = self.ask(asked).await;
        unkept.is_kept = kept.is_ok();
        kept.map_err(Failure::into_error)
    }

    /// Asks, unless Redis is being left alone, and takes note of what becomes of it.
    async fn ask<T: redis::FromRedisValue>(&self, asked: Asked<'_>) -> Result<T, Failure> {
        let (admitted, unkept) = {
            let trust = &mut *self.trust();
            (trust.circuit.admit(clock::now()), trust.doubt.unkept())
        };
        let answer = if admitted {
            self.invoke(asked, unkept.is_some()).await
        } else {
            Err(Failure::Skipped)
        };
        let now = clock::now();
        let trust = &mut *self.trust();
        match &answer {
            Ok(_) => {
                trust.circuit.answered();
                trust.doubt.told(unkept);
            }
            Err(failure) => {
                trust.doubt.until(now.after(self.keep_for));
                match failure {
                    Failure::Lost | Failure::TimedOut => trust.circuit.failed(now),
                    Failure::Skipped => {}
                    // Who refuses is there.
                    Failure::Refused(_) | Failure::Unreadable | Failure::Address => {
                        trust.circuit.answered();
                    }
                }
            }
        }
        answer
    }

    /// Runs a script, once more on a new connection if the one it was run on is gone.
    async fn invoke<T: redis::FromRedisValue>(
        &self,
        asked: Asked<'_>,
        unkept: bool,
    ) -> Result<T, Failure> {
        let mut invocation = asked.script.prepare_invoke();
        invocation
            .key(format!("{}of:{}", self.prefix, name(asked.key)))
            .key(format!("{}since", self.prefix))
            .arg(self.keep_for.as_millis().to_string())
            .arg(u8::from(unkept))
            .arg(asked.claim.map_or_else(Vec::new, Claim::encode));
        let attempts = async {
            match self.line.invoke(&invocation).await {
                Err((Failure::Lost, was_open)) if was_open => {
                    // Whoever lost the connection may have lost more.
                    let until = clock::now().after(self.keep_for);
                    self.trust().doubt.until(until);
                    self.line.invoke(&invocation).await
                }
                answer => answer,
            }
        };
        let Ok(answer) = tokio::time::timeout(asked.within, attempts).await else {
            // What it was sent on may never answer again.
            self.line.give_up();
            return Err(Failure::TimedOut);
        };
        answer.map_err(|(failure, _)| failure)
    }

    fn trust(&self) -> MutexGuard<'_, Trust> {
        self.trust.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SessionStore for RedisStore {
    fn load<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Recalled, StoreError>> {
        Box::pin(self.fetch(key))
    }

    fn raise<'a>(
        &'a self,
        key: &'a str,
        claim: &'a Claim,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(self.keep(key, claim))
    }
}

impl fmt::Debug for RedisStore {
    /// The URL may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("prefix", &self.prefix)
            .field("keep_for", &self.keep_for)
            .field("timeout", &self.timeout)
            .field("trust", &*self.trust())
            .finish_non_exhaustive()
    }
}

/// What a load finds: an encoded claim, and whether the server may have forgotten.
type Found = (Option<Vec<u8>>, bool);

/// What may not have been kept, until it is known to be. Dropped halfway, it never will be.
struct Unkept<'a> {
    store: &'a RedisStore,
    is_kept: bool,
}

impl Drop for Unkept<'_> {
    fn drop(&mut self) {
        if !self.is_kept {
            let until = clock::now().after(self.store.keep_for);
            self.store.trust().doubt.unkept_until(until);
        }
    }
}

/// Redis in the same data center answers within one; a request can wait for so many.
const TIMEOUT: Duration = Duration::from_millis(50);

/// How long a service that starts waits for Redis.
const PATIENCE: Duration = Duration::from_secs(5);
