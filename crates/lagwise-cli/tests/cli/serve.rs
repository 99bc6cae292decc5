//! `lagwise serve` as those see it who ask it: a process, sockets, a browser, on real clusters.

use std::process::Stdio;
use std::time::Duration;

use lagwise_testkit::{Cluster, Node};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::Outcome;
use crate::binary::lagwise;

mod health;
mod limits;
mod metrics;
mod page;
mod shipped;

/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// The binary, serving. It is killed when this is dropped.
struct Service {
    child: Child,
    /// Host and port.
    address: String,
}

/// What was answered.
#[derive(Debug)]
struct Answer {
    status: u16,
    /// In lower case, a line each.
    head: String,
    body: String,
}

/// The flags that name the nodes of a cluster: `primary`, `replica-1` and so on.
fn nodes(cluster: &Cluster) -> Vec<String> {
    let names = std::iter::once("--primary").chain(std::iter::repeat("--replica"));
    let flags = names.zip(cluster.nodes().iter().map(Node::url));
    flags
        .flat_map(|(name, url)| [name.to_owned(), url])
        .collect()
}

fn serve(cluster: &Cluster, listen: &str) -> Command {
    let mut command = lagwise();
    command
        .args(["serve", "--listen", listen])
        .args(nodes(cluster));
    let mut command = Command::from(command);
    command
        .kill_on_drop(true)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

impl Service {
    /// Serves a cluster, on a port that is free.
    async fn of(cluster: &Cluster) -> Outcome<Self> {
        Self::start(serve(cluster, "127.0.0.1:0")).await
    }

    /// Serves a cluster, once all of it is seen.
    async fn settled(cluster: &Cluster) -> Outcome<Self> {
        let service = Self::of(cluster).await?;
        let replicas = cluster.replicas().len();
        until("all replicas take reads", async || {
            let cluster = service.json("/cluster").await?;
            Ok(cluster["in_rotation"] == replicas && cluster["primary"].is_string())
        })
        .await?;
        Ok(service)
    }

    async fn start(mut command: Command) -> Outcome<Self> {
        let mut child = command.spawn()?;
        let mut lines = BufReader::new(child.stdout.take().ok_or("it has an output")?).lines();
        let line = timeout(PATIENCE, lines.next_line())
            .await??
            .ok_or("it says where")?;
        let address = line.rsplit("http://").next().unwrap_or_default();
        let address = address.trim_end_matches(['"', '}']).to_owned();
        Ok(Self { child, address })
    }

    async fn get(&self, path: &str) -> Outcome<Answer> {
        self.ask("GET", path, "").await
    }

    async fn ask(&self, method: &str, path: &str, header: &str) -> Outcome<Answer> {
        let request =
            format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{header}\r\n");
        let mut stream = TcpStream::connect(&self.address).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut answer)).await??;
        Answer::read(&String::from_utf8(answer)?)
    }

    async fn json(&self, path: &str) -> Outcome<Value> {
        Ok(serde_json::from_str(&self.get(path).await?.body)?)
    }
}

impl Answer {
    fn read(text: &str) -> Outcome<Self> {
        let (head, body) = text.split_once("\r\n\r\n").ok_or("it has a head")?;
        let status = head.split(' ').nth(1).ok_or("it has a status")?;
        Ok(Self {
            status: status.parse()?,
            head: head.to_ascii_lowercase(),
            body: body.to_owned(),
        })
    }
}

/// Asks until it is so.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> Outcome<bool>) -> Outcome {
    let asks = async {
        while !holds().await? {
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    };
    match timeout(PATIENCE, asks).await {
        Ok(outcome) => outcome,
        Err(_) => Err(format!("not within {PATIENCE:?}: {what}").into()),
    }
}
