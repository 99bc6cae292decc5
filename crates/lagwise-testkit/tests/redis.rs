//! A Redis server starts empty, fails as it is told to, and is gone when its owner is.
#![expect(clippy::unwrap_used, reason = "what a test stands on may fail it")]

use std::fs;
use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use lagwise_testkit::{RedisServer, Result};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

/// Tells a process started by a test here where to write the folder of its server.
const REPORT: &str = "LAGWISE_TESTKIT_REPORT";

/// Long enough for anything that is going to happen to have happened on a healthy server.
const MOMENT: Duration = Duration::from_millis(300);

const PATIENCE: Duration = Duration::from_secs(10);

const OK: &str = "+OK\r\n";

/// What a key holds that was never set, or was lost.
const NOTHING: &str = "$-1\r\n";

#[tokio::test]
async fn a_server_keeps_what_it_is_given_and_is_reached_by_its_url_and_its_socket() -> Result<()> {
    let redis = RedisServer::start().await?;
    let mut client = connect(&redis).await;
    assert_eq!(ask(&mut client, "GET k").await, NOTHING);
    assert_eq!(ask(&mut client, "SET k 7").await, OK);
    let mut past = UnixStream::connect(redis.socket()).await.unwrap();
    assert_eq!(ask(&mut past, "GET k").await, "$1\r\n7\r\n");
    assert!(
        redis.log().contains("eady to accept connections"),
        "{}",
        redis.log()
    );
    redis.shutdown().await
}

#[tokio::test]
async fn two_servers_know_nothing_of_each_other() -> Result<()> {
    let (one, two) = tokio::try_join!(RedisServer::start(), RedisServer::start())?;
    assert_ne!(one.url(), two.url());
    assert_eq!(ask(&mut connect(&one).await, "SET k 7").await, OK);
    assert_eq!(ask(&mut connect(&two).await, "GET k").await, NOTHING);
    one.shutdown().await?;
    two.shutdown().await
}

#[tokio::test]
async fn a_killed_server_refuses_and_comes_back_empty_at_the_same_address() -> Result<()> {
    let redis = RedisServer::start().await?;
    let url = redis.url();
    let mut client = connect(&redis).await;
    assert_eq!(ask(&mut client, "SET k 7").await, OK);

    redis.kill().await?;
    redis.kill().await?;
    assert!(!redis.is_running());
    assert_eq!(hears(&mut client).await, "", "the connection is gone");
    let refused = TcpStream::connect(redis.wire().address())
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);

    redis.start_again().await?;
    redis.start_again().await?;
    assert_eq!(redis.url(), url);
    assert_eq!(ask(&mut connect(&redis).await, "GET k").await, NOTHING);
    redis.shutdown().await
}

#[tokio::test]
async fn a_paused_server_accepts_and_answers_nothing_until_resumed() -> Result<()> {
    let redis = RedisServer::start().await?;
    let mut client = connect(&redis).await;
    redis.pause()?;
    assert!(redis.is_running(), "paused is not ended");
    let mut newcomer = connect(&redis).await;
    for client in [&mut client, &mut newcomer] {
        client.write_all(b"PING\r\n").await.unwrap();
        assert!(timeout(MOMENT, hears(client)).await.is_err(), "it hangs");
    }
    redis.resume()?;
    for client in [&mut client, &mut newcomer] {
        assert_eq!(hears(client).await, "+PONG\r\n");
    }
    redis.shutdown().await
}

#[tokio::test]
async fn a_paused_server_can_be_killed_and_started_again() -> Result<()> {
    let redis = RedisServer::start().await?;
    redis.pause()?;
    redis.kill().await?;
    redis.start_again().await?;
    assert_eq!(ask(&mut connect(&redis).await, "PING").await, "+PONG\r\n");
    redis.shutdown().await
}

#[tokio::test]
async fn a_wire_is_cut_and_blacked_out_and_healed_while_the_server_keeps_its_keys() -> Result<()> {
    let redis = RedisServer::start().await?;
    let mut client = connect(&redis).await;
    assert_eq!(ask(&mut client, "SET k 7").await, OK);

    redis.wire().blackhole();
    client.write_all(b"GET k\r\n").await.unwrap();
    let heard = timeout(MOMENT, hears(&mut client)).await;
    assert!(heard.is_err(), "nothing moves");
    redis.wire().heal();
    assert_eq!(hears(&mut client).await, "$1\r\n7\r\n", "nothing is lost");

    redis.wire().cut();
    assert_eq!(hears(&mut client).await, "", "the connection is gone");
    let refused = TcpStream::connect(redis.wire().address()).await;
    assert!(refused.is_err(), "and there is no other");
    redis.kill().await?;
    redis.start_again().await?;
    let refused = TcpStream::connect(redis.wire().address()).await;
    assert!(refused.is_err(), "a fault outlasts a restart");
    redis.wire().heal();
    assert_eq!(ask(&mut connect(&redis).await, "PING").await, "+PONG\r\n");
    redis.shutdown().await
}

#[tokio::test]
async fn nothing_is_ever_written_but_the_log() -> Result<()> {
    let redis = RedisServer::start().await?;
    let mut client = connect(&redis).await;
    assert_eq!(ask(&mut client, "SET k 7").await, OK);
    assert_eq!(
        ask(&mut client, "CONFIG GET save").await,
        "*2\r\n$4\r\nsave\r\n$0\r\n\r\n"
    );
    let data = fs::read_dir(redis.folder().join("redis/data")).unwrap();
    let files: Vec<_> = data.map(|file| file.unwrap().file_name()).collect();
    assert_eq!(files, ["redis.pid"], "the watchdog's");
    redis.shutdown().await
}

#[tokio::test]
async fn a_server_that_is_dropped_or_shut_down_is_gone_also_when_paused() -> Result<()> {
    let redis = RedisServer::start().await?;
    let home = Home::of(redis.folder());
    drop(redis);
    home.assert_gone();

    let redis = RedisServer::start().await?;
    let home = Home::of(redis.folder());
    redis.pause()?;
    redis.shutdown().await?;
    home.assert_gone();
    Ok(())
}

#[test]
fn a_server_of_a_test_that_panics_is_gone() {
    let (tell, told) = mpsc::channel();
    let test = std::thread::spawn(move || {
        run(async move {
            let redis = RedisServer::start().await?;
            tell.send(Home::of(redis.folder())).unwrap();
            panic!("on purpose, with {redis:?}")
        })
    });
    assert!(test.join().is_err(), "the test has panicked");
    told.recv().unwrap().assert_gone();
}

#[test]
fn a_server_of_a_process_that_is_killed_is_gone() {
    ends_with_its_process("a_server_of_a_process_that_is_killed_is_gone", |process| {
        kill_process(Pid::from_child(process), Signal::KILL).unwrap();
    });
}

#[test]
fn a_server_of_a_process_that_is_interrupted_is_gone() {
    // As the terminal does it, to the whole group.
    ends_with_its_process(
        "a_server_of_a_process_that_is_interrupted_is_gone",
        |process| kill_process_group(Pid::from_child(process), Signal::INT).unwrap(),
    );
}

/// Runs itself a second time, in a process whose environment names another program.
#[test]
fn a_program_that_is_no_server_fails_the_start_with_its_name() {
    if std::env::var_os(REPORT).is_some() {
        let started = run(async { RedisServer::start().await.map(drop) });
        let message = started.unwrap_err().to_string();
        assert!(
            message.starts_with("LAGWISE_REDIS is /bin/false, which is not"),
            "{message}"
        );
        return;
    }
    let test = "a_program_that_is_no_server_fails_the_start_with_its_name";
    let mut process = this_test(test, Path::new("/nowhere"));
    let status = process.env("LAGWISE_REDIS", "/bin/false").status().unwrap();
    assert!(status.success(), "{status}");
}

/// Runs the calling test a second time, in a process of its own that only holds a server, ends
/// that process, and waits for the server's end.
fn ends_with_its_process(test: &str, end: impl Fn(&Child)) {
    if let Some(report) = std::env::var_os(REPORT) {
        return hold_a_server(Path::new(&report));
    }
    let report = std::env::temp_dir().join(format!("{test}-{}", std::process::id()));
    let mut process = Mortal(this_test(test, &report).process_group(0).spawn().unwrap());
    wait("the server is started", || {
        report.exists() || process.0.try_wait().unwrap().is_some()
    });
    let home = Home::of(Path::new(&fs::read_to_string(&report).unwrap()));
    fs::remove_file(&report).unwrap();

    end(&process.0);
    process.0.wait().unwrap();
    wait("the server has ended", || !home.is_inhabited());
    wait("the folder is gone", || !home.folder.exists());
}

/// Starts a server, has it hear nothing, says where it is, and waits.
fn hold_a_server(report: &Path) {
    run(async {
        let redis = RedisServer::start().await?;
        redis.pause()?;
        let draft = report.with_extension("draft");
        fs::write(&draft, redis.folder().to_string_lossy().as_bytes()).unwrap();
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

/// Where a server lives, and the processes that have that folder in their command lines or work in
/// it: the server and its watchdog.
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
        assert_eq!(
            home.residents.len(),
            2,
            "a server and a watchdog run: {:?}",
            home.residents
        );
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

/// Connects as a client does, by the host and port of the URL.
async fn connect(redis: &RedisServer) -> TcpStream {
    let url = redis.url();
    let address = url
        .strip_prefix("redis://")
        .and_then(|rest| rest.strip_suffix('/'));
    TcpStream::connect(address.unwrap()).await.unwrap()
}

async fn ask(server: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin), command: &str) -> String {
    let line = format!("{command}\r\n");
    server.write_all(line.as_bytes()).await.unwrap();
    hears(server).await
}

/// The next answer; nothing at the end of the connection, however it ended.
async fn hears(server: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut answer = vec![0; 1024];
    let heard = timeout(PATIENCE, server.read(&mut answer)).await;
    answer.truncate(heard.expect("an answer comes in time").unwrap_or(0));
    String::from_utf8(answer).unwrap()
}
