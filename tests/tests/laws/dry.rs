//! In dry mode everything is read from the primary, and it is told where it would have been read.

use std::time::Duration;

use lagwise::{
    Budget, Cause, Consistency, DryRoute, Fallback, Hedge, JobOptions, PgRouter, PgSession,
    ReadConnection, ReadOptions, Reason, Role, Route, RouterBuilder, Within,
};
use lagwise_testkit::{Cluster, Node};
use lagwise_tests::Outcome;
use lagwise_tests::checker::{REGISTERS, look};
use lagwise_tests::cluster::{MAX_LAG, PATIENCE, POLL, number, router, settle, start};
use lagwise_tests::counters::Counters;
use lagwise_tests::ear::Ear;
use lagwise_tests::observe::{ejected, until};
use lagwise_tests::statements::drained;
use sqlx::Postgres;
use tokio::task::JoinSet;

use crate::tokens::{instance, keyed, wander, write};

/// Begins a dry router whose replicas stay in however late they are.
fn dry(cluster: &Cluster) -> RouterBuilder<Postgres> {
    let patient = |policy: &mut lagwise::Policy| policy.max_lag = Duration::from_secs(60);
    router(cluster).policy(patient).dry_run(true)
}

/// A read that is held, on what route.
async fn route(db: &PgSession, options: impl Into<ReadOptions>) -> Outcome<Route> {
    let mut node = db.read_with(options).await?;
    number(&mut node, "select 1::int8").await?;
    Ok(node.route().clone())
}

/// Where a read would have gone; it went to the primary.
fn told(route: &Route) -> &DryRoute {
    assert_eq!(route.role, Role::Primary, "{route}");
    assert_eq!(route.reason, Reason::DryRun, "{route}");
    assert_eq!(route.staleness, Duration::ZERO, "{route}");
    route.dry.as_ref().expect("it is told in dry mode")
}

/// The replica that a read would have been served by at once, if one would have.
fn replica(dry: &DryRoute) -> Option<&str> {
    let served = matches!(dry, DryRoute::Replica { .. });
    dry.node().filter(|_| served).map(|node| &**node)
}

/// The connections to a node that neither the monitor nor the kit has opened.
async fn connections(node: &Node) -> Outcome<i64> {
    let count = "select count(*) from pg_stat_activity where backend_type = 'client backend'
        and application_name not in ('lagwise monitor', 'lagwise-testkit')
        and pid <> pg_backend_pid()";
    Ok(number(&mut lagwise_tests::cluster::connect(node).await?, count).await?)
}

/// Writes until it is dropped.
async fn keep_writing(router: PgRouter) -> Outcome {
    loop {
        write(&router.session(), 1).await?;
        tokio::time::sleep(POLL / 4).await;
    }
}

/// Reads in every way there is, and says in how many.
async fn read_in_every_way(router: &PgRouter) -> Outcome<u64> {
    let session = router.session();
    told(router.read().await?.route());
    for fallback in [Fallback::Freshest, Fallback::PrimaryThenFreshest] {
        let options = ReadOptions::new().fallback(fallback);
        told(&route(&session, options).await?);
    }
    let bounded = route(&session, Within(Duration::from_secs(30))).await?;
    told(&bounded);
    session
        .run_read(|node| Box::pin(number(node, "select 2::int8")))
        .await?;
    let transaction = session.begin_read_only().await?;
    told(transaction.route());
    transaction.commit().await?;
    sqlx::query("select 3").execute(&session).await?;
    sqlx::query("select 4").fetch_one(&session).await?;
    let streamed = sqlx::query("select generate_series(1, 9)").fetch(&session);
    assert_eq!(drained(streamed).await?.len(), 9);
    Ok(9)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_read_on_a_replica_and_every_read_is_told_of() -> Outcome {
    let counters = Counters::install();
    let cluster = start(2, REGISTERS).await?;
    let hedge = Hedge::new().share(100).at_least(Duration::from_micros(1));
    let router = settle(dry(&cluster).hedge(hedge), 2).await?;
    let mut reads = 0;
    for _ in 0..20 {
        reads += read_in_every_way(&router).await?;
    }
    let would = |labels: &[(&str, &str)]| counters.sum("lagwise_dry_routes_total", labels);
    assert_eq!(would(&[]), reads, "each read is told of once");
    let eligible = would(&[("role", "replica"), ("reason", "eligible")]);
    assert_eq!(eligible, reads, "nothing was written");
    let went = |labels: &[(&str, &str)]| counters.sum("lagwise_routes_total", labels);
    until("the routes are told of", PATIENCE, async || {
        Ok(went(&[("node", "p"), ("reason", "dry_run")]) == reads)
    })
    .await?;
    assert_eq!(went(&[("role", "replica")]), 0);
    // What was asked of the primary is not on trial.
    let asked = route(&router.session(), ReadOptions::primary()).await?;
    assert_eq!(asked.reason, Reason::Asked, "{asked}");
    assert_eq!(would(&[("role", "primary"), ("reason", "asked")]), 1);
    for node in cluster.replicas() {
        assert_eq!(connections(node).await?, 0, "{} was asked", node.name());
    }
    assert!(connections(cluster.primary()).await? > 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_would_be_under_way_on_one_replica_would_send_others_to_the_next() -> Outcome {
    let cluster = start(2, REGISTERS).await?;
    let router = settle(dry(&cluster), 2).await?;
    // One slow answer makes a replica dearer for a second, but not dearer than any number of reads.
    let spread = async || {
        let mut held = Vec::new();
        for _ in 0..12 {
            held.push(router.read().await?);
        }
        let on = |name| {
            let there =
                |node: &&ReadConnection<Postgres>| replica(told(node.route())) == Some(name);
            held.iter().filter(there).count()
        };
        Ok(on("r1") == 6 && on("r2") == 6)
    };
    until("the reads would be spread", PATIENCE, spread).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_lags_is_told_to_be_stale_and_then_to_get_nothing() -> Outcome {
    let cluster = start(2, REGISTERS).await?;
    let router = settle(dry(&cluster).max_lag(MAX_LAG), 2).await?;
    let busy = keep_writing(router.clone());
    let trial = async {
        let lag = MAX_LAG / 3;
        cluster.replica(0).set_apply_delay(lag).await?;
        let late = async || {
            let read = router.read().await?;
            let dry = told(read.route());
            let staleness = dry.staleness().unwrap_or_default();
            Ok(replica(dry) == Some("r1") && staleness >= lag)
        };
        until("a read would be stale on r1", PATIENCE, late).await?;
        // Who accepts less would not be sent there.
        let elsewhere = async || {
            let read = router.read_with(Within(lag / 2)).await?;
            let dry = told(read.route());
            assert_ne!(replica(dry), Some("r1"), "{}", read.route());
            Ok(replica(dry) == Some("r2"))
        };
        for _ in 0..20 {
            until("a bounded read finds r2", PATIENCE, elsewhere).await?;
        }
        cluster.replica(0).freeze_replay()?;
        ejected(&router, "r1", Cause::Lagging).await?;
        for _ in 0..50 {
            let read = router.read().await?;
            assert_ne!(replica(told(read.route())), Some("r1"), "{}", read.route());
        }
        Outcome::Ok(())
    };
    tokio::select! {
        outcome = busy => outcome,
        outcome = trial => outcome,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_wrote_is_told_who_has_its_write() -> Outcome {
    let cluster = start(2, REGISTERS).await?;
    let router = settle(dry(&cluster), 2).await?;
    let session = router.session();
    let at_once = ReadOptions::new().wait(Duration::ZERO);
    for node in cluster.replicas() {
        node.freeze_replay()?;
    }
    let wrote = write(&session, 3).await?;
    let behind = route(&session, at_once).await?;
    assert_eq!(told(&behind).reason(), "behind_floor", "{behind}");
    assert_eq!(told(&behind).role(), Some(Role::Primary));
    let began = lagwise::now();
    let waits = route(&session, ReadOptions::new().wait(PATIENCE)).await?;
    assert_eq!(told(&waits).reason(), "wait", "{waits}");
    assert!(lagwise::now().since(began) < PATIENCE, "nothing waits");
    cluster.replica(0).thaw_replay()?;
    let has_it = async || {
        let mut node = session.read_with(at_once).await?;
        let (seen, _) = look(&mut node, 3).await?;
        assert!(seen >= wrote, "{seen} instead of {wrote}");
        let dry = told(node.route());
        assert_ne!(replica(dry), Some("r2"), "{}", node.route());
        Ok(replica(dry) == Some("r1"))
    };
    until("r1 has the write", PATIENCE, has_it).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_reads_would_stay_on_its_replica() -> Outcome {
    let cluster = start(2, REGISTERS).await?;
    let router = settle(dry(&cluster), 2).await?;
    for node in cluster.replicas() {
        node.freeze_replay()?;
    }
    // From here on no replica shows what the primary does.
    write(&router.session(), 5).await?;
    let mut chosen = Vec::new();
    for _ in 0..20 {
        let session = router.session();
        let first = route(&session, ReadOptions::new()).await?;
        for _ in 0..5 {
            let next = route(&session, ReadOptions::new()).await?;
            assert_eq!(replica(told(&next)), replica(told(&first)), "{next}");
        }
        chosen.extend(replica(told(&first)).map(str::to_owned));
    }
    assert_eq!(chosen.len(), 20, "every session would have found a replica");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_budget_is_spent_nothing_is_refused_and_no_job_waits() -> Outcome {
    let cluster = start(1, REGISTERS).await?;
    let budget = Budget::new().concurrent(1).queue(0);
    let router = settle(keyed(dry(&cluster))?.budget(budget), 1).await?;
    let session = router.session();
    cluster.replica(0).freeze_replay()?;
    write(&session, 1).await?;
    let token = session.token().await?;
    let delayed = JobOptions::new(Consistency::Delayed).wait(PATIENCE);
    let began = lagwise::now();
    let job = router.resume_job(Some(&token), delayed).await?;
    assert!(lagwise::now().since(began) < PATIENCE, "nothing waits");
    // What the token says is needed of a replica as well.
    let read = route(&job, ReadOptions::new()).await?;
    assert_eq!(told(&read).reason(), "wait", "{read}");
    router.drain("r1")?;
    ejected(&router, "r1", Cause::Drained).await?;
    let mut held = Vec::new();
    for _ in 0..4 {
        let node = router.read().await?;
        assert_eq!(told(node.route()).reason(), "none_in_rotation");
        held.push(node);
    }
    let refused = route(&session, ReadOptions::new().fallback(Fallback::Refuse)).await?;
    assert_eq!(told(&refused), &DryRoute::Refused, "{refused}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dry_and_live_instances_share_sessions_without_a_stale_read() -> Outcome {
    let counters = Counters::install();
    let cluster = start(2, REGISTERS).await?;
    let live = instance(&cluster).await?;
    let trial = settle(keyed(dry(&cluster))?, 2).await?;
    for (node, delay) in cluster.replicas().iter().zip([20, 150]) {
        node.set_apply_delay(Duration::from_millis(delay)).await?;
    }
    let mut wanderers = JoinSet::new();
    for number in 0..8 {
        wanderers.spawn(wander(vec![live.clone(), trial.clone()], number));
    }
    let mut on_replicas = 0;
    while let Some(wanderer) = wanderers.join_next().await {
        on_replicas += wanderer??;
    }
    assert!(on_replicas > 20, "{on_replicas} reads were on replicas");
    let would = |role| counters.sum("lagwise_dry_routes_total", &[("role", role)]);
    assert!(would("replica") > 20, "the trial took part");
    // A token of a dry instance says what was seen there, which the late replicas have yet to show.
    for node in cluster.replicas() {
        node.freeze_replay()?;
    }
    write(&trial.session(), 7).await?;
    let reader = trial.session();
    let read = route(&reader, ReadOptions::new()).await?;
    assert!(replica(told(&read)).is_some(), "{read}");
    let resumed = live.resume(&reader.token().await?);
    let at_once = ReadOptions::new().wait(Duration::ZERO);
    let next = resumed.read_with(at_once).await?;
    assert_eq!(next.route().role, Role::Primary, "{}", next.route());
    assert_eq!(next.route().reason, Reason::BehindFloor);
    Ok(())
}

#[tokio::test]
async fn a_dry_read_and_a_dry_statement_say_where_they_would_have_gone() -> Outcome {
    let ear = Ear::open();
    let cluster = start(1, REGISTERS).await?;
    let router = settle(dry(&cluster), 1).await?;
    let session = router.session();
    drop(ear.take());
    let read = route(&session, ReadOptions::new()).await?;
    let text = read.to_string();
    assert!(text.contains("without dry mode: r1, eligible"), "{text}");
    sqlx::query("select 1").execute(&session).await?;
    let heard = ear.take();
    let said = heard.iter().map(|said| said.field("dry"));
    let said: Vec<&str> = said.filter(|dry| !dry.is_empty()).collect();
    assert_eq!(said.len(), 2, "{heard:?}");
    for dry in said {
        assert!(dry.starts_with("r1, eligible, at most "), "{dry}");
    }
    Ok(())
}
