//! Why a token counts as none.

use std::error::Error;
use std::fmt;

/// Why a token counts as none. No text of it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TokenFault {
    /// It is no token: of other characters, too long, cut off, or given more than once.
    Malformed,
    /// It was signed with a key that is not among ours.
    UnknownKey,
    /// Its signature is not that of its content, or of this user.
    Forged,
    /// It is older than the keys allow.
    Expired,
    /// It was made in the future, by more than clocks differ.
    Early,
    /// It is of another cluster.
    Foreign,
    /// It names a position that the primary never reached.
    Beyond,
}

impl TokenFault {
    /// The fault's name in output and in metric labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::UnknownKey => "unknown_key",
            Self::Forged => "forged",
            Self::Expired => "expired",
            Self::Early => "early",
            Self::Foreign => "foreign",
            Self::Beyond => "beyond",
        }
    }
}

impl fmt::Display for TokenFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the text is not a token",
            Self::UnknownKey => "the token was signed with a key that is not known here",
            Self::Forged => "the token's signature does not match",
            Self::Expired => "the token is too old",
            Self::Early => "the token was made in the future",
            Self::Foreign => "the token is of another cluster",
            Self::Beyond => "the token names a position that the primary never reached",
        })
    }
}

impl Error for TokenFault {}
