//! One server's processes: starting, stopping, freezing and killing them.
//!
//! The server is a direct child, so that its process id is known and cannot become another's, and
//! its end is seen. Whatever was frozen is thawed before it is told to stop, since a frozen process
//! hears nothing. What the server is, and is configured to be, is `node`'s, `redis`'s
//! and `proxy`'s business.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal};

use crate::account::Account;
use crate::clock::Deadline;
use crate::error::{Error, Result};
use crate::processes::{self, Process};
use crate::wait;

/// Lines of a log that an error shows.
const TAIL: usize = 25;

/// How much of a log is read for that: lines are far shorter than a kilobyte.
const TAIL_BYTES: u64 = 64 * 1024;

/// How to stop a server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Stop {
    /// In order: sessions are ended, standbys get all there is, and nothing is lost.
    ///
    /// A primary waits for its standbys, and so in vain where a wire to one is a blackhole.
    Fast,
    /// At once, as after a crash: the next start recovers.
    Immediate,
}

/// Which server to start.
#[derive(Debug)]
pub(crate) struct Launch {
    pub(crate) program: PathBuf,
    /// The option before the folder of the data, of a server that makes that its working folder; any
    /// other is started there.
    pub(crate) data_option: Option<&'static str>,
    pub(crate) options: Vec<OsString>,
    /// The name of the socket, in the server's own folder.
    pub(crate) socket: String,
}

/// A server's program, its folder and, while it runs, its first process.
#[derive(Debug)]
pub(crate) struct Server {
    account: Account,
    launch: Launch,
    /// The server's own folder: its data, its log and its socket.
    folder: PathBuf,
    life: Mutex<Life>,
}

impl Server {
    pub(crate) fn new(account: Account, launch: Launch, folder: PathBuf) -> Self {
        Self {
            account,
            launch,
            folder,
            life: Mutex::default(),
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.join(&self.launch.socket)
    }

    /// The last lines of the log, empty where there is none.
    pub(crate) fn log_tail(&self) -> String {
        let log = self.read_log_end().unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(TAIL)..].join("\n")
    }

    fn read_log_end(&self) -> io::Result<Vec<u8>> {
        let mut file = fs::File::open(self.log_file())?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut end = Vec::new();
        file.read_to_end(&mut end)?;
        Ok(end)
    }

    /// Starts the first process, and does not wait for more; one that runs already stays.
    pub(crate) fn spawn(&self) -> Result<()> {
        let mut life = self.life();
        if life.over {
            // What started now would have no watchdog.
            return Err(Error::new("the cluster is shut down"));
        }
        if life.pid().is_some() {
            return Ok(());
        }
        let child = self.try_spawn().map_err(|error| {
            let message = format!("cannot start {}", self.launch.program.display());
            Error::because(message, error).with_log(self.log_tail())
        })?;
        life.child = Some(child);
        Ok(())
    }

    fn try_spawn(&self) -> io::Result<Child> {
        // What a killed server leaves behind would pass for a sign of life of the new one.
        if let Err(error) = fs::remove_file(self.socket())
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        let log = self.account.append(&self.log_file())?;
        let mut command = self.command();
        command.args(&self.launch.options).stdin(Stdio::null());
        // In a group of its own, an interrupt from the terminal does not reach it.
        command
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0);
        command.spawn()
    }

    /// The watchdog finds servers by their working folder, so each ends up in that of its data.
    fn command(&self) -> Command {
        let (program, data) = (&self.launch.program, self.data());
        let Some(option) = self.launch.data_option else {
            return self.account.command(program, &data);
        };
        let mut command = self.account.command(program, &self.folder);
        command.arg(option).arg(data);
        command
    }

    /// Waits till clients get an answer, be it that the server is still starting up.
    pub(crate) async fn wait_listening(&self, patience: Duration) -> Result<()> {
        self.wait_for("listen", patience, |_| self.socket().exists())
            .await
    }

    /// Waits till the server says, in its own file, that it takes connections.
    pub(crate) async fn wait_accepting(&self, patience: Duration) -> Result<()> {
        let file = self.data().join("postmaster.pid");
        let accepting = |pid: Pid| {
            let file = fs::read_to_string(&file).unwrap_or_default();
            let mut lines = file.lines();
            // The file may be that of a server that was killed.
            let own = lines
                .next()
                .is_some_and(|line| line.trim() == pid.to_string());
            own && lines.last().is_some_and(|line| line.trim() == "ready")
        };
        self.wait_for("take connections", patience, accepting).await
    }

    /// Waits for a sign of life, or the end of the server. It is only a look at a file, so it may
    /// be repeated faster than a question to the server.
    async fn wait_for(
        &self,
        what: &str,
        patience: Duration,
        sign: impl Fn(Pid) -> bool,
    ) -> Result<()> {
        let deadline = Deadline::after(patience);
        loop {
            let Some(pid) = self.pid() else {
                let message = format!("the server in {} has ended", self.folder.display());
                return Err(Error::new(message).with_log(self.log_tail()));
            };
            if sign(pid) {
                return Ok(());
            }
            if deadline.passed() {
                let folder = self.folder.display();
                let message = format!("the server in {folder} did not {what} for {patience:?}");
                return Err(Error::new(message).with_log(self.log_tail()));
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    pub(crate) async fn stop(&self, how: Stop, patience: Duration) -> Result<()> {
        let Some(pid) = self.pid() else { return Ok(()) };
        self.thaw()?;
        let signal = match how {
            Stop::Fast => Signal::INT,
            Stop::Immediate => Signal::QUIT,
        };
        processes::signal(pid, signal).map_err(|error| self.unsignaled(error))?;
        self.wait_ended(patience).await
    }

    /// Kills every process at once, so that nothing is written any more.
    pub(crate) async fn kill(&self, patience: Duration) -> Result<()> {
        let Some(pid) = self.pid() else { return Ok(()) };
        // Stopped, it starts no further children between our looking and killing.
        let children = self.freeze_all().map_err(|error| self.unsignaled(error))?;
        processes::signal(pid, Signal::KILL).map_err(|error| self.unsignaled(error))?;
        for child in &children {
            processes::signal(child.pid, Signal::KILL).map_err(|error| self.unsignaled(error))?;
        }
        self.wait_ended(patience).await?;
        let ended = async || Ok(!children.iter().any(|child| processes::runs(child.pid)));
        wait::until_true(patience, "every process of the server has ended", ended).await
    }

    pub(crate) fn freeze(&self) -> Result<()> {
        self.freeze_all()
            .map(drop)
            .map_err(|error| self.unsignaled(error))
    }

    /// Lets every process go on that was frozen, by whatever call.
    pub(crate) fn thaw(&self) -> Result<()> {
        self.try_thaw().map_err(|error| self.unsignaled(error))
    }

    /// Sends a signal to the children that do a task; whether there were any.
    pub(crate) fn signal_task(&self, task: &str, signal: Signal) -> Result<bool> {
        let children = self.children().map_err(|error| self.unsignaled(error))?;
        let mut found = false;
        for child in children.iter().filter(|child| child.does(task)) {
            processes::signal(child.pid, signal).map_err(|error| self.unsignaled(error))?;
            found = true;
        }
        Ok(found)
    }

    /// Has the server read its configuration again.
    pub(crate) fn reload(&self) -> Result<()> {
        let Some(pid) = self.pid() else { return Ok(()) };
        processes::signal(pid, Signal::HUP).map_err(|error| self.unsignaled(error))
    }

    pub(crate) fn is_running(&self) -> bool {
        self.pid().is_some()
    }

    /// Has it never start again.
    pub(crate) fn retire(&self) {
        self.life().over = true;
    }

    /// Reaps the process after someone else, the watchdog, has ended it.
    pub(crate) fn bury(&self) {
        if let Some(mut child) = self.life().child.take() {
            // It has ended by now; if not, it does so here. Errors mean it is gone.
            drop(child.kill());
            drop(child.wait());
        }
    }

    async fn wait_ended(&self, patience: Duration) -> Result<()> {
        let ended = async || Ok(!self.is_running());
        let what = "the server has ended";
        let waited = wait::until_true(patience, what, ended).await;
        waited.map_err(|error| error.with_log(self.log_tail()))
    }

    /// The first process, while it runs.
    pub(crate) fn pid(&self) -> Option<Pid> {
        self.life().pid()
    }

    fn children(&self) -> io::Result<Vec<Process>> {
        self.pid()
            .map_or_else(|| Ok(Vec::new()), processes::children_of)
    }

    /// Freezes the first process, then its children, and says which these are.
    fn freeze_all(&self) -> io::Result<Vec<Process>> {
        let Some(pid) = self.pid() else {
            return Ok(Vec::new());
        };
        processes::signal(pid, Signal::STOP)?;
        let mut frozen = Vec::new();
        // The signal may come in the middle of a child's birth: look until there is nothing new.
        loop {
            let children = self.children()?;
            if children.iter().all(|child| frozen.contains(child)) {
                return Ok(frozen);
            }
            for child in &children {
                processes::signal(child.pid, Signal::STOP)?;
            }
            frozen = children;
        }
    }

    fn try_thaw(&self) -> io::Result<()> {
        for child in self.children()? {
            processes::signal(child.pid, Signal::CONT)?;
        }
        self.pid()
            .map_or(Ok(()), |pid| processes::signal(pid, Signal::CONT))
    }

    fn unsignaled(&self, error: io::Error) -> Error {
        let message = format!("cannot signal the server in {}", self.folder.display());
        Error::because(message, error).with_log(self.log_tail())
    }

    fn log_file(&self) -> PathBuf {
        self.folder.join("server.log")
    }

    fn life(&self) -> MutexGuard<'_, Life> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The first process while it runs, and whether there may be another one.
#[derive(Debug, Default)]
struct Life {
    child: Option<Child>,
    over: bool,
}

impl Life {
    fn pid(&mut self) -> Option<Pid> {
        let running = self.child.as_mut()?;
        if matches!(running.try_wait(), Ok(None)) {
            return Some(Pid::from_child(running));
        }
        // Reaped: its id may be used again from now on.
        self.child = None;
        None
    }
}
