//! Instances of the service, as processes.

use std::ffi::OsStr;
use std::process::Stdio;
use std::time::Duration;

use lagwise_testkit::{Cluster, Node};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use crate::visitor::Visitor;

/// How long anything may take that is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What all instances share; nothing that is worth keeping.
const KEY: &str = "a secret of these tests that is long enough";

/// One of them. It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Instance {
    pub(crate) address: String,
    pub(crate) child: Child,
    /// What it prints after its first line; open, so that printing does not fail.
    _output: BufReader<ChildStdout>,
}

/// The program, with no variables of ours but the key.
pub(crate) fn program(arguments: &[impl AsRef<OsStr>]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_axum-notes"));
    for variable in [
        "LISTEN",
        "PRIMARY",
        "REPLICA",
        "MAX_LAG",
        "START_TIMEOUT",
        "LOG",
    ] {
        command.env_remove(format!("LAGWISE_{variable}"));
    }
    command.env("LAGWISE_KEY", KEY).kill_on_drop(true);
    command.args(["--listen", "127.0.0.1:0"]).args(arguments);
    command
}

impl Instance {
    /// Starts the program and waits till it listens.
    pub(crate) async fn launch(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        let read = timeout(PATIENCE, output.read_line(&mut line)).await;
        read.unwrap().unwrap();
        let address = line
            .trim()
            .strip_prefix("listening on ")
            .unwrap()
            .to_owned();
        Self {
            address,
            child,
            _output: output,
        }
    }

    /// Over all nodes of a cluster.
    pub(crate) async fn over(cluster: &Cluster) -> Self {
        Self::that_bears(cluster, "1s").await
    }

    /// With replicas that may be that far behind.
    async fn that_bears(cluster: &Cluster, max_lag: &str) -> Self {
        let mut command = program(&flags(cluster));
        command.args(["--max-lag", max_lag]);
        Self::launch(command).await
    }

    /// Three at once, till all are well and every replica takes reads.
    pub(crate) async fn three(cluster: &Cluster) -> [Self; 3] {
        Self::three_that_bear(cluster, "1s").await
    }

    /// The same, with replicas that may be that far behind.
    pub(crate) async fn three_that_bear(cluster: &Cluster, max_lag: &str) -> [Self; 3] {
        let one = || Self::that_bears(cluster, max_lag);
        let all: [Self; 3] = tokio::join!(one(), one(), one()).into();
        for instance in &all {
            instance.settles(cluster.replicas().len()).await;
        }
        all
    }

    /// Waits till it is well, and that many replicas take reads.
    pub(crate) async fn settles(&self, replicas: usize) {
        let well = until("the instance is well", async || {
            let health = Visitor::default().get(self, "/healthz").await;
            let in_rotation = &health.json()["replicas_in_rotation"];
            (health.status == 200 && *in_rotation == replicas).then_some(())
        });
        well.await;
    }

    /// What it has written to standard error, once it has ended.
    pub(crate) async fn complaint(mut child: Child) -> String {
        let mut text = String::new();
        let mut errors = child.stderr.take().unwrap();
        errors.read_to_string(&mut text).await.unwrap();
        text
    }
}

/// The flags that name the nodes of a cluster.
pub(crate) fn flags(cluster: &Cluster) -> Vec<String> {
    let names = std::iter::once("--primary").chain(std::iter::repeat("--replica"));
    let urls = cluster.nodes().iter().map(Node::url);
    let flag = |(name, url): (&str, String)| [name.to_owned(), url];
    names.zip(urls).flat_map(flag).collect()
}

/// Asks until there is an answer.
pub(crate) async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asks = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let answer = timeout(PATIENCE, asks).await;
    answer.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"))
}
