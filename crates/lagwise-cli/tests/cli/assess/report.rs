//! The report in its forms, and what is said where none can be made.

use std::fs;
use std::process::Stdio;

use lagwise_testkit::Cluster;
use rustix::process::{Pid, Signal, kill_process};

use super::{assess, number, report, reset, router, run, start};
use crate::Outcome;
use crate::binary::{Run, lagwise};

const PASSWORD: &str = "s3cr3t-Pa55word";

#[tokio::test]
async fn a_server_that_does_not_count_is_told_how_to() -> Outcome {
    let cluster = Cluster::builder().replicas(1).start().await?;
    let url = cluster.primary().url();
    let missing = run(assess(&url, &[])).await?;
    assert_eq!(
        (missing.code, missing.out.as_str()),
        (Some(1), ""),
        "{missing:?}"
    );
    for command in [
        "alter system set shared_preload_libraries",
        "create extension pg_stat_statements",
    ] {
        assert!(missing.err.contains(command), "{missing:?}");
    }
    // The extension alone shows nothing.
    cluster
        .primary()
        .execute("create extension pg_stat_statements")
        .await?;
    let unloaded = run(assess(&url, &[])).await?;
    assert_eq!(
        (unloaded.code, unloaded.out.as_str()),
        (Some(1), ""),
        "{unloaded:?}"
    );
    assert!(
        unloaded
            .err
            .contains("must be loaded via shared_preload_libraries"),
        "{unloaded:?}"
    );
    let replica = run(assess(&cluster.replica(0).url(), &[])).await?;
    assert_eq!(replica.code, Some(1));
    assert!(replica.err.contains("primary is a replica"), "{replica:?}");
    let address = cluster.primary().client_wire().address();
    let wrong = format!("postgres://postgres:{PASSWORD}@{address}/no-such-database");
    let wrong = run(assess(&wrong, &[])).await?;
    assert_eq!(wrong.code, Some(1));
    assert!(
        wrong.err.contains("no-such-database") && !wrong.err.contains("Pa55"),
        "{wrong:?}"
    );
    // The server's sources are not what is wrong, and the server is the right one.
    let refused = run(assess(
        &format!("postgres://nobody@{address}/postgres"),
        &[],
    ))
    .await?;
    let why =
        "the primary could not be asked: primary refused the login: role \"nobody\" does not exist";
    assert!(refused.err.contains(why), "{refused:?}");
    for run in [&wrong, &refused, &unloaded] {
        assert!(
            !run.err.contains("at line") && !run.err.contains("accepts writes"),
            "{run:?}"
        );
    }
    Ok(cluster.shutdown().await?)
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up() -> Outcome {
    let cluster = Cluster::builder().start().await?;
    cluster.primary().freeze()?;
    let run = run(assess(&cluster.primary().url(), &["--timeout", "200ms"])).await?;
    assert_eq!((run.code, run.out.as_str()), (Some(1), ""), "{run:?}");
    assert!(run.err.contains("has not answered within 200ms"), "{run:?}");
    Ok(cluster.shutdown().await?)
}

#[tokio::test]
async fn what_a_role_may_not_see_is_not_known_rather_than_stays() -> Outcome {
    let cluster = start(0).await?;
    let primary = cluster.primary();
    primary
        .execute("create role low login; create role mid login in role pg_monitor")
        .await?;
    reset(&cluster).await?;
    for _ in 0..30 {
        primary.execute("select count(*) from notes").await?;
    }
    let url = |role: &str| primary.url().replace("postgres@", &format!("{role}@"));
    let low = report(&url("low"), &[]).await?;
    assert!(number(&low, "/hidden/calls")? >= 30.0, "{low}");
    assert_eq!(low["moves"]["calls"], 0, "{low}");
    let (least, most) = (
        number(&low, "/share/calls/least")?,
        number(&low, "/share/calls/most")?,
    );
    assert!(least < 1e-9 && most > 0.9, "{low}");
    assert!(
        low["caveats"]
            .to_string()
            .contains("grant pg_read_all_stats"),
        "{low}"
    );
    let mid = report(&url("mid"), &[]).await?;
    assert_eq!(mid["hidden"]["calls"], 0, "{mid}");
    assert_eq!(mid["moves"]["calls"], 30, "{mid}");
    Ok(cluster.shutdown().await?)
}

#[tokio::test]
async fn what_is_watched_is_only_what_ran_meanwhile_until_an_interrupt() -> Outcome {
    let cluster = start(0).await?;
    let primary = cluster.primary();
    for _ in 0..50 {
        primary.execute("select 1 from notes limit 1").await?;
    }
    let mut command = assess(&primary.url(), &["--watch", "1h", "--format", "json"]);
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    // It has taken its first look when it has asked for the counts and is idle.
    let idle = "select count(*) = 1 from pg_stat_activity where application_name = 'lagwise' \
                and state = 'idle' and query like '%toplevel%'";
    let looked = async || primary.query_scalar::<bool>(idle).await;
    let patience = std::time::Duration::from_secs(30);
    cluster
        .wait_until(patience, "it has looked", looked)
        .await?;
    for _ in 0..7 {
        primary.execute("select 1 from notes limit 1").await?;
    }
    primary
        .execute("insert into notes (body) values ('x')")
        .await?;
    kill_process(Pid::from_child(&child), Signal::INT)?;
    let ended = tokio::task::spawn_blocking(move || child.wait_with_output()).await??;
    let run = Run::new(&ended)?;
    assert_eq!((run.code, run.err.as_str()), (Some(0), ""), "{run:?}");
    let report: serde_json::Value = serde_json::from_str(&run.out)?;
    assert_eq!(report["window"]["watched"], true);
    assert_eq!(
        (&report["moves"]["calls"], &report["stays"]["calls"]),
        (&7.into(), &1.into()),
        "{report}"
    );
    Ok(cluster.shutdown().await?)
}

#[tokio::test]
async fn people_read_text_and_a_page_that_needs_nothing_else() -> Outcome {
    let cluster = start(0).await?;
    let primary = cluster.primary();
    for _ in 0..20 {
        primary
            .execute("select count(*) as \"<script>alert(1)</script>\" from notes")
            .await?;
    }
    primary
        .execute("alter role postgres password 'hidden-Pa55word'")
        .await?;
    primary
        .execute("insert into notes (body) values ('x')")
        .await?;
    let page = std::env::temp_dir().join(format!("lwassess-{}.html", std::process::id()));
    let path = page.to_str().ok_or("it is UTF-8")?;
    let run = run(assess(&primary.url(), &["--html", path])).await?;
    assert_eq!((run.code, run.err.as_str()), (Some(0), ""), "{run:?}");
    let html = fs::read_to_string(&page)?;
    fs::remove_file(&page)?;
    for part in [
        " % of execution time",
        "Could move",
        "Stay on the primary",
        "insert is not known",
        "Assumed",
    ] {
        assert!(run.out.contains(part), "{part}: {}", run.out);
    }
    assert!(
        run.out.lines().all(|line| line.chars().count() <= 80),
        "{}",
        run.out
    );
    assert!(
        !run.out.contains("Pa55") && !html.contains("Pa55"),
        "no literal is shown"
    );
    assert!(
        html.starts_with("<!doctype html>") && html.contains("<svg"),
        "{html}"
    );
    assert!(
        html.contains("&lt;script&gt;") && !html.contains("<script"),
        "{html}"
    );
    for outside in [
        "http:", "https:", "src=", "href=", "@import", "url(\"", "//",
    ] {
        assert!(!html.contains(outside), "{outside}");
    }
    Ok(cluster.shutdown().await?)
}

#[tokio::test]
async fn a_page_that_cannot_be_written_is_no_success() -> Outcome {
    let cluster = start(0).await?;
    let primary = cluster.primary();
    let nowhere = run(assess(
        &primary.url(),
        &["--html", "/no/such/folder/x.html"],
    ))
    .await?;
    assert_eq!(
        (nowhere.code, nowhere.out.as_str()),
        (Some(1), ""),
        "{nowhere:?}"
    );
    assert!(
        nowhere.err.contains("/no/such/folder/x.html"),
        "{nowhere:?}"
    );
    Ok(cluster.shutdown().await?)
}

#[tokio::test]
async fn where_nothing_ran_nothing_is_said() -> Outcome {
    let cluster = start(0).await?;
    let url = cluster.primary().url();
    cluster.primary().execute("create database quiet").await?;
    let mut connection = cluster.primary().connect_to("quiet").await?;
    sqlx::query("create extension pg_stat_statements")
        .execute(&mut connection)
        .await?;
    reset(&cluster).await?;
    let report = report(&url, &["--database", "quiet"]).await?;
    assert!(
        report["server"]
            .as_str()
            .is_some_and(|name| name.ends_with("/quiet")),
        "{report}"
    );
    assert_eq!(
        (
            number(&report, "/moves/calls")?,
            number(&report, "/stays/calls")?
        ),
        (0.0, 0.0),
        "{report}"
    );
    Ok(cluster.shutdown().await?)
}

#[test]
fn the_help_says_what_is_needed_and_what_a_range_is() -> Outcome {
    let run = crate::binary::run(&["assess", "--help"])?;
    assert_eq!(run.code, Some(0));
    for part in ["Examples:", "pg_read_all_stats", "Ranges:", "Exit codes:"] {
        assert!(run.out.contains(part), "{part} is not in\n{}", run.out);
    }
    let long = run.out.lines().filter(|line| line.chars().count() > 100);
    assert_eq!(long.collect::<Vec<_>>(), [""; 0], "lines are wrapped");
    Ok(())
}

#[tokio::test]
async fn what_lagwise_asks_itself_is_no_part_of_what_it_assesses() -> Outcome {
    let cluster = start(1).await?;
    let primary = cluster.primary();
    for _ in 0..20 {
        primary.execute("select count(*) from notes").await?;
    }
    let own = async |arguments: &[&str]| {
        let mut command = lagwise();
        command.args(arguments).args(["--primary", &primary.url()]);
        command.args(["--replica", &cluster.replica(0).url()]);
        let run = run(command).await?;
        assert_eq!(run.err, "", "{run:?}");
        Outcome::Ok(())
    };
    let first = report(&primary.url(), &[]).await?;
    own(&["check"]).await?;
    own(&["doctor"]).await?;
    let router = router(&cluster).await?;
    router.close().await;
    let second = report(&primary.url(), &[]).await?;
    for part in ["share", "moves", "stays", "hidden", "apart", "transactions"] {
        assert_eq!(second[part], first[part], "{part}: {second}");
    }
    assert_eq!(second["moves"]["calls"], 20, "{second}");
    Ok(cluster.shutdown().await?)
}
