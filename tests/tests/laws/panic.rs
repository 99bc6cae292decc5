//! What is left to reads when the replicas lag and the primary cannot take them all.

use std::collections::BTreeSet;
use std::time::Duration;

use lagwise::{
    Budget, Cause, Fallback, PgRouter, ReadConnection, ReadOptions, Reason, Role, RouterBuilder,
    Within,
};
use lagwise_testkit::Cluster;
use lagwise_tests::Outcome;
use lagwise_tests::cluster::{MAX_LAG, PATIENCE, router as router_over, settle, start};
use lagwise_tests::observe::{each_poll, ejected, until};
use lagwise_tests::workload::{LANES, Load, Style};
use sqlx::{Executor as _, Postgres};

/// A router whose replicas all lag, and whose primary takes one read at a time.
struct Overload {
    cluster: Cluster,
    router: PgRouter,
    load: Load,
}

async fn overloaded(
    change: impl FnOnce(RouterBuilder<Postgres>) -> RouterBuilder<Postgres>,
) -> Outcome<Overload> {
    let cluster = start(2, LANES).await?;
    let budget = Budget::new().concurrent(1).queue_for(Duration::ZERO);
    let router = settle(change(router_over(&cluster).budget(budget)), 2).await?;
    let load = Load::start(cluster.primary(), Style::default()).await?;
    for replica in cluster.replicas() {
        replica.set_apply_delay(MAX_LAG * 3).await?;
    }
    ejected(&router, "r1", Cause::Lagging).await?;
    ejected(&router, "r2", Cause::Lagging).await?;
    // Far enough behind that neither returns meanwhile.
    each_poll(&router, "r2", 30, |_| {}).await?;
    Ok(Overload {
        cluster,
        router,
        load,
    })
}

/// Takes the one place that reads have on the primary.
async fn take_place(router: &PgRouter) -> Outcome<ReadConnection<Postgres>> {
    let node = router.read_with(ReadOptions::new()).await?;
    assert_eq!(node.route().role, Role::Primary, "{}", node.route());
    Ok(node)
}

/// Where a read would go, or whether it was refused for the budget.
async fn goes(
    read: impl Future<Output = Result<ReadConnection<Postgres>, lagwise::Error>>,
) -> Outcome<Option<(Reason, Duration, String)>> {
    match read.await {
        Ok(node) => {
            let route = node.route();
            Ok(Some((
                route.reason,
                route.staleness,
                route.node.to_string(),
            )))
        }
        Err(error) if error.is_unavailable() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_replicas_serve_who_stated_nothing_and_nobody_else() -> Outcome {
    let Overload {
        cluster: _cluster,
        router,
        load,
    } = overloaded(|builder| builder).await?;
    let writer = router.session();
    writer
        .execute("update lanes set n = 1 where lane = 7")
        .await?;
    let place = take_place(&router).await?;
    let (mut served, mut held) = (BTreeSet::new(), Vec::new());
    for _ in 0..12 {
        let node = router.read().await?;
        let route = node.route();
        assert_eq!(route.reason, Reason::Panic);
        assert!(route.staleness > MAX_LAG, "it says how stale: {route}");
        served.insert(route.node.to_string());
        held.push(node);
    }
    assert_eq!(served.len(), 2, "not always the same: {served:?}");
    // A session that has done nothing yet states nothing; from its first read on it does.
    let reader = router.session();
    let first = goes(reader.read()).await?.map(|(reason, ..)| reason);
    assert_eq!(first, Some(Reason::Panic));
    for (who, read) in [
        ("a floor", goes(writer.read()).await?),
        (
            "a bound",
            goes(router.read_with(Within(MAX_LAG * 50))).await?,
        ),
        (
            "a read before",
            goes(reader.read_with(ReadOptions::new().wait(Duration::ZERO))).await?,
        ),
        (
            "no fallback",
            goes(router.read_with(ReadOptions::new().fallback(Fallback::Refuse))).await?,
        ),
    ] {
        assert_eq!(read, None, "{who} is nothing to be served late");
    }
    drop(place);
    let fell_back = goes(router.read()).await?.map(|(reason, ..)| reason);
    assert_eq!(fell_back, Some(Reason::NoneInRotation), "within the budget");
    load.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_replicas_serve_nobody_where_the_policy_says_never_or_too_few_are_late() -> Outcome {
    let never =
        |builder: RouterBuilder<Postgres>| builder.policy(|policy| policy.panic_threshold = 0);
    let Overload {
        cluster,
        router,
        load,
    } = overloaded(never).await?;
    let place = take_place(&router).await?;
    let refused = router.read().await.map(|node| node.route().to_string());
    assert!(refused.is_err_and(|error| error.is_overloaded()), "never");
    drop(place);
    let all = router_over(&cluster).budget(Budget::new().concurrent(1).queue_for(Duration::ZERO));
    let router = settle(all.policy(|policy| policy.panic_threshold = 100), 0).await?;
    cluster.replica(0).kill().await?;
    ejected(&router, "r1", Cause::Unreachable).await?;
    ejected(&router, "r2", Cause::Lagging).await?;
    let place = take_place(&router).await?;
    let refused = router.read().await.map(|node| node.route().to_string());
    assert!(
        refused.as_ref().is_err_and(lagwise::Error::is_overloaded),
        "a dead one is not late: {refused:?}"
    );
    // What is drained counts neither way.
    router.drain("r1")?;
    ejected(&router, "r1", Cause::Drained).await?;
    let read = goes(router.read()).await?.map(|(reason, ..)| reason);
    assert_eq!(read, Some(Reason::Panic));
    drop(place);
    load.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_freshest_serves_what_is_beyond_the_primary_s_budget() -> Outcome {
    let then = |builder: RouterBuilder<Postgres>| builder.fallback(Fallback::PrimaryThenFreshest);
    let Overload {
        cluster,
        router,
        load,
    } = overloaded(then).await?;
    cluster.replica(1).set_apply_delay(MAX_LAG * 2).await?;
    let fresher = async || {
        let snapshot = router.snapshot();
        let of = |node| lagwise_tests::observe::view(&snapshot, node).as_of;
        Ok(of("r2") > of("r1"))
    };
    until("r2 is the freshest", PATIENCE, fresher).await?;
    each_poll(&router, "r2", 10, |_| {}).await?;
    let place = take_place(&router).await?;
    for _ in 0..20 {
        let read = goes(router.read()).await?;
        let Some((reason, staleness, node)) = read else {
            return lagwise_tests::fail("a read was refused that the freshest could serve");
        };
        assert_eq!((reason, &*node), (Reason::Freshest, "r2"));
        assert!(staleness > MAX_LAG, "it says how stale: {staleness:?}");
    }
    let bound = goes(router.read_with(Within(MAX_LAG))).await?;
    assert_eq!(bound, None, "a bound still holds");
    let wide = goes(router.read_with(Within(MAX_LAG * 50))).await?;
    assert_eq!(wide.map(|(reason, ..)| reason), Some(Reason::Freshest));
    drop(place);
    let fell_back = goes(router.read()).await?.map(|(reason, ..)| reason);
    assert_eq!(fell_back, Some(Reason::NoneInRotation), "within the budget");
    load.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_that_states_nothing_is_served_while_the_primary_is_gone_and_the_replicas_lag()
-> Outcome {
    let Overload {
        cluster,
        router,
        load,
    } = overloaded(|builder| builder).await?;
    cluster.primary().client_wire().cut();
    for _ in 0..20 {
        let node = router.read().await?;
        assert_eq!(node.route().role, Role::Replica, "{}", node.route());
    }
    cluster.primary().client_wire().heal();
    load.abandon().await;
    Ok(())
}

/// One whose reads wait for a connection not as long as it takes to open one.
fn impatient(builder: RouterBuilder<Postgres>) -> RouterBuilder<Postgres> {
    builder.policy(|policy| policy.acquire_patience = Duration::from_millis(5))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_late_replica_that_is_slow_to_open_is_given_up_for_a_primary_that_is_gone() -> Outcome {
    let Overload {
        cluster,
        router,
        load,
    } = overloaded(impatient).await?;
    for replica in cluster.replicas() {
        replica.client_wire().delay(Duration::from_millis(10));
    }
    cluster.primary().client_wire().cut();
    for _ in 0..4 {
        let node = router.read().await?;
        assert_eq!(node.route().role, Role::Replica, "{}", node.route());
    }
    load.abandon().await;
    Ok(())
}
