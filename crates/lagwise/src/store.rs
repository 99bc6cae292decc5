//! Sessions that cannot carry a token are kept under a key.
//!
//! A token travels with whoever is served. A user's phone and browser do not know of each other, and
//! a webhook comes from somebody who carries nothing; what they have in common is a key, such as the
//! user's id. Under it a [`SessionStore`] keeps what all of them wrote and saw, merged. The rule kept
//! here is that a store may know too little, but never without saying so: whatever it may have
//! forgotten is [`Recalled::Unknown`], and then reads see everything acknowledged before that moment.
//!
//! Who may use which key is the application's business, and so is what a session then does.

mod handles;
mod memory;
mod name;
#[cfg(feature = "redis")]
mod redis;

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_core::future::BoxFuture;
use lagwise_core::Claim;

pub use self::memory::MemoryStore;
#[cfg(feature = "redis")]
pub use self::redis::RedisStore;

/// Keeps sessions under keys, for [`Router::session_of`](crate::Router::session_of) and
/// [`Session::remember`](crate::Session::remember).
///
/// There is one for [one process](MemoryStore), and with the feature `redis` one for many. Another
/// one keeps these promises, or sessions that use it miss their own writes:
///
/// - **A raise is atomic for each key.** It merges what is kept with what is new, by
///   [`Claim::merge`], the greater of each field; two raises at once leave what both say. Reading,
///   merging and writing back is enough only where the writing fails if somebody else wrote
///   meanwhile: a compare-and-set, such as `gets` and `cas` of Memcached, in a loop. What is kept is
///   never replaced by less, and nothing is dropped because some replica has it by now.
/// - **What was raised is kept for some minutes**, at least as long as a replica may lag, counted
///   from the last raise. After that the session has nothing to wait for, and
///   [`Recalled::Nothing`] is right.
/// - **What is lost earlier is not nothing.** A store that evicted, restarted, or failed over to a
///   copy that is behind answers [`Recalled::Unknown`] for as long as what it lost would have been
///   kept. What it does find then may be less than was raised: a claim with
///   [`beyond`](Claim::beyond) set says both.
/// - **Nothing waits for long.** A request waits for both calls, so each has a deadline of some
///   milliseconds. One that fails, or whose future was dropped, may or may not have taken effect;
///   after such a raise this store answers [`Recalled::Unknown`] as above.
///
/// A claim goes where bytes go: [`Claim::encode`] and [`Claim::decode`]. It is not secret, and not
/// signed: whoever can write to the store can have reads wait, and sent to the primary within its
/// budget.
///
/// ```
/// use std::collections::BTreeMap;
/// use std::sync::Mutex;
///
/// use futures_core::future::BoxFuture;
/// use lagwise::{Claim, Recalled, SessionStore, StoreError};
///
/// /// Keeps everything for good: a start for one of your own.
/// #[derive(Debug, Default)]
/// struct Map(Mutex<BTreeMap<String, Vec<u8>>>);
///
/// impl SessionStore for Map {
///     fn load<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Recalled, StoreError>> {
///         Box::pin(async move {
///             let map = self.0.lock().map_err(|_| StoreError::new("a thread panicked"))?;
///             let Some(bytes) = map.get(key) else {
///                 return Ok(Recalled::Nothing);
///             };
///             // Of a later version, say: it is not known what it asks for.
///             Ok(Claim::decode(bytes).map_or(Recalled::Unknown, Recalled::Claim))
///         })
///     }
///
///     fn raise<'a>(
///         &'a self,
///         key: &'a str,
///         claim: &'a Claim,
///     ) -> BoxFuture<'a, Result<(), StoreError>> {
///         Box::pin(async move {
///             let mut map = self.0.lock().map_err(|_| StoreError::new("a thread panicked"))?;
///             let kept = map.get(key).and_then(|bytes| Claim::decode(bytes));
///             let merged = kept.map_or(*claim, |kept| kept.merge(*claim));
///             map.insert(key.to_owned(), merged.encode());
///             Ok(())
///         })
///     }
/// }
/// ```
pub trait SessionStore: fmt::Debug + Send + Sync + 'static {
    /// What is kept under a key, all raises merged.
    ///
    /// # Errors
    /// If the store cannot say. The session then sees everything acknowledged before now.
    ///
    /// # Cancel safety
    /// A dropped call has no effect.
    fn load<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Recalled, StoreError>>;

    /// Keeps what a claim says as well, never less than before: atomically, the greater of each field.
    ///
    /// # Errors
    /// If it may not be kept. From then on the store is in doubt, as the trait says.
    ///
    /// # Cancel safety
    /// A dropped call may take effect, and leaves the store in doubt as one that failed.
    fn raise<'a>(&'a self, key: &'a str, claim: &'a Claim)
    -> BoxFuture<'a, Result<(), StoreError>>;
}

impl<S: SessionStore + ?Sized> SessionStore for Arc<S> {
    fn load<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Recalled, StoreError>> {
        (**self).load(key)
    }

    fn raise<'a>(
        &'a self,
        key: &'a str,
        claim: &'a Claim,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        (**self).raise(key, claim)
    }
}

/// What a store knows of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Recalled {
    /// Nothing was raised within the time that things are kept.
    Nothing,
    /// This, and nothing else.
    Claim(Claim),
    /// It may have forgotten: reads are to see everything acknowledged before now.
    Unknown,
}

/// A store could not be read or written in time.
///
/// Nothing is to be done about one: the session that wanted it sees more than it needs, and the
/// metric `lagwise_store_errors_total` counts it. It names neither a key nor an address.
pub struct StoreError(Box<dyn StdError + Send + Sync>);

impl StoreError {
    /// An error of a store, and what it came from.
    ///
    /// It may be logged: keep keys, addresses and passwords out of it.
    #[must_use]
    pub fn new(cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self(cause.into())
    }
}

impl fmt::Debug for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StoreError").field(&self.0).finish()
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the session store failed")
    }
}

impl StdError for StoreError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.0)
    }
}

/// For how long a session is kept, unless said otherwise: as long as a token is good.
const KEEP_FOR: Duration = Duration::from_secs(300);
