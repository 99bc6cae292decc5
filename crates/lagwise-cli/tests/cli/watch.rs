//! The view of a real cluster, on a real terminal and without one.

use std::process::Command;
use std::time::Duration;

use lagwise_testkit::Cluster;
use rustix::process::Signal;
use serde_json::Value;

use crate::Outcome;
use crate::binary::{Run, lagwise, wait};
use crate::screen::Screen;

/// Watches all nodes of a cluster.
fn watch(cluster: &Cluster) -> Command {
    let mut command = lagwise();
    command.args(["watch", "--primary", &cluster.primary().url()]);
    for replica in cluster.replicas() {
        command.args(["--replica", &replica.url()]);
    }
    command
}

/// The tests wait in threads of their own: the addresses of the kit are served by their runtime.
async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Outcome<T> + Send + 'static,
) -> Outcome<T> {
    tokio::task::spawn_blocking(work).await?
}

async fn cluster() -> Outcome<Cluster> {
    let cluster = Cluster::builder().replicas(2).start().await?;
    cluster.primary().execute("create table t (id int)").await?;
    cluster.wait_caught_up().await?;
    Ok(cluster)
}

const BOTH_SERVE: &str = "2 of 2 replicas in rotation";

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_stops_replaying_is_seen_to_leave_and_to_come_back() -> Outcome {
    let cluster = cluster().await?;
    let command = watch(&cluster);
    let mut screen = aside(move || {
        let mut screen = Screen::open(command, 24, 80)?;
        let text = screen.wait_for_text(BOTH_SERVE)?;
        assert!(screen.is_taken()?, "{text}");
        for part in [
            "primary: primary",
            "takes the writes",
            "replica-1",
            "replica-2",
        ] {
            assert!(text.contains(part), "{part} is not on\n{text}");
        }
        screen.resize(50, 200)?;
        let text = screen.wait_for_text("CATCH-UP")?;
        assert!(text.contains("conns") || text.contains("CONNS"), "{text}");
        Ok(screen)
    })
    .await?;

    cluster.replica(0).freeze_replay()?;
    cluster
        .primary()
        .execute("insert into t select generate_series(1, 1000)")
        .await?;
    screen = aside(move || {
        let text = screen.wait_for_text("out: lagging")?;
        let row = text.lines().find(|line| line.contains("out: lagging"));
        assert!(
            row.is_some_and(|row| row.starts_with(" ! replica-1")),
            "{text}"
        );
        screen.wait_for_text("1 of 2 replicas in rotation")?;
        screen.wait_for_text("replica-1 leaves the rotation: lagging")?;
        Ok(screen)
    })
    .await?;

    cluster.replica(0).thaw_replay()?;
    aside(move || {
        screen.wait_for_text(BOTH_SERVE)?;
        screen.wait_for_text("replica-1 enters the rotation: was lagging")?;
        screen.press("q")?;
        let status = screen.end()?;
        assert_eq!(status.code(), Some(0), "{}", screen.text());
        assert!(screen.is_given_back()?);
        Ok(())
    })
    .await?;
    Ok(cluster.shutdown().await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_primary_nobody_is_said_to_be_level_with_it() -> Outcome {
    let cluster = cluster().await?;
    let command = watch(&cluster);
    let mut screen = aside(move || {
        let mut screen = Screen::open(command, 24, 80)?;
        let text = screen.wait_for_text(BOTH_SERVE)?;
        screen.wait_for("both are level", |text| text.matches("0 B\n").count() >= 2)?;
        assert!(!text.contains("lost"), "{text}");
        Ok(screen)
    })
    .await?;
    cluster.primary().kill().await?;
    aside(move || {
        let text = screen.wait_for_text("primary: primary, lost for")?;
        let rows = text.lines().filter(|line| line.starts_with("   replica-"));
        let rows: Vec<&str> = rows.collect();
        assert_eq!(rows.len(), 2, "{text}");
        for row in rows {
            assert!(
                row.trim_end().ends_with('?') && !row.contains("0 B"),
                "{text}"
            );
        }
        assert!(!text.contains("caught up"), "{text}");
        screen.press("q")?;
        assert_eq!(screen.end()?.code(), Some(0));
        Ok(())
    })
    .await?;
    Ok(cluster.shutdown().await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_do_what_the_help_says() -> Outcome {
    let cluster = cluster().await?;
    let command = watch(&cluster);
    aside(move || {
        let mut screen = Screen::open(command, 30, 100)?;
        screen.wait_for_text(BOTH_SERVE)?;
        screen.press("?")?;
        screen.wait_for_text("no service hears of it")?;
        screen.press("?j")?;
        screen.wait_for("the second node is chosen", |text| {
            text.contains(">  replica-1")
        })?;
        screen.press("\u{1b}[B")?;
        screen.wait_for("the third node is chosen", |text| {
            text.contains(">  replica-2")
        })?;
        screen.press("sr")?;
        screen.wait_for_text("NODE▴")?;
        screen.press("\r")?;
        screen.wait_for_text("5m ago")?;
        screen.press("\u{1b}")?;
        screen.wait_for_text("BEHIND")?;
        screen.press("d")?;
        screen.wait_for_text("replica-2 is drained, here only")?;
        screen.wait_for_text("1 of 2 replicas in rotation")?;
        screen.press("p")?;
        screen.wait_for_text("PAUSED at")?;
        screen.press("d")?;
        screen.press("p")?;
        screen.wait_for_text("replica-2 may return, here")?;
        screen.wait_for_text(BOTH_SERVE)?;
        screen.press("\u{3}")?;
        assert_eq!(screen.end()?.code(), Some(0), "Ctrl-C ends it");
        assert!(screen.is_given_back()?);
        Ok(())
    })
    .await?;
    Ok(cluster.shutdown().await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_ends_it_finds_the_terminal_as_it_was() -> Outcome {
    let cluster = Cluster::builder().replicas(0).start().await?;
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let command = watch(&cluster);
        aside(move || {
            let mut screen = Screen::open(command, 24, 80)?;
            screen.wait_for_text("takes the writes")?;
            screen.signal(signal)?;
            assert_eq!(screen.end()?.code(), Some(0), "{signal:?}");
            assert!(screen.is_given_back()?, "{signal:?}: {:?}", screen.written);
            Ok(())
        })
        .await?;
    }
    Ok(cluster.shutdown().await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_that_is_closed_ends_it() -> Outcome {
    let cluster = Cluster::builder().replicas(0).start().await?;
    let command = watch(&cluster);
    aside(move || {
        let mut screen = Screen::open(command, 24, 80)?;
        screen.wait_for_text("takes the writes")?;
        assert_eq!(screen.close()?.code(), Some(0));
        Ok(())
    })
    .await?;
    Ok(cluster.shutdown().await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_screen_that_gets_too_small_says_so_and_comes_back() -> Outcome {
    let cluster = Cluster::builder().replicas(0).start().await?;
    let command = watch(&cluster);
    aside(move || {
        let mut screen = Screen::open(command, 24, 80)?;
        screen.wait_for_text("takes the writes")?;
        screen.resize(5, 30)?;
        screen.wait_for_text("too small")?;
        screen.resize(1, 1)?;
        screen.resize(12, 60)?;
        screen.wait_for_text("takes the writes")?;
        screen.press("q")?;
        assert_eq!(screen.end()?.code(), Some(0));
        Ok(())
    })
    .await?;
    Ok(cluster.shutdown().await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn without_color_the_screen_says_the_same() -> Outcome {
    let cluster = Cluster::builder().replicas(0).start().await?;
    for (value, colored) in [("", true), ("1", false)] {
        let mut command = watch(&cluster);
        command.env("NO_COLOR", value);
        aside(move || {
            let mut screen = Screen::open(command, 24, 80)?;
            screen.wait_for_text("takes the writes")?;
            screen.press("q")?;
            assert_eq!(screen.end()?.code(), Some(0));
            let written = String::from_utf8_lossy(&screen.written).into_owned();
            assert_eq!(written.contains("\u{1b}[38;5;"), colored, "{written:?}");
            // The selection has to be seen without color, too.
            assert_eq!(written.contains("\u{1b}[7m"), !colored, "{written:?}");
            Ok(())
        })
        .await?;
    }
    Ok(cluster.shutdown().await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn once_prints_a_table_or_one_object() -> Outcome {
    let cluster = cluster().await?;
    let mut table = watch(&cluster);
    table.arg("--once");
    let run = Run::new(&aside(move || Ok(table.output()?)).await?)?;
    assert_eq!((run.code, run.err.as_str()), (Some(0), ""), "{run:?}");
    for part in [
        BOTH_SERVE,
        "takes the writes",
        "in rotation",
        "conns",
        "0 B",
    ] {
        assert!(run.out.contains(part), "{part} is not in\n{}", run.out);
    }
    assert!(
        run.out.lines().all(|line| line.chars().count() <= 80),
        "{}",
        run.out
    );
    assert!(!run.out.contains('\u{1b}'), "{}", run.out);

    cluster.replica(1).kill().await?;
    let mut object = watch(&cluster);
    object.args(["--once", "--format", "json"]);
    let run = Run::new(&aside(move || Ok(object.output()?)).await?)?;
    assert_eq!((run.code, run.err.as_str()), (Some(0), ""), "{run:?}");
    assert_eq!(run.out.lines().count(), 1);
    let found: Value = serde_json::from_str(&run.out)?;
    assert_eq!(found["primary"], "primary");
    assert_eq!(found["in_rotation"], 1);
    assert_eq!(found["nodes"][1]["membership"], "in_rotation");
    assert_eq!(found["vitals"]["replica-1"]["in_recovery"], true);
    assert_eq!(found["vitals"]["replica-1"]["timeline"], 1);
    assert!(found["vitals"]["replica-2"].is_null(), "{found}");
    assert!(found["unwell"]["replica-2"].is_string(), "{found}");
    assert!(found["nodes"][2]["staleness_seconds"].is_null(), "{found}");
    assert!(
        found["pace"]["replica-2"]["bytes_per_second"].is_null(),
        "{found}"
    );
    let at = found["at"].as_str().ok_or("a time")?;
    assert!(at.starts_with("20") && at.ends_with('Z'), "{at}");
    Ok(cluster.shutdown().await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_hangs_holds_up_no_other() -> Outcome {
    let cluster = cluster().await?;
    cluster.replica(0).client_wire().blackhole();
    let mut command = watch(&cluster);
    command.args(["--once", "--format", "json", "--timeout", "8s"]);
    let run = Run::new(&aside(move || Ok(command.output()?)).await?)?;
    let found: Value = serde_json::from_str(&run.out)?;
    assert!(found["vitals"]["replica-1"].is_null(), "{found}");
    let unwell = found["unwell"]["replica-1"].as_str().unwrap_or_default();
    assert!(unwell.contains("has not answered within"), "{found}");
    assert!(found["vitals"]["replica-2"].is_object(), "{found}");
    assert_eq!(found["nodes"][2]["membership"], "in_rotation");
    Ok(cluster.shutdown().await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_come_one_each_interval_until_it_is_ended() -> Outcome {
    use std::io::{BufRead as _, BufReader};
    use std::process::Stdio;

    let cluster = cluster().await?;
    let mut command = watch(&cluster);
    command.args(["--format", "json", "--interval", "200ms"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    aside(move || {
        let mut child = command.spawn()?;
        let mut lines = BufReader::new(child.stdout.take().ok_or("it has an output")?).lines();
        let mut paced = false;
        while !paced {
            let line = lines.next().ok_or("it goes on")??;
            let found: Value = serde_json::from_str(&line)?;
            assert_eq!(found["nodes"].as_array().map(Vec::len), Some(3), "{line}");
            paced = found["pace"]["replica-1"]["bytes_per_second"].is_u64();
        }
        // Whoever reads no more ends it.
        drop(lines);
        let status = wait(&mut child, Duration::from_secs(20))?;
        assert_eq!(status.code(), Some(0));
        Ok(())
    })
    .await?;
    Ok(cluster.shutdown().await?)
}

#[test]
fn without_a_terminal_it_says_what_to_do() -> Outcome {
    let url = "postgres://app:s3cret@127.0.0.1:1/shop";
    let run = crate::binary::run(&["watch", "--primary", url])?;
    assert_eq!((run.code, run.out.as_str()), (Some(2), ""), "{run:?}");
    assert!(
        run.err.contains("--once") && run.err.contains("--format json"),
        "{run:?}"
    );
    Ok(())
}
