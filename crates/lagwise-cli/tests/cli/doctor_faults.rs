//! What `lagwise doctor` says of nodes that are no cluster, or that cannot be looked at.

use lagwise_testkit::{Cluster, Stop};

use crate::Outcome;
use crate::binary::{lagwise, run_aside};
use crate::check::NO_RECEIVER;
use crate::doctor::{Diagnosis, doctor, doctor_with, mend};
use crate::wait::until;

#[tokio::test]
async fn nodes_that_cannot_be_looked_at_are_told_apart_from_such_as_are_down() -> Outcome {
    let cluster = Cluster::builder().replicas(2).start().await?;
    let nowhere = cluster.replica(0).url().replace("/postgres?", "/nowhere?");
    let nowhere = match nowhere.strip_suffix("/postgres") {
        Some(rest) => format!("{rest}/nowhere"),
        None => nowhere,
    };
    let mut options = vec!["--primary".to_owned(), cluster.primary().url()];
    options.extend(["--replica".to_owned(), format!("r1={nowhere}")]);
    doctor_with(&options).await?.is(3, &["unseen refused r1"]);

    cluster.replica(0).kill().await?;
    cluster.replica(1).client_wire().blackhole();
    let down = doctor(&cluster, &["--timeout", "1s"]).await?;
    down.is(2, &["problem unreachable r1", "problem unreachable r2"]);
    assert!(
        down.text.out.contains("Connection refused"),
        "{}",
        down.text.out
    );
    assert!(
        down.text.out.contains("has not answered within 1.00s"),
        "{}",
        down.text.out
    );
    Ok(cluster.shutdown().await?)
}

#[tokio::test]
async fn a_standby_that_takes_no_connections_is_told_why() -> Outcome {
    let cluster = Cluster::builder().replicas(1).start().await?;
    let replica = cluster.replica(0);
    replica.stop(Stop::Fast).await?;
    replica.configure("hot_standby", "off").await?;
    let cold = tokio::select! {
        started = replica.start() => panic!("it takes no connections: {started:?}"),
        cold = until_seen(&cluster, "hot_standby is off") => cold?,
    };
    cold.is(2, &["problem hot_standby r1"]);
    Ok(cluster.shutdown().await?)
}

/// Looks until this is found.
async fn until_seen(cluster: &Cluster, topic: &str) -> Outcome<Diagnosis> {
    let replica = format!("r1={}", cluster.replica(0).url());
    let primary = cluster.primary().url();
    let mut seen = String::new();
    while !seen.contains(topic) {
        let mut command = lagwise();
        command.args(["doctor", "--primary", &primary, "--replica", &replica]);
        seen = run_aside(command).await?.out;
    }
    doctor(cluster, &[]).await
}

#[tokio::test]
async fn two_primaries_another_cluster_and_other_roles_are_seen() -> Outcome {
    let cluster = Cluster::builder().replicas(2).start().await?;
    let other = Cluster::builder().own_system_identifier().start().await?;
    let mut options = vec!["--primary".to_owned(), cluster.primary().url()];
    options.extend([
        "--replica".to_owned(),
        format!("other={}", other.primary().url()),
    ]);
    let foreign = doctor_with(&options).await?;
    let expected = ["problem system_identifier other", "note role other"];
    foreign.is(2, &expected);
    other.shutdown().await?;

    let mut twice = vec!["--primary".to_owned(), cluster.primary().url()];
    let again = format!("again={}", cluster.primary().url());
    twice.extend(["--replica".to_owned(), again]);
    let twice = doctor_with(&twice).await?;
    twice.is(1, &["warning same_server again"]);
    let same = "again and primary are the same server";
    assert!(twice.text.out.contains(same), "{}", twice.text.out);

    let replica = |number: usize| vec!["--primary".to_owned(), cluster.replica(number).url()];
    let headless = doctor_with(&replica(0)).await?;
    headless.is(2, &["problem no_primary -", "note role primary"]);

    mend(cluster.replica(0), headless.finding("no_primary")).await?;
    until(cluster.replica(0), "select not pg_is_in_recovery()").await?;
    let split = doctor(&cluster, &[]).await?;
    split.is(2, &["problem two_primaries -", "note role r1"]);
    Ok(cluster.shutdown().await?)
}

#[tokio::test]
async fn a_cut_stream_and_a_cascade_are_seen() -> Outcome {
    let cluster = Cluster::builder().replicas(2).start().await?;
    let (first, second) = (cluster.replica(0), cluster.replica(1));
    second.follow(first).await?;
    second.wait_streaming().await?;
    doctor(&cluster, &[]).await?.is(0, &["note cascade r1"]);
    second.upstream_wire().cut();
    until(second, NO_RECEIVER).await?;
    until(first, "select not exists (select from pg_stat_replication)").await?;
    doctor(&cluster, &[]).await?.is(2, &["problem stream r2"]);
    Ok(cluster.shutdown().await?)
}

#[tokio::test]
async fn a_primary_that_allows_itself_more_pauses_its_replicas() -> Outcome {
    let cluster = Cluster::builder().replicas(1).start().await?;
    cluster
        .primary()
        .configure("max_connections", "300")
        .await?;
    cluster.primary().restart(Stop::Fast).await?;
    until(
        cluster.replica(0),
        "select pg_get_wal_replay_pause_state() = 'paused'",
    )
    .await?;
    let smaller = doctor(&cluster, &[]).await?;
    smaller.is(2, &["problem smaller r1", "warning paused r1"]);
    mend(cluster.replica(0), smaller.finding("smaller")).await?;
    Ok(cluster.shutdown().await?)
}

#[tokio::test]
async fn an_old_primary_that_was_not_rewound_has_another_history_and_no_stream() -> Outcome {
    let cluster = Cluster::builder().replicas(1).start().await?;
    let (old, new) = (cluster.primary(), cluster.replica(0));
    old.execute("create table notes (body text)").await?;
    cluster.wait_caught_up().await?;
    new.upstream_wire().cut();
    let fill = "insert into notes select repeat('x', 100) from generate_series(1, 1000)";
    old.execute(fill).await?;
    old.kill().await?;
    new.promote().await?;
    old.rejoin_without_rewind(new).await?;
    let waits = "select exists (select from pg_stat_wal_receiver where status = 'waiting')";
    until(old, waits).await?;
    let expected = [
        "problem history primary",
        "problem stream primary",
        "note role primary",
        "note role r1",
    ];
    // By positions at first; once the new primary has written more, by the timeline.
    for part in ["what r1 never wrote", "r1 is on timeline 2"] {
        let diverged = doctor(&cluster, &[]).await?;
        diverged.is(2, &expected);
        let broken = "its stream is broken: the receiver is waiting";
        for part in [part, broken] {
            assert!(diverged.text.out.contains(part), "{}", diverged.text.out);
        }
        new.execute(fill).await?;
        new.execute(fill).await?;
    }
    let verbose = doctor(&cluster, &["--verbose"]).await?;
    let seen = "looked at primary: replica, not streaming, ";
    assert!(verbose.text.out.contains(seen), "{}", verbose.text.out);
    Ok(cluster.shutdown().await?)
}
