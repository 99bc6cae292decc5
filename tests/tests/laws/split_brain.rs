//! Two nodes accept writes: only one gets them, and what the other one acknowledged is told.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lagwise::{Event, NodeConfig, PgRouter, Role, may_have_been_applied};
use lagwise_testkit::Stop;
use lagwise_tests::Outcome;
use lagwise_tests::cluster::{bare, config, settle, start, with_router};
use lagwise_tests::observe::{Diary, each_poll, primary_is, view};
use tokio::task::JoinSet;

const NOTES: &str = "create table notes (body text not null)";

fn insert(body: &str) -> sqlx::query::Query<'_, sqlx::Postgres, sqlx::postgres::PgArguments> {
    sqlx::query("insert into notes values ($1)").bind(body)
}

/// What a session wrote: its text, when it was asked for, and whether it was acknowledged.
struct Sent {
    body: String,
    asked: lagwise::Instant,
    acknowledged: bool,
}

/// Writes one statement after the other until it is told to end, and keeps the session.
async fn write_on(
    db: PgRouter,
    writer: usize,
    ended: Arc<AtomicBool>,
) -> (lagwise::PgSession, Vec<Sent>) {
    let session = db.session();
    let mut all = Vec::new();
    while !ended.load(Ordering::Relaxed) {
        let (body, asked) = (format!("{writer}-{}", all.len()), lagwise::now());
        let outcome = insert(&body).execute(&session).await;
        let acknowledged = outcome.is_ok();
        assert!(acknowledged || outcome.is_err_and(|error| may_have_been_applied(&error)));
        all.push(Sent {
            body,
            asked,
            acknowledged,
        });
    }
    (session, all)
}

/// All that was ever written on a node.
async fn notes(node: &lagwise_testkit::Node) -> Outcome<BTreeSet<String>> {
    let query = "select string_agg(body, ' ') from notes";
    let all: String = node.query_scalar(query).await?;
    Ok(all.split(' ').map(str::to_owned).collect())
}

async fn has(node: &lagwise_testkit::Node, body: &str) -> Outcome<bool> {
    let query = format!("select exists (select from notes where body = '{body}')");
    Ok(node.query_scalar(&query).await?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_sent_to_the_older_timeline_once_the_newer_is_known() -> Outcome {
    let (cluster, db) = with_router(2, NOTES).await?;
    let [old, new] = [cluster.primary(), cluster.replica(0)];
    let diary = Diary::begin(&db);
    let ended = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    for writer in 0..4 {
        writers.spawn(write_on(db.clone(), writer, Arc::clone(&ended)));
    }
    // The old primary lives on, and everybody reaches it.
    new.upstream_wire().blackhole();
    new.promote().await?;
    primary_is(&db, "r1").await?;
    let found = |event: &Event| matches!(event, Event::PrimaryFound { .. });
    diary.wait_for("r1", found).await?;
    diary
        .wait_for("p", |event| matches!(event, Event::Rival { .. }))
        .await?;
    let mut entries = diary.entries().into_iter();
    let known = entries
        .find(|happened| happened.node.as_deref() == Some("r1") && found(&happened.event))
        .map(|happened| happened.at)
        .ok_or("it is in the diary")?;
    each_poll(&db, "p", 10, |snapshot| {
        assert_eq!(
            snapshot.primary,
            Some(view(snapshot, "r1").id),
            "it stays deposed"
        );
    })
    .await?;
    ended.store(true, Ordering::Relaxed);
    let mut lost = 0;
    let [on_old, on_new] = [notes(old).await?, notes(new).await?];
    while let Some(writer) = writers.join_next().await {
        let (session, sent) = writer?;
        let mut has_lost = false;
        for Sent {
            body,
            asked,
            acknowledged,
        } in sent
        {
            let [on_old, on_new] = [on_old.contains(&body), on_new.contains(&body)];
            assert!(
                asked < known || !on_old || on_new,
                "{body} was sent to the old primary"
            );
            has_lost |= acknowledged && !on_new;
        }
        lost += usize::from(has_lost);
        assert!(
            session.may_have_lost_writes() || !has_lost,
            "it is told of what it lost"
        );
    }
    assert!(
        lost > 0,
        "the old primary acknowledged something on its own"
    );
    Ok(())
}

/// A router that connects as a role, which may see what receivers receive or not.
async fn as_role(cluster: &lagwise_testkit::Cluster, role: &str) -> Outcome<PgRouter> {
    let config = |node: &lagwise_testkit::Node| {
        let url = node.url().replace("postgres@", &format!("{role}@"));
        NodeConfig::url(url).name(node.name())
    };
    let replicas = cluster.replicas().iter().map(config);
    settle(
        bare().primary(config(cluster.primary())).replicas(replicas),
        2,
    )
    .await
}

fn r2_is_unproved(snapshot: &lagwise::Snapshot) {
    let r2 = view(snapshot, "r2");
    assert!(!r2.membership.is_in_rotation(), "{:?}", r2.membership);
    assert_eq!(r2.as_of, None, "nothing is proved of it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_of_the_old_primary_serves_nobody_while_both_write() -> Outcome {
    let cluster = start(2, NOTES).await?;
    cluster
        .primary()
        .execute("create role plain login; create role seeing login; grant pg_monitor to seeing")
        .await?;
    cluster.wait_caught_up().await?;
    let routers = [
        as_role(&cluster, "plain").await?,
        as_role(&cluster, "seeing").await?,
    ];
    let [old, new] = [cluster.primary(), cluster.replica(0)];
    new.promote().await?;
    // The new primary is ahead of the old one by number, and `r2` follows the old one.
    new.execute("insert into notes select repeat('x', 100) from generate_series(1, 20000)")
        .await?;
    for db in &routers {
        primary_is(db, "r1").await?;
        for _ in 0..8 {
            let ballast = "insert into notes select repeat('y', 100) from generate_series(1, 300)";
            old.execute(ballast).await?;
            new.execute(ballast).await?;
            each_poll(db, "r2", 3, r2_is_unproved).await?;
        }
    }
    old.stop(Stop::Fast).await?;
    cluster.replica(1).rejoin(new).await?;
    for db in &routers {
        lagwise_tests::observe::readmitted(db, "r2").await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_on_the_deposed_primary_is_not_committed() -> Outcome {
    let (cluster, db) = with_router(2, NOTES).await?;
    let [old, new] = [cluster.primary(), cluster.replica(0)];
    let mut tx = db.begin().await?;
    insert("in between").execute(&mut *tx).await?;
    new.promote().await?;
    primary_is(&db, "r1").await?;
    let error = tx.commit().await.expect_err("its node was deposed");
    assert!(!may_have_been_applied(&error), "{error}");
    assert!(lagwise::Error::behind(&error).is_some_and(lagwise::Error::is_unavailable));
    assert!(!has(old, "in between").await?, "nothing of it is there");
    let mut tx = db.begin().await?;
    insert("in between").execute(&mut *tx).await?;
    tx.commit().await?;
    assert!(has(new, "in between").await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_written_on_a_handle_of_the_deposed_primary_is_told_as_lost() -> Outcome {
    let (cluster, db) = with_router(2, NOTES).await?;
    let session = db.session();
    let mut held = session.write().await?;
    cluster.replica(0).promote().await?;
    primary_is(&db, "r1").await?;
    assert!(!session.may_have_lost_writes());
    // The old primary still takes it; nobody can keep its server from that.
    insert("held").execute(&mut *held).await?;
    drop(held);
    let node = session.read().await?;
    assert_eq!(
        node.route().role,
        Role::Primary,
        "nobody else has it: {}",
        node.route()
    );
    assert!(session.may_have_lost_writes());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_primaries_on_one_timeline_the_newcomer_gets_nothing() -> Outcome {
    let [ours, copy] = [start(1, NOTES).await?, start(1, NOTES).await?];
    let db = bare()
        .primary(config(ours.primary()))
        .replica(config(ours.replica(0)))
        .replica(NodeConfig::url(copy.primary().url()).name("copy"));
    let db = settle(db, 1).await?;
    let rival = view(&db.snapshot(), "copy").id;
    for _ in 0..20 {
        insert("ours").execute(&db.session()).await?;
    }
    // Also when the one that had the writes is gone.
    ours.primary().stop(Stop::Fast).await?;
    each_poll(&db, "copy", 20, |snapshot| {
        assert_ne!(
            snapshot.primary,
            Some(rival),
            "nothing tells that it is ours"
        );
        let cause = view(snapshot, "copy").membership.cause();
        assert_eq!(cause, Some(lagwise::Cause::Promoted));
    })
    .await?;
    assert!(!has(copy.primary(), "ours").await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_primary_that_returns_without_rewind_is_read_by_nobody() -> Outcome {
    let (cluster, db) = with_router(2, NOTES).await?;
    let [old, new] = [cluster.primary(), cluster.replica(0)];
    for node in cluster.replicas() {
        node.upstream_wire().blackhole();
    }
    for round in 0..50 {
        insert(&format!("lost {round}")).execute(&db).await?;
    }
    old.kill().await?;
    new.promote().await?;
    cluster.replica(1).follow(new).await?;
    cluster.replica(1).upstream_wire().heal();
    insert("kept").execute(&db).await?;
    old.rejoin_without_rewind(new).await?;
    each_poll(&db, "p", 25, |snapshot| {
        let membership = view(snapshot, "p").membership;
        assert!(!membership.is_in_rotation(), "{membership:?}");
    })
    .await?;
    for _ in 0..40 {
        let node = db.read().await?;
        assert_ne!(&*node.route().node, "p", "{}", node.route());
    }
    // Rebuilt from the new primary, it is one of ours again.
    old.stop(Stop::Fast).await?;
    old.rejoin(new).await?;
    lagwise_tests::observe::readmitted(&db, "p").await
}
