//! Its beginning and its end, and clients that mean no good.

use std::process::Stdio;

use lagwise_testkit::Cluster;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{PATIENCE, Service, serve};
use crate::Outcome;
use crate::binary::lagwise;

#[tokio::test]
async fn it_ends_when_told_to_although_somebody_listens() -> Outcome {
    let cluster = Cluster::builder().start().await?;
    for signal in [Signal::INT, Signal::TERM] {
        let mut service = Service::of(&cluster).await?;
        let mut stream = TcpStream::connect(&service.address).await?;
        stream
            .write_all(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
            .await?;
        let mut told = [0; 1024];
        timeout(PATIENCE, stream.read(&mut told)).await??;
        let mut idle = TcpStream::connect(&service.address).await?;
        let id = service.child.id().ok_or("it runs")?;
        kill_process(
            Pid::from_raw(i32::try_from(id)?).ok_or("it has an id")?,
            signal,
        )?;
        let status = timeout(PATIENCE, service.child.wait()).await??;
        assert_eq!(status.code(), Some(0), "{signal:?}");
        let mut rest = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut rest)).await??;
        assert!(
            rest.ends_with(b"0\r\n\r\n"),
            "the stream is closed, not cut off"
        );
        timeout(PATIENCE, idle.read_to_end(&mut rest)).await.ok();
    }
    Ok(())
}

#[tokio::test]
async fn an_address_that_is_taken_is_said_and_one_that_all_can_reach_as_well() -> Outcome {
    let cluster = Cluster::builder().start().await?;
    let service = Service::of(&cluster).await?;
    let output = serve(&cluster, &service.address).output().await?;
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr)?;
    let expected = format!("lagwise: cannot listen on {}: ", service.address);
    assert!(
        said.starts_with(&expected) && said.contains("--listen"),
        "{said}"
    );

    let mut open = Service::start(serve(&cluster, "0.0.0.0:0")).await?;
    open.child.start_kill()?;
    let mut said = String::new();
    let mut stderr = open.child.stderr.take().ok_or("it complains somewhere")?;
    timeout(PATIENCE, stderr.read_to_string(&mut said)).await??;
    assert!(said.contains("there is no authentication"), "{said}");

    let mut json = serve(&cluster, "127.0.0.1:0");
    let mut json = json
        .args(["--format", "json"])
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = vec![0; 256];
    let mut out = json.stdout.take().ok_or("it has an output")?;
    let read = timeout(PATIENCE, out.read(&mut line)).await??;
    let line: serde_json::Value = serde_json::from_slice(&line[..read])?;
    let address = line["listening"].as_str().ok_or("it says where")?;
    assert!(address.starts_with("http://127.0.0.1:"), "{address}");
    Ok(())
}

#[tokio::test]
async fn it_serves_before_any_node_answers() -> Outcome {
    let mut command = tokio::process::Command::from(lagwise());
    command
        .args(["serve", "--listen", "127.0.0.1:0"])
        // Nobody listens on the port that nobody may have.
        .args([
            "--primary",
            "postgres://x:s3cr3t@127.0.0.1:1/x",
            "--replica",
            "postgres://x:s3cr3t@127.0.0.1:2/x",
        ])
        .kill_on_drop(true)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let service = Service::start(command).await?;
    for (path, status) in [
        ("/healthz", 200),
        ("/primary", 503),
        ("/node/replica-1", 503),
        ("/cluster", 200),
        ("/metrics", 200),
        ("/history", 200),
        ("/", 200),
    ] {
        let answer = service.get(path).await?;
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        assert!(!answer.body.contains("s3cr3t"), "{path}");
    }
    let metrics = service.get("/metrics").await?.body;
    assert!(
        metrics.contains("lagwise_node_up{node=\"replica-1\"} 0\n"),
        "{metrics}"
    );
    let bound = "lagwise_replica_staleness_bound_seconds{node=\"replica-1\"} NaN\n";
    assert!(
        metrics.contains(bound),
        "what is unknown is no number: {metrics}"
    );
    Ok(())
}

#[tokio::test]
async fn clients_that_send_nothing_or_nonsense_hold_nobody_up() -> Outcome {
    let cluster = Cluster::builder().start().await?;
    let service = Service::of(&cluster).await?;
    let mut slow = Vec::new();
    for _ in 0..100 {
        let mut stream = TcpStream::connect(&service.address).await?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: ").await?;
        slow.push(stream);
    }
    assert_eq!(service.get("/healthz").await?.status, 200);

    let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(1 << 16));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(5000));
    for nonsense in ["\0\u{1}\u{2}\r\n\r\n", long.as_str(), many.as_str()] {
        let mut stream = TcpStream::connect(&service.address).await?;
        // It may be refused before it was sent.
        stream.write_all(nonsense.as_bytes()).await.ok();
        let mut answer = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut answer))
            .await?
            .ok();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let refused = answer.is_empty() || answer.starts_with("HTTP/1.1 4");
        assert!(refused, "{answer}");
    }
    assert_eq!(service.get("/healthz").await?.status, 200);

    // Whoever goes on sending nothing is cut off.
    for mut stream in slow {
        let mut answer = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut answer))
            .await?
            .ok();
    }
    Ok(())
}

#[tokio::test]
async fn more_silent_clients_than_there_are_places_keep_no_health_check_out() -> Outcome {
    let cluster = Cluster::builder().start().await?;
    let service = Service::of(&cluster).await?;
    let mut silent = Vec::new();
    for _ in 0..300 {
        let mut stream = TcpStream::connect(&service.address).await?;
        stream.write_all(b"GET /he").await?;
        silent.push(stream);
    }
    let health = timeout(PATIENCE, service.get("/healthz")).await??;
    assert_eq!(health.status, 200);
    // Nobody had to wait until the first of them was cut off.
    let mut nothing = [0];
    let first = silent[0].try_read(&mut nothing);
    let open = first.expect_err("it has sent nothing, and was told nothing");
    assert_eq!(open.kind(), std::io::ErrorKind::WouldBlock);
    Ok(())
}
