//! `Pgpool-II`: a process for each client, which parses statements and spreads reads over servers.
//!
//! It is set up for streaming replication: it finds the primary by asking, writes there, and gives each
//! client one server of all of them to read on.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use super::{Plan, Proxy, free_port, search};
use crate::error::{Error, Result};
use crate::server::Stop;
use crate::watchdog::Ending;

const NAME: &str = "pgpool";
const PACKAGE: &str = "pgpool2";

/// How long it may take to end; it takes some ten milliseconds.
const TOLD: Duration = Duration::from_secs(2);

/// A running `Pgpool-II` before a primary and its replicas.
///
/// Dropping it ends its processes and removes its folder, also while panicking; if this process is
/// killed outright, a watchdog does the same. Then it may hang and have to be killed, and leaves a
/// segment of shared memory of two megabytes; after [`shutdown`](Self::shutdown) it does not.
///
/// ```no_run
/// # async fn example() -> Result<(), lagwise_testkit::Error> {
/// use lagwise_testkit::{Cluster, Pgpool};
///
/// let cluster = Cluster::builder().replicas(2).start().await?;
/// let nodes = cluster.nodes();
/// let proxy = Pgpool::over(nodes.iter().map(|node| node.client_wire().address())).await?;
/// println!("{}", proxy.url());
/// proxy.shutdown().await
/// # }
/// ```
#[derive(Debug)]
pub struct Pgpool {
    proxy: Proxy,
}

impl Pgpool {
    /// Whether this machine has the program.
    #[must_use]
    pub fn is_installed() -> bool {
        search::find(NAME, PACKAGE).is_ok()
    }

    /// Starts one before the servers at these addresses, each of which takes as many clients as the
    /// others, and waits till a statement gets through.
    ///
    /// The servers have to let everybody in without a password.
    ///
    /// # Errors
    ///
    /// Where it is not installed, the error names the places searched and the command to install it;
    /// where it does not start, it carries the end of its log.
    ///
    /// # Cancel safety
    ///
    /// What was started by then ends, and its folder is removed, before the drop returns.
    pub async fn over(servers: impl IntoIterator<Item = SocketAddr>) -> Result<Self> {
        let servers: Vec<_> = servers.into_iter().collect();
        if servers.is_empty() {
            return Err(Error::new("a proxy over no server leads nowhere"));
        }
        let plan = Plan {
            program: search::find(NAME, PACKAGE)?,
            name: NAME,
            // It gives its shared memory back.
            ending: Ending::Orderly,
            port: free_port()?,
            up: "successfully started",
        };
        let ports = (plan.port, free_port()?);
        let files = |folder: &Path| {
            vec![
                ("pgpool.conf", settings(&servers, folder, ports)),
                // It looks for these, and needs nothing of them.
                ("pcp.conf", String::new()),
                ("pool_hba.conf", String::new()),
            ]
        };
        let proxy = Proxy::start(plan, files, options).await?;
        Ok(Self { proxy })
    }

    /// The address for clients, by TCP and with nothing in between.
    #[must_use]
    pub fn url(&self) -> String {
        self.proxy.url()
    }

    /// The number of its first process, while it runs; the others are children of that.
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
        // Told alone and once, it gives its memory back; told again and again, all its processes
        // at the same time, as the watchdog does it, it hangs now and then.
        drop(self.proxy.server.stop(Stop::Immediate, TOLD).await);
        self.proxy.shutdown().await
    }
}

/// In the foreground, and without what an earlier one knew of the servers.
fn options(folder: &Path) -> Vec<OsString> {
    let mut options: Vec<OsString> = vec!["-n".into(), "-D".into()];
    for (option, file) in [
        ("-f", "pgpool.conf"),
        ("-F", "pcp.conf"),
        ("-a", "pool_hba.conf"),
    ] {
        options.push(option.into());
        options.push(folder.join(file).into());
    }
    options
}

/// The folder of sockets has two names, since 4.4 another one; it passes over what it does not know. Its
/// processes stay, so that what they used can be asked for.
fn settings(servers: &[SocketAddr], folder: &Path, (port, pcp): (u16, u16)) -> String {
    let folder = folder.display();
    let mut text = format!(
        "backend_clustering_mode = 'streaming_replication'\n\
         listen_addresses = '127.0.0.1'\n\
         port = {port}\n\
         pcp_listen_addresses = ''\n\
         pcp_port = {pcp}\n\
         socket_dir = '{folder}'\n\
         unix_socket_directories = '{folder}'\n\
         pcp_socket_dir = '{folder}'\n\
         wd_ipc_socket_dir = '{folder}'\n\
         pid_file_name = '{folder}/pgpool.pid'\n\
         logdir = '{folder}'\n\
         num_init_children = 48\n\
         max_pool = 1\n\
         child_life_time = 0\n\
         memqcache_total_size = 1MB\n\
         memqcache_max_num_cache = 1000\n\
         enable_pool_hba = off\n\
         pool_passwd = ''\n\
         load_balance_mode = on\n\
         sr_check_user = 'postgres'\n\
         sr_check_database = 'postgres'\n"
    );
    for (number, server) in servers.iter().enumerate() {
        // Writing to a string cannot fail.
        let _written = write!(
            text,
            "backend_hostname{number} = '{}'\n\
             backend_port{number} = {}\n\
             backend_weight{number} = 1\n\
             backend_data_directory{number} = '{folder}'\n\
             backend_flag{number} = 'DISALLOW_TO_FAILOVER'\n",
            server.ip(),
            server.port(),
        );
    }
    text
}
