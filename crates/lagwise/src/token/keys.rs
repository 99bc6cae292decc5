//! The secrets that tokens are signed with, and how they are changed without losing a session.
//!
//! One key signs; others are accepted, so that a key can be replaced: accept the new one everywhere,
//! then sign with it everywhere, then drop the old one. A key is told by a few bytes derived from it,
//! never by its place. No key is ever shown.

use std::env;
use std::fmt;
use std::time::Duration;

use lagwise_core::{Claim, WallTime};

use super::seal::{self, Key};
use super::{Token, TokenFault};
use crate::clock;
use crate::error::Error;
use crate::observe;

/// The keys that a router signs tokens with and accepts them by.
///
/// Every instance and service that shares sessions has the same ones. A secret is at least 32 bytes,
/// as of `openssl rand -base64 32`.
///
/// ```
/// use lagwise::Keys;
///
/// let keys = Keys::new("new-secret-of-at-least-32-bytes-0123456789")?
///     .also_accept("old-secret-of-at-least-32-bytes-0123456789")?;
/// assert!(Keys::new("short").unwrap_err().is_config());
/// # drop(keys);
/// # Ok::<(), lagwise::Error>(())
/// ```
#[derive(Clone)]
pub struct Keys {
    signing: Key,
    accepted: Option<Key>,
    max_age: Duration,
    encrypted: bool,
}

impl Keys {
    /// Signs with a secret, and accepts what it has signed.
    ///
    /// # Errors
    /// If the secret is shorter than 32 bytes.
    pub fn new(secret: impl AsRef<[u8]>) -> Result<Self, Error> {
        Ok(Self {
            signing: key(secret.as_ref())?,
            accepted: None,
            max_age: Duration::from_secs(300),
            encrypted: false,
        })
    }

    /// Takes the secret from an environment variable, and after a comma one that is still, or
    /// already, accepted.
    ///
    /// # Errors
    /// If the variable is not set, or a secret in it is shorter than 32 bytes.
    pub fn from_env(variable: &str) -> Result<Self, Error> {
        let text = env::var(variable).map_err(|_| {
            Error::config(vec![format!(
                "the environment variable {variable} is not set, or is not text: set it to a secret \
                 of at least 32 bytes, such as that of `openssl rand -base64 32`"
            )])
        })?;
        Self::listed(variable, &text)
    }

    /// The secrets that a variable holds.
    fn listed(variable: &str, text: &str) -> Result<Self, Error> {
        let mut secrets = text.split(',').map(str::trim);
        let keys = Self::new(secrets.next().unwrap_or_default())?;
        match (secrets.next(), secrets.next()) {
            (None, _) => Ok(keys),
            (Some(old), None) => keys.also_accept(old),
            (Some(_), Some(_)) => Err(Error::config(vec![format!(
                "the environment variable {variable} holds more than two secrets: keep the one that \
                 signs and one that is accepted"
            )])),
        }
    }

    /// Accepts what another secret has signed as well.
    ///
    /// # Errors
    /// If the secret is shorter than 32 bytes.
    pub fn also_accept(mut self, secret: impl AsRef<[u8]>) -> Result<Self, Error> {
        self.accepted = Some(key(secret.as_ref())?);
        Ok(self)
    }

    /// Ignores tokens that are older. 5 min unless set: a replica that is further behind serves
    /// nobody anyway.
    #[must_use]
    pub const fn max_age(mut self, age: Duration) -> Self {
        self.max_age = age;
        self
    }

    /// Encrypts tokens as well (XChaCha20-Poly1305): positions tell how much a database writes, and
    /// when. Tokens that are only signed are accepted still.
    #[cfg(feature = "encryption")]
    #[must_use]
    pub const fn encrypted(mut self) -> Self {
        self.encrypted = true;
        self
    }

    /// How long a token is good.
    pub(crate) const fn kept_for(&self) -> Duration {
        self.max_age
    }

    #[cfg(feature = "tower")]
    /// How soon a token that says nothing new is renewed, lest it grow too old in use.
    pub(crate) fn renew_after(&self) -> Duration {
        self.max_age / 4
    }

    /// Signs a claim, for whoever is named by `binding` alone if it is given.
    pub(crate) fn sign(&self, claim: &Claim, binding: Option<&str>) -> Token {
        observe::token_issued(claim);
        let text = if self.encrypted {
            seal::encrypt(&self.signing, &claim.encode(), binding)
        } else {
            seal::sign(&self.signing, &claim.encode(), binding)
        };
        Token(text.into())
    }

    /// What a token says, if it is one of ours, for `binding`, and of an age to be trusted.
    pub(crate) fn open(&self, token: &Token, binding: Option<&str>) -> Result<Claim, TokenFault> {
        self.open_at(token, binding, clock::wall())
    }

    fn open_at(
        &self,
        token: &Token,
        binding: Option<&str>,
        wall: WallTime,
    ) -> Result<Claim, TokenFault> {
        let keys = [Some(&self.signing), self.accepted.as_ref()];
        let payload = seal::open(keys.into_iter().flatten(), token.as_str(), binding)?;
        let claim = Claim::decode(&payload).ok_or(TokenFault::Malformed)?;
        if claim.age(wall) > self.max_age {
            return Err(TokenFault::Expired);
        }
        if claim.issued.since(wall) > CLOCKS_DIFFER {
            return Err(TokenFault::Early);
        }
        Ok(claim)
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys")
            .field("accepts", &(1 + usize::from(self.accepted.is_some())))
            .field("max_age", &self.max_age)
            .field("encrypted", &self.encrypted)
            .finish_non_exhaustive()
    }
}

fn key(secret: &[u8]) -> Result<Key, Error> {
    if secret.len() < SHORTEST {
        return Err(Error::config(vec![format!(
            "a key for tokens has {} bytes: it needs at least {SHORTEST}, such as those of `openssl \
             rand -base64 32`",
            secret.len()
        )]));
    }
    Ok(Key::new(secret))
}

/// As long as what HMAC-SHA256 puts out (RFC 2104, section 3).
const SHORTEST: usize = 32;

/// By how much the clock of the instance that made a token may be ahead of ours.
const CLOCKS_DIFFER: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
