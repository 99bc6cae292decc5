//! Whatever becomes of a test, it leaves neither servers nor folders behind.
#![expect(clippy::unwrap_used, reason = "what a test stands on may fail it")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use lagwise_testkit::{Builder, Cluster, Result};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// Tells a process started by a test here where to write the folder of its cluster.
const REPORT: &str = "LAGWISE_TESTKIT_REPORT";

#[tokio::test]
async fn a_cluster_that_is_dropped_is_gone() -> Result<()> {
    let cluster = Cluster::builder().replicas(1).start().await?;
    let home = Home::of(&cluster);
    drop(cluster);
    home.assert_gone();
    Ok(())
}

#[tokio::test]
async fn a_cluster_that_is_shut_down_is_gone_whatever_state_it_is_in() -> Result<()> {
    let cluster = Cluster::builder().replicas(3).start().await?;
    let home = Home::of(&cluster);
    cluster.primary().kill().await?;
    cluster.replica(0).freeze()?;
    cluster.replica(1).freeze_replay()?;
    cluster.replica(2).upstream_wire().blackhole();
    cluster.shutdown().await?;
    home.assert_gone();
    Ok(())
}

#[test]
fn a_cluster_of_a_test_that_panics_is_gone() {
    let home = panic_with(Cluster::builder().keep_on_failure(false));
    home.assert_gone();
}

#[test]
fn a_cluster_of_a_test_that_panics_is_kept_on_request_without_its_servers() {
    let home = panic_with(Cluster::builder().keep_on_failure(true));
    assert!(!home.is_inhabited(), "servers end all the same");
    assert!(
        home.folder.join("p/server.log").exists(),
        "the log is what one wants to see"
    );
    fs::remove_dir_all(home.folder).unwrap();
}

#[tokio::test]
async fn a_handle_that_outlives_its_cluster_starts_nothing() -> Result<()> {
    let cluster = Cluster::builder().start().await?;
    let (home, node) = (Home::of(&cluster), cluster.primary().clone());
    cluster.shutdown().await?;
    let error = node.start().await.unwrap_err();
    assert!(error.to_string().contains("shut down"), "{error}");
    node.client_wire().heal();
    assert!(!node.is_running());
    home.assert_gone();
    Ok(())
}

#[tokio::test]
async fn a_cluster_that_could_be_kept_is_gone_when_all_went_well() -> Result<()> {
    let cluster = Cluster::builder().keep_on_failure(true).start().await?;
    let home = Home::of(&cluster);
    drop(cluster);
    home.assert_gone();
    Ok(())
}

/// Runs itself a second time, in a process that has a parent folder of its own: in the common one,
/// others' clusters come and go.
#[test]
fn a_start_that_fails_or_is_given_up_leaves_nothing() {
    if std::env::var_os(REPORT).is_some() {
        return run(start_in_vain()).unwrap();
    }
    let memory = PathBuf::from("/dev/shm");
    let place = if memory.is_dir() {
        memory
    } else {
        std::env::temp_dir()
    };
    let parent = place.join(format!("lw{}", std::process::id()));
    fs::create_dir(&parent).unwrap();
    fs::set_permissions(&parent, fs::Permissions::from_mode(0o777)).unwrap();
    let mut process = this_test("a_start_that_fails_or_is_given_up_leaves_nothing", &parent);
    let status = process
        .env("LAGWISE_TESTKIT_DIR", &parent)
        .status()
        .unwrap();
    assert!(status.success(), "{status}");

    let base = fs::read_dir(&parent).unwrap().next().unwrap().unwrap();
    let left = || -> Vec<_> {
        let entries = fs::read_dir(base.path()).unwrap();
        entries.map(|it| it.unwrap().file_name()).collect()
    };
    // What was given up at the last moment is the watchdog's, which outlives the process.
    run(async {
        let gone = async {
            while left() != ["templates"] {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let gone = tokio::time::timeout(Duration::from_secs(20), gone).await;
        assert!(gone.is_ok(), "only the template stays: {:?}", left());
        Ok(())
    })
    .unwrap();
    fs::remove_dir_all(parent).unwrap();
}

async fn start_in_vain() -> Result<()> {
    // Given up at different steps, the first of them on the way to a template.
    for millis in [1, 50, 100, 150, 200, 250, 300] {
        let start = Cluster::builder().replicas(2).start();
        drop(tokio::time::timeout(Duration::from_millis(millis), start).await);
    }
    Cluster::builder()
        .setting("port", "none")
        .start()
        .await
        .unwrap_err();
    Ok(())
}

#[test]
fn a_cluster_of_a_process_that_is_killed_is_gone() {
    ends_with_its_process("a_cluster_of_a_process_that_is_killed_is_gone", |process| {
        kill_process(Pid::from_child(process), Signal::KILL).unwrap();
    });
}

#[test]
fn a_cluster_of_a_process_that_is_interrupted_is_gone() {
    // As the terminal does it, to the whole group.
    ends_with_its_process(
        "a_cluster_of_a_process_that_is_interrupted_is_gone",
        |process| kill_process_group(Pid::from_child(process), Signal::INT).unwrap(),
    );
}

/// Runs the calling test a second time, in a process of its own that only holds a cluster, ends
/// that process, and waits for the cluster's end.
fn ends_with_its_process(test: &str, end: impl Fn(&Child)) {
    if let Some(report) = std::env::var_os(REPORT) {
        return hold_a_cluster(Path::new(&report));
    }
    let report = std::env::temp_dir().join(format!("{test}-{}", std::process::id()));
    let mut process = Mortal(this_test(test, &report).process_group(0).spawn().unwrap());
    wait("the cluster is started", || {
        report.exists() || process.0.try_wait().unwrap().is_some()
    });
    let home = Home::in_folder(PathBuf::from(fs::read_to_string(&report).unwrap()));
    fs::remove_file(&report).unwrap();

    end(&process.0);
    process.0.wait().unwrap();
    wait("the servers have ended", || !home.is_inhabited());
    wait("the folder is gone", || !home.folder.exists());
}

/// Starts a cluster with all kinds of processes that are hard to end, says where, and waits.
fn hold_a_cluster(report: &Path) {
    run(async {
        let cluster = Cluster::builder()
            .replicas(2)
            .keep_on_failure(false)
            .start()
            .await?;
        cluster.replica(0).freeze()?;
        cluster.replica(1).freeze_replay()?;
        let draft = report.with_extension("draft");
        fs::write(&draft, cluster.folder().to_string_lossy().as_bytes()).unwrap();
        fs::rename(draft, report).unwrap();
        std::future::pending::<Result<()>>().await
    })
    .unwrap();
}

/// Starts a cluster, panics with it, and says where it was.
fn panic_with(builder: Builder) -> Home {
    let (tell, told) = mpsc::channel();
    let test = std::thread::spawn(move || {
        run(async move {
            let cluster = builder.replicas(1).start().await?;
            tell.send(Home::of(&cluster)).unwrap();
            panic!("on purpose, with {cluster:?}")
        })
    });
    assert!(test.join().is_err(), "the test has panicked");
    told.recv().unwrap()
}

fn run(work: impl Future<Output = Result<()>>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(work)
}

/// A command that runs one test of this file, in which `REPORT` is set.
fn this_test(test: &str, report: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", test])
        .env(REPORT, report)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// A process that does not outlive its test.
struct Mortal(Child);

impl Drop for Mortal {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Where a cluster lives, and every process that runs for it: its servers, found by their command
/// lines, their children, and the watchdog.
struct Home {
    folder: PathBuf,
    residents: Vec<String>,
}

impl Home {
    fn of(cluster: &Cluster) -> Self {
        Self::in_folder(cluster.folder().to_owned())
    }

    fn in_folder(folder: PathBuf) -> Self {
        let all: Vec<_> = fs::read_dir("/proc")
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
            .collect();
        let place = format!("{}/", folder.display());
        let mut residents: Vec<_> = all
            .iter()
            .filter(|pid| command_line(pid).contains(&place))
            .cloned()
            .collect();
        let children = |pid: &&String| parent(pid).is_some_and(|it| residents.contains(&it));
        let children: Vec<_> = all.iter().filter(children).cloned().collect();
        assert!(
            children.len() > 3,
            "a server and its children run: {residents:?} {children:?}"
        );
        residents.extend(children);
        Self { folder, residents }
    }

    fn is_inhabited(&self) -> bool {
        // A process that has ended but was not reaped has no command line.
        self.residents
            .iter()
            .any(|pid| !command_line(pid).is_empty())
    }

    fn assert_gone(&self) {
        assert!(!self.is_inhabited(), "servers are left");
        assert!(!self.folder.exists(), "{} is left", self.folder.display());
    }
}

fn command_line(pid: &str) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).into_owned()
}

fn parent(pid: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    Some(parent.trim().to_owned())
}

fn wait(what: &str, condition: impl FnMut() -> bool) {
    let mut condition = condition;
    run(async {
        let mut held = condition();
        for _ in 0..2000 {
            if held {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
            held = condition();
        }
        panic!("in vain: {what}")
    })
    .unwrap();
}
