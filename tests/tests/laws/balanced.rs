//! Of an address that leads to one of several servers nothing is proved, and nothing pretends to be.
//!
//! Two standbys stand behind a balancer, and one of them has stopped replaying. The monitor's own
//! connection leads to the other one.

use std::time::Duration;

use lagwise::{
    Cause, Consistency, Fallback, JobOptions, NodeConfig, PgRouter, ReadOptions, Reason, Role,
    RouterBuilder, Within,
};
use lagwise_testkit::{Balancer, Cluster};
use lagwise_tests::cluster::{bare, config, router, settle, start};
use lagwise_tests::observe::{ejected, snapshot_where, view};
use lagwise_tests::service::keyed;
use lagwise_tests::statements::PLACES;
use lagwise_tests::{Outcome, fail};
use sqlx::Postgres;
use sqlx::postgres::PgPoolOptions;

const WINDOW: Duration = Duration::from_millis(1500);

const TABLE: &str = "create table notes (id bigint primary key);";

struct Stage {
    cluster: Cluster,
    balancer: Balancer,
}

impl Stage {
    /// `r2` stands still, and the balancer leads its first connection to `r1`.
    async fn set() -> Outcome<(Self, PgRouter)> {
        let cluster = start(2, &format!("{PLACES}{TABLE}")).await?;
        cluster.replica(1).pause_replay().await?;
        let balancer = Balancer::over(cluster.replicas())?;
        let stage = Self { cluster, balancer };
        let router = settle(stage.router(&stage.balancer), 1).await?;
        Ok((stage, router))
    }

    fn router(&self, balancer: &Balancer) -> RouterBuilder<Postgres> {
        let pool = PgPoolOptions::new().max_connections(40);
        let endpoint = NodeConfig::url(balancer.url())
            .name("lb")
            .pool_options(pool.clone());
        keyed(bare())
            .max_lag(Duration::from_secs(30))
            .policy(|policy| {
                policy.unseen_for = Duration::from_secs(10);
                policy.sticky_window = WINDOW;
            })
            .primary(config(self.cluster.primary()).pool_options(pool))
            .replica(endpoint.balanced())
    }
}

/// Reads once in each session, one after the other over twice the window, and asserts that a read
/// goes to the endpoint once the window has passed since that session's instant, and never before.
async fn each_after_its_window(sessions: Vec<(lagwise::PgSession, lagwise::Instant)>) -> Outcome {
    let pause = WINDOW * 2 / u32::try_from(sessions.len())?;
    let (mut early, mut late) = (0, 0);
    for (session, from) in sessions {
        let before = lagwise::now().since(from);
        let node = session.read().await?;
        let after = lagwise::now().since(from);
        let route = node.route().clone();
        if after < WINDOW {
            early += 1;
            assert_eq!(
                (route.role, route.reason),
                (Role::Primary, Reason::BehindFloor),
                "{after:?} after: {route}"
            );
        } else if before >= WINDOW {
            late += 1;
            assert_eq!(
                (&*route.node, route.reason),
                ("lb", Reason::Eligible),
                "{before:?} after: {route}"
            );
            assert!(!route.is_proved(), "{route}");
            assert_eq!(route.staleness, Duration::MAX);
            assert!(route.to_string().contains("nothing proved"), "{route}");
        }
        drop(node);
        tokio::time::sleep(pause).await;
    }
    match (early, late) {
        (3.., 3..) => Ok(()),
        _ => fail(format!("{early} reads were early and {late} late")),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_write_a_session_reads_on_the_primary_for_the_window_and_then_behind_the_balancer()
-> Outcome {
    let (_stage, db) = Stage::set().await?;
    let mut sessions = Vec::new();
    for id in 0..24_i64 {
        let session = db.session();
        sqlx::query("insert into notes (id) values ($1)")
            .bind(id)
            .execute(&session)
            .await?;
        sessions.push((session, lagwise::now()));
    }
    each_after_its_window(sessions).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_came_in_with_a_token_waits_for_the_window_since_it_came() -> Outcome {
    let (stage, db) = Stage::set().await?;
    // One of its own leads this router's monitor to `r1`, too.
    let balancer = Balancer::over(stage.cluster.replicas())?;
    let elsewhere = settle(stage.router(&balancer), 1).await?;
    let session = db.session();
    sqlx::query("insert into notes (id) values (1)")
        .execute(&session)
        .await?;
    let token = session.token().await?;
    let mut sessions = Vec::new();
    for _ in 0..24 {
        sessions.push((elsewhere.resume(&token), lagwise::now()));
    }
    each_after_its_window(sessions).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delayed_job_waits_for_the_window_and_is_not_put_back_for_ever() -> Outcome {
    let (_stage, db) = Stage::set().await?;
    let began = lagwise::now();
    let hurried = JobOptions::new(Consistency::Delayed).wait(Duration::from_millis(10));
    let job = db.resume_job(None, hurried).await?;
    let node = job.read().await?;
    let waited = lagwise::now().since(began);
    assert_eq!(&*node.route().node, "lb", "{}", node.route());
    assert!(waited >= WINDOW, "it came in {waited:?} ago");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_has_read_there_does_not_read_there_again_within_the_window() -> Outcome {
    let (_stage, db) = Stage::set().await?;
    let session = db.session();
    let mut node = session.read().await?;
    assert_eq!(&*node.route().node, "lb");
    let server = "select here()";
    let first: String = sqlx::query_scalar(server).fetch_one(&mut *node).await?;
    let again: String = sqlx::query_scalar(server).fetch_one(&mut *node).await?;
    assert_eq!(first, again, "one connection leads to one server");
    let other = session.read().await?;
    assert_eq!(other.route().role, Role::Primary, "{}", other.route());
    drop(node);
    drop(other);
    let next = session.read().await?;
    assert_eq!(next.route().role, Role::Primary, "{}", next.route());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_that_states_a_bound_is_never_made_behind_a_balancer() -> Outcome {
    let (_stage, db) = Stage::set().await?;
    let hour = Within(Duration::from_secs(3600));
    let began = lagwise::now();
    for _ in 0..20 {
        let node = db.read_with(hour).await?;
        assert_eq!(node.route().reason, Reason::BeyondBound, "{}", node.route());
        assert_eq!(node.route().role, Role::Primary, "{}", node.route());
    }
    let patient = ReadOptions::from(hour)
        .wait(Duration::from_secs(60))
        .fallback(Fallback::Refuse);
    let refused = db.read_with(patient).await.err();
    match refused {
        Some(error) if error.is_unavailable() => {}
        other => return fail(format!("{other:?}")),
    }
    assert!(
        lagwise::now().since(began) < Duration::from_secs(30),
        "nobody waits for what never comes"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_outside_of_a_session_goes_there_at_once_whichever_server_answers() -> Outcome {
    let (_stage, db) = Stage::set().await?;
    sqlx::query("insert into notes (id) values (1)")
        .execute(&db)
        .await?;
    let (mut held, mut servers) = (Vec::new(), Vec::new());
    for _ in 0..6 {
        let mut node = db.read().await?;
        assert_eq!(&*node.route().node, "lb", "{}", node.route());
        let server: String = sqlx::query_scalar("select here()")
            .fetch_one(&mut *node)
            .await?;
        servers.push(server);
        held.push(node);
    }
    servers.sort();
    servers.dedup();
    assert_eq!(servers, ["r1", "r2"], "another one with each connection");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_monitors_own_connection_shows_decides_whether_it_takes_reads() -> Outcome {
    let (stage, db) = Stage::set().await?;
    let seen = stage.cluster.replica(0);
    seen.pause_replay().await?;
    ejected(&db, "lb", Cause::Paused).await?;
    seen.resume_replay().await?;
    db.ready(1, Duration::from_secs(20)).await?;
    stage.balancer.wire().cut();
    ejected(&db, "lb", Cause::Unreachable).await?;
    let node = db.read().await?;
    assert_eq!(node.route().reason, Reason::NoneInRotation);
    drop(node);
    // Of both servers, so that the monitor's next connection finds what it found before.
    stage.cluster.replica(1).resume_replay().await?;
    stage.balancer.wire().heal();
    db.ready(1, Duration::from_secs(20)).await?;
    Ok(())
}

#[tokio::test]
async fn a_balanced_primary_is_refused() -> Outcome {
    let refused = PgRouter::builder()
        .primary(NodeConfig::url("postgres://app:hidden@db-1/app").balanced())
        .connect_lazy();
    match refused {
        Err(error) if error.is_config() => {
            let message = error.to_string();
            assert!(
                message.contains("give the primary's own address"),
                "{message}"
            );
            assert!(!message.contains("hidden"), "{message}");
            Ok(())
        }
        other => fail(format!("{other:?}")),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_read_behind_a_balancer_is_known_to_be_on_no_server() -> Outcome {
    let (stage, db) = Stage::set().await?;
    let [r1, r2] = stage.cluster.replicas() else {
        return fail("two replicas");
    };
    r2.resume_replay().await?;
    // This router knows the servers by addresses of their own, and has for a while.
    let calm = keyed(router(&stage.cluster)).max_lag(Duration::from_secs(30));
    let calm = calm.policy(|policy| policy.unseen_for = Duration::from_secs(10));
    let elsewhere = settle(calm, 2).await?;
    let long = Duration::from_secs(3);
    snapshot_where(&elsewhere, "r1 has run for a while", |snapshot| {
        let since = view(snapshot, r1.name()).runs_since;
        since.is_some_and(|since| lagwise::now().since(since) > long)
    })
    .await?;
    r1.freeze_replay()?;
    r2.freeze_replay()?;
    stage
        .cluster
        .primary()
        .execute("insert into notes (id) values (1)")
        .await?;
    let session = db.session();
    let node = session.read().await?;
    assert_eq!(&*node.route().node, "lb");
    drop(node);
    let resumed = elsewhere.resume(&session.token().await?);
    let node = resumed.read().await?;
    let route = node.route();
    assert_eq!(route.reason, Reason::BehindFloor, "{route}");
    r1.thaw_replay()?;
    r2.thaw_replay()?;
    Ok(())
}
