//! The one error of the crate.
//!
//! A test that cannot have its cluster must say why in one look: what was tried, what the cause
//! was, and what the server itself wrote. So an error carries all three, and its `Debug`, which is
//! what a failed `unwrap` shows, prints all three. Telling kinds of errors apart is not its
//! business: a test has nothing to do about any of them but fail.

use std::error::Error as StdError;
use std::fmt;

/// The result of anything a cluster or a node is asked for.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a cluster, a node or a wire did not do as asked.
///
/// `Display` says what failed, [`source`](StdError::source) why, and [`log`](Self::log) what the
/// server wrote last where a server had a part in it. `Debug` shows all of it.
///
/// ```
/// use lagwise_testkit::Installation;
///
/// let error = Installation::find_version(3).unwrap_err();
/// assert!(error.to_string().contains("no PostgreSQL 3 was found"));
/// ```
#[derive(thiserror::Error)]
#[error("{message}")]
pub struct Error {
    message: String,
    #[source]
    source: Option<Box<dyn StdError + Send + Sync>>,
    log: Option<String>,
}

impl Error {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            source: None,
            log: None,
        }
    }

    pub(crate) fn because(
        message: impl Into<String>,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self {
            message: message.into(),
            source: Some(source.into()),
            log: None,
        }
    }

    /// Adds the end of a server's log, unless there is one already or nothing to add.
    pub(crate) fn with_log(mut self, log: String) -> Self {
        if self.log.is_none() && !log.is_empty() {
            self.log = Some(log);
        }
        self
    }

    /// The last lines of the server's log, where a server had a part in the failure.
    #[must_use]
    pub fn log(&self) -> Option<&str> {
        self.log.as_deref()
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        let mut cause = self.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        match &self.log {
            Some(log) => write!(f, "\nthe server's log ends:\n{log}"),
            None => Ok(()),
        }
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Self::because("a statement failed", error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_the_message_the_cause_and_the_log() {
        let error = Error::because("p did not start", "exit status 1").with_log("FATAL: x".into());
        assert_eq!(error.to_string(), "p did not start");
        let shown = format!("{error:?}");
        assert_eq!(
            shown,
            "p did not start: exit status 1\nthe server's log ends:\nFATAL: x"
        );
    }
}
