//! What there is to tell of a session: to the client that is in it, and to a service that is called.

use lagwise_core::Claim;

use super::Session;
use crate::backend::Backend;
use crate::clock;
use crate::token::{Token, TokenFault};

/// What there is to tell a session's client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Renewal {
    /// Nothing new.
    None,
    /// That it read, and nothing else.
    Reads,
    /// What is known already.
    Known,
    /// What has to be captured first.
    Captured,
}

impl<DB: Backend> Session<DB> {
    /// Takes up what a client has sent who is known as `binding` by now. What it was given before it
    /// was known is bound to nobody.
    pub(crate) fn take_up_of_client(
        &self,
        token: &Token,
        binding: Option<&str>,
    ) -> Result<(), TokenFault> {
        self.receive(
            |keys| match keys.open(token, binding) {
                Err(TokenFault::Forged) if binding.is_some() => keys.open(token, None),
                opened => opened,
            },
            |claim| self.take_up_claim(claim),
        )
    }

    /// What there is to tell a service that is called in the session, whatever its client knows.
    pub(crate) fn errand(&self) -> Renewal {
        let core = self.state.core();
        if self.router.shared().keys.is_none() || core.is_fresh() {
            Renewal::None
        } else if core.is_uncaptured() || core.is_settling() {
            Renewal::Captured
        } else {
            Renewal::Known
        }
    }

    /// What there is to tell that no token has told yet.
    pub(crate) fn renewal(&self) -> Renewal {
        let Some(keys) = &self.router.shared().keys else {
            return Renewal::None;
        };
        let core = self.state.core();
        if !core.has_moved(clock::wall(), keys.renew_after()) {
            return Renewal::None;
        }
        if core.is_uncaptured() || core.is_settling() {
            return Renewal::Captured;
        }
        if core.has_written() {
            Renewal::Known
        } else {
            Renewal::Reads
        }
    }

    /// What the session's next token says, which its client is about to be told. Where it wrote, this
    /// is to be called after [`Session::capture`].
    pub(crate) fn tell(&self) -> Option<Claim> {
        let claim = self.claim()?;
        self.state.core().told(&claim);
        Some(claim)
    }
}
