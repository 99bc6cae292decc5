//! The wish of whoever started the demo that it end now.
//!
//! A signal must not end the process by itself: the terminal and the servers come first.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::Failure;

/// The signals that ask a program to end.
#[derive(Debug)]
pub(crate) struct Interrupt {
    hangup: Signal,
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupt {
    /// From here on the signals are only heard by [`Interrupt::comes`].
    pub(crate) fn listen() -> Result<Self, Failure> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for one of them.
    pub(crate) async fn comes(&mut self) {
        tokio::select! {
            _ = self.hangup.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
