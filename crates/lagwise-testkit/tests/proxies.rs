//! A proxy leads to the servers it is given, and is gone when its owner is.
#![expect(clippy::unwrap_used, reason = "what a test stands on may fail it")]

use std::fs;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use lagwise_testkit::{Cluster, Node, PgBouncer, Pgpool, Pooling, Result};
use rustix::process::{Pid, Signal, kill_process};
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;

/// Tells a process started by a test here where to write the folder of its proxy.
const REPORT: &str = "LAGWISE_TESTKIT_REPORT";

#[tokio::test]
async fn one_before_a_server_leads_there_and_keeps_prepared_statements() -> Result<()> {
    let cluster = Cluster::builder().replicas(1).start().await?;
    let proxy = PgBouncer::over(address(cluster.replica(0))).await?;
    let mut client = connect(&proxy.url()).await;
    for number in 1..4 {
        assert_eq!(twice(&mut client, number).await, 2 * number);
    }
    assert!(is_replica(&mut client).await, "it leads to that server");
    let mut others = Vec::new();
    for _ in 0..30 {
        others.push(connect(&proxy.url()).await);
    }
    for other in &mut others {
        assert!(is_replica(other).await, "there is room for everybody");
    }
    let said = proxy.log();
    let by_transaction = proxy.pooling() == Pooling::Transaction;
    assert!(said.contains("process up: PgBouncer"), "{said}");
    assert_eq!(by_transaction, servers_of(&cluster).await < 31, "{said}");
    proxy.shutdown().await?;
    cluster.shutdown().await
}

#[tokio::test]
async fn one_before_all_writes_on_the_primary_and_reads_on_every_server() -> Result<()> {
    let cluster = Cluster::builder().replicas(1).start().await?;
    let proxy = Pgpool::over(cluster.nodes().iter().map(address)).await?;
    let mut clients = Vec::new();
    let mut seen = [false, false];
    for _ in 0..24 {
        let mut client = connect(&proxy.url()).await;
        for number in 1..4 {
            assert_eq!(twice(&mut client, number).await, 2 * number);
        }
        seen[usize::from(is_replica(&mut client).await)] = true;
        clients.push(client);
    }
    assert_eq!(seen, [true, true], "reads are spread");
    let write = sqlx::query("create table t as select 1 as id");
    let written = write.execute(&mut clients[0]).await;
    assert!(written.is_ok(), "{written:?}\n{}", proxy.log());
    proxy.shutdown().await?;
    cluster.shutdown().await
}

#[tokio::test]
async fn a_proxy_over_no_server_is_refused() {
    let message = Pgpool::over([]).await.unwrap_err().to_string();
    assert_eq!(message, "a proxy over no server leads nowhere");
}

#[tokio::test]
async fn a_proxy_that_is_dropped_or_shut_down_leaves_nothing() -> Result<()> {
    let cluster = Cluster::builder().start().await?;
    let proxy = PgBouncer::over(address(cluster.primary())).await?;
    let home = Home::of(proxy.folder());
    assert_is_found(proxy.process());
    drop(proxy);
    home.assert_gone();

    let proxy = Pgpool::over([address(cluster.primary())]).await?;
    let home = Home::of(proxy.folder());
    let first = proxy.process().unwrap();
    assert_is_found(Some(first));
    assert!(
        shares_memory(first),
        "it holds something outside its folder"
    );
    proxy.shutdown().await?;
    home.assert_gone();
    assert!(!shares_memory(first), "it gave that back");
    cluster.shutdown().await
}

#[test]
fn proxies_of_a_process_that_is_killed_are_gone() {
    if let Some(report) = std::env::var_os(REPORT) {
        return hold_proxies(Path::new(&report));
    }
    let test = "proxies_of_a_process_that_is_killed_are_gone";
    let report = std::env::temp_dir().join(format!("{test}-{}", std::process::id()));
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test]).env(REPORT, &report);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut process = Mortal(command.process_group(0).spawn().unwrap());
    wait("the proxies are started", || {
        report.exists() || process.0.try_wait().unwrap().is_some()
    });
    let folders = fs::read_to_string(&report).unwrap();
    let homes: Vec<Home> = folders
        .lines()
        .map(|line| Home::of(Path::new(line)))
        .collect();
    assert_eq!(homes.len(), 2);
    fs::remove_file(&report).unwrap();

    kill_process(Pid::from_child(&process.0), Signal::KILL).unwrap();
    process.0.wait().unwrap();
    for home in homes {
        wait("the proxy has ended", || !home.is_inhabited());
        wait("the folder is gone", || !home.folder.exists());
    }
}

/// Starts one of each, says where they are, and waits.
fn hold_proxies(report: &Path) {
    run(async {
        let cluster = Cluster::builder().start().await?;
        let server = address(cluster.primary());
        let (one, other) = (
            PgBouncer::over(server).await?,
            Pgpool::over([server]).await?,
        );
        let folders = [one.folder(), other.folder()].map(|path| path.display().to_string());
        let draft = report.with_extension("draft");
        fs::write(&draft, folders.join("\n")).unwrap();
        fs::rename(draft, report).unwrap();
        std::future::pending::<Result<()>>().await
    })
    .unwrap();
}

fn run(work: impl Future<Output = Result<()>>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(work)
}

fn address(node: &Node) -> SocketAddr {
    node.client_wire().address()
}

async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url).await.unwrap()
}

/// By a statement that the driver prepares once.
async fn twice(client: &mut PgConnection, number: i32) -> i32 {
    let query = sqlx::query_scalar("select $1 * 2").bind(number);
    query.fetch_one(client).await.unwrap()
}

async fn is_replica(client: &mut PgConnection) -> bool {
    // A function that is known to write nothing, and no catalog: those are the primary's.
    let query = sqlx::query_scalar::<_, String>("select current_setting('cluster_name')");
    let name = query.fetch_one(client).await.unwrap();
    name != "p"
}

/// How many connections clients have to the replica.
async fn servers_of(cluster: &Cluster) -> i64 {
    let query = "select count(*) from pg_stat_activity
                 where backend_type = 'client backend' and pid <> pg_backend_pid()";
    cluster.replica(0).query_scalar(query).await.unwrap()
}

/// The watchdog takes those for servers that work in a folder of data, and ends all else only later.
fn assert_is_found(process: Option<u32>) {
    let place = fs::read_link(format!("/proc/{}/cwd", process.unwrap())).unwrap();
    assert!(place.ends_with("data"), "it works in {}", place.display());
}

/// Whether there is a segment of System V shared memory that this process made.
fn shares_memory(process: u32) -> bool {
    let listed = fs::read_to_string("/proc/sysvipc/shm").unwrap();
    let mut makers = listed.lines().map(|line| line.split_whitespace().nth(4));
    makers.any(|maker| maker == Some(&process.to_string()))
}

/// A process that does not outlive its test.
struct Mortal(Child);

impl Drop for Mortal {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Where a proxy lives, and the processes that work in that folder or are told of it: its own and its
/// watchdog.
struct Home {
    folder: PathBuf,
    residents: Vec<String>,
}

impl Home {
    fn of(folder: &Path) -> Self {
        let home = Self {
            folder: folder.to_owned(),
            residents: processes().filter(|pid| lives_in(pid, folder)).collect(),
        };
        assert!(home.residents.len() >= 2, "a proxy and a watchdog run");
        home
    }

    fn is_inhabited(&self) -> bool {
        self.residents.iter().any(|pid| lives_in(pid, &self.folder))
    }

    fn assert_gone(&self) {
        assert!(!self.is_inhabited(), "processes are left");
        assert!(!self.folder.exists(), "{} is left", self.folder.display());
    }
}

fn processes() -> impl Iterator<Item = String> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
}

/// A process that has ended but was not reaped has neither a command line nor a working folder.
fn lives_in(pid: &str, folder: &Path) -> bool {
    let works = fs::read_link(format!("/proc/{pid}/cwd"));
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let named = String::from_utf8_lossy(&line)
        .split('\0')
        .any(|word| Path::new(word).starts_with(folder));
    named || works.is_ok_and(|place| place.starts_with(folder))
}

fn wait(what: &str, condition: impl FnMut() -> bool) {
    let mut condition = condition;
    run(async {
        for _ in 0..2000 {
            if condition() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("in vain: {what}")
    })
    .unwrap();
}
