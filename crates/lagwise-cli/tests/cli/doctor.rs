//! What `lagwise doctor` says of settings, each made wrong on a real cluster and mended as it says.

use lagwise_testkit::{Balancer, Cluster, Node};
use serde_json::Value;

use crate::Outcome;
use crate::binary::{Run, lagwise, run, run_aside};
use crate::check::replicas;
use crate::pooler::{self, Mode};
use crate::wait::until;

/// One run: the same as text and as JSON.
pub(crate) struct Diagnosis {
    pub(crate) text: Run,
    pub(crate) json: Value,
}

impl Diagnosis {
    /// `severity topic node` of every finding.
    pub(crate) fn topics(&self) -> Vec<String> {
        let text = |finding: &Value, key: &str| finding[key].as_str().unwrap_or("-").to_owned();
        let findings = self.findings();
        findings
            .map(|finding| {
                let keys = ["severity", "topic", "node"];
                keys.map(|key| text(finding, key)).join(" ")
            })
            .collect()
    }

    fn findings(&self) -> impl Iterator<Item = &Value> {
        self.json["findings"].as_array().into_iter().flatten()
    }

    pub(crate) fn finding(&self, topic: &str) -> &Value {
        let found = self.findings().find(|finding| finding["topic"] == topic);
        found.unwrap_or(&Value::Null)
    }

    /// Checks the findings, and that the exit code is that of the worst.
    pub(crate) fn is(&self, code: i32, topics: &[&str]) {
        assert_eq!(self.topics(), topics, "{}", self.text.out);
        assert_eq!(self.text.code, Some(code), "{}", self.text.out);
        assert_eq!(self.json["exit_code"], code, "{}", self.json);
    }
}

pub(crate) async fn doctor(cluster: &Cluster, options: &[&str]) -> Outcome<Diagnosis> {
    let mut all = vec!["--primary".to_owned(), cluster.primary().url()];
    for replica in replicas(cluster.replicas()) {
        all.extend(["--replica".to_owned(), replica]);
    }
    all.extend(options.iter().map(|&option| option.to_owned()));
    doctor_with(&all).await
}

pub(crate) async fn doctor_with(options: &[String]) -> Outcome<Diagnosis> {
    let ask = async |more: &[&str]| {
        let mut command = lagwise();
        command.arg("doctor").args(options).args(more);
        run_aside(command).await
    };
    // One after the other: a balancer that serves two in turn would show each of them one server.
    let (text, json) = (ask(&[]).await?, ask(&["--format", "json"]).await?);
    assert_eq!((text.code, text.err.as_str()), (json.code, ""), "{text:?}");
    let json: Value = serde_json::from_str(&json.out)?;
    let diagnosis = Diagnosis { text, json };
    let known = diagnosis.json["looked_for"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    for finding in diagnosis.findings() {
        assert!(known.contains(&finding["topic"]), "{finding}");
        for key in ["what", "why", "mend"] {
            let told = finding[key].as_str().unwrap_or_default();
            assert!(
                !told.is_empty() && diagnosis.text.out.contains(told),
                "{key}: {finding}"
            );
        }
    }
    Ok(diagnosis)
}

#[tokio::test]
async fn nothing_is_said_where_all_is_well() -> Outcome {
    let cluster = Cluster::builder().replicas(2).start().await?;
    let well = doctor(&cluster, &[]).await?;
    well.is(0, &[]);
    assert_eq!(well.text.out, "");
    let verbose = doctor(&cluster, &["--verbose"]).await?;
    assert!(
        verbose
            .text
            .out
            .contains("looked at r1: replica, streaming, "),
        "{:?}",
        verbose.text
    );
    assert!(
        verbose.text.out.contains("looked for: apply_delay, "),
        "{:?}",
        verbose.text
    );
    let clock = verbose.json["looked_at"][1]["clock_offset_seconds"].as_f64();
    assert!(
        clock.is_some_and(|offset| offset.abs() < 1.0),
        "{}",
        verbose.json
    );
    Ok(cluster.shutdown().await?)
}

/// Does what a finding says, statement by statement.
pub(crate) async fn mend(node: &Node, finding: &Value) -> Outcome {
    let commands = finding["commands"].as_array().into_iter().flatten();
    let commands: Vec<&str> = commands.filter_map(Value::as_str).collect();
    assert!(!commands.is_empty(), "{finding}");
    let before = node.query_scalar::<String>(LOADED).await?;
    for statement in &commands {
        node.execute(statement).await?;
    }
    if commands
        .iter()
        .any(|statement| statement.contains("pg_reload_conf"))
    {
        until(
            node,
            &format!("select pg_conf_load_time()::text <> '{before}'"),
        )
        .await?;
    }
    Ok(())
}

const LOADED: &str = "select pg_conf_load_time()::text";

#[tokio::test]
async fn each_setting_of_a_replica_is_found_and_mended_as_told() -> Outcome {
    let cluster = Cluster::builder().replicas(1).start().await?;
    let replica = cluster.replica(0);
    for (setting, value, topic) in [
        ("recovery_min_apply_delay", "5s", "problem apply_delay r1"),
        (
            "recovery_min_apply_delay",
            "500ms",
            "warning apply_delay r1",
        ),
        (
            "max_standby_streaming_delay",
            "-1",
            "warning standby_delay r1",
        ),
        (
            "max_standby_streaming_delay",
            "0",
            "warning standby_delay r1",
        ),
        ("wal_receiver_timeout", "0", "warning timeouts r1"),
        ("wal_receiver_timeout", "1h", "warning timeouts r1"),
        ("wal_sender_timeout", "0", "warning timeouts r1"),
        ("wal_receiver_status_interval", "0", "warning timeouts r1"),
        (
            "wal_receiver_status_interval",
            "2min",
            "warning timeouts r1",
        ),
    ] {
        replica
            .execute(&format!("alter system reset {setting}"))
            .await?;
        replica.configure(setting, value).await?;
        let diagnosis = doctor(&cluster, &[]).await?;
        let code = if topic.starts_with("problem") { 2 } else { 1 };
        diagnosis.is(code, &[topic]);
        let name = topic.split(' ').nth(1).unwrap_or_default();
        // Each statement stands on a line of its own, to be pasted.
        for line in [
            "        ALTER SYSTEM SET ",
            "        SELECT pg_reload_conf();\n",
        ] {
            assert!(diagnosis.text.out.contains(line), "{}", diagnosis.text.out);
        }
        mend(replica, diagnosis.finding(name)).await?;
        doctor(&cluster, &[]).await?.is(0, &[]);
    }
    replica.pause_replay().await?;
    let paused = doctor(&cluster, &[]).await?;
    paused.is(1, &["warning paused r1"]);
    mend(replica, paused.finding("paused")).await?;
    doctor(&cluster, &[]).await?.is(0, &[]);
    Ok(cluster.shutdown().await?)
}

#[tokio::test]
async fn what_the_primary_waits_for_and_keeps_is_told() -> Outcome {
    let cluster = Cluster::builder().replicas(1).start().await?;
    let primary = cluster.primary();
    primary
        .execute("select pg_create_physical_replication_slot('old', true)")
        .await?;
    let slot = doctor(&cluster, &[]).await?;
    slot.is(1, &["warning slot primary"]);
    let told = slot.finding("slot")["what"].as_str().unwrap_or_default();
    assert!(
        told.starts_with("nobody uses the slot old, which keeps "),
        "{told}"
    );
    mend(primary, slot.finding("slot")).await?;
    doctor(&cluster, &[]).await?.is(0, &[]);

    primary
        .configure("synchronous_standby_names", "nobody")
        .await?;
    let stuck = doctor(&cluster, &[]).await?;
    stuck.is(2, &["problem synchronous primary"]);
    mend(primary, stuck.finding("synchronous")).await?;
    doctor(&cluster, &[]).await?.is(0, &[]);
    primary
        .execute("alter system reset synchronous_standby_names")
        .await?;
    primary.configure("synchronous_standby_names", "r1").await?;
    until(
        primary,
        "select exists (select from pg_stat_replication where sync_state = 'sync')",
    )
    .await?;
    doctor(&cluster, &[])
        .await?
        .is(0, &["note synchronous primary"]);
    primary.configure("synchronous_standby_names", "").await?;

    primary
        .execute("alter system set default_transaction_read_only = on")
        .await?;
    primary.execute("select pg_reload_conf()").await?;
    let is_read_only = "select current_setting('default_transaction_read_only') = 'on'";
    until(primary, is_read_only).await?;
    let read_only = doctor(&cluster, &[]).await?;
    read_only.is(2, &["problem read_only primary"]);
    mend(primary, read_only.finding("read_only")).await?;
    doctor(&cluster, &[]).await?.is(0, &[]);

    primary.configure("synchronous_commit", "off").await?;
    let relaxed = doctor(&cluster, &[]).await?;
    relaxed.is(0, &["note synchronous primary"]);
    mend(primary, relaxed.finding("synchronous")).await?;
    doctor(&cluster, &[]).await?.is(0, &[]);

    let many = doctor(&cluster, &["--instances", "50"]).await?;
    many.is(1, &["warning pools primary", "warning pools r1"]);
    mend(primary, many.finding("pools")).await?;
    Ok(cluster.shutdown().await?)
}

#[tokio::test]
async fn a_role_without_grants_is_told_what_it_misses() -> Outcome {
    let cluster = Cluster::builder().replicas(1).start().await?;
    cluster.primary().execute("create role app login").await?;
    cluster.wait_caught_up().await?;
    let as_app = |node: &Node| node.url().replace("postgres@", "app@");
    let mut options = vec!["--primary".to_owned(), as_app(cluster.primary())];
    options.extend([
        "--replica".to_owned(),
        format!("r1={}", as_app(cluster.replica(0))),
    ]);
    let blind = doctor_with(&options).await?;
    blind.is(0, &["note privileges primary", "note privileges r1"]);
    mend(cluster.primary(), blind.finding("privileges")).await?;
    cluster.wait_caught_up().await?;
    doctor_with(&options).await?.is(0, &[]);
    Ok(cluster.shutdown().await?)
}

#[tokio::test]
async fn canceled_queries_are_counted_by_what_canceled_them() -> Outcome {
    let cluster = Cluster::builder()
        .replicas(1)
        .setting("max_standby_streaming_delay", "50ms")
        .start()
        .await?;
    let (primary, replica) = (cluster.primary(), cluster.replica(0));
    primary
        .execute("create table notes as select generate_series(1, 1000) as n")
        .await?;
    cluster.wait_caught_up().await?;
    let mut reader = replica.connect().await?;
    sqlx::raw_sql("begin isolation level repeatable read; select count(*) from notes")
        .execute(&mut reader)
        .await?;
    primary.execute("delete from notes").await?;
    primary.execute("vacuum notes").await?;
    until(
        replica,
        "select sum(confl_snapshot) > 0 from pg_stat_database_conflicts",
    )
    .await?;
    let conflicts = doctor(&cluster, &[]).await?;
    conflicts.is(1, &["warning conflicts r1"]);
    let what = conflicts.finding("conflicts")["what"]
        .as_str()
        .unwrap_or_default();
    assert!(what.contains("1 by vacuum"), "{what}");
    mend(replica, conflicts.finding("conflicts")).await?;
    let feedback = "select current_setting('hot_standby_feedback') = 'on'";
    assert!(
        replica.query_scalar::<bool>(feedback).await?,
        "it is mended as told"
    );
    Ok(cluster.shutdown().await?)
}

#[tokio::test]
async fn an_address_of_several_servers_is_seen_to_be_one() -> Outcome {
    let cluster = Cluster::builder().replicas(2).start().await?;
    let balancer = Balancer::over(cluster.replicas())?;
    let mut options = vec!["--primary".to_owned(), cluster.primary().url()];
    options.extend(["--replica".to_owned(), format!("all={}", balancer.url())]);
    let balanced = doctor_with(&options).await?;
    balanced.is(2, &["problem balancer all"]);
    Ok(cluster.shutdown().await?)
}

#[tokio::test]
async fn a_pooler_in_between_is_seen_and_so_is_how_it_pools() -> Outcome {
    let cluster = Cluster::builder().start().await?;
    let server = cluster.primary().client_wire().address();
    for (mode, code, topic) in [
        (Mode::Session, 0, "note pooler primary"),
        (Mode::Transaction, 2, "problem pooler primary"),
        (Mode::Strict, 2, "problem pooler primary"),
    ] {
        let address = pooler::start(server, mode)?;
        let url = format!("postgres://postgres@{address}/postgres");
        let pooled = doctor_with(&["--primary".to_owned(), url]).await?;
        pooled.is(code, &[topic]);
        let what = pooled.finding("pooler")["what"]
            .as_str()
            .unwrap_or_default();
        let refuses = what.contains("refuses the startup parameter options");
        assert_eq!(refuses, mode == Mode::Strict, "{what}");
    }
    Ok(cluster.shutdown().await?)
}

#[test]
fn the_help_has_examples_and_exit_codes() -> Outcome {
    let run = run(&["doctor", "--help"])?;
    assert_eq!(run.code, Some(0), "{run:?}");
    for part in [
        "Examples:",
        "Exit codes",
        "--instances",
        "--verbose",
        "pg_monitor",
        "PGPASSWORD",
    ] {
        assert!(run.out.contains(part), "{part} is not in\n{}", run.out);
    }
    Ok(())
}
