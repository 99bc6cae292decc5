//! A replica that hangs, vanishes or refuses costs the reads that meet it some time, and none of them
//! its answer; once it is back, it gets its share again by and by.

use std::time::Duration;

use lagwise::{PgRouter, ReadOptions};
use lagwise_testkit::{Cluster, Node};
use lagwise_tests::cluster::{PATIENCE, router as router_over, settle, start};
use lagwise_tests::observe::{readmitted, snapshot_where, view};
use lagwise_tests::readers::{Readers, Tally};
use lagwise_tests::statements::PLACES;
use lagwise_tests::{Outcome, fail};

/// Far longer than any read needs that finds a node, and far shorter than a server hangs.
const DEADLINE: Duration = Duration::from_secs(4);

async fn under_load(replicas: usize) -> Outcome<(Cluster, PgRouter, Readers)> {
    let cluster = start(replicas, PLACES).await?;
    let router = settle(router_over(&cluster), replicas).await?;
    let readers = Readers::start(&router, 8, ReadOptions::new().deadline(DEADLINE));
    let all = |tally: &Tally| (0..replicas).all(|r| tally.by(&format!("r{}", r + 1)) > 20);
    readers.wait_for("every replica serves", all).await?;
    Ok((cluster, router, readers))
}

/// Every read was answered, and in time.
fn expect_all_served(tally: &Tally, when: &str) -> Outcome {
    if !tally.failures.is_empty() || tally.slowest > DEADLINE {
        return fail(format!("{when}: {tally:?}"));
    }
    Ok(())
}

/// Waits until replicas are out, and says how long that took.
async fn out(router: &PgRouter, nodes: &[&str]) -> Outcome<Duration> {
    let began = lagwise::now();
    snapshot_where(router, "the replicas are out", |snapshot| {
        let in_rotation = |node: &&str| view(snapshot, node).membership.is_in_rotation();
        !nodes.iter().any(in_rotation)
    })
    .await?;
    Ok(lagwise::now().since(began))
}

/// Something befalls the first of two replicas, and it is mended again.
async fn goes_and_returns(
    befall: impl AsyncFn(&Node) -> Outcome,
    mend: impl AsyncFn(&Node) -> Outcome,
) -> Outcome {
    let (cluster, router, readers) = under_load(2).await?;
    let r1 = cluster.replica(0);
    befall(r1).await?;
    let took = out(&router, &["r1"]).await?;
    assert!(took < PATIENCE / 2, "it was out after {took:?}");
    // What was under way when it went out ends, and the others go on.
    readers
        .wait_for("reads go on", |tally| tally.by("r2") > 100)
        .await?;
    expect_all_served(&readers.take(), "until it was out")?;
    readers
        .wait_for("reads go on", |tally| tally.by("r2") > 200)
        .await?;
    let tally = readers.take();
    expect_all_served(&tally, "while it was out")?;
    mend(r1).await?;
    readmitted(&router, "r1").await?;
    readers
        .wait_for("it serves again", |tally| tally.by("r1") > 50)
        .await?;
    let tally = readers.stop().await;
    expect_all_served(&tally, "when it was back")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_hangs_fails_no_read() -> Outcome {
    goes_and_returns(async |r1| Ok(r1.freeze()?), async |r1| Ok(r1.thaw()?)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_whose_network_swallows_everything_fails_no_read() -> Outcome {
    goes_and_returns(
        async |r1| {
            r1.client_wire().blackhole();
            Ok(())
        },
        async |r1| {
            r1.client_wire().heal();
            Ok(())
        },
    )
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_refuses_connections_fails_no_read() -> Outcome {
    goes_and_returns(
        async |r1| {
            r1.client_wire().cut();
            Ok(())
        },
        async |r1| {
            r1.client_wire().heal();
            Ok(())
        },
    )
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_crashes_fails_no_read() -> Outcome {
    goes_and_returns(
        async |r1| Ok(r1.kill().await?),
        async |r1| Ok(r1.start().await?),
    )
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_replicas_that_hang_at_once_fail_no_read() -> Outcome {
    let (cluster, router, readers) = under_load(3).await?;
    for replica in &cluster.replicas()[..2] {
        replica.freeze()?;
    }
    out(&router, &["r1", "r2"]).await?;
    readers
        .wait_for("reads go on", |tally| tally.by("r3") > 200)
        .await?;
    let tally = readers.stop().await;
    for replica in &cluster.replicas()[..2] {
        replica.thaw()?;
    }
    expect_all_served(&tally, "with one replica left")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_all_hang_at_once_fail_no_read_that_the_primary_can_take() -> Outcome {
    let (cluster, router, readers) = under_load(2).await?;
    for replica in cluster.replicas() {
        replica.freeze()?;
    }
    out(&router, &["r1", "r2"]).await?;
    readers
        .wait_for("reads go on", |tally| tally.by("p") > 200)
        .await?;
    let tally = readers.stop().await;
    for replica in cluster.replicas() {
        replica.thaw()?;
    }
    expect_all_served(&tally, "with the primary left")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_gets_elsewhere_before_the_monitor_knows_of_a_replica_that_hangs() -> Outcome {
    let cluster = start(2, PLACES).await?;
    // So long does the monitor trust a node that reads have to help themselves.
    let trusting = router_over(&cluster)
        .max_lag(Duration::from_secs(60))
        .policy(|policy| {
            policy.probe_timeout = Duration::from_secs(30);
            policy.unseen_for = Duration::from_secs(60);
            policy.sticky_window = Duration::from_secs(60);
            policy.acquire_patience = Duration::from_millis(100);
        });
    let router = settle(trusting, 2).await?;
    let r1 = cluster.replica(0);
    r1.freeze()?;
    // No connection is open yet: each read that meets it waits for one.
    let mut retried = 0;
    let began = lagwise::now();
    while retried == 0 && lagwise::now().since(began) < PATIENCE {
        let node = router.read().await?;
        assert_eq!(&*node.route().node, "r2", "{}", node.route());
        retried += u32::from(node.route().retried);
    }
    let snapshot = router.snapshot();
    r1.thaw()?;
    assert!(retried > 0, "no read met the replica that hangs");
    let trusted = view(&snapshot, "r1").membership.is_in_rotation();
    assert!(trusted, "the monitor found out first: nothing was tested");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_returns_gets_its_share_by_and_by() -> Outcome {
    let cluster = start(2, PLACES).await?;
    let slowly = router_over(&cluster).policy(|policy| policy.slow_start = SLOW_START);
    let router = settle(slowly, 2).await?;
    snapshot_where(&router, "the other one has started", |snapshot| {
        let since = view(snapshot, "r2").membership.since();
        lagwise::now().since(since) > SLOW_START
    })
    .await?;
    let r1 = cluster.replica(0);
    r1.kill().await?;
    out(&router, &["r1"]).await?;
    let readers = Readers::start(&router, 4, ReadOptions::new().deadline(DEADLINE));
    r1.start().await?;
    readmitted(&router, "r1").await?;
    let began = lagwise::now();
    drop(readers.take());
    let after = async |share: u32| {
        let age = SLOW_START * share / 4;
        while lagwise::now().since(began) < age {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        readers.take()
    };
    let first = after(1).await;
    drop(after(4).await);
    let last = after(6).await;
    drop(readers.stop().await);
    let share = |tally: &Tally| tally.by("r1") * 100 / tally.reads().max(1);
    expect_all_served(&first, "at first")?;
    expect_all_served(&last, "at last")?;
    let (first, last) = (share(&first), share(&last));
    assert!(first < 45, "it got {first} of a hundred reads at once");
    assert!(
        last > first,
        "{first} of a hundred at first and {last} at last"
    );
    Ok(())
}

const SLOW_START: Duration = Duration::from_secs(3);
