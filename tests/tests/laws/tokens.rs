//! A session goes on where its token is taken up, on another instance, as if it had never left.

use std::time::Duration;

use lagwise::{
    Cause, Fallback, Keys, PgRouter, PgSession, ReadOptions, Role, RouterBuilder, Token,
};
use lagwise_testkit::Cluster;
use lagwise_tests::checker::{REGISTERS, bump, look};
use lagwise_tests::cluster::{MAX_LAG, PATIENCE, bare, config, router, settle, start};
use lagwise_tests::counters::Counters;
use lagwise_tests::ear::Ear;
use lagwise_tests::observe::{each_poll, ejected, readmitted, snapshot_where, until, view};
use lagwise_tests::{Outcome, fail};
use sqlx::postgres::{PgPoolOptions, Postgres};
use tokio::task::JoinSet;

/// A router whose tokens all instances of these tests accept.
pub(crate) fn keyed(router: RouterBuilder<Postgres>) -> Outcome<RouterBuilder<Postgres>> {
    Ok(router.keys(Keys::new("the-secret-of-these-tests-has-32-bytes")?))
}

/// An instance of a service over a cluster, whose replicas stay in however late they are.
pub(crate) async fn instance(cluster: &Cluster) -> Outcome<PgRouter> {
    let patient = |policy: &mut lagwise::Policy| policy.max_lag = Duration::from_secs(60);
    let router = keyed(router(cluster).policy(patient))?;
    settle(router, cluster.replicas().len()).await
}

/// Adds one to a register, and says what it came to.
pub(crate) async fn write(db: &PgSession, key: i32) -> Outcome<i64> {
    let mut node = db.write().await?;
    Ok(bump(&mut node, key, 0).await?)
}

/// What a session sees, and where.
async fn see(db: &PgSession, options: ReadOptions, key: i32) -> Outcome<(i64, lagwise::Route)> {
    let mut node = db.read_with(options).await?;
    let (seen, _) = look(&mut node, key).await?;
    Ok((seen, node.route().clone()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_written_on_one_instance_is_read_on_another() -> Outcome {
    let cluster = start(2, REGISTERS).await?;
    let [a, b] = [instance(&cluster).await?, instance(&cluster).await?];
    let mut on_replicas = 0;
    for round in 0..60_usize {
        let late = cluster.replica(round % 2);
        match round % 3 {
            0 => late.freeze_replay()?,
            1 => late.set_apply_delay(Duration::from_millis(60)).await?,
            _ => {}
        }
        let session = a.session();
        let wrote = write(&session, 0).await?;
        let token = session.token().await?;
        let resumed = b.resume(&token);
        for _ in 0..4 {
            let (seen, route) = see(&resumed, ReadOptions::new(), 0).await?;
            assert!(seen >= wrote, "{seen} instead of {wrote} on {route}");
            on_replicas += u32::from(route.role == Role::Replica);
        }
        late.thaw_replay()?;
        late.set_apply_delay(Duration::ZERO).await?;
    }
    assert!(
        on_replicas > 60,
        "{on_replicas} of 240 reads were on replicas"
    );
    Ok(())
}

/// Goes from instance to instance with a token in its pocket, and never sees less than before.
pub(crate) async fn wander(routers: Vec<PgRouter>, number: usize) -> Outcome<u32> {
    let mut random = fastrand::Rng::with_seed(0x70CE + number as u64);
    let key = i32::try_from(number % 4)?;
    let (mut seen, mut on_replicas) = (0, 0);
    let mut token: Option<Token> = None;
    for _ in 0..80 {
        let db = &routers[random.usize(..routers.len())];
        let session = token
            .as_ref()
            .map_or_else(|| db.session(), |token| db.resume(token));
        for _ in 0..random.u8(1..3) {
            if random.u8(..4) == 0 {
                seen = write(&session, key).await?;
            }
            let (now, route) = see(&session, ReadOptions::new(), key).await?;
            if now < seen {
                return fail(format!("session {number}: {now} after {seen} on {route}"));
            }
            seen = now;
            on_replicas += u32::from(route.role == Role::Replica);
        }
        token = Some(session.token().await?);
    }
    Ok(on_replicas)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_wanders_between_instances_never_goes_back() -> Outcome {
    let cluster = start(2, REGISTERS).await?;
    let mut routers = Vec::new();
    for _ in 0..3 {
        routers.push(instance(&cluster).await?);
    }
    for (node, delay) in cluster.replicas().iter().zip([20, 150]) {
        node.set_apply_delay(Duration::from_millis(delay)).await?;
    }
    let mut wanderers = JoinSet::new();
    for number in 0..12 {
        wanderers.spawn(wander(routers.clone(), number));
    }
    let mut on_replicas = 0;
    while let Some(wanderer) = wanderers.join_next().await {
        on_replicas += wanderer??;
    }
    assert!(on_replicas > 100, "{on_replicas} reads were on replicas");
    Ok(())
}

/// An instance with one connection to each node, of which the one to `r1` is there already.
///
/// A connection that is younger than what is known of its node is judged by what it shows itself.
async fn warm_on_r1(cluster: &Cluster) -> Outcome<PgRouter> {
    let config = |node| config(node).pool_options(PgPoolOptions::new().max_connections(1));
    let patient = |policy: &mut lagwise::Policy| policy.max_lag = Duration::from_secs(60);
    let replicas = cluster.replicas().iter().map(config);
    let router = bare().primary(config(cluster.primary())).replicas(replicas);
    let db = settle(keyed(router.policy(patient))?, 2).await?;
    db.drain("r2")?;
    ejected(&db, "r2", Cause::Drained).await?;
    drop(db.read().await?);
    each_poll(&db, "r1", 2, |_| {}).await?;
    db.undrain("r2")?;
    readmitted(&db, "r2").await?;
    Ok(db)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_replica_that_was_read_elsewhere_serves_at_once_and_the_stale_one_not_at_all() -> Outcome
{
    let cluster = start(2, REGISTERS).await?;
    let [a, b] = [instance(&cluster).await?, warm_on_r1(&cluster).await?];
    // Beyond what clocks may differ by, the replica is known not to have gone back.
    snapshot_where(&b, "r1 is known to run on", |snapshot| {
        let since = view(snapshot, "r1").runs_since;
        since.is_some_and(|since| lagwise::now().since(since) > Duration::from_secs(4))
    })
    .await?;
    cluster.replica(1).freeze_replay()?;
    let wrote = write(&a.session(), 0).await?;
    let at = cluster.primary().lsn().await?;
    cluster.replica(0).wait_replayed(&at).await?;
    cluster.replica(0).freeze_replay()?;
    write(&a.session(), 0).await?;

    a.drain("r2")?;
    ejected(&a, "r2", Cause::Drained).await?;
    let reader = a.session();
    let (seen, route) = see(&reader, ReadOptions::new(), 0).await?;
    assert_eq!((seen, &*route.node), (wrote, "r1"), "{route}");
    let token = reader.token().await?;
    let refuse = ReadOptions::new()
        .fallback(Fallback::Refuse)
        .wait(Duration::ZERO);
    for _ in 0..40 {
        // No replica is proved as of now: that it is the same one is all that admits it.
        let (seen, route) = see(&b.resume(&token), refuse, 0).await?;
        assert_eq!((seen, &*route.node), (wrote, "r1"), "{route}");
        assert_eq!(route.waited, Duration::ZERO);
    }
    // Another run of that server may have gone back.
    cluster.replica(0).thaw_replay()?;
    cluster
        .replica(0)
        .restart(lagwise_testkit::Stop::Immediate)
        .await?;
    cluster.replica(0).freeze_replay()?;
    write(&a.session(), 0).await?;
    let refused = see(&b.resume(&token), refuse, 0).await;
    assert!(refused.is_err(), "it was started anew: {refused:?}");
    for node in cluster.replicas() {
        node.thaw_replay()?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_read_on_the_primary_is_seen_elsewhere() -> Outcome {
    let cluster = start(2, REGISTERS).await?;
    let [a, b] = [instance(&cluster).await?, instance(&cluster).await?];
    for node in cluster.replicas() {
        node.freeze_replay()?;
    }
    let wrote = write(&a.session(), 0).await?;
    let reader = a.session();
    let (seen, _) = see(&reader, ReadOptions::primary(), 0).await?;
    assert_eq!(seen, wrote);
    let token = reader.token().await?;
    let (seen, route) = see(&b.resume(&token), ReadOptions::new(), 0).await?;
    assert_eq!((seen, route.role), (wrote, Role::Primary), "{route}");
    for node in cluster.replicas() {
        node.thaw_replay()?;
    }
    until("a replica serves, and has it", PATIENCE, async || {
        let (seen, route) = see(&b.resume(&token), ReadOptions::new(), 0).await?;
        assert_eq!(seen, wrote, "{route}");
        Ok(route.role == Role::Replica)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_of_unknown_outcome_keeps_the_session_off_replicas_elsewhere_too() -> Outcome {
    let cluster = start(1, REGISTERS).await?;
    let [a, b] = [instance(&cluster).await?, instance(&cluster).await?];
    let session = a.session();
    let mut node = session.write().await?;
    let slow = sqlx::query(
        "with written as (update registers set version = version + 1 where key = 0 returning key)
         select pg_sleep(0.8) from written",
    );
    let given_up = tokio::time::timeout(Duration::from_millis(150), slow.execute(&mut *node));
    assert!(given_up.await.is_err(), "the statement is still under way");
    // Nobody can be asked any more when it ends.
    cluster.primary().client_wire().reset();
    drop(node);
    let token = session.token().await?;
    let resumed = b.resume(&token);
    // The replica does not show the write, whenever it commits.
    cluster.replica(0).freeze_replay()?;
    let version = "select version from registers where key = 0";
    until("the write takes effect", PATIENCE, async || {
        if let Ok(node) = resumed.read().await {
            assert_eq!(node.route().role, Role::Primary, "{}", node.route());
        }
        Ok(cluster.primary().query_scalar::<i64>(version).await? == 1)
    })
    .await?;
    for _ in 0..20 {
        let (seen, route) = see(&resumed, ReadOptions::new(), 0).await?;
        assert_eq!(seen, 1, "the session's write is missing on {route}");
    }
    cluster.replica(0).thaw_replay()?;
    until("a replica serves again, and has it", PATIENCE, async || {
        let (seen, route) = see(&resumed, ReadOptions::new(), 0).await?;
        assert_eq!(seen, 1, "the session's write is missing on {route}");
        Ok(route.role == Role::Replica)
    })
    .await
}

/// How often the primary was asked where it stands, and for how many.
fn questions(ear: &Ear) -> (usize, usize) {
    let heard = ear.take();
    let asked = heard
        .iter()
        .filter(|said| said.field("message") == "the primary was asked for its position");
    let askers = asked
        .clone()
        .map(|said| said.field("askers").parse().unwrap_or(0));
    (asked.count(), askers.sum())
}

#[tokio::test]
async fn sessions_that_leave_at_once_share_a_question_and_readers_ask_none() -> Outcome {
    let cluster = start(1, REGISTERS).await?;
    let [a, b] = [instance(&cluster).await?, instance(&cluster).await?];
    let ear = Ear::open();
    let reader = a.session();
    drop(reader.read().await?);
    let (_, on_primary) = see(&reader, ReadOptions::primary(), 0).await?;
    assert_eq!(on_primary.role, Role::Primary);
    reader.token().await?;
    assert_eq!(questions(&ear), (0, 0), "it wrote nothing");

    for round in 1..=3 {
        let sessions: Vec<PgSession> = (0..64).map(|_| a.session()).collect();
        let writer = |(key, session)| async move { write(&session, key).await };
        let writes: JoinSet<_> = (0..).zip(sessions.clone()).map(writer).collect();
        for wrote in writes.join_all().await {
            wrote?;
        }
        assert_eq!(questions(&ear), (0, 0), "writing asks nothing");
        let leave = |session: PgSession| async move { session.token().await };
        let leaving: JoinSet<_> = sessions.into_iter().map(leave).collect();
        let tokens: Vec<_> = leaving
            .join_all()
            .await
            .into_iter()
            .collect::<Result<_, _>>()?;
        let (asked, askers) = questions(&ear);
        assert_eq!(askers, 64, "everybody was answered");
        assert!(
            (1..=6).contains(&asked),
            "{asked} questions for 64 sessions"
        );
        for token in &tokens {
            let (seen, route) = see(&b.resume(token), ReadOptions::new(), 0).await?;
            assert_eq!(seen, round, "{route}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_primary_hangs_a_token_comes_in_time_and_hides_nothing() -> Outcome {
    let counters = Counters::install();
    let cluster = start(1, REGISTERS).await?;
    let [a, b] = [instance(&cluster).await?, instance(&cluster).await?];
    let uncaptured = || counters.sum("lagwise_tokens_issued_total", &[("says", "uncaptured")]);
    let refuse = ReadOptions::new()
        .fallback(Fallback::Refuse)
        .wait(Duration::from_millis(50));
    let session = a.session();
    cluster.replica(0).freeze_replay()?;
    let wrote = write(&session, 0).await?;
    let before = uncaptured();
    cluster.primary().freeze()?;
    let began = lagwise::now();
    let token = session.token().await?;
    let took = lagwise::now().since(began);
    cluster.primary().thaw()?;
    assert!(took < MAX_LAG, "it took {took:?}, and 250 ms are allowed");
    assert!(
        uncaptured() > before,
        "the token says that it is not captured"
    );
    for _ in 0..10 {
        let refused = see(&b.resume(&token), refuse, 0).await;
        assert!(refused.is_err(), "the replica lacks the write: {refused:?}");
    }
    cluster.replica(0).thaw_replay()?;
    until("a replica serves, and has it", PATIENCE, async || {
        let (seen, route) = see(&b.resume(&token), ReadOptions::new(), 0).await?;
        assert_eq!(seen, wrote, "{route}");
        Ok(route.role == Role::Replica)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_primary_is_dead_a_token_comes_in_time_and_replicas_that_have_it_serve_later()
-> Outcome {
    let cluster = start(1, REGISTERS).await?;
    let [a, b] = [instance(&cluster).await?, instance(&cluster).await?];
    let session = a.session();
    let wrote = write(&session, 0).await?;
    cluster.primary().kill().await?;
    let began = lagwise::now();
    let token = session.token().await?;
    let took = lagwise::now().since(began);
    assert!(took < MAX_LAG, "it took {took:?}, and 250 ms are allowed");
    let refuse = ReadOptions::new()
        .fallback(Fallback::Refuse)
        .wait(Duration::from_millis(50));
    let refused = see(&b.resume(&token), refuse, 0).await;
    assert!(refused.is_err(), "nothing is proved as of now: {refused:?}");
    cluster.primary().start().await?;
    readmitted(&b, "r1").await?;
    until("a replica serves, and has it", PATIENCE, async || {
        let (seen, route) = see(&b.resume(&token), ReadOptions::new(), 0).await?;
        assert_eq!(seen, wrote, "{route}");
        Ok(route.role == Role::Replica)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_for_one_user_is_none_for_another() -> Outcome {
    let cluster = start(1, REGISTERS).await?;
    let [a, b] = [instance(&cluster).await?, instance(&cluster).await?];
    cluster.replica(0).freeze_replay()?;
    let session = a.session();
    let wrote = write(&session, 0).await?;
    let token = session.token_for("anna").await?;
    let (seen, _) = see(&b.resume_for(&token, "anna"), ReadOptions::new(), 0).await?;
    assert_eq!(seen, wrote);
    for session in [
        b.resume_for(&token, "ann"),
        b.resume_for(&token, ""),
        b.resume(&token),
    ] {
        let (_, route) = see(&session, ReadOptions::new(), 0).await?;
        assert_eq!(route.role, Role::Replica, "it counts as none: {route}");
    }
    let fault = b.session().merge_for(&token, "otto").unwrap_err();
    assert_eq!(fault, lagwise::TokenFault::Forged);
    cluster.replica(0).thaw_replay()?;
    Ok(())
}
