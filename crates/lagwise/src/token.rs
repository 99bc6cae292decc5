//! A session in a few dozen characters, to be carried by whoever must not be trusted.
//!
//! A token is opaque: what it says is signed by [`Keys`], and only a router that holds them takes it
//! up. It names a position, not a user, and grants nothing. What a bad one leads to is the same as
//! having none; that is the router's business. It is never shown in logs or `Debug` output.

mod fault;
mod keys;
mod seal;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

pub use self::fault::TokenFault;
pub use self::keys::Keys;

/// A session on its way to somebody else: a header, a cookie, a job's payload.
///
/// [`Session::token`](crate::Session::token) makes one, [`Router::resume`](crate::Router::resume)
/// takes it up. Its text is of letters, digits, `-` and `_`, some sixty to ninety of them.
///
/// ```
/// let carried: lagwise::Token = "AQcd9x".parse()?;
/// assert_eq!(carried.to_string(), "AQcd9x");
/// assert_eq!(format!("{carried:?}"), "Token(..)", "logs never hold one");
/// # Ok::<(), lagwise::TokenFault>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(try_from = "String", into = "String")
)]
pub struct Token(Arc<str>);

impl Token {
    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Token {
    type Err = TokenFault;

    /// Accepts any text that could be a token's. Whether it is one is found out where it is taken up.
    fn from_str(text: &str) -> Result<Self, TokenFault> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if text.is_empty() || text.len() > LONGEST || !text.bytes().all(fits) {
            return Err(TokenFault::Malformed);
        }
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for Token {
    type Error = TokenFault;

    fn try_from(text: String) -> Result<Self, TokenFault> {
        text.parse()
    }
}

impl From<Token> for String {
    fn from(token: Token) -> Self {
        token.0.as_ref().to_owned()
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// No token is longer, so nothing longer is looked at.
const LONGEST: usize = 256;

#[cfg(test)]
mod tests;
