//! Cleans up after servers, whatever becomes of the process that started it.
//!
//! A test may return, panic, be interrupted or be killed outright, and in none of these cases may
//! servers or folders stay behind. Only another process can promise that: a small script that holds
//! the reading end of a pipe and acts when the pipe closes. It is the one way of cleaning up, so
//! every test tests it. Servers that stop while what they belong to lives on are `server`'s business.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use crate::account::Account;
use crate::error::{Error, Result};

const SCRIPT: &str = include_str!("watchdog.sh");

/// Longer than the script takes at its slowest, when it has to kill what does not shut down.
const PATIENCE: Duration = Duration::from_secs(10);

/// How the watchdog ends servers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Ending {
    /// At once, but so that they give back what they hold outside their folder.
    Orderly,
    /// Killed, since they hold nothing outside their folder.
    Outright,
}

impl Ending {
    /// The signal's name, as `kill` has it.
    fn signal(self) -> &'static str {
        match self {
            Self::Orderly => "QUIT",
            Self::Outright => "KILL",
        }
    }
}

/// The process that outlives us to clean up.
#[derive(Debug)]
pub(crate) struct Watchdog {
    folder: PathBuf,
    child: Option<Child>,
    pipe: Option<ChildStdin>,
}

impl Watchdog {
    /// Starts watching over everything in `folder`.
    ///
    /// It runs as the servers' account, since only the same user may see where a process is.
    pub(crate) fn start(account: Account, folder: &Path, ending: Ending) -> Result<Self> {
        let mut command = account.command(Path::new("sh"), Path::new("/"));
        command
            .arg("-c")
            .arg(SCRIPT)
            .arg("lagwise-watchdog")
            .arg(folder)
            .arg(ending.signal());
        // In a group of its own, an interrupt from the terminal does not reach it.
        command
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut child = command
            .spawn()
            .map_err(|error| Error::because("cannot start the watchdog, a `sh`", error))?;
        let pipe = child.stdin.take();
        Ok(Self {
            folder: folder.to_owned(),
            child: Some(child),
            pipe,
        })
    }

    /// Has the folder stay when the time comes; the servers end all the same.
    pub(crate) fn keep(&mut self) {
        self.say("keep\n");
    }

    /// Has the folder removed when the time comes, as is usual.
    pub(crate) fn remove(&mut self) {
        self.say("remove\n");
    }

    /// Ends the servers, and removes the folder unless it is kept; waits for that, but not forever.
    pub(crate) fn clean_up(&mut self) -> Result<()> {
        drop(self.pipe.take());
        let Some(mut child) = self.child.take() else {
            return Ok(());
        };
        let (done, ended) = mpsc::channel();
        // The thread ends with the script, which ends by itself; there is no need to join it.
        std::thread::spawn(move || done.send(child.wait()));
        match ended.recv_timeout(PATIENCE) {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => {
                let message = format!("{} could not be removed", self.folder.display());
                Err(Error::because(
                    message,
                    io::Error::other(status.to_string()),
                ))
            }
            Ok(Err(error)) => Err(Error::because("cannot wait for the watchdog", error)),
            Err(error) => {
                let message = format!("cleaning up {} takes too long", self.folder.display());
                Err(Error::because(message, error))
            }
        }
    }

    fn say(&mut self, word: &str) {
        if let Some(pipe) = &mut self.pipe {
            // A watchdog that is gone, by someone's kill -9, has nothing to be told.
            drop(pipe.write_all(word.as_bytes()));
        }
    }
}
