//! What `lagwise check` says of replicas that are well, late, paused or cut off.

use std::time::Duration;

use lagwise_testkit::{Cluster, Node};
use serde_json::Value;

use crate::Outcome;
use crate::binary::{Run, lagwise, run_aside};
use crate::wait::until;

/// One check of a cluster: the lines of a plugin and the same as JSON must agree.
pub(crate) struct Checked {
    pub(crate) code: Option<i32>,
    pub(crate) first: String,
    pub(crate) json: Value,
    said: String,
}

impl Checked {
    /// A node's part of the report.
    pub(crate) fn node(&self, name: &str) -> &Value {
        let nodes = self.json["nodes"].as_array().into_iter().flatten();
        let mut found = nodes.filter(|node| node["name"] == name);
        found.next().unwrap_or(&Value::Null)
    }

    /// Checks the exit code, and that the first line holds all of the parts.
    pub(crate) fn is(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, Some(code), "{}", self.said);
        assert_eq!(self.json["exit_code"], code, "{}", self.json);
        for part in parts {
            assert!(self.first.contains(part), "{part}: {}", self.said);
        }
    }

    pub(crate) fn node_is(&self, name: &str, verdict: &str, part: &str) {
        let node = self.node(name);
        assert_eq!(node["verdict"], verdict, "{name}: {}", self.json);
        let reason = node["reason"].as_str().unwrap_or_default();
        assert!(reason.contains(part), "{name}, {part}: {}", self.json);
    }
}

pub(crate) fn replicas(nodes: &[Node]) -> Vec<String> {
    nodes
        .iter()
        .map(|node| format!("{}={}", node.name(), node.url()))
        .collect()
}

/// Runs a check as text and as JSON.
pub(crate) async fn check(cluster: &Cluster, options: &[&str]) -> Outcome<Checked> {
    let mut all = vec!["--primary".to_owned(), cluster.primary().url()];
    for replica in replicas(cluster.replicas()) {
        all.extend(["--replica".to_owned(), replica]);
    }
    all.extend(options.iter().map(|&option| option.to_owned()));
    check_with(&all).await
}

pub(crate) async fn check_with(options: &[String]) -> Outcome<Checked> {
    let (text, json) = tokio::join!(
        run_check(options, &[]),
        run_check(options, &["--format", "json"])
    );
    let (text, json) = (text?, json?);
    let first = text.out.lines().next().unwrap_or_default().to_owned();
    assert!(first.starts_with("LAGWISE "), "{text:?}");
    assert_eq!(text.code, json.code, "{text:?} {json:?}");
    Ok(Checked {
        code: text.code,
        first,
        json: serde_json::from_str(&json.out)?,
        said: format!("{}{}", text.out, text.err),
    })
}

async fn run_check(options: &[String], more: &[&str]) -> Outcome<Run> {
    let mut command = lagwise();
    command.arg("check").args(options).args(more);
    run_aside(command).await
}

/// Enough for a busy machine, and little enough to prove a lag soon.
const LIMITS: [&str; 6] = ["--warn", "1s", "--crit", "2s", "--timeout", "20s"];

pub(crate) const NO_RECEIVER: &str = "select not exists (select from pg_stat_wal_receiver)";

const TABLE: &str = "create table notes (body text)";

#[tokio::test]
async fn a_well_cluster_is_ok_idle_or_written_to() -> Outcome {
    let cluster = Cluster::builder().replicas(2).start().await?;
    cluster.primary().execute(TABLE).await?;
    cluster.wait_caught_up().await?;
    let idle = check(&cluster, &LIMITS).await?;
    idle.is(
        0,
        &["LAGWISE OK - primary accepts writes, 2 of 2 replicas in rotation, at most "],
    );
    idle.is(
        0,
        &[
            "'r1_staleness'=0.",
            "s;1;2;0 'r1_bytes'=0B;;;0",
            "'in_rotation'=2;;;0",
        ],
    );
    assert_eq!(idle.node("r1")["stream"], "streaming", "{}", idle.json);
    assert_eq!(
        idle.node("r1")["membership"],
        "in_rotation",
        "{}",
        idle.json
    );
    assert!(
        idle.node("r2")["staleness_seconds"].is_f64(),
        "{}",
        idle.json
    );
    idle.node_is("primary", "ok", "accepts writes");

    // An hour of idling is no lag: the last commit is as old as it likes to be.
    let writing = cluster.primary().connect().await?;
    let writes = write_for_ever(writing);
    let busy = tokio::select! {
        busy = check(&cluster, &LIMITS) => busy?,
        failed = writes => return failed,
    };
    busy.is(0, &["LAGWISE OK - "]);
    Ok(cluster.shutdown().await?)
}

async fn write_for_ever(mut connection: sqlx::PgConnection) -> Outcome {
    loop {
        sqlx::query("insert into notes values ('more')")
            .execute(&mut connection)
            .await?;
    }
}

#[tokio::test]
async fn a_late_replica_is_a_warning_then_critical_and_never_by_bytes_alone() -> Outcome {
    let cluster = Cluster::builder().replicas(2).start().await?;
    cluster.primary().execute(TABLE).await?;
    cluster.wait_caught_up().await?;
    cluster.replica(0).freeze_replay()?;
    cluster
        .primary()
        .execute("insert into notes values ('x')")
        .await?;
    let late = check(&cluster, &LIMITS).await?;
    late.is(
        2,
        &[
            "LAGWISE CRITICAL - r1 at least 2.",
            "s behind",
            "'r1_staleness'=U;1;2;0",
        ],
    );
    late.node_is("r1", "critical", "at least 2.");
    late.node_is("r2", "ok", "at most ");
    let least = late.node("r1")["behind_at_least_seconds"].as_f64();
    assert!(least.is_some_and(|least| least > 2.0), "{}", late.json);
    assert!(
        late.node("r1")["bytes_behind"].as_u64() > Some(0),
        "{}",
        late.json
    );

    // The time runs out before `--crit` is proved, and the commit is not as old.
    let soon = ["--warn", "200ms", "--crit", "10m", "--timeout", "2s"];
    let early = check(&cluster, &soon).await?;
    early.is(1, &["LAGWISE WARNING - r1 at least "]);
    let alone = check(&cluster, &[&soon[..], &["--node", "r2"]].concat()).await?;
    alone.is(0, &["LAGWISE OK - r2 at most "]);
    assert_eq!(alone.json["nodes"].as_array().map(Vec::len), Some(1));

    cluster.replica(0).thaw_replay()?;
    cluster.wait_caught_up().await?;
    check(&cluster, &LIMITS).await?.is(0, &["LAGWISE OK"]);
    Ok(cluster.shutdown().await?)
}

#[tokio::test]
async fn bytes_are_judged_where_limits_are_given() -> Outcome {
    let cluster = Cluster::builder().replicas(1).start().await?;
    cluster.primary().execute(TABLE).await?;
    cluster.wait_caught_up().await?;
    cluster.replica(0).freeze_replay()?;
    let fill = "insert into notes select repeat('x', 1000) from generate_series(1, 1000)";
    cluster.primary().execute(fill).await?;
    let soon = ["--warn", "200ms", "--crit", "10m", "--timeout", "2s"];
    let with = |more: &[&'static str]| [&soon[..], more].concat();
    let over = check(
        &cluster,
        &with(&["--warn-bytes", "1kB", "--crit-bytes", "16kB"]),
    )
    .await?;
    over.is(2, &["of the log", "B;1024;16384;0"]);
    let under = check(
        &cluster,
        &with(&["--warn-bytes", "1kB", "--crit-bytes", "1GB"]),
    )
    .await?;
    under.is(1, &["of the log"]);
    Ok(cluster.shutdown().await?)
}

#[tokio::test]
async fn a_pause_is_a_warning_and_with_pending_log_a_lag() -> Outcome {
    let cluster = Cluster::builder().replicas(1).start().await?;
    cluster.primary().execute(TABLE).await?;
    cluster.wait_caught_up().await?;
    cluster.replica(0).pause_replay().await?;
    let nothing = check(&cluster, &LIMITS).await?;
    nothing.is(1, &["LAGWISE WARNING - r1 at most ", "replay is paused"]);
    assert_eq!(nothing.node("r1")["cause"], "paused", "{}", nothing.json);
    assert_eq!(nothing.node("r1")["paused"], true, "{}", nothing.json);

    cluster
        .primary()
        .execute("insert into notes values ('x')")
        .await?;
    let pending = check(&cluster, &LIMITS).await?;
    pending.is(
        2,
        &["LAGWISE CRITICAL - r1 at least 2.", "replay is paused"],
    );

    let floor = ["--crit", "1h", "--timeout", "3s", "--min-replicas", "1"];
    let few = check(&cluster, &floor).await?;
    few.is(
        2,
        &[
            "0 of at least 1 replicas in rotation",
            "'in_rotation'=0;;1:;0",
        ],
    );
    Ok(cluster.shutdown().await?)
}

#[tokio::test]
async fn a_cut_stream_is_never_ok_also_while_nobody_writes() -> Outcome {
    let cluster = Cluster::builder().replicas(2).start().await?;
    cluster.primary().execute(TABLE).await?;
    cluster.wait_caught_up().await?;
    cluster.replica(0).upstream_wire().cut();
    until(cluster.replica(0), NO_RECEIVER).await?;
    let idle = check(&cluster, &LIMITS).await?;
    idle.is(
        1,
        &[
            "LAGWISE WARNING - r1 at most ",
            "its stream is cut: no receiver runs",
        ],
    );
    assert_eq!(idle.node("r1")["stream"], "cut", "{}", idle.json);
    idle.node_is("r2", "ok", "at most ");

    cluster
        .primary()
        .execute("insert into notes values ('x')")
        .await?;
    let written = check(&cluster, &LIMITS).await?;
    written.is(
        2,
        &["LAGWISE CRITICAL - r1 at least 2.", "its stream is cut"],
    );

    cluster.replica(0).upstream_wire().heal();
    cluster.wait_streaming().await?;
    cluster.wait_caught_up().await?;
    check(&cluster, &LIMITS).await?.is(0, &["LAGWISE OK"]);
    Ok(cluster.shutdown().await?)
}

#[tokio::test]
async fn a_stream_that_is_open_and_silent_is_cut() -> Outcome {
    // The receiver would ask for a word after 4 s, and speaks every second by itself.
    let cluster = Cluster::builder()
        .replicas(1)
        .setting("wal_receiver_timeout", "60s")
        .setting("wal_sender_timeout", "60s")
        .setting("wal_receiver_status_interval", "1s")
        .start()
        .await?;
    cluster.wait_caught_up().await?;
    cluster.replica(0).upstream_wire().blackhole();
    until(
        cluster.primary(),
        "select clock_timestamp() - reply_time > interval '4.5 s' from pg_stat_replication",
    )
    .await?;
    let checked = check(&cluster, &LIMITS).await?;
    checked.is(
        1,
        &[
            "LAGWISE WARNING - r1 at most ",
            "its stream is cut: silent for ",
        ],
    );
    assert_eq!(checked.node("r1")["stream"], "silent", "{}", checked.json);
    Ok(cluster.shutdown().await?)
}

#[tokio::test]
async fn a_steady_delay_is_known_from_both_sides() -> Outcome {
    let cluster = Cluster::builder().replicas(1).start().await?;
    cluster.primary().execute(TABLE).await?;
    cluster.wait_caught_up().await?;
    cluster
        .replica(0)
        .set_apply_delay(Duration::from_millis(1500))
        .await?;
    let writing = cluster.primary().connect().await?;
    let limits = ["--warn", "500ms", "--crit", "30s", "--timeout", "20s"];
    let delayed = tokio::select! {
        delayed = check(&cluster, &limits) => delayed?,
        failed = write_for_ever(writing) => return failed,
    };
    delayed.is(1, &["LAGWISE WARNING - r1 at most "]);
    Ok(cluster.shutdown().await?)
}
