//! Promotion, following, and the return of an old primary: rewound, or with a history of its own.

use std::time::Duration;

use lagwise_testkit::{Cluster, Node, Result, Stop};
use sqlx::Connection;
use sqlx::postgres::PgConnection;

#[tokio::test]
async fn a_promoted_replica_accepts_writes_at_once_and_the_others_can_follow_it() -> Result<()> {
    let cluster = counting().await?;
    let [r1, r2] = cluster.replicas() else {
        panic!("two replicas")
    };
    cluster.primary().kill().await?;
    r1.promote().await?;
    assert!(!r1.is_standby());
    insert(r1, 1).await?;

    r2.follow(r1).await?;
    assert_eq!(r2.follows().as_deref(), Some("r1"));
    cluster.wait_streaming().await?;
    cluster.wait_caught_up().await?;
    assert_eq!(ids(r2).await?, [1]);
    cluster.shutdown().await
}

#[tokio::test]
async fn a_rewound_primary_forgets_what_only_it_had() -> Result<()> {
    let cluster = parted().await?;
    let [r1, _] = cluster.replicas() else {
        panic!("two replicas")
    };
    let old = cluster.primary();
    old.rejoin(r1).await?;
    cluster.wait_streaming().await?;
    cluster.wait_caught_up().await?;
    assert_eq!(
        ids(old).await?,
        [1, 3],
        "2 was written by the old primary alone"
    );
    insert(r1, 4).await?;
    cluster.wait_caught_up().await?;
    assert_eq!(ids(old).await?, [1, 3, 4]);
    cluster.shutdown().await
}

#[tokio::test]
async fn a_crashed_primary_can_be_rewound_too() -> Result<()> {
    let cluster = parted().await?;
    let old = cluster.primary();
    old.kill().await?;
    old.rejoin(cluster.replica(0)).await?;
    cluster.wait_streaming().await?;
    cluster.wait_caught_up().await?;
    assert_eq!(ids(old).await?, [1, 3]);
    cluster.shutdown().await
}

#[tokio::test]
async fn an_old_primary_that_is_not_rewound_serves_its_lost_rows_and_cannot_stream() -> Result<()> {
    let cluster = parted().await?;
    let [r1, r2] = cluster.replicas() else {
        panic!("two replicas")
    };
    let old = cluster.primary();
    old.kill().await?;
    old.rejoin_without_rewind(r1).await?;
    assert!(
        old.query_scalar::<bool>("select pg_is_in_recovery()")
            .await?
    );
    assert_eq!(
        ids(old).await?,
        [1, 2],
        "the row that is lost to everyone else"
    );
    let forked = async || {
        Ok(old
            .log()
            .contains("forked off current database system timeline"))
    };
    cluster
        .wait_until(Duration::from_secs(10), "its log tells", forked)
        .await?;

    insert(r1, 5).await?;
    r2.wait_replayed(&r1.lsn().await?).await?;
    assert_eq!(ids(old).await?, [1, 2]);
    // And the right way remains open.
    old.rejoin(r1).await?;
    cluster.wait_streaming().await?;
    cluster.wait_caught_up().await?;
    assert_eq!(ids(old).await?, [1, 3, 5]);
    cluster.shutdown().await
}

#[tokio::test]
async fn roles_can_be_exchanged_back_and_forth() -> Result<()> {
    let cluster = counting().await?;
    let [r1, r2] = cluster.replicas() else {
        panic!("two replicas")
    };
    let p = cluster.primary();
    for (round, (old, new)) in (1..).zip([(p, r1), (r1, p), (p, r1)]) {
        cluster.wait_caught_up().await?;
        old.stop(Stop::Fast).await?;
        new.promote().await?;
        r2.follow(new).await?;
        old.rejoin(new).await?;
        insert(new, round).await?;
        cluster.wait_streaming().await?;
        cluster.wait_caught_up().await?;
    }
    assert_eq!(ids(p).await?, [1, 2, 3]);
    assert_eq!(ids(r2).await?, [1, 2, 3]);
    cluster.shutdown().await
}

#[tokio::test]
async fn a_replica_can_follow_a_replica() -> Result<()> {
    let cluster = counting().await?;
    let [r1, r2] = cluster.replicas() else {
        panic!("two replicas")
    };
    r2.follow(r1).await?;
    cluster.wait_streaming().await?;
    insert(cluster.primary(), 1).await?;
    cluster.wait_caught_up().await?;
    assert_eq!(ids(r2).await?, [1]);
    cluster.shutdown().await
}

#[tokio::test]
async fn a_primary_cannot_follow() -> Result<()> {
    let cluster = counting().await?;
    let error = cluster
        .primary()
        .follow(cluster.replica(0))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("p is no standby"), "{error}");
    cluster.shutdown().await
}

#[tokio::test]
async fn sessions_outlive_a_promotion() -> Result<()> {
    let cluster = counting().await?;
    let replica = cluster.replica(0);
    let mut session = PgConnection::connect(&replica.url()).await?;
    replica.promote().await?;
    let inserted = sqlx::raw_sql("insert into t values (1)")
        .execute(&mut session)
        .await?;
    assert_eq!(inserted.rows_affected(), 1);
    session.close().await?;
    cluster.shutdown().await
}

/// A primary and two replicas, with an empty table.
async fn counting() -> Result<Cluster> {
    let cluster = Cluster::builder().replicas(2).start().await?;
    cluster.primary().execute("create table t (id int)").await?;
    cluster.wait_caught_up().await?;
    Ok(cluster)
}

/// A cluster whose histories have parted: 1 is everywhere, 2 only on `p`, which still runs, 3 on
/// `r1`, the new primary, and `r2`.
async fn parted() -> Result<Cluster> {
    let cluster = counting().await?;
    let [r1, r2] = cluster.replicas() else {
        panic!("two replicas")
    };
    insert(cluster.primary(), 1).await?;
    cluster.wait_caught_up().await?;
    for replica in cluster.replicas() {
        replica.upstream_wire().cut();
    }
    insert(cluster.primary(), 2).await?;
    r1.promote().await?;
    r2.follow(r1).await?;
    r2.upstream_wire().heal();
    insert(r1, 3).await?;
    cluster.wait_caught_up().await?;
    Ok(cluster)
}

async fn insert(node: &Node, id: i32) -> Result<()> {
    node.execute(&format!("insert into t values ({id})"))
        .await
        .map(drop)
}

async fn ids(node: &Node) -> Result<Vec<i32>> {
    node.query_scalar("select coalesce(array_agg(id order by id), '{}') from t")
        .await
}
