//! How a session leaves its process, and how it comes in.
//!
//! A position is asked for once, at the end, and only where something was written. What cannot be
//! captured in time is told as such: whoever takes the token up looks further then, and nobody reads
//! less than was written.

use std::sync::Arc;

use lagwise_core::{Claim, Instant, Snapshot, WallTime};

use super::{Session, SessionState};
use crate::backend::Backend;
use crate::clock;
use crate::error::Error;
use crate::observe;
use crate::shared::Shared;
use crate::token::{Keys, Token, TokenFault};

impl<DB: Backend> Session<DB> {
    /// What this session wrote and saw, for whoever reads in it next: another request, another
    /// instance, another service, a job.
    ///
    /// Take it when the last write has returned. Where the session wrote, the primary is asked where
    /// it stands, once for all sessions that ask at the same time. If it does not answer within
    /// [`capture_timeout`](crate::Policy::capture_timeout), the token says so, and who takes it up
    /// reads only what is proved to be newer than that moment.
    ///
    /// # Errors
    /// If the router has no [`Keys`], or has not seen a primary yet.
    ///
    /// # Cancel safety
    /// A dropped call has no effect.
    pub async fn token(&self) -> Result<Token, Error> {
        self.seal(None).await
    }

    /// [`Session::token`] that is good only with the same `binding`: the user, or the tenant, that
    /// the token is for.
    ///
    /// # Errors
    /// As [`Session::token`].
    ///
    /// # Cancel safety
    /// A dropped call has no effect.
    pub async fn token_for(&self, binding: &str) -> Result<Token, Error> {
        self.seal(Some(binding)).await
    }

    /// Takes up what a token says as well: from now on the session sees what either wrote and saw, and
    /// its client is told of it.
    ///
    /// A token that is no good counts as none, and its fault is counted and returned. It is no error
    /// of the caller's to go on.
    ///
    /// # Errors
    /// Why the token counts as none.
    pub fn merge(&self, token: &Token) -> Result<(), TokenFault> {
        self.learn(token, None)
    }

    /// [`Session::merge`] of a token that was made for `binding`.
    ///
    /// # Errors
    /// As [`Session::merge`].
    pub fn merge_for(&self, token: &Token, binding: &str) -> Result<(), TokenFault> {
        self.learn(token, Some(binding))
    }

    /// Whether a write of this session, or of one whose token it took up, may be missing: it was
    /// acknowledged, and then another node was promoted that is not proved to have had it.
    ///
    /// The session's reads show the present primary's state. What to do about it is the
    /// application's to say: read again what was written, and write it once more if it is gone.
    #[must_use]
    pub fn may_have_lost_writes(&self) -> bool {
        let snapshot = self.router.snapshot();
        // A position that has not been looked at since it came in may be one of them.
        self.state.floor_under(&snapshot);
        self.state.core().may_have_lost_writes(&snapshot)
    }

    /// Takes up that what happened before now is not known: reads see all of it.
    pub(crate) fn take_up_unknown(&self) {
        let now = clock::now();
        self.state.tell(|core| core.take_up_unknown(now));
    }

    /// Takes up what the session's client has sent.
    pub(crate) fn take_up(&self, token: &Token, binding: Option<&str>) -> Result<(), TokenFault> {
        self.receive(
            |keys| keys.open(token, binding),
            |claim| self.take_up_claim(claim),
        )
    }

    /// Takes up what somebody else has sent, such as a service that was called in the session: its
    /// client is to be told as well.
    pub(crate) fn learn(&self, token: &Token, binding: Option<&str>) -> Result<(), TokenFault> {
        self.receive(
            |keys| keys.open(token, binding),
            |claim| self.take_up_by(claim, lagwise_core::Session::take_up_news),
        )
    }

    /// Takes up a claim that is ours.
    pub(crate) fn take_up_claim(&self, claim: &Claim) -> Result<(), TokenFault> {
        self.take_up_by(claim, lagwise_core::Session::take_up)
    }

    pub(super) fn receive(
        &self,
        open: impl FnOnce(&Keys) -> Result<Claim, TokenFault>,
        take_up: impl FnOnce(&Claim) -> Result<(), TokenFault>,
    ) -> Result<(), TokenFault> {
        let shared = self.router.shared();
        let opened = shared
            .keys
            .as_ref()
            .map_or(Err(TokenFault::UnknownKey), open);
        let outcome = opened.and_then(|claim| take_up(&claim));
        observe::token_received(outcome);
        outcome
    }

    fn take_up_by(&self, claim: &Claim, take_up: TakeUp) -> Result<(), TokenFault> {
        let snapshot = self.router.snapshot();
        if snapshot.system.is_some_and(|ours| ours != claim.system) {
            return Err(TokenFault::Foreign);
        }
        let (now, wall) = (clock::now(), clock::wall());
        let take_up = |core: &mut lagwise_core::Session| {
            // Two positions on different timelines cannot be merged; what is lost of the first is known.
            let voided = core.settle_position(&snapshot);
            take_up(core, claim, &snapshot, now, wall);
            voided
        };
        if let Some(voided) = take_up(&mut self.state.core()) {
            observe::position_voided(voided);
        }
        if let Some(shadow) = self.state.shadow() {
            take_up(&mut shadow.core());
        }
        Ok(())
    }

    /// Asks the primary where it stands, if the session wrote since it was last asked.
    pub(crate) async fn capture(&self) {
        self.state.capture(self.router.shared()).await;
    }

    /// What the session would tell at this moment.
    pub(crate) fn claim(&self) -> Option<Claim> {
        let shared = self.router.shared();
        let snapshot = shared.published.load();
        let core = self.state.core();
        let now = (clock::now(), clock::wall());
        core.claim(&snapshot, now, shared.policy().sticky_window)
    }

    async fn seal(&self, binding: Option<&str>) -> Result<Token, Error> {
        let keys = self.keys()?;
        self.capture().await;
        let claim = self.claim().ok_or_else(Error::no_primary)?;
        Ok(keys.sign(&claim, binding))
    }

    fn keys(&self) -> Result<&Keys, Error> {
        self.router
            .shared()
            .keys
            .as_ref()
            .ok_or_else(Error::no_keys)
    }
}

/// How the core takes up a claim.
type TakeUp = fn(&mut lagwise_core::Session, &Claim, &Snapshot, Instant, WallTime);

impl SessionState {
    async fn capture<DB: Backend>(self: &Arc<Self>, shared: &Arc<Shared<DB>>) {
        let deadline = clock::now().after(shared.policy().capture_timeout);
        let settled = async {
            let mut floor = self.floor();
            while self.core().is_settling() {
                self.changed_from(floor).await;
                floor = self.floor();
            }
        };
        // What has not ended by then is told as open.
        drop(tokio::time::timeout(clock::until(deadline), settled).await);
        if !self.core().is_uncaptured() {
            return;
        }
        // Whoever shuts down waits for it, and refuses none: the write that it tells of was let in.
        let _under_way = shared.requests.begin();
        let captured = shared.captures.ask(clock::until(deadline)).await;
        let snapshot = shared.published.load();
        // On another timeline the position says nothing of what was written on the last one.
        let same = |at: &lagwise_core::Position| {
            snapshot.system == Some(at.system) && snapshot.timeline == Some(at.timeline)
        };
        if let Some((position, sent)) = captured.filter(|(position, _)| same(position)) {
            self.core().cover(position, sent);
        }
    }
}
