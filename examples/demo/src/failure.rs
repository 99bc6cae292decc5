//! Why the demo, or a statement of it, could not go on: a text with all causes.
//!
//! There is nobody but a person to tell, so nothing here is told apart.

use std::error::Error;
use std::fmt;

/// A failure, in words.
#[derive(Debug)]
pub(crate) struct Failure(String);

impl Failure {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }

    fn with_causes(error: &dyn Error) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            message.push_str(&format!(": {error}"));
            cause = error.source();
        }
        Self(message)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<lagwise::Error> for Failure {
    fn from(error: lagwise::Error) -> Self {
        Self::with_causes(&error)
    }
}

impl From<lagwise_testkit::Error> for Failure {
    /// Its debug form holds the end of the server's log.
    fn from(error: lagwise_testkit::Error) -> Self {
        Self(format!("{error:?}"))
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::with_causes(&error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::with_causes(&error)
    }
}

impl From<tokio::task::JoinError> for Failure {
    fn from(error: tokio::task::JoinError) -> Self {
        Self::with_causes(&error)
    }
}
