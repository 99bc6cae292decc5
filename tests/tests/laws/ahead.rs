//! A replica that comes back is ready before it takes reads: its first ones do not pay for connecting.

use lagwise::Cause;
use lagwise_testkit::{Node, Stop};
use lagwise_tests::Outcome;
use lagwise_tests::checker::REGISTERS;
use lagwise_tests::cluster::{PATIENCE, with_router};
use lagwise_tests::observe::{ejected, readmitted, until};

/// How many connections there are but the monitor's.
async fn connections(node: &Node) -> Outcome<i64> {
    let others = "select count(*) from pg_stat_activity where backend_type = 'client backend' \
                  and application_name <> 'lagwise monitor' and pid <> pg_backend_pid()";
    Ok(node.query_scalar(others).await?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_comes_back_has_as_many_connections_as_are_in_use() -> Outcome {
    let (cluster, router) = with_router(1, REGISTERS).await?;
    let held = [router.read().await?, router.read().await?];
    drop(held);
    let replica = cluster.replica(0);
    replica.stop(Stop::Fast).await?;
    ejected(&router, "r1", Cause::Unreachable).await?;
    // The reads of others go on, where they can.
    let busy = [
        router.read().await?,
        router.read().await?,
        router.read().await?,
    ];
    assert!(busy.iter().all(|read| &*read.route().node == "p"));
    replica.start().await?;
    readmitted(&router, "r1").await?;
    until("connections are there", PATIENCE, async || {
        Ok(connections(replica).await? == 3)
    })
    .await?;
    drop(busy);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_router_that_nobody_uses_opens_no_connections() -> Outcome {
    let (cluster, router) = with_router(1, REGISTERS).await?;
    let replica = cluster.replica(0);
    replica.stop(Stop::Fast).await?;
    ejected(&router, "r1", Cause::Unreachable).await?;
    replica.start().await?;
    readmitted(&router, "r1").await?;
    assert_eq!(connections(replica).await?, 0);
    assert_eq!(connections(cluster.primary()).await?, 0);
    Ok(())
}
