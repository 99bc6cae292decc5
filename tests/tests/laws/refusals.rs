//! A setting that cannot be honored is refused, with its value and the way out.

use std::time::Duration;

use lagwise::{Budget, Fallback, NodeConfig, PgRouter, Policy, RouterBuilder};
use lagwise_tests::Outcome;
use lagwise_tests::cluster::{bare, config, start};
use sqlx::Postgres;

/// Fails unless the builder is refused with a message that has all these parts.
fn refused(builder: RouterBuilder<Postgres>, parts: &[&str]) {
    let Err(error) = builder.connect_lazy() else {
        panic!("a router with {parts:?} was built");
    };
    let message = error.to_string();
    assert!(error.is_config(), "it is the caller's fault: {message}");
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
}

fn one() -> RouterBuilder<Postgres> {
    PgRouter::builder().primary("postgres://app@db-1/app")
}

fn policy(change: impl FnOnce(&mut Policy)) -> RouterBuilder<Postgres> {
    one().policy(change)
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[tokio::test]
async fn nodes_that_make_no_cluster_are_refused() {
    refused(PgRouter::builder(), &["0 nodes", "exactly once"]);
    refused(
        one().primary("postgres://app@db-2/app"),
        &["2 nodes", "exactly once"],
    );
    refused(
        one().replica("postgres://app@db-1/app"),
        &["replica-1", "primary", "same URL"],
    );
    let named = |host: &str| NodeConfig::url(format!("postgres://{host}/")).name("db");
    refused(
        one().replica(named("a")).replica(named("b")),
        &["\"db\"", "a name of its own"],
    );
    refused(one().replica("no url at all"), &["replica-1", "URL"]);
    let many = (0..1100).fold(one(), |router, number| {
        router.replica(format!("postgres://app@db-{number}.example/app"))
    });
    refused(many, &["1101 nodes", "1024"]);
}

#[tokio::test]
async fn a_lag_that_the_polls_cannot_prove_is_refused() {
    refused(
        one().max_lag(millis(300)),
        &["max_lag is 300ms", "100ms", "400ms"],
    );
    refused(
        one().poll_interval(millis(400)),
        &["max_lag is 1s", "poll_interval"],
    );
    refused(
        one().poll_interval(Duration::ZERO),
        &["poll_interval is 0ns", "1ms"],
    );
    let slow = policy(|policy| policy.idle_poll_interval = millis(700));
    refused(slow, &["idle_poll_interval is 700ms", "500ms"]);
    let blind = policy(|policy| policy.unseen_for = millis(120));
    refused(blind, &["unseen_for is 120ms", "500ms"]);
}

#[tokio::test]
async fn limits_that_contradict_each_other_are_refused() {
    let back = policy(|policy| policy.return_lag = millis(1000));
    refused(back, &["return_lag is 1s", "999ms"]);
    refused(
        policy(|policy| policy.leave_after = 0),
        &["leave_after is 0", "at least 1"],
    );
    refused(
        policy(|policy| policy.return_after = 0),
        &["return_after is 0", "at least 1"],
    );
    let ceiling = policy(|policy| policy.lag_ceiling = millis(900));
    refused(ceiling, &["lag_ceiling is 900ms", "1s"]);
    let sticky = policy(|policy| policy.sticky_window = millis(100));
    refused(sticky, &["sticky_window is 100ms", "500ms"]);
    refused(one().wait(Duration::from_secs(61)), &["wait is 61s", "60s"]);
    let backoff = policy(|policy| policy.max_backoff = millis(10));
    refused(backoff, &["max_backoff is 10ms", "100ms"]);
    let demand = policy(|policy| policy.demand_interval = Duration::ZERO);
    refused(demand, &["demand_interval is 0ns"]);
    let probe = policy(|policy| policy.probe_timeout = Duration::ZERO);
    refused(probe, &["probe_timeout is 0ns"]);
    let none = one().budget(Budget::new().concurrent(0));
    refused(none, &["0 reads at once", "Refuse"]);
}

#[tokio::test]
async fn everything_that_is_wrong_is_said_at_once() {
    let wrong = PgRouter::builder()
        .replica("postgres://app@db-2/app")
        .max_lag(millis(10))
        .policy(|policy| policy.leave_after = 0);
    refused(
        wrong,
        &[
            "0 nodes are given as primary",
            "max_lag is 10ms",
            "leave_after is 0",
        ],
    );
}

#[test]
fn a_router_needs_a_runtime_and_says_so() {
    refused(one(), &["tokio runtime"]);
}

#[tokio::test]
async fn a_budget_of_nothing_is_fine_where_nothing_falls_back() -> Outcome {
    let cluster = start(0, "").await?;
    let router = bare()
        .primary(config(cluster.primary()))
        .fallback(Fallback::Refuse)
        .budget(Budget::new().concurrent(0));
    let router = router.connect().await?;
    // There is no replica that could have served: that is no fallback.
    drop(router.read().await?);
    Ok(())
}
