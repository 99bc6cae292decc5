//! A server that has a folder to itself, and is gone with its value.
//!
//! Nodes end with their cluster; what is started beside one ends by itself: when it is told to, when it is
//! dropped, and by a watchdog when the process is killed. What the server is, and when it is up, is not
//! decided here.

use std::ops::Deref;
use std::path::{Path, PathBuf};

use crate::account::Account;
use crate::error::{Error, Result};
use crate::folder;
use crate::program;
use crate::server::{Launch, Server};
use crate::watchdog::{Ending, Watchdog};

/// A server, its folder and who looks after both.
#[derive(Debug)]
pub(crate) struct Guarded {
    folder: PathBuf,
    server: Server,
    watchdog: Watchdog,
}

impl Guarded {
    /// Makes everything but the process; from here on, a drop removes it. How to launch it is told by
    /// its own folder, in the one that goes with it.
    pub(crate) fn new(
        account: Account,
        name: &str,
        ending: Ending,
        launch: impl FnOnce(&Path) -> Launch,
    ) -> Result<Self> {
        let folder = folder::make(account, &folder::base(account)?, &[name.to_owned()])?;
        let watchdog = Watchdog::start(account, &folder, ending)?;
        let own = folder.join(name);
        let guarded = Self {
            server: Server::new(account, launch(&own), own),
            folder,
            watchdog,
        };
        for folder in [guarded.server.folder(), &guarded.server.data()] {
            account.make_folder(folder).map_err(|error| {
                Error::because(format!("cannot make {}", folder.display()), error)
            })?;
        }
        Ok(guarded)
    }

    /// The folder that holds all there is of it.
    pub(crate) fn whole_folder(&self) -> &Path {
        &self.folder
    }

    /// Ends the server and removes the folder, as dropping does, but without blocking the runtime.
    pub(crate) async fn shutdown(mut self) -> Result<()> {
        program::blocking(move || self.end()).await
    }

    fn end(&mut self) -> Result<()> {
        self.server.retire();
        let cleaned = self.watchdog.clean_up();
        self.server.bury();
        cleaned
    }
}

impl Deref for Guarded {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // There is no one to tell: a drop must not panic, and `shutdown` is for those who care.
        drop(self.end());
    }
}
