//! A proxy in front of all nodes, started by the drill in a temporary folder.
//!
//! It parses statements, sends reads to replicas and looks for the primary by itself. Its folder goes
//! with it. Where it is not installed, nothing is compared with it.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use futures_core::future::BoxFuture;
use lagwise_testkit::Cluster;
use sqlx::PgPool;
use tokio::process::{Child, Command};

use super::{
    Asked, Contender, Outcome, PATIENCE, Row, Seen, by_deadline, pool_options, read_on, write_on,
};
use crate::{Result, fail};

/// Where packages put it.
const PROGRAMS: [&str; 3] = [
    "/usr/sbin/pgpool",
    "/usr/bin/pgpool",
    "/usr/local/bin/pgpool",
];

/// How long it may take to answer its first question.
const START: Duration = Duration::from_secs(15);

/// The program, where it is installed.
pub(super) fn program() -> Option<PathBuf> {
    PROGRAMS
        .iter()
        .map(PathBuf::from)
        .find(|path| path.exists())
}

/// A running proxy, and pools of connections to it.
#[derive(Debug)]
pub(super) struct Pgpool {
    writes: PgPool,
    reads: PgPool,
    _server: Server,
}

/// Ends with its folder.
#[derive(Debug)]
struct Server {
    child: Child,
    folder: PathBuf,
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(id) = self.child.id() {
            // Its children end with it, which a kill would not see to.
            let ended = std::process::Command::new("kill")
                .args(["-INT", &id.to_string()])
                .status();
            drop(ended);
            self.wait_for_end();
        }
        drop(fs::remove_dir_all(&self.folder));
    }
}

impl Server {
    /// Half a second is more than it takes once its clients are gone.
    fn wait_for_end(&mut self) {
        for _ in 0..50 {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            let pause = std::process::Command::new("sleep").arg("0.01").status();
            drop(pause);
        }
        drop(self.child.start_kill());
    }
}

impl Pgpool {
    pub(super) async fn start(cluster: &Cluster) -> Result<Self> {
        let Some(program) = program() else {
            return fail("Pgpool-II is not installed: `apt-get install pgpool2`");
        };
        let account = account()?;
        let folder = std::env::temp_dir().join(format!("lagwise-drill-pgpool-{}", free_port()?));
        fs::DirBuilder::new().mode(0o700).create(&folder)?;
        let port = free_port()?;
        let file = folder.join("pgpool.conf");
        fs::write(&file, settings(cluster, &folder, port)?)?;
        for empty in ["pcp.conf", "pool_hba.conf"] {
            fs::write(folder.join(empty), "")?;
        }
        let log = fs::File::create(folder.join("log"))?;
        let mut command = Command::new(program);
        command
            .arg("-n")
            .arg("-f")
            .arg(&file)
            .arg("-F")
            .arg(folder.join("pcp.conf"))
            .arg("-a")
            .arg(folder.join("pool_hba.conf"));
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        command.current_dir(&folder).kill_on_drop(true);
        if let Some((uid, gid)) = account {
            chown(&folder, Some(uid), Some(gid))?;
            command.uid(uid).gid(gid);
        }
        let child = command.spawn()?;
        let server = Server { child, folder };
        // A statement that is kept prepared stays on the node that it was prepared on, however late.
        let url =
            format!("postgres://postgres@127.0.0.1:{port}/postgres?statement-cache-capacity=0");
        let (of_reads, of_writes) = PATIENCE;
        // As many places as the others have: those of one node, and those of two.
        let reads = pool_options(of_reads).max_connections(super::PLACES * 2);
        let pgpool = Self {
            writes: pool_options(of_writes).connect_lazy(&url)?,
            reads: reads.connect_lazy(&url)?,
            _server: server,
        };
        pgpool.wait_ready().await?;
        Ok(pgpool)
    }

    async fn wait_ready(&self) -> Result {
        let answers = async {
            while sqlx::query("select 1").execute(&self.writes).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        match tokio::time::timeout(START, answers).await {
            Ok(()) => Ok(()),
            Err(_elapsed) => {
                let log = fs::read_to_string(self._server.folder.join("log")).unwrap_or_default();
                fail(format!("Pgpool-II does not answer:\n{log}"))
            }
        }
    }
}

/// The servers' own account, where we are root: it is of those that refuse to be.
fn account() -> Result<Option<(u32, u32)>> {
    let id = std::process::Command::new("id").arg("-u").output()?;
    if id.stdout.trim_ascii() != b"0" {
        return Ok(None);
    }
    let accounts = fs::read_to_string("/etc/passwd")?;
    let line = accounts.lines().find(|line| line.starts_with("postgres:"));
    let Some(line) = line else {
        return fail("there is no user postgres to run Pgpool-II as");
    };
    let mut fields = line.split(':').skip(2);
    let ids = (fields.next(), fields.next());
    match ids {
        (Some(uid), Some(gid)) => Ok(Some((uid.parse()?, gid.parse()?))),
        _ => fail("the user postgres has no ids"),
    }
}

/// A port that nobody has; somebody may take it until it is used, and then the start fails.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}

fn settings(cluster: &Cluster, folder: &Path, port: u16) -> Result<String> {
    let pcp = free_port()?;
    let folder = folder.display();
    let mut text = format!(
        "backend_clustering_mode = 'streaming_replication'
listen_addresses = '127.0.0.1'
port = {port}
pcp_port = {pcp}
socket_dir = '{folder}'
pcp_socket_dir = '{folder}'
wd_ipc_socket_dir = '{folder}'
pid_file_name = '{folder}/pgpool.pid'
logdir = '{folder}'
num_init_children = 40
max_pool = 1
enable_pool_hba = off
pool_passwd = ''
load_balance_mode = on
statement_level_load_balance = on
delay_threshold = 100000
read_only_function_list = 'pg_sleep,current_setting'
sr_check_period = 1
sr_check_user = 'postgres'
sr_check_database = 'postgres'
health_check_period = 1
health_check_timeout = 1
health_check_user = 'postgres'
health_check_database = 'postgres'
health_check_max_retries = 0
failover_on_backend_error = on
auto_failback = on
"
    );
    for (number, node) in cluster.nodes().iter().enumerate() {
        let address = node.client_wire().address();
        let weight = u8::from(number > 0);
        writeln!(
            text,
            "backend_hostname{number} = '{}'\nbackend_port{number} = {}\n\
             backend_weight{number} = {weight}\nbackend_flag{number} = 'ALLOW_TO_FAILOVER'\n\
             backend_application_name{number} = '{}'\nbackend_data_directory{number} = '{folder}'",
            address.ip(),
            address.port(),
            node.name(),
        )?;
    }
    Ok(text)
}

impl Contender for Pgpool {
    fn write(&self, row: Row) -> BoxFuture<'_, Outcome<String>> {
        Box::pin(write_on(&self.writes, row))
    }

    fn read(&self, asked: Asked) -> BoxFuture<'_, Outcome<Seen>> {
        Box::pin(by_deadline(asked, read_on(&self.reads, asked)))
    }
}
