//! Sessions taken from a store, and kept in one.
//!
//! No request fails because a store does: what cannot be fetched is not known to be nothing, so the
//! session then sees everything acknowledged before now, and what cannot be kept is counted. What the
//! store itself makes of its failures is its own business.

use super::{Recalled, SessionStore};
use crate::backend::Backend;
use crate::clock;
use crate::observe;
use crate::router::Router;
use crate::session::Session;

impl<DB: Backend> Router<DB> {
    /// The session that a store keeps under a key: it sees what every session wrote and saw that was
    /// [remembered](Session::remember) under it.
    ///
    /// Where the store cannot say, in time or at all, the session sees everything that was
    /// acknowledged before now: it reads from replicas that are proved to show it, or from the primary
    /// within its [`Budget`](crate::Budget).
    ///
    /// A key is who the session is of, as *you* know it: an authenticated user's id. Under a key that
    /// a client may choose, it has others' reads wait and sent to the primary, and learns when they
    /// write.
    ///
    /// # Cancel safety
    /// A dropped call has no effect.
    pub async fn session_of(&self, store: &dyn SessionStore, key: &str) -> Session<DB> {
        let session = self.session();
        session.recall(store, key).await;
        session
    }
}

impl<DB: Backend> Session<DB> {
    /// Keeps what this session wrote and saw under a key of a store, for whoever reads in
    /// [`Router::session_of`] that key next. What is kept there already stays.
    ///
    /// Call it when the last write has returned, and before the client is told. Where the session
    /// wrote, the primary is asked where it stands, as for a [token](Session::token). If the store
    /// cannot keep it, that is counted, and the store is in doubt for a while: see
    /// [`SessionStore`].
    ///
    /// # Cancel safety
    /// A dropped call may have kept it, and leaves the store in doubt as one that failed.
    pub async fn remember(&self, store: &dyn SessionStore, key: &str) {
        self.capture().await;
        // Without a primary nothing was read or written either.
        let Some(claim) = self.claim() else {
            return;
        };
        let began = clock::now();
        let raised = store.raise(key, &claim).await;
        observe::store_asked("raise", clock::now().since(began));
        if let Err(error) = raised {
            observe::store_failed("raise", &error);
        }
    }

    /// Takes up what a store keeps under a key as well.
    pub(crate) async fn recall(&self, store: &dyn SessionStore, key: &str) {
        let began = clock::now();
        let recalled = store.load(key).await;
        observe::store_asked("load", clock::now().since(began));
        let outcome = match recalled {
            Ok(Recalled::Nothing) => "nothing",
            Ok(Recalled::Claim(claim)) if self.take_up_claim(&claim).is_ok() => "claim",
            // Another cluster's: ours may have been under the same key, and gone for it.
            Ok(Recalled::Claim(_)) => "foreign",
            Ok(Recalled::Unknown) => "unknown",
            Err(error) => {
                observe::store_failed("load", &error);
                "failed"
            }
        };
        if !matches!(outcome, "nothing" | "claim") {
            self.take_up_unknown();
        }
        observe::session_recalled(outcome);
    }
}
