//! What a handle's holder asks of everything that is done through it.
//!
//! A session is shared by all who act in it; these rules are not. They go with the handle, and with
//! the scope in which it is ambient.

use lagwise_core::Instant;

use crate::error::Error;
use crate::options::ReadOptions;

/// What a handle asks of everything that is done through it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rules {
    /// What its reads ask for, unless they say so themselves.
    pub(crate) reads: ReadOptions,
    /// Whether it refuses writes.
    pub(crate) read_only: bool,
    /// Until when its reads may take.
    pub(crate) deadline: Option<Instant>,
}

impl Rules {
    /// Whether a write may be made.
    pub(crate) fn admit_write(&self) -> Result<(), Error> {
        if self.read_only {
            Err(Error::read_only())
        } else {
            Ok(())
        }
    }
}
