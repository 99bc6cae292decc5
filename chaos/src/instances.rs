//! Instances of the service as processes: started, killed, and started again elsewhere.
//!
//! Each takes a free port itself and says which, so that no two can want the same. Killed when dropped;
//! and when this process is killed, their standard input ends, and they with it.

use std::fs::File;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::ValueEnum as _;
use lagwise_testkit::Cluster;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

use crate::naive::flaw::Flaw;
use crate::service::Service;
use crate::{Result, clock, fail};

/// How long an instance may take to be ready.
const PATIENCE: Duration = Duration::from_secs(20);

/// The secret of all instances; nothing that is worth keeping.
const KEY: &str = "a secret of the tests that is long enough";

/// Where the instances are, as sessions ask for it.
#[derive(Debug)]
pub struct Addresses(Mutex<Vec<String>>);

impl Addresses {
    /// One of them, and its number.
    #[must_use]
    pub fn any(&self, random: &mut fastrand::Rng) -> (usize, String) {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = random.usize(0..all.len());
        (number, all[number].clone())
    }

    /// That of one of them; the last one, while it is down.
    #[must_use]
    pub fn of(&self, number: usize) -> String {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(number).cloned().unwrap_or_default()
    }

    fn set(&self, number: usize, address: String) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all[number] = address;
    }
}

/// How to start an instance.
#[derive(Clone, Debug)]
pub struct Launch {
    /// This program.
    pub program: PathBuf,
    /// The service to run.
    pub service: Service,
    /// What is wrong with it.
    pub flaw: Option<Flaw>,
    /// How old a read may be.
    pub max_lag: Duration,
}

/// A process, and whoever empties its standard output.
#[derive(Debug)]
struct Running {
    child: Child,
    _output: JoinSet<()>,
}

/// All instances of a run.
#[derive(Debug)]
pub struct Instances {
    launch: Launch,
    urls: Vec<String>,
    logs: PathBuf,
    running: Vec<Option<Running>>,
    /// Where they are.
    pub addresses: Arc<Addresses>,
}

impl Instances {
    /// Starts as many over a cluster, one after the other, and waits till they are ready.
    pub async fn start(launch: Launch, count: usize, cluster: &Cluster) -> Result<Self> {
        let mut instances = Self {
            launch,
            urls: cluster
                .nodes()
                .iter()
                .map(lagwise_testkit::Node::url)
                .collect(),
            logs: cluster.folder().to_path_buf(),
            running: Vec::new(),
            addresses: Arc::new(Addresses(Mutex::new(vec![String::new(); count]))),
        };
        for number in 0..count {
            instances.running.push(None);
            instances.restart(number).await?;
        }
        Ok(instances)
    }

    /// How many there are, dead or alive.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.running.len()
    }

    /// Kills one, with no word of goodbye.
    pub async fn kill(&mut self, number: usize) -> Result {
        if let Some(mut running) = self.running[number].take() {
            running.child.kill().await?;
        }
        Ok(())
    }

    /// Starts one again, at another address, and waits till it is ready.
    pub async fn restart(&mut self, number: usize) -> Result {
        self.kill(number).await?;
        let log = self.logs.join(format!("instance-{number}.log"));
        let began = clock::now();
        let started = tokio::time::timeout(PATIENCE, self.spawn(&log)).await;
        let (running, address) = match started {
            Ok(started) => started?,
            Err(_) => return fail(format!("instance {number} says nothing, see {log:?}")),
        };
        self.running[number] = Some(running);
        while !is_ready(&address).await {
            if clock::now().saturating_sub(began) > PATIENCE {
                let text = std::fs::read_to_string(&log).unwrap_or_default();
                return fail(format!("instance {number} is not ready: {text}"));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.addresses.set(number, address);
        Ok(())
    }

    async fn spawn(&self, log: &PathBuf) -> Result<(Running, String)> {
        let mut command = Command::new(&self.launch.program);
        command.args(["instance", "--until-stdin-closes"]);
        if let Some(service) = self.launch.service.to_possible_value() {
            command.args(["--service", service.get_name()]);
        }
        if let Some(flaw) = self.launch.flaw.and_then(|flaw| flaw.to_possible_value()) {
            command.args(["--flaw", flaw.get_name()]);
        }
        command.args(["--", "--listen", "127.0.0.1:0"]);
        command.arg("--max-lag");
        command.arg(format!("{}ms", self.launch.max_lag.as_millis()));
        let names = std::iter::once("--primary").chain(std::iter::repeat("--replica"));
        for (name, url) in names.zip(&self.urls) {
            command.args([name, url]);
        }
        command.env("LAGWISE_KEY", KEY).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(File::options().create(true).append(true).open(log)?);
        let mut child = command.spawn()?;
        let Some(output) = child.stdout.take() else {
            return fail("an instance has no output");
        };
        let mut output = BufReader::new(output);
        let mut line = String::new();
        output.read_line(&mut line).await?;
        let Some(address) = line.trim().strip_prefix("listening on ") else {
            let text = std::fs::read_to_string(log).unwrap_or_default();
            return fail(format!("an instance said {line:?} first: {text}"));
        };
        let mut rest = JoinSet::new();
        rest.spawn(async move {
            let mut heard = [0; 4096];
            while output.read(&mut heard).await.is_ok_and(|bytes| bytes > 0) {}
        });
        let running = Running {
            child,
            _output: rest,
        };
        Ok((running, address.to_owned()))
    }
}

/// Whether `/healthz` answers 200; asked by hand, since it is one line.
async fn is_ready(address: &str) -> bool {
    use tokio::io::AsyncWriteExt as _;
    let host = address.trim_start_matches("http://");
    let asked = async {
        let mut stream = TcpStream::connect(host).await?;
        let request = format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).await?;
        std::io::Result::Ok(line.starts_with("HTTP/1.1 200"))
    };
    let answer = tokio::time::timeout(Duration::from_secs(1), asked).await;
    matches!(answer, Ok(Ok(true)))
}
