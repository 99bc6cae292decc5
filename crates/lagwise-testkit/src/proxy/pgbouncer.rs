//! `PgBouncer`: one process that lends the connections of a server to many clients.
//!
//! It lends one for a transaction where its version can carry prepared statements from one connection to
//! another, which drivers count on, and for as long as the client stays where it cannot.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use super::{Plan, Proxy, free_port, search};
use crate::error::{Error, Result};
use crate::watchdog::Ending;

const NAME: &str = "pgbouncer";

/// The first version with `max_prepared_statements` (`PgBouncer` changelog, 1.21.0).
const KEEPS_STATEMENTS: (u32, u32) = (1, 21);

/// For how long a client of a [`PgBouncer`] has a server's connection to itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Pooling {
    /// While its transaction is open.
    Transaction,
    /// While it is connected.
    Session,
}

impl Pooling {
    /// The best one for clients that prepare statements, by what the program says of its version.
    fn of(version: &str) -> Option<Self> {
        let number = version.strip_prefix("PgBouncer ")?;
        let mut parts = number.split(|letter: char| !letter.is_ascii_digit());
        let major = parts.next()?.parse().ok()?;
        let minor = parts.next()?.parse().ok()?;
        Some(if (major, minor) < KEEPS_STATEMENTS {
            Self::Session
        } else {
            Self::Transaction
        })
    }

    /// The lines of the configuration that ask for it.
    fn settings(self) -> &'static str {
        match self {
            Self::Transaction => "pool_mode = transaction\nmax_prepared_statements = 200\n",
            Self::Session => "pool_mode = session\n",
        }
    }
}

/// A running `PgBouncer` before one server.
///
/// Dropping it ends the process and removes its folder, also while panicking; if this process is
/// killed outright, a watchdog does the same.
///
/// ```no_run
/// # async fn example() -> Result<(), lagwise_testkit::Error> {
/// use lagwise_testkit::{Cluster, PgBouncer};
///
/// let cluster = Cluster::builder().start().await?;
/// let proxy = PgBouncer::over(cluster.primary().client_wire().address()).await?;
/// println!("{} pools by {:?}", proxy.url(), proxy.pooling());
/// proxy.shutdown().await
/// # }
/// ```
#[derive(Debug)]
pub struct PgBouncer {
    proxy: Proxy,
    pooling: Pooling,
}

impl PgBouncer {
    /// Whether this machine has the program.
    #[must_use]
    pub fn is_installed() -> bool {
        search::find(NAME, NAME).is_ok()
    }

    /// Starts one before the server at this address, and waits till a statement gets through.
    ///
    /// The server has to let the user `postgres` in without a password, which is how the proxy connects
    /// whatever a client says.
    ///
    /// # Errors
    ///
    /// Where it is not installed, the error names the places searched and the command to install it;
    /// where it does not start, it carries the end of its log.
    ///
    /// # Cancel safety
    ///
    /// What was started by then ends, and its folder is removed, before the drop returns.
    pub async fn over(server: SocketAddr) -> Result<Self> {
        let program = search::find(NAME, NAME)?;
        let said = Command::new(&program).arg("--version").output();
        let said = said.map_err(|error| Error::because("cannot run pgbouncer", error))?;
        let said = String::from_utf8_lossy(&said.stdout);
        let pooling = Pooling::of(&said).ok_or_else(|| {
            let line = said.lines().next().unwrap_or_default();
            Error::new(format!("pgbouncer says of its version: `{line}`"))
        })?;
        let plan = Plan {
            program,
            name: NAME,
            // It holds nothing outside its folder.
            ending: Ending::Outright,
            port: free_port()?,
            up: "process up",
        };
        let port = plan.port;
        let files =
            |folder: &Path| vec![("pgbouncer.ini", settings(server, folder, port, pooling))];
        let options = |folder: &Path| vec![folder.join("pgbouncer.ini").into()];
        let proxy = Proxy::start(plan, files, options).await?;
        Ok(Self { proxy, pooling })
    }

    /// For how long a client has a server's connection to itself.
    #[must_use]
    pub fn pooling(&self) -> Pooling {
        self.pooling
    }

    /// The address for clients, by TCP and with nothing in between.
    #[must_use]
    pub fn url(&self) -> String {
        self.proxy.url()
    }

    /// The number of its only process, while it runs.
    #[must_use]
    pub fn process(&self) -> Option<u32> {
        self.proxy.process()
    }

    /// The folder that holds all there is of it.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.proxy.server.whole_folder()
    }

    /// The last lines of its log.
    #[must_use]
    pub fn log(&self) -> String {
        self.proxy.server.log_tail()
    }

    /// Ends it and removes the folder, as dropping does, but without blocking the runtime.
    ///
    /// # Errors
    ///
    /// Where that takes too long, or the folder could not be removed.
    ///
    /// # Cancel safety
    ///
    /// It ends all the same.
    pub async fn shutdown(self) -> Result<()> {
        self.proxy.shutdown().await
    }
}

/// Only what it cannot do without, or what would be in the way of measuring it: room for everybody, and
/// no words in the log for each client.
fn settings(server: SocketAddr, folder: &Path, port: u16, pooling: Pooling) -> String {
    format!(
        "[databases]\n\
         * = host={} port={} user=postgres\n\
         [pgbouncer]\n\
         listen_addr = 127.0.0.1\n\
         listen_port = {port}\n\
         unix_socket_dir = {}\n\
         auth_type = any\n\
         server_tls_sslmode = disable\n\
         ignore_startup_parameters = extra_float_digits\n\
         max_client_conn = 400\n\
         default_pool_size = 100\n\
         log_connections = 0\n\
         log_disconnections = 0\n\
         {}",
        server.ip(),
        server.port(),
        folder.display(),
        pooling.settings(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_that_carries_statements_along_pools_by_transaction() {
        let of = |number: &str| Pooling::of(&format!("PgBouncer {number}\nlibevent 2.1\n"));
        assert_eq!(of("1.18.0"), Some(Pooling::Session));
        assert_eq!(of("1.20.1"), Some(Pooling::Session));
        assert_eq!(of("1.21.0"), Some(Pooling::Transaction));
        assert_eq!(of("1.24.1-dev"), Some(Pooling::Transaction));
        assert_eq!(of("2.0"), Some(Pooling::Transaction));
        assert_eq!(of("of no number"), None);
        assert_eq!(Pooling::of("pgpool-II version 4.3.5"), None);
    }
}
