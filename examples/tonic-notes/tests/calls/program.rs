//! The program as it is started, and what its port answers besides calls.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use tonic_notes::proto::GetRequest;
use tonic_notes::proto::notes_client::NotesClient;
use tower::ServiceExt as _;

use crate::stage::{Outcome, Stage, channel, put, same, until};

/// A process that ends with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program_says_where_it_listens_and_answers_there() -> Outcome {
    let cluster = lagwise_testkit::Cluster::builder()
        .replicas(1)
        .start()
        .await?;
    let child = Command::new(env!("CARGO_BIN_EXE_tonic-notes"))
        .args(["--listen", "127.0.0.1:0", "--max-lag", "2s"])
        .args(["--primary", &cluster.primary().url()])
        .args(["--replica", &cluster.replica(0).url()])
        .env("LAGWISE_KEY", "a-secret-for-the-program-and-nobody-else")
        .stdout(Stdio::piped())
        .spawn()?;
    let mut process = Process(child);
    let out = process.0.stdout.take().ok_or("no output")?;
    let mut line = String::new();
    BufReader::new(out).read_line(&mut line)?;
    let url = line
        .trim()
        .strip_prefix("listening on ")
        .ok_or("no address")?;

    let mut client = NotesClient::new(channel(url)?);
    // Until it has made the table.
    let written = until("a write", async || client.put(put(1)).await.ok());
    let version = written.await?.into_inner().version;
    same("the version", version, 1)?;
    cluster.wait_caught_up().await?;
    let note = client.get(GetRequest { id: 1 }).await?.into_inner();
    same("the note", (&*note.body, note.version), ("text", 1))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_port_says_how_it_is_and_what_it_counted() -> Outcome {
    let stage = Stage::start(1).await?;
    let app = tonic_notes::app(stage.router().await?)?;
    for (path, expected) in [("/healthz", "ok"), ("/metrics", "lagwise_")] {
        let request = Request::get(path).body(Body::empty())?;
        let (parts, body) = app.clone().oneshot(request).await?.into_parts();
        same(path, parts.status, StatusCode::OK)?;
        let token = parts.headers.contains_key("x-lagwise");
        same("a token", token, false)?;
        let text = String::from_utf8(to_bytes(body, 1 << 20).await?.to_vec())?;
        same(&text, text.contains(expected), true)?;
    }
    stage.cluster.primary().kill().await?;
    let unwell = until("it says that it has no primary", async || {
        let request = Request::get("/healthz").body(Body::empty()).ok()?;
        let status = app.clone().oneshot(request).await.ok()?.status();
        (status == StatusCode::SERVICE_UNAVAILABLE).then_some(())
    });
    unwell.await
}
