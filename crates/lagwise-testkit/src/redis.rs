//! A Redis server of one's own, and what can happen to it.
//!
//! A service that keeps in Redis what its sessions have seen must be tested with a Redis that is
//! late, hangs, is gone, or comes back empty. So one is started in a temporary folder, behind a wire
//! and under a watchdog, as the nodes of a cluster are. What is asked of it, and with which client, is
//! the test's business: this one only says `PING`.

mod search;

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::account::Account;
use crate::error::{Error, Result};
use crate::guarded::Guarded;
use crate::program;
use crate::server::Launch;
use crate::wait;
use crate::watchdog::Ending;
use crate::wire::{Listens, Relays, Wire};

/// How long the server may take for anything; it takes some ten milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// The server's own folder, in the one that goes with it.
const SERVER: &str = "redis";

/// A running Redis, or Valkey, with nothing in it, which forgets everything when it ends.
///
/// Dropping it ends the server and removes its folder, also while panicking; if the process is
/// killed outright, a watchdog does the same.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), lagwise_testkit::Error> {
/// use lagwise_testkit::RedisServer;
///
/// let redis = RedisServer::start().await?;
/// assert!(redis.url().starts_with("redis://127.0.0.1:"));
///
/// redis.pause()?; // it hangs
/// redis.resume()?;
/// redis.wire().cut(); // it cannot be reached
/// redis.wire().heal();
/// redis.kill().await?; // it is gone, and comes back empty at the same address
/// redis.start_again().await?;
/// redis.shutdown().await
/// # }
/// ```
#[derive(Debug)]
pub struct RedisServer {
    server: Guarded,
    wire: Wire,
    /// Carries the wire while it lives.
    _relays: Relays,
}

impl RedisServer {
    /// Starts the program that `LAGWISE_REDIS` names, else the `redis-server` or `valkey-server` of
    /// this machine, and waits till it answers.
    ///
    /// # Errors
    ///
    /// Where there is none, the error names the places searched and the command to install one;
    /// where it does not start, it carries the end of the server's log.
    ///
    /// # Cancel safety
    ///
    /// What was started by then ends, and its folder is removed, before the drop returns.
    pub async fn start() -> Result<Self> {
        let redis = Self::assemble(program::blocking(search::find).await?)?;
        redis.start_again().await?;
        Ok(redis)
    }

    /// Makes everything but the server; from here on, a drop removes it.
    fn assemble(program: PathBuf) -> Result<Self> {
        let launch = |_: &Path| Launch {
            program,
            data_option: Some("--dir"),
            options: options(),
            socket: "redis.sock".to_owned(),
        };
        let account = Account::for_servers()?;
        let server = Guarded::new(account, SERVER, Ending::Outright, launch)?;
        let relays = Relays::start()?;
        let redis = Self {
            server,
            wire: relays.wire(Listens::No)?,
            _relays: relays,
        };
        redis.wire.lead_to(&redis.server.socket());
        Ok(redis)
    }

    /// Starts the server after a [`kill`](Self::kill), empty and at the same address, and waits till it
    /// answers; one that runs stays as it is.
    ///
    /// # Errors
    ///
    /// Where it ends again or does not answer, with the end of its log.
    ///
    /// # Cancel safety
    ///
    /// The server may run then; the call can be made again.
    pub async fn start_again(&self) -> Result<()> {
        self.server.spawn()?;
        self.server.wait_listening(PATIENCE).await?;
        let socket = self.server.socket();
        let answers = async || {
            let answer = answers(&socket).await;
            answer.map_err(|error| Error::because("it cannot be asked", error))
        };
        let answered = wait::until_true(PATIENCE, "the Redis server answers", answers).await;
        answered.map_err(|error| error.with_log(self.log()))?;
        self.wire.listen(Listens::Yes);
        Ok(())
    }

    /// Kills the server: its connections end, new ones are refused, and what it held is lost.
    ///
    /// # Errors
    ///
    /// Where the process could not be killed.
    ///
    /// # Cancel safety
    ///
    /// The server ends all the same; the call can be made again to wait for that.
    pub async fn kill(&self) -> Result<()> {
        let killed = self.server.kill(PATIENCE).await;
        if !self.is_running() {
            self.wire.listen(Listens::No);
        }
        killed
    }

    /// Stops the process where it stands: connections stay open, new ones are accepted, and nothing
    /// is answered before [`resume`](Self::resume).
    ///
    /// # Errors
    ///
    /// Where the process cannot be signaled.
    pub fn pause(&self) -> Result<()> {
        self.server.freeze()
    }

    /// Lets a paused server go on; what it was asked meanwhile it answers now.
    ///
    /// # Errors
    ///
    /// Where the process cannot be signaled.
    pub fn resume(&self) -> Result<()> {
        self.server.thaw()
    }

    /// The address for the service under test, by TCP through the [`wire`](Self::wire).
    ///
    /// It stays the same for the life of this value. While the server is down, it refuses.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}/", self.wire.address())
    }

    /// The wire between clients that use [`url`](Self::url) and the server.
    #[must_use]
    pub fn wire(&self) -> &Wire {
        &self.wire
    }

    /// The server's Unix socket, past the wire.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.server.socket()
    }

    /// Whether the process runs, paused or not.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.server.is_running()
    }

    /// The folder that holds all there is of it.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.server.whole_folder()
    }

    /// The last lines of the server's log.
    #[must_use]
    pub fn log(&self) -> String {
        self.server.log_tail()
    }

    /// Ends the server and removes the folder, as dropping does, but without blocking the runtime.
    ///
    /// # Errors
    ///
    /// Where that takes too long, or the folder could not be removed.
    ///
    /// # Cancel safety
    ///
    /// It ends all the same.
    pub async fn shutdown(self) -> Result<()> {
        self.server.shutdown().await
    }
}

/// A socket, no port, and no file but the one that the watchdog finds the process by where it
/// cannot see working folders; paths are below the folder of the data.
fn options() -> Vec<OsString> {
    let words = "--port 0 --unixsocket ../redis.sock --pidfile redis.pid --daemonize no \
                 --appendonly no --save";
    let words = words.split(' ').map(OsString::from);
    // To save never is an empty list of times.
    words.chain([OsString::new()]).collect()
}

/// Whether the server says `PONG`.
async fn answers(socket: &Path) -> io::Result<bool> {
    const PONG: &[u8] = b"+PONG\r\n";
    let mut server = UnixStream::connect(socket).await?;
    server.write_all(b"PING\r\n").await?;
    let mut answer = [0; PONG.len()];
    server.read_exact(&mut answer).await?;
    Ok(answer == PONG)
}
