//! Changes of role: promotion, following another primary, and the return of an old one.
//!
//! The kit does what an operator's failover tool does, one step for each call, and nothing by
//! itself: nobody is promoted because a primary died, and nobody follows the new one unasked. So a
//! test can stop between any two steps. An old primary can come back rightly, rewound, or wrongly,
//! with the history nobody else has.

use std::fs;
use std::io;

use super::Node;
use crate::error::{Error, Result};
use crate::program;
use crate::server::Stop;

impl Node {
    /// Promotes this standby, and waits till it accepts writes.
    ///
    /// The other standbys go on following the old primary until told to [`follow`](Self::follow).
    ///
    /// # Errors
    ///
    /// Where the node is no standby, or is not promoted in time.
    pub async fn promote(&self) -> Result<()> {
        let seconds = self.patience().as_secs().max(1);
        self.execute(&format!("select pg_promote(true, {seconds})"))
            .await?;
        let promoted = async || self.ask("select not pg_is_in_recovery()").await;
        self.wait("it accepts writes", promoted).await?;
        self.upstream().take();
        Ok(())
    }

    /// Has this standby follow another node from now on, over the same upstream wire.
    ///
    /// A fault of that wire stays in force. Does not wait till it streams:
    /// [`wait_streaming`](Self::wait_streaming) does.
    ///
    /// # Errors
    ///
    /// Where this node is no standby; an old primary has to [`rejoin`](Self::rejoin).
    pub async fn follow(&self, primary: &Self) -> Result<()> {
        if self.is_running()
            && !self
                .query_scalar::<bool>("select pg_is_in_recovery()")
                .await?
        {
            let message = format!("{} is no standby: it can only rejoin", self.name());
            return Err(Error::new(message));
        }
        self.lead_to(primary);
        Ok(())
    }

    /// Brings an old primary back as a standby: stops it, rewinds it to where its history and the
    /// new primary's part (`pg_rewind`), and starts it.
    ///
    /// Its upstream wire leads to the new primary; a fault of it stays in force. Writes that only the
    /// old primary had are gone. Where the histories never parted there is
    /// nothing to rewind, and it only starts as a standby.
    ///
    /// # Errors
    ///
    /// Where one of these steps fails.
    pub async fn rejoin(&self, primary: &Self) -> Result<()> {
        self.stop(Stop::Fast).await?;
        // Older versions of the program read the new timeline from the last checkpoint.
        primary.execute("checkpoint").await?;
        // It recovers a crashed server first, in a way that a standby refuses.
        self.remove("standby.signal")?;
        let recipe = &self.inner.makings.recipe;
        let rewind = recipe.installation.program("pg_rewind");
        let source = primary.inner.server.folder().display().to_string();
        let source = source.replace('\\', "\\\\").replace('\'', "\\'");
        let mut command = recipe.account.command(&rewind, self.inner.server.folder());
        command
            .arg("--no-sync")
            .arg("--target-pgdata")
            .arg(self.data_dir());
        command.arg("--source-server");
        command.arg(format!(
            "host='{source}' port=5432 user=postgres dbname=postgres"
        ));
        let rewound = program::run(command).await;
        rewound.map_err(|error| {
            let message = format!("cannot rewind {} to {}", self.name(), primary.name());
            Error::because(message, error).with_log(self.log())
        })?;
        // Rewinding brings the other node's configuration with it.
        self.write_settings()?;
        self.become_standby_of(primary)?;
        self.start().await
    }

    /// Brings an old primary back as a standby with its history as it is: the mistake that
    /// [`rejoin`](Self::rejoin) is there to avoid.
    ///
    /// It serves reads, of rows too that no other node has, and cannot stream: the new primary's
    /// history parted before its own end.
    ///
    /// # Errors
    ///
    /// Where it cannot be stopped or started.
    pub async fn rejoin_without_rewind(&self, primary: &Self) -> Result<()> {
        self.stop(Stop::Fast).await?;
        self.become_standby_of(primary)?;
        self.start().await
    }

    /// Whether this node follows another, as the kit was last told.
    #[must_use]
    pub fn is_standby(&self) -> bool {
        self.upstream().is_some()
    }

    /// The name of the node this one follows, as the kit was last told.
    #[must_use]
    pub fn follows(&self) -> Option<String> {
        self.upstream().as_ref().map(|node| node.name().to_owned())
    }

    /// Marks the data folder as a standby's; in force from the next start.
    pub(crate) fn become_standby_of(&self, primary: &Self) -> Result<()> {
        self.write("standby.signal", "")?;
        self.lead_to(primary);
        Ok(())
    }

    fn lead_to(&self, primary: &Self) {
        self.inner
            .upstream_wire
            .lead_to(&primary.inner.server.socket());
        *self.upstream() = Some(primary.clone());
    }

    fn remove(&self, file: &str) -> Result<()> {
        let path = self.data_dir().join(file);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::because(
                format!("cannot remove {}", path.display()),
                error,
            )),
            _ => Ok(()),
        }
    }
}
