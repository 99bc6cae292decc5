//! `/metrics`, compared with what the servers themselves say, and read by Prometheus' own parser.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Stdio;

use lagwise_testkit::{Cluster, Node};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::{Service, until};
use crate::Outcome;

/// Figures by their name and labels, as they are written.
pub(super) struct Figures(BTreeMap<String, f64>);

impl Figures {
    pub(super) async fn of(service: &Service) -> Outcome<Self> {
        let answer = service.get("/metrics").await?;
        assert_eq!(answer.status, 200);
        let kind = "content-type: text/plain; version=0.0.4; charset=utf-8";
        assert!(answer.head.contains(kind), "{}", answer.head);
        let mut figures = BTreeMap::new();
        for line in answer.body.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line
                .rsplit_once(' ')
                .ok_or("a line is a name and a value")?;
            let twice = figures.insert(name.to_owned(), value.parse()?);
            assert!(twice.is_none(), "{name} is there twice");
        }
        Ok(Self(figures))
    }

    /// One figure; an error where there is none.
    fn get(&self, name: &str, node: &str) -> Outcome<f64> {
        let name = format!("{name}{{node=\"{node}\"}}");
        Ok(*self
            .0
            .get(&name)
            .ok_or_else(|| format!("there is no {name}"))?)
    }

    fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The labels of each name.
    pub(super) fn labels(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut labels: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for figure in self.0.keys() {
            let (name, rest) = figure.split_once('{').unwrap_or((figure, ""));
            let of_name = labels.entry(name.to_owned()).or_default();
            let parts = rest.trim_end_matches('}').split("\",");
            let names = parts.filter_map(|part| part.split_once('=').map(|(label, _)| label));
            of_name.extend(names.map(str::to_owned));
        }
        labels
    }
}

/// The program that comes with Prometheus, or what to install.
pub(super) fn promtool() -> Outcome<PathBuf> {
    if let Some(program) = std::env::var_os("LAGWISE_PROMTOOL") {
        return Ok(program.into());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut programs = std::env::split_paths(&path).map(|folder| folder.join("promtool"));
    let found = programs.find(|program| program.is_file());
    Ok(found.ok_or(
        "no promtool was found in PATH; install it (Debian: `apt-get install \
         --no-install-recommends prometheus`, macOS: `brew install prometheus`) or set \
         LAGWISE_PROMTOOL to it",
    )?)
}

/// Fails with what it says, if it has anything to say.
async fn check(text: &str) -> Outcome {
    let mut child = Command::new(promtool()?)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().ok_or("it has an input")?;
    stdin.write_all(text.as_bytes()).await?;
    drop(stdin);
    let output = child.wait_with_output().await?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.is_empty(), "{said}\n{text}");
    Ok(())
}

async fn bytes(node: &Node, position: &str) -> Outcome<f64> {
    let query = format!("select ({position} - '0/0'::pg_lsn)::float8");
    Ok(node.query_scalar::<f64>(&query).await?)
}

#[tokio::test]
async fn the_figures_are_those_that_the_servers_give() -> Outcome {
    let cluster = Cluster::builder().replicas(2).start().await?;
    let service = Service::settled(&cluster).await?;
    let (primary, paused) = (cluster.primary(), cluster.replica(0));
    paused.pause_replay().await?;
    primary
        .execute("create table t as select generate_series(1, 10000) as id")
        .await?;
    let position: String = primary
        .query_scalar("select pg_current_wal_insert_lsn()::text")
        .await?;
    cluster.replica(1).wait_replayed(&position).await?;
    let head = bytes(primary, "pg_current_wal_insert_lsn()").await?;
    let replayed = bytes(paused, "pg_last_wal_replay_lsn()").await?;
    assert!(head - replayed > 100_000.0, "{head} and {replayed}");
    until("the figures are those of the servers", async || {
        let now = Figures::of(&service).await?;
        let of = |node| now.get("lagwise_node_wal_bytes_total", node);
        let same = |one: f64, other: f64| (one - other).abs() < 0.5;
        Ok(same(of("primary")?, head)
            && same(of("replica-1")?, replayed)
            && same(of("replica-2")?, head)
            && same(
                now.get("lagwise_replica_lag_bytes", "replica-1")?,
                head - replayed,
            )
            && same(now.get("lagwise_replica_lag_bytes", "replica-2")?, 0.0)
            && same(now.get("lagwise_server_replay_paused", "replica-1")?, 1.0))
    })
    .await?;
    let now = Figures::of(&service).await?;
    for (node, in_rotation) in [("replica-1", 0.0), ("replica-2", 1.0)] {
        assert_eq!(
            now.get("lagwise_replica_in_rotation", node)?.to_bits(),
            f64::to_bits(in_rotation)
        );
    }
    assert!(
        now.has(r#"lagwise_node_membership{node="replica-1",membership="ejected",cause="paused"}"#)
    );
    assert!(now.has(r#"lagwise_node_membership{node="primary",membership="primary"}"#));
    assert!(now.has(r#"lagwise_events_total{node="replica-1",event="ejected",cause="paused"}"#));
    assert!(!now.has("lagwise_primary_lost_seconds"), "it is not lost");
    assert!(
        now.get("lagwise_replica_in_rotation", "primary").is_err(),
        "it is no replica"
    );
    // Its lag is at least the time since the row was written, and grows.
    let before = now.get("lagwise_replica_staleness_bound_seconds", "replica-1")?;
    until("the bound of a paused replica grows", async || {
        let now = Figures::of(&service).await?;
        Ok(now.get("lagwise_replica_staleness_bound_seconds", "replica-1")? > before + 0.2)
    })
    .await
}

#[tokio::test]
async fn connections_are_those_that_the_server_has_and_what_fails_is_not_zero() -> Outcome {
    let cluster = Cluster::builder().replicas(1).start().await?;
    let service = Service::settled(&cluster).await?;
    let replica = cluster.replica(0);
    // But for the connection that asks.
    let count = "select sum(numbackends)::float8 - 1 from pg_stat_database";
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(replica.connect().await?);
    }
    until("the connections are those of the server", async || {
        let now = Figures::of(&service).await?;
        let told = now.get("lagwise_server_connections", "replica-1");
        let there = replica.query_scalar::<f64>(count).await?;
        Ok(told.is_ok_and(|told| told > 5.5 && (told - there).abs() < 0.5))
    })
    .await?;
    let limit: f64 = replica
        .query_scalar("select current_setting('max_connections')::float8")
        .await?;
    let now = Figures::of(&service).await?;
    assert!((now.get("lagwise_server_connections_limit", "replica-1")? - limit).abs() < 0.5);
    drop(held);
    replica.kill().await?;
    until("nothing is said of a server that is down", async || {
        let now = Figures::of(&service).await?;
        let unknown = |name| now.get(name, "replica-1").is_ok_and(f64::is_nan);
        let absent = |name| now.get(name, "replica-1").is_err();
        Ok(now.get("lagwise_node_up", "replica-1")? < 0.5
            && now.get("lagwise_server_answered", "replica-1")? < 0.5
            && unknown("lagwise_replica_staleness_bound_seconds")
            && unknown("lagwise_replica_lag_estimate_seconds")
            && unknown("lagwise_replica_lag_bytes")
            && absent("lagwise_server_connections")
            && absent("lagwise_node_wal_bytes_total")
            && absent("lagwise_node_observation_age_seconds")
            && absent("lagwise_probe_last_duration_seconds"))
    })
    .await
}

#[tokio::test]
async fn both_grammars_are_kept() -> Outcome {
    let cluster = Cluster::builder().replicas(1).start().await?;
    let service = Service::settled(&cluster).await?;
    check(&service.get("/metrics").await?.body).await?;
    let open = "Accept: application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1\r\n";
    let answer = service.ask("GET", "/metrics", open).await?;
    let kind = "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert!(answer.head.contains(kind), "{}", answer.head);
    let text = answer.body;
    assert!(text.ends_with("\n# EOF\n"), "{text}");
    let mut family = String::new();
    for line in text.lines().filter(|line| *line != "# EOF") {
        let mut words = line.split([' ', '{']);
        match (words.next(), words.next()) {
            (Some("#"), Some("TYPE")) => family = words.next().unwrap_or_default().to_owned(),
            (Some("#"), Some("UNIT")) => {
                let (name, unit) = (words.next(), words.next());
                assert_eq!(name, Some(family.as_str()), "{line}");
                assert!(unit.is_some_and(|unit| family.ends_with(unit)), "{line}");
            }
            (Some("#"), Some("HELP")) => {}
            (Some(name), _) => {
                let ending = name.strip_prefix(family.as_str());
                assert!(
                    matches!(ending, Some("" | "_total" | "_info")),
                    "{line} of {family}"
                );
            }
            (None, _) => return Err(format!("an empty line in {text}").into()),
        }
    }
    Ok(())
}
