//! What `lagwise check` says of nodes that are gone, that are no replicas, or that let nobody in.

use std::time::Duration;

use lagwise_testkit::{Cluster, Stop};

use crate::Outcome;
use crate::check::{Checked, check, check_with, replicas};
use crate::wait::until;

const LIMITS: [&str; 6] = ["--warn", "1s", "--crit", "2s", "--timeout", "20s"];

#[tokio::test]
async fn a_killed_replica_is_critical() -> Outcome {
    let cluster = Cluster::builder().replicas(2).start().await?;
    cluster.replica(0).kill().await?;
    let killed = check(&cluster, &LIMITS).await?;
    killed.is(
        2,
        &["LAGWISE CRITICAL - r1 cannot be reached: Connection refused"],
    );
    assert_eq!(killed.node("r1")["cause"], "unreachable", "{}", killed.json);
    killed.node_is("r2", "ok", "at most ");

    let enough = check(&cluster, &[&LIMITS[..], &["--min-replicas", "1"]].concat()).await?;
    enough.is(
        1,
        &[
            "LAGWISE WARNING - r1 cannot be reached",
            "'in_rotation'=1;;1:;0",
        ],
    );
    let few = check(&cluster, &[&LIMITS[..], &["--min-replicas", "2"]].concat()).await?;
    few.is(2, &["1 of at least 2 replicas in rotation"]);
    Ok(cluster.shutdown().await?)
}

#[tokio::test]
async fn a_primary_that_is_gone_is_critical() -> Outcome {
    let cluster = Cluster::builder().replicas(1).start().await?;
    cluster.primary().kill().await?;
    let gone = check(&cluster, &LIMITS).await?;
    gone.is(
        2,
        &[
            "LAGWISE CRITICAL - ",
            "no node accepts writes",
            "primary cannot be reached",
        ],
    );
    gone.node_is("r1", "unknown", "has an unknown lag without a primary");
    let alone = check(&cluster, &[&LIMITS[..], &["--node", "r1"]].concat()).await?;
    alone.is(3, &["LAGWISE UNKNOWN - r1 has an unknown lag"]);
    Ok(cluster.shutdown().await?)
}

#[tokio::test]
async fn two_primaries_are_critical_and_a_switchover_is_not() -> Outcome {
    let cluster = Cluster::builder().replicas(2).start().await?;
    cluster.replica(0).promote().await?;
    let split = check(&cluster, &LIMITS).await?;
    split.is(
        2,
        &["primary accepts writes, and so does r1: two primaries"],
    );
    split.node_is(
        "r1",
        "ok",
        "accepts writes, though it was given as a replica",
    );
    assert_eq!(split.json["primary"], "r1");

    cluster.replica(1).follow(cluster.replica(0)).await?;
    cluster.primary().rejoin(cluster.replica(0)).await?;
    cluster.primary().wait_streaming().await?;
    let switched = check(&cluster, &LIMITS).await?;
    switched.is(
        0,
        &["LAGWISE OK - r1 accepts writes, 2 of 2 replicas in rotation"],
    );
    switched.node_is("primary", "ok", "though it was given as the primary");
    assert_eq!(switched.json["timeline"], 2);

    let hosts = cluster
        .nodes()
        .iter()
        .map(|node| node.client_wire().address().to_string());
    let hosts = hosts.collect::<Vec<_>>().join(",");
    let url = format!("postgres://postgres@{hosts}/postgres");
    let asked = check_with(&["--url".to_owned(), url]).await?;
    asked.is(0, &["2 of 2 replicas in rotation"]);
    Ok(cluster.shutdown().await?)
}

#[tokio::test]
async fn another_history_and_another_cluster_are_critical() -> Outcome {
    let cluster = Cluster::builder().replicas(2).start().await?;
    cluster
        .primary()
        .execute("create table notes (body text)")
        .await?;
    cluster.wait_caught_up().await?;
    // What the old primary writes by itself is more than the new one has.
    for replica in cluster.replicas() {
        replica.upstream_wire().cut();
    }
    let fill = "insert into notes select repeat('x', 100) from generate_series(1, 1000)";
    cluster.primary().execute(fill).await?;
    cluster.primary().stop(Stop::Fast).await?;
    cluster.replica(0).promote().await?;
    cluster.replica(1).follow(cluster.replica(0)).await?;
    cluster.replica(1).upstream_wire().heal();
    cluster.replica(1).wait_streaming().await?;
    cluster
        .primary()
        .rejoin_without_rewind(cluster.replica(0))
        .await?;
    let diverged = check(&cluster, &LIMITS).await?;
    diverged.is(2, &["primary has replayed what the primary never wrote"]);
    assert_eq!(
        diverged.node("primary")["cause"],
        "diverged",
        "{}",
        diverged.json
    );
    diverged.node_is("r2", "ok", "at most ");

    // Once the new primary has written more, positions do not tell any longer; its stream does.
    cluster.replica(0).execute(fill).await?;
    cluster.replica(0).execute(fill).await?;
    cluster
        .replica(1)
        .wait_replayed(&cluster.replica(0).lsn().await?)
        .await?;
    let beyond = check(&cluster, &LIMITS).await?;
    beyond.is(
        2,
        &[
            "LAGWISE CRITICAL - primary has diverged: its stream is cut (the receiver is waiting)",
            "it must be rewound or rebuilt",
        ],
    );
    beyond.node_is("r2", "ok", "at most ");

    let other = Cluster::builder().own_system_identifier().start().await?;
    let foreign = format!("other={}", other.primary().url());
    let mut options = vec!["--primary".to_owned(), cluster.replica(0).url()];
    options.extend(["--replica".to_owned(), foreign]);
    let foreign = check_with(&options).await?;
    foreign.is(2, &["other holds the data of another cluster"]);
    other.shutdown().await?;
    Ok(cluster.shutdown().await?)
}

#[tokio::test]
async fn a_server_that_is_named_twice_is_no_second_one() -> Outcome {
    let cluster = Cluster::builder().replicas(1).start().await?;
    let (primary, replica) = (cluster.primary().url(), cluster.replica(0).url());
    let named = |nodes: &[&str]| {
        let mut options = vec!["--primary".to_owned(), primary.clone()];
        for node in nodes {
            options.extend(["--replica".to_owned(), (*node).to_owned()]);
        }
        options.extend(LIMITS.map(ToOwned::to_owned));
        options
    };
    let twice = check_with(&named(&[&format!("again={primary}")])).await?;
    let reason = "again is the same server as primary: name each once";
    twice.is(3, &["LAGWISE UNKNOWN - ", reason]);
    assert!(!twice.first.contains("two primaries"), "{}", twice.first);

    let (once, again) = (format!("r1={replica}"), format!("again={replica}"));
    let mut options = named(&[&once, &again]);
    let twice = check_with(&options).await?;
    let reason = "again is the same server as r1: name each once";
    twice.is(3, &["LAGWISE UNKNOWN - ", reason, "'in_rotation'=1;"]);
    twice.node_is("r1", "ok", "at most ");
    options.extend(["--min-replicas", "2"].map(ToOwned::to_owned));
    let few = check_with(&options).await?;
    few.is(2, &["1 of at least 2 replicas in rotation"]);
    Ok(cluster.shutdown().await?)
}

const PASSWORD: &str = "s3cr3t-Pa55word";

fn with_login(url: &str, user: &str, database: &str) -> String {
    let address = url.split('@').nth(1).unwrap_or_default();
    let address = address.split('/').next().unwrap_or_default();
    format!("postgres://{user}:{PASSWORD}@{address}/{database}")
}

fn is_silent(checked: &Checked) {
    let said = format!("{}{}", checked.first, checked.json);
    assert!(!said.contains("Pa55"), "{said}");
}

#[tokio::test]
async fn a_login_that_is_refused_says_nothing_of_the_server() -> Outcome {
    let cluster = Cluster::builder().replicas(1).start().await?;
    let (primary, replica) = (cluster.primary(), cluster.replica(0));
    // Only this role needs its password.
    primary
        .execute("create role mon login password 'right'")
        .await?;
    cluster.wait_caught_up().await?;
    for node in cluster.nodes() {
        let hba = node.data_dir().join("pg_hba.conf");
        let rules = std::fs::read_to_string(&hba)?;
        std::fs::write(&hba, format!("local all mon scram-sha-256\n{rules}"))?;
        node.execute("select pg_reload_conf()").await?;
        until(
            node,
            "select exists (select from pg_hba_file_rules where 'mon' = any(user_name))",
        )
        .await?;
    }
    let run = async |primary: String, replica: String| {
        let replica = format!("r1={replica}");
        let mut options = vec![
            "--primary".to_owned(),
            primary,
            "--replica".to_owned(),
            replica,
        ];
        options.extend(LIMITS.map(ToOwned::to_owned));
        check_with(&options).await
    };
    let wrong = with_login(&replica.url(), "mon", "postgres");
    let denied = run(primary.url(), wrong).await?;
    denied.is(
        3,
        &["LAGWISE UNKNOWN - r1 refused the login: password authentication failed"],
    );
    denied.node_is("primary", "ok", "accepts writes");
    is_silent(&denied);

    let nowhere = with_login(&replica.url(), "postgres", "nowhere");
    let nowhere = run(primary.url(), nowhere).await?;
    nowhere.is(
        3,
        &["r1 refused to answer: database \"nowhere\" does not exist"],
    );

    let wrong = with_login(&primary.url(), "mon", "postgres");
    let denied = run(wrong, replica.url()).await?;
    denied.is(3, &["LAGWISE UNKNOWN - ", "primary refused the login"]);
    denied.node_is("r1", "unknown", "without a primary");
    is_silent(&denied);
    Ok(cluster.shutdown().await?)
}

#[tokio::test]
async fn names_that_do_not_resolve_and_ports_without_a_server_are_down() -> Outcome {
    let cluster = Cluster::builder().replicas(0).start().await?;
    let closed = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    for (url, part) in [
        (
            "postgres://mon@no-such-host.invalid/shop".to_owned(),
            // How soon a resolver says so is its own affair.
            "r1 ",
        ),
        (
            format!("postgres://mon@{closed}/shop"),
            "r1 cannot be reached: Connection refused",
        ),
    ] {
        let mut options = vec!["--primary".to_owned(), cluster.primary().url()];
        options.extend(["--replica".to_owned(), format!("r1={url}")]);
        check_with(&options)
            .await?
            .is(2, &["LAGWISE CRITICAL - ", part]);
    }
    Ok(cluster.shutdown().await?)
}

#[tokio::test]
async fn a_check_ends_in_time_whatever_hangs() -> Outcome {
    let cluster = Cluster::builder().replicas(2).start().await?;
    let options = ["--timeout", "3s", "--crit", "2s"];
    cluster.replica(0).freeze()?;
    cluster.replica(1).client_wire().blackhole();
    let began = lagwise::now();
    let hung = check(&cluster, &options).await?;
    // Two checks, and a busy machine.
    assert!(
        lagwise::now().since(began) < Duration::from_secs(12),
        "{:?}",
        lagwise::now().since(began)
    );
    hung.is(
        2,
        &[
            "LAGWISE CRITICAL - ",
            "r1 has not answered within",
            "r2 has not answered within",
        ],
    );
    hung.node_is("primary", "ok", "accepts writes");

    cluster.primary().client_wire().blackhole();
    let black = check(&cluster, &options).await?;
    black.is(2, &["LAGWISE CRITICAL - "]);
    assert!(
        black.json["took_seconds"].as_f64() < Some(3.0),
        "{}",
        black.json
    );
    cluster.replica(0).thaw()?;
    Ok(cluster.shutdown().await?)
}

#[tokio::test]
async fn a_full_server_and_a_read_only_primary_are_critical() -> Outcome {
    let cluster = Cluster::builder().replicas(1).start().await?;
    let primary = cluster.primary();
    primary
        .execute("alter system set default_transaction_read_only = on")
        .await?;
    primary.execute("select pg_reload_conf()").await?;
    until(
        primary,
        "select current_setting('default_transaction_read_only') = 'on'",
    )
    .await?;
    let read_only = check(&cluster, &LIMITS).await?;
    read_only.is(
        2,
        &[
            "no node accepts writes",
            "default_transaction_read_only is on",
        ],
    );
    Ok(cluster.shutdown().await?)
}

#[tokio::test]
async fn a_server_without_a_free_connection_is_critical() -> Outcome {
    let cluster = Cluster::builder().replicas(1).start().await?;
    cluster.primary().execute("create role mon login").await?;
    cluster
        .primary()
        .execute("alter role mon connection limit 0")
        .await?;
    cluster.wait_caught_up().await?;
    let nodes = replicas(cluster.replicas());
    let url = nodes[0].replace("postgres@", "mon@");
    let mut options = vec!["--primary".to_owned(), cluster.primary().url()];
    options.extend(["--replica".to_owned(), url]);
    let full = check_with(&options).await?;
    full.is(
        2,
        &["r1 has no connection left: too many connections for role"],
    );
    Ok(cluster.shutdown().await?)
}
