//! What a token names can be gone: in another cluster, in a crash, in a promotion.
//!
//! Then it is said so, reads go on from what there is, and nobody takes what is lost for satisfied.

use std::time::Duration;

use lagwise::{Fallback, NodeConfig, PgRouter, PgSession, ReadOptions, Role, TokenFault};
use lagwise_testkit::Cluster;
use lagwise_tests::checker::REGISTERS;
use lagwise_tests::cluster::{PATIENCE, bare, settle, start, start_with};
use lagwise_tests::counters::Counters;
use lagwise_tests::observe::{each_poll, primary_is, readmitted, until};
use lagwise_tests::{Outcome, cluster};

use crate::tokens::{instance, keyed, write};

const NOTES: &str = "create table notes (body text not null)";

async fn note(db: &PgSession, body: &str) -> Outcome {
    let mut node = db.write().await?;
    sqlx::query("insert into notes values ($1)")
        .bind(body)
        .execute(&mut *node)
        .await?;
    Ok(())
}

/// How many notes of that text a session sees, and where.
async fn notes(db: &PgSession, body: &'static str) -> Outcome<(i64, lagwise::Route)> {
    let mut node = db.read().await?;
    let query = sqlx::query_scalar("select count(*) from notes where body = $1");
    let seen = query.bind(body).fetch_one(&mut *node).await?;
    Ok((seen, node.route().clone()))
}

fn voided(counters: &Counters, cause: &str) -> u64 {
    counters.sum("lagwise_tokens_voided_total", &[("cause", cause)])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_of_another_cluster_is_none_and_counted() -> Outcome {
    let counters = Counters::install();
    let other = |cluster: lagwise_testkit::Builder| cluster.replicas(1).own_system_identifier();
    let ours = start(1, REGISTERS).await?;
    let theirs = start_with(other(Cluster::builder()), REGISTERS).await?;
    let [here, there] = [instance(&ours).await?, instance(&theirs).await?];
    let session = there.session();
    for _ in 0..5 {
        write(&session, 0).await?;
    }
    let token = session.token().await?;
    assert_eq!(here.session().merge(&token), Err(TokenFault::Foreign));
    let received = || counters.sum("lagwise_tokens_received_total", &[("outcome", "foreign")]);
    let before = received();
    let resumed = here.resume(&token);
    assert_eq!(received(), before + 1);
    ours.replica(0).freeze_replay()?;
    write(&here.session(), 0).await?;
    let node = resumed.read().await?;
    assert_eq!(
        node.route().role,
        Role::Replica,
        "it asks for nothing: {}",
        node.route()
    );
    assert!(!resumed.may_have_lost_writes());
    ours.replica(0).thaw_replay()?;

    // Before a primary was seen nobody can tell; then it is given up.
    let lazy = keyed(cluster::router(&ours))?.connect_lazy()?;
    let early = lazy.resume(&token);
    lazy.ready(1, PATIENCE).await?;
    until("it reads on a replica", PATIENCE, async || {
        Ok(early.read().await?.route().role == Role::Replica)
    })
    .await?;
    assert!(voided(&counters, "foreign") >= 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_position_that_the_primary_never_reached_pins_nobody() -> Outcome {
    let counters = Counters::install();
    // Of two copies of one cluster, one has gone on; the other stands as one does that has lost in a
    // crash what it had not flushed.
    let [ahead, behind] = [start(1, NOTES).await?, start(1, NOTES).await?];
    let [there, here] = [instance(&ahead).await?, instance(&behind).await?];
    let session = there.session();
    for _ in 0..20 {
        note(&session, &"x".repeat(3_000)).await?;
    }
    let token = session.token().await?;
    for _ in 0..5 {
        let before = voided(&counters, "beyond");
        let resumed = here.resume(&token);
        until("it reads on a replica", PATIENCE, async || {
            Ok(resumed.read().await?.route().role == Role::Replica)
        })
        .await?;
        assert_eq!(voided(&counters, "beyond"), before + 1, "it is said once");
        assert!(resumed.may_have_lost_writes(), "what it wrote is not here");
        note(&resumed, "later").await?;
        let (seen, route) = notes(&resumed, "later").await?;
        assert!(seen > 0, "the session goes on: {route}");
    }
    Ok(())
}

/// Loses the primary together with what only it has, and makes `r1` the next one, which `r2` follows.
async fn fail_over(cluster: &Cluster) -> Outcome {
    cluster.primary().kill().await?;
    let [r1, r2] = [cluster.replica(0), cluster.replica(1)];
    r1.promote().await?;
    r2.follow(r1).await?;
    r2.upstream_wire().heal();
    r2.wait_streaming().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_promotion_a_lost_write_is_said_to_be_lost_and_a_kept_one_is_read() -> Outcome {
    let counters = Counters::install();
    let cluster = start(2, NOTES).await?;
    let [a, b] = [instance(&cluster).await?, instance(&cluster).await?];
    let [early, late, silent] = [a.session(), a.session(), a.session()];
    note(&early, "kept").await?;
    let kept = early.token().await?;
    cluster.wait_caught_up().await?;
    // Both monitors have seen that r1 has it.
    for db in [&a, &b] {
        each_poll(db, "r1", 3, |_| {}).await?;
        each_poll(db, "p", 3, |_| {}).await?;
        each_poll(db, "r1", 3, |_| {}).await?;
    }
    for replica in cluster.replicas() {
        replica.upstream_wire().cut();
    }
    note(&late, "lost").await?;
    note(&silent, "lost").await?;
    let lost = late.token().await?;
    fail_over(&cluster).await?;
    for db in [&a, &b] {
        primary_is(db, "r1").await?;
        readmitted(db, "r2").await?;
    }
    // Of the one the position was captured; the other one leaves only after the promotion, like the
    // first one once more.
    for token in [lost, silent.token().await?, late.token().await?] {
        let before = voided(&counters, "lost");
        let resumed = b.resume(&token);
        assert!(resumed.may_have_lost_writes());
        for _ in 0..10 {
            let (seen, route) = notes(&resumed, "lost").await?;
            assert_eq!(seen, 0, "it is lost: {route}");
            assert_ne!(&*route.node, "p", "{route}");
        }
        assert!(resumed.may_have_lost_writes(), "it stays said");
        assert!(
            voided(&counters, "lost") <= before + 1,
            "it is counted once"
        );
    }
    assert!(voided(&counters, "lost") >= 1);
    for session in [&late, &silent] {
        assert!(session.may_have_lost_writes(), "who wrote it knows as well");
        note(session, "anew").await?;
        assert!(
            session.may_have_lost_writes(),
            "another write brings nothing back"
        );
        let next = b.resume(&session.token().await?);
        assert!(notes(&next, "anew").await?.0 > 0, "sessions go on");
    }
    let resumed = b.resume(&kept);
    assert!(!resumed.may_have_lost_writes(), "r1 was seen to have it");
    until("a replica serves what was kept", PATIENCE, async || {
        let (seen, route) = notes(&resumed, "kept").await?;
        assert_eq!(seen, 1, "{route}");
        Ok(route.role == Role::Replica)
    })
    .await?;
    assert!(!resumed.may_have_lost_writes());
    Ok(())
}

/// A router that reaches nodes past the wires that can be cut.
async fn past_the_wires(cluster: &Cluster) -> Outcome<PgRouter> {
    let config =
        |node: &lagwise_testkit::Node| NodeConfig::url(node.socket_url()).name(node.name());
    let replicas = cluster.replicas().iter().map(config);
    let router = bare().primary(config(cluster.primary())).replicas(replicas);
    settle(keyed(router)?, cluster.replicas().len()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_not_seen_a_promotion_does_not_answer_for_what_came_after_it() -> Outcome {
    let cluster = start(2, NOTES).await?;
    let (seeing, blind) = (past_the_wires(&cluster).await?, instance(&cluster).await?);
    let r1 = cluster.replica(0);
    r1.client_wire().cut();
    r1.upstream_wire().cut();
    r1.promote().await?;
    primary_is(&seeing, "r1").await?;
    let session = seeing.session();
    note(&session, "after").await?;
    let written = session.token().await?;
    // One that only read there knows of the promotion, too.
    let reader = seeing.session();
    let (seen, _) = notes(&reader, "after").await?;
    assert_eq!(seen, 1);
    let read = reader.token().await?;

    primary_is(&blind, "p").await?;
    for token in [&written, &read] {
        let resumed = blind.resume(token);
        let patient = ReadOptions::new().wait(Duration::from_millis(60));
        let fallbacks = [Fallback::Primary, Fallback::Freshest, Fallback::Refuse];
        let asked = fallbacks.map(|fallback| patient.fallback(fallback));
        let primary = ReadOptions::primary().wait(Duration::from_millis(60));
        for options in asked.into_iter().chain([primary]) {
            let read = resumed.read_with(options).await;
            let answer = read.map(|node| node.route().to_string());
            assert!(
                answer.as_ref().is_err_and(lagwise::Error::is_unavailable),
                "the old primary's side has nothing of it: {answer:?}"
            );
        }
        let resumed = resumed.with_deadline(Duration::from_millis(200));
        let refused = resumed.write().await.map(|node| node.route().to_string());
        assert!(
            refused.is_err_and(|error| error.is_unavailable()),
            "p is deposed"
        );
        assert!(resumed.begin().await.is_err(), "p is deposed");
        let insert = sqlx::query("insert into notes values ('astray')");
        assert!(insert.execute(&resumed).await.is_err(), "p is deposed");
    }
    // Whoever brings no token is served as ever.
    let (seen, _) = notes(&blind.session(), "after").await?;
    assert_eq!(seen, 0);

    r1.client_wire().heal();
    primary_is(&blind, "r1").await?;
    for token in [&written, &read] {
        let resumed = blind.resume(token);
        let (seen, route) = notes(&resumed, "after").await?;
        assert_eq!(seen, 1, "{route}");
        note(&resumed, "later").await?;
    }
    let astray = "select count(*) from notes where body in ('astray', 'later')";
    assert_eq!(cluster.primary().query_scalar::<i64>(astray).await?, 0);
    Ok(())
}
