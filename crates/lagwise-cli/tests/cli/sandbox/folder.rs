//! The folder of a sandbox: who may have it, and that nothing stays.

use std::fs;
use std::io::Read as _;
use std::net::TcpListener;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};

use super::held::{Held, folder, inhabitants, sandbox, wait};
use crate::Outcome;
use crate::binary::Run;

#[tokio::test]
async fn a_sandbox_that_is_killed_leaves_no_server_and_its_folder_can_be_used_again() -> Outcome {
    let mut held = Held::start("kill", &["--replicas", "2"])?;
    held.tell("freeze replica-1")?;
    held.tell("pause replica-2")?;
    assert!(
        inhabitants(&held.dir)?.len() > 10,
        "servers and their children"
    );
    held.signal(Signal::KILL)?;
    assert_eq!(held.ended().await?.code(), None);
    let run = held.run("status")?;
    assert_eq!(run.code, Some(1));
    assert!(run.err.contains("no sandbox runs in"), "{run:?}");
    // Not after the watchdog, but beside it.
    let again = Held::start_in(held.dir.clone(), &["--replicas", "1"])?;
    again.shows("replica-1", "select 1::bigint", 1).await?;
    again.end().await?;

    let mut held = Held::start_in(held.dir.clone(), &["--replicas", "1"])?;
    held.signal(Signal::KILL)?;
    held.ended().await?;
    wait("no server is left", async || {
        inhabitants(&held.dir).is_ok_and(|left| left.is_empty())
    })
    .await?;
    wait("nor what they had", async || {
        !held.dir.join("nodes").exists()
    })
    .await?;
    Ok(fs::remove_dir_all(&held.dir)?)
}

#[tokio::test]
async fn only_a_folder_with_nothing_of_others_in_it_is_taken() -> Outcome {
    let dir = folder("foreign")?;
    fs::create_dir(&dir)?;
    for (file, named) in [("notes.txt", "notes.txt"), ("nodes", "nodes")] {
        fs::write(dir.join(file), "dear to someone")?;
        let run = Run::new(&sandbox(&dir, &[]).output()?)?;
        assert_eq!((run.code, run.out.as_str()), (Some(1), ""), "{run:?}");
        assert!(
            run.err.contains(named) && run.err.contains("--dir"),
            "{run:?}"
        );
        assert_eq!(fs::read_to_string(dir.join(file))?, "dear to someone");
        fs::remove_file(dir.join(file))?;
    }
    // An empty one is no loss.
    let held = Held::start_in(dir.clone(), &["--replicas", "0"])?;
    let run = Run::new(&sandbox(&dir, &[]).output()?)?;
    assert_eq!(run.code, Some(1));
    assert!(run.err.contains("a sandbox runs in"), "{run:?}");
    held.shows("primary", "select 1::bigint", 1).await?;
    held.end().await
}

#[tokio::test]
async fn two_sandboxes_are_two_clusters() -> Outcome {
    let identifier = "select system_identifier from pg_control_system()";
    let one = Held::start("one", &["--replicas", "1"])?;
    let other = Held::start("other", &["--replicas", "0"])?;
    let own = one.count("primary", identifier).await?;
    assert_eq!(one.count("replica-1", identifier).await?, own);
    assert_ne!(other.count("primary", identifier).await?, own);
    one.end().await?;
    other.end().await
}

#[tokio::test]
async fn what_cannot_be_started_is_said_and_leaves_nothing() -> Outcome {
    let (base, taken) = free_before_taken()?;
    let (base, port) = (base.to_string(), taken.local_addr()?.port());
    let dir = folder("vain")?;
    let long = format!("/tmp/{}", "x".repeat(80));
    let (dir_name, port) = (dir.display().to_string(), port.to_string());
    for (arguments, named) in [
        (vec!["--dir", &dir_name, "--port", &base], port.as_str()),
        (vec!["--dir", &dir_name, "--port", "65535"], "replica-1"),
        (
            vec!["--dir", &dir_name, "--pg-version", "3"],
            "apt-get install postgresql-3",
        ),
        (
            vec!["--dir", &dir_name, "--setting", "max_connections=few"],
            "max_connections",
        ),
        (vec!["--dir", &long], "shorter folder"),
    ] {
        let mut command = crate::binary::lagwise();
        let run = Run::new(&command.arg("sandbox").args(&arguments).output()?)?;
        assert_eq!(
            (run.code, run.out.as_str()),
            (Some(1), ""),
            "{arguments:?}: {run:?}"
        );
        assert!(run.err.contains(named), "{arguments:?}: {run:?}");
        assert!(!dir.exists(), "{arguments:?}");
    }
    for usage in [
        ["--replicas", "10"],
        ["--setting", "fsync"],
        ["--port", "0"],
    ] {
        let run = Run::new(&sandbox(&dir, &usage).output()?)?;
        assert_eq!(run.code, Some(2), "{usage:?}: {run:?}");
    }
    Ok(())
}

/// A port that nobody has, and the one after it, which is taken.
fn free_before_taken() -> Outcome<(u16, TcpListener)> {
    loop {
        let taken = TcpListener::bind("127.0.0.1:0")?;
        let before = taken.local_addr()?.port() - 1;
        if TcpListener::bind(("127.0.0.1", before)).is_ok() {
            return Ok((before, taken));
        }
    }
}

#[tokio::test]
async fn ports_are_the_base_and_those_after_it_also_the_next_time() -> Outcome {
    let base = 26_000 + u16::try_from(std::process::id() % 5_000)?;
    for _ in 0..2 {
        let held = Held::start("port", &["--replicas", "1", "--port", &base.to_string()])?;
        assert!(
            held.url("primary")?
                .ends_with(&format!("@127.0.0.1:{base}/app"))
        );
        assert!(
            held.url("replica-1")?
                .ends_with(&format!("@127.0.0.1:{}/app", base + 1))
        );
        held.shows("replica-1", "select 1::bigint", 1).await?;
        held.end().await?;
    }
    Ok(())
}

#[tokio::test]
async fn settings_reach_every_server_and_statements_are_counted_unless_told_otherwise() -> Outcome {
    let held = Held::start("set", &["--replicas", "1", "--setting", "work_mem=5MB"])?;
    for name in ["primary", "replica-1"] {
        let work_mem = "select setting::bigint from pg_settings where name = 'work_mem'";
        assert_eq!(held.count(name, work_mem).await?, 5 * 1024, "{name}");
        let counted = "select (count(*) > 0)::int::bigint from pg_stat_statements";
        held.shows(name, counted, 1).await?;
    }
    held.end().await?;
    let nothing = ["--replicas", "0", "--setting", "shared_preload_libraries="];
    let held = Held::start("bare", &nothing)?;
    let extension = "select count(*) from pg_extension where extname = 'pg_stat_statements'";
    assert_eq!(held.count("primary", extension).await?, 0);
    held.end().await
}

#[test]
fn people_are_told_what_to_paste_and_a_closed_pipe_ends_it() -> Outcome {
    let dir = folder("text")?;
    let mut child = sandbox(&dir, &["--replicas", "1"])
        .stdout(Stdio::piped())
        .spawn()?;
    let mut out = child.stdout.take().ok_or("it has an output")?;
    let (mut text, mut piece) = (String::new(), [0; 4096]);
    while !text.contains("Ctrl-C") {
        let read = out.read(&mut piece)?;
        assert!(read > 0, "it ended: {text}");
        text.push_str(std::str::from_utf8(&piece[..read])?);
    }
    for part in [
        "export LAGWISE_PRIMARY=postgres://app:app@127.0.0.1:",
        "export LAGWISE_REPLICAS=postgres://app:app@127.0.0.1:",
        "export DATABASE_URL=postgres://app:app@127.0.0.1:",
        &format!("lagwise sandbox --dir {} status", dir.display()),
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    kill_process(Pid::from_child(&child), Signal::INT)?;
    assert_eq!(child.wait()?.code(), Some(0));
    assert!(!dir.exists());

    let mut child = sandbox(&dir, &["--replicas", "0"])
        .stdout(Stdio::piped())
        .spawn()?;
    drop(child.stdout.take());
    assert_eq!(child.wait()?.code(), Some(0));
    assert!(!dir.exists());
    Ok(())
}

#[test]
fn the_help_shows_a_failover() -> Outcome {
    let run = crate::binary::run(&["sandbox", "--help"])?;
    assert_eq!(run.code, Some(0));
    for part in [
        "Examples:",
        "Exit codes:",
        "--port <BASE>",
        "promote replica-1",
        "--leave-primary",
    ] {
        assert!(run.out.contains(part), "{part} is not in\n{}", run.out);
    }
    let long = run.out.lines().filter(|line| line.chars().count() > 100);
    assert_eq!(long.collect::<Vec<_>>(), [""; 0], "lines are wrapped");
    Ok(())
}
