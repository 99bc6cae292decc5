//! A proxy in front of all nodes, started by the drill in a temporary folder.
//!
//! It parses statements, sends reads to replicas and looks for the primary by itself. It ends,
//! and its folder goes, with the drill. Where it is not installed, nothing is compared with it.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{DirBuilderExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use futures_core::future::BoxFuture;
use lagwise_testkit::Cluster;
use sqlx::PgPool;

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

/// How long it may take to end; it takes a tenth of a second.
const END: Duration = Duration::from_secs(5);

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
    server: Server,
}

/// The shell around the proxy. It ends the proxy and removes the folder when its input ends, which it
/// does whatever becomes of this process.
#[derive(Debug)]
struct Server {
    shell: Option<Child>,
    folder: PathBuf,
}

/// Given the program and its folder.
const SCRIPT: &str = r#"
"$1" -n -f "$2/pgpool.conf" -F "$2/pcp.conf" -a "$2/pool_hba.conf" </dev/null >"$2/log" 2>&1 &
cat >/dev/null
kill -INT $!
wait $!
rm -rf "$2"
# What it left behind, this shell included.
kill -KILL 0
"#;

impl Server {
    fn start(program: &Path, folder: PathBuf, account: Option<(u32, u32)>) -> Result<Self> {
        let mut command = Command::new("sh");
        command.arg("-c").arg(SCRIPT).arg("lagwise-drill");
        command.arg(program).arg(&folder).current_dir("/");
        // In a group of its own, an interrupt from the terminal does not reach it.
        command.stdin(Stdio::piped()).process_group(0);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        if let Some((uid, gid)) = account {
            chown(&folder, Some(uid), Some(gid))?;
            command.uid(uid).gid(gid);
        }
        let shell = Some(command.spawn()?);
        Ok(Self { shell, folder })
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let Some(mut shell) = self.shell.take() else {
            return;
        };
        drop(shell.stdin.take());
        let (done, ended) = mpsc::channel();
        // The thread ends with the shell, which ends with the proxy; there is no need to join it.
        std::thread::spawn(move || done.send(shell.wait()));
        drop(ended.recv_timeout(END));
    }
}

impl Pgpool {
    pub(super) async fn start(cluster: &Cluster) -> Result<Self> {
        let Some(program) = program() else {
            return fail("Pgpool-II is not installed: `apt-get install pgpool2`");
        };
        let account = account()?;
        let port = free_port()?;
        let folder = std::env::temp_dir().join(format!("lagwise-drill-pgpool-{port}"));
        fs::DirBuilder::new().mode(0o700).create(&folder)?;
        let settings = settings(cluster, &folder, port)?;
        fs::write(folder.join("pgpool.conf"), settings)?;
        for empty in ["pcp.conf", "pool_hba.conf"] {
            fs::write(folder.join(empty), "")?;
        }
        let server = Server::start(&program, folder, account)?;
        // A statement that is kept prepared stays on the node that it was prepared on, however late.
        let url =
            format!("postgres://postgres@127.0.0.1:{port}/postgres?statement-cache-capacity=0");
        let (of_reads, of_writes) = PATIENCE;
        // As many places as the others have: those of one node, and those of two.
        let reads = pool_options(of_reads).max_connections(super::PLACES * 2);
        let pgpool = Self {
            writes: pool_options(of_writes).connect_lazy(&url)?,
            reads: reads.connect_lazy(&url)?,
            server,
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
                let log = self.server.log();
                fail(format!("Pgpool-II does not answer:\n{log}"))
            }
        }
    }
}

/// The servers' own account, where we are root: it is of those that refuse to be.
fn account() -> Result<Option<(u32, u32)>> {
    let id = Command::new("id").arg("-u").output()?;
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
health_check_timeout = 3
health_check_user = 'postgres'
health_check_database = 'postgres'
health_check_max_retries = 1
health_check_retry_delay = 1
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
