//! Proxies that people put between a service and its servers, started like a server of our own.
//!
//! What it costs to route in the service itself is known only beside what a proxy costs, so the usual
//! ones can be had as a cluster can: in a temporary folder and under a watchdog. Unlike all else here,
//! a proxy listens on a TCP port of its own, with no wire before it: it is there to be measured. How
//! one is configured is the business of the module that has its name.

mod pgbouncer;
mod pgpool;
mod search;

use std::ffi::OsString;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Executor as _};

use crate::account::Account;
use crate::error::{Error, Result};
use crate::guarded::Guarded;
use crate::server::Launch;
use crate::wait;
use crate::watchdog::Ending;

pub use pgbouncer::{PgBouncer, Pooling};
pub use pgpool::Pgpool;

/// How long a proxy may take for anything; one takes some ten milliseconds, the other half a second.
const PATIENCE: Duration = Duration::from_secs(30);

/// What there is to know of a proxy before it is started.
struct Plan {
    program: PathBuf,
    /// The name of its own folder, in the one that goes with it.
    name: &'static str,
    ending: Ending,
    /// Where it listens, by TCP and by the name of its socket.
    port: u16,
    /// What it writes to its log when all its processes are there.
    up: &'static str,
}

/// A running proxy.
#[derive(Debug)]
struct Proxy {
    port: u16,
    server: Guarded,
}

impl Proxy {
    /// Starts it with these files in its own folder, whose path is given to whoever writes them and the
    /// options, and waits till a statement gets through.
    async fn start(
        plan: Plan,
        files: impl FnOnce(&Path) -> Vec<(&'static str, String)>,
        options: impl FnOnce(&Path) -> Vec<OsString>,
    ) -> Result<Self> {
        let up = plan.up;
        let proxy = Self::assemble(plan, files, options)?;
        proxy.server.spawn()?;
        proxy.server.wait_listening(PATIENCE).await?;
        // It may serve clients before that, and end badly.
        let started = async || Ok(proxy.server.log_tail().contains(up));
        let waited = wait::until_true(PATIENCE, "the proxy has started", started).await;
        waited.map_err(|error| error.with_log(proxy.server.log_tail()))?;
        let url = proxy.url();
        let passes = async || {
            let asked = passes(&url).await;
            asked.map_err(|error| Error::because("it cannot be asked", error))
        };
        let passed = wait::until_true(PATIENCE, "a statement passes the proxy", passes).await;
        passed.map_err(|error| error.with_log(proxy.server.log_tail()))?;
        Ok(proxy)
    }

    /// Makes everything but the process; from here on, a drop removes it.
    fn assemble(
        plan: Plan,
        files: impl FnOnce(&Path) -> Vec<(&'static str, String)>,
        options: impl FnOnce(&Path) -> Vec<OsString>,
    ) -> Result<Self> {
        let account = Account::for_servers()?;
        let launch = |own: &Path| Launch {
            program: plan.program,
            data_option: None,
            options: options(own),
            socket: format!(".s.PGSQL.{}", plan.port),
        };
        let proxy = Self {
            port: plan.port,
            server: Guarded::new(account, plan.name, plan.ending, launch)?,
        };
        let own = proxy.server.folder();
        let written: io::Result<()> = files(own)
            .into_iter()
            .try_for_each(|(name, text)| account.write(&own.join(name), &text));
        written
            .map_err(|error| Error::because(format!("cannot prepare {}", own.display()), error))?;
        Ok(proxy)
    }

    fn url(&self) -> String {
        format!(
            "postgres://postgres@127.0.0.1:{}/postgres?sslmode=disable",
            self.port
        )
    }

    fn process(&self) -> Option<u32> {
        let pid = self.server.pid()?;
        Some(pid.as_raw_nonzero().get().unsigned_abs())
    }

    async fn shutdown(self) -> Result<()> {
        self.server.shutdown().await
    }
}

/// A port that nobody has; should somebody take it before the proxy does, the start fails.
fn free_port() -> Result<u16> {
    let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let address = bound.and_then(|listener| listener.local_addr());
    let address = address.map_err(|error| Error::because("no port can be taken", error))?;
    Ok(address.port())
}

async fn passes(url: &str) -> Result<bool, sqlx::Error> {
    let mut connection = PgConnection::connect(url).await?;
    connection.execute("select 1").await?;
    connection.close().await?;
    Ok(true)
}
