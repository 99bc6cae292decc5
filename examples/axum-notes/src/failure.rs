//! Why the service cannot go on: a text with all causes, for whoever started it.

use std::error::Error;
use std::fmt;
use std::io;

/// What ended the service.
pub struct Failure(String);

impl Failure {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }

    fn with_causes(error: &dyn Error) -> Self {
        Self(chain(error))
    }
}

/// An error with all that caused it.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        message.push_str(": ");
        message.push_str(&error.to_string());
        cause = error.source();
    }
    message
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Failure {}

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

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::with_causes(&error)
    }
}
