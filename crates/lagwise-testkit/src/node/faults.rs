//! Faults of replay, of the stream and of whole servers, each with its opposite.
//!
//! A pause and a delay are what an administrator can ask a server for; freezing is what befalls it.
//! A frozen process holds its memory, its locks and its connections, and answers nothing. Faults of
//! the network are `wire`'s business.

use std::time::Duration;

use rustix::process::Signal;

use super::Node;
use crate::error::{Error, Result};

/// The task that replays the log on a standby.
const REPLAY: &str = "startup";

/// The task that receives the log on a standby.
const STREAM: &str = "walreceiver";

impl Node {
    /// Pauses replay, and waits till it has paused; the log is received as before.
    ///
    /// # Errors
    ///
    /// Where the node is no standby or does not answer.
    pub async fn pause_replay(&self) -> Result<()> {
        self.execute("select pg_wal_replay_pause()").await?;
        let paused = async || {
            self.ask("select pg_get_wal_replay_pause_state() = 'paused'")
                .await
        };
        self.wait("replay has paused", paused).await
    }

    /// Resumes replay that was paused.
    ///
    /// # Errors
    ///
    /// Where the node is no standby or does not answer.
    pub async fn resume_replay(&self) -> Result<()> {
        self.execute("select pg_wal_replay_resume()").await?;
        let resumed = async || {
            self.ask("select pg_get_wal_replay_pause_state() = 'not paused'")
                .await
        };
        self.wait("replay has resumed", resumed).await
    }

    /// Has replay apply each commit only `delay` after it was made; zero for no delay.
    ///
    /// # Errors
    ///
    /// Where the configuration cannot be written, or the server does not take it.
    pub async fn set_apply_delay(&self, delay: Duration) -> Result<()> {
        let value = format!("{}ms", delay.as_millis());
        self.configure("recovery_min_apply_delay", &value).await
    }

    /// Freezes the process that replays the log; sessions and the stream go on.
    ///
    /// # Errors
    ///
    /// Where there is none: the node is down or no standby.
    pub fn freeze_replay(&self) -> Result<()> {
        self.signal_task(REPLAY, Signal::STOP)
    }

    /// Lets the process that replays the log go on.
    ///
    /// # Errors
    ///
    /// Where there is none: the node is down or no standby.
    pub fn thaw_replay(&self) -> Result<()> {
        self.signal_task(REPLAY, Signal::CONT)
    }

    /// Freezes the process that receives the log; sessions and replay go on.
    ///
    /// What the primary sends waits in the buffers of the connection: nothing of it is lost. To
    /// lose it, cut the [`upstream_wire`](Self::upstream_wire).
    ///
    /// # Errors
    ///
    /// Where there is none: the node is down or not connected.
    pub fn freeze_stream(&self) -> Result<()> {
        self.signal_task(STREAM, Signal::STOP)
    }

    /// Lets the process that receives the log go on.
    ///
    /// # Errors
    ///
    /// Where there is none: the node is down or not connected.
    pub fn thaw_stream(&self) -> Result<()> {
        self.signal_task(STREAM, Signal::CONT)
    }

    /// Freezes the whole server: it accepts connections and answers nothing.
    ///
    /// # Errors
    ///
    /// Where a process could not be frozen.
    pub fn freeze(&self) -> Result<()> {
        self.inner.server.freeze()
    }

    /// Lets every process of the server go on, by whichever call it was frozen.
    ///
    /// # Errors
    ///
    /// Where a process could not be thawed.
    pub fn thaw(&self) -> Result<()> {
        self.inner.server.thaw()
    }

    /// Has this node's address lead to another node from now on, of this cluster or of any other;
    /// to itself to undo it. Open connections are reset.
    ///
    /// A name that was pointed elsewhere, or a port that someone else listens on by now. The address
    /// still accepts while this node's own server runs, and only then.
    pub fn lead_clients_to(&self, other: &Self) {
        let socket = other.inner.server.socket();
        self.inner.client_wire.lead_to(&socket);
    }

    fn signal_task(&self, task: &str, signal: Signal) -> Result<()> {
        if self.inner.server.signal_task(task, signal)? {
            return Ok(());
        }
        let message = format!("{} has no {task} process", self.name());
        Err(Error::new(message).with_log(self.log()))
    }
}
