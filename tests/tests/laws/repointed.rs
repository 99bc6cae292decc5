//! An address leads elsewhere from one moment to the next: nobody reads or writes there by a connection
//! that was taken for one to the server before.

use std::time::Duration;

use lagwise::{Cause, NodeConfig, Role};
use lagwise_testkit::{Balancer, Cluster};
use lagwise_tests::Outcome;
use lagwise_tests::cluster::{bare, config, number, settle, start, start_with, with_router};
use lagwise_tests::observe::{each_poll, ejected, primary_is, readmitted, view};
use sqlx::AssertSqlSafe;

/// Which cluster answers: ours says 1.
const OURS: &str = "create table whose (n int8); insert into whose values (1)";
const THEIRS: &str = "create table whose (n int8); insert into whose values (2)";

const WHOSE: &str = "select n from whose";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_cluster_at_a_replicas_address_answers_nobody() -> Outcome {
    let (ours, db) = with_router(2, OURS).await?;
    let other = Cluster::builder().replicas(1).own_system_identifier();
    let theirs = start_with(other, THEIRS).await?;
    for round in 0..6 {
        let at_once = |db: lagwise::PgRouter| async move {
            let read = db.run_read(|node| Box::pin(number(node, WHOSE)));
            read.await.map_err(Into::into)
        };
        // Reads before, during and after the change, several at once, so that pools grow in it.
        let mut reads = tokio::task::JoinSet::new();
        for _ in 0..12 {
            reads.spawn(at_once(db.clone()));
        }
        ours.replica(0).lead_clients_to(theirs.replica(0));
        for _ in 0..60 {
            reads.spawn(at_once(db.clone()));
            tokio::task::yield_now().await;
        }
        ejected(&db, "r1", Cause::Foreign).await?;
        for read in reads.join_all().await {
            let read: Outcome<i64> = read;
            assert_eq!(read?, 1, "round {round}");
        }
        each_poll(&db, "r1", 3, |snapshot| {
            assert!(!view(snapshot, "r1").membership.is_in_rotation());
        })
        .await?;
        ours.replica(0).lead_clients_to(ours.replica(0));
        readmitted(&db, "r1").await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_leads_elsewhere_is_noticed_while_the_monitors_connection_lives() -> Outcome
{
    let ours = start(1, OURS).await?;
    let other = Cluster::builder().replicas(2).own_system_identifier();
    let theirs = start_with(other, THEIRS).await?;
    // The monitor comes first, and is led to ours; the two who come next are not.
    let address = Balancer::over([ours.replica(0), theirs.replica(0), theirs.replica(1)])?;
    let replica = NodeConfig::url(address.url()).name("r1");
    let db = settle(bare().primary(config(ours.primary())).replica(replica), 1).await?;
    let whose = db.run_read(|node| Box::pin(number(node, WHOSE))).await?;
    assert_eq!(whose, 1);
    ejected(&db, "r1", Cause::Foreign).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_in_the_place_of_one_that_was_cut_is_asked_where_it_leads() -> Outcome {
    let ours = start(1, OURS).await?;
    let other = Cluster::builder().replicas(1).own_system_identifier();
    let theirs = start_with(other, THEIRS).await?;
    // The monitor and the first read are led to ours, and whoever comes next is not.
    let replica = ours.replica(0);
    let address = Balancer::over([replica, replica, theirs.replica(0)])?;
    let node = NodeConfig::url(address.url()).name("r1").keep_warm(false);
    let db = settle(bare().primary(config(ours.primary())).replica(node), 1).await?;
    let whose = async || db.run_read(|node| Box::pin(number(node, WHOSE))).await;
    assert_eq!(whose().await?, 1);
    let cut = "select count(pg_terminate_backend(pid)) from pg_stat_activity where \
               backend_type = 'client backend' and pid <> pg_backend_pid() \
               and application_name <> 'lagwise monitor'";
    assert_eq!(replica.query_scalar::<i64>(cut).await?, 1);
    // From a second on, the pool tests what has been idle before it hands it out.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(whose().await?, 1, "it has the age of nobody else");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_old_primary_at_the_new_primarys_address_gets_no_write() -> Outcome {
    let (cluster, db) = with_router(2, OURS).await?;
    let [old, new] = [cluster.primary(), cluster.replica(0)];
    new.upstream_wire().blackhole();
    new.promote().await?;
    primary_is(&db, "r1").await?;
    let write = |n: i64| format!("insert into whose values ({n})");
    sqlx::query(AssertSqlSafe(write(10))).execute(&db).await?;
    // The old one is alive, on the timeline before.
    new.lead_clients_to(old);
    for n in 11..20 {
        let session = db.session().with_deadline(Duration::from_millis(200));
        // Refused, or cut under way: but not written there.
        sqlx::query(AssertSqlSafe(write(n)))
            .execute(&session)
            .await
            .ok();
    }
    let strays = "select count(*) from whose where n > 9";
    assert_eq!(old.query_scalar::<i64>(strays).await?, 0);
    new.lead_clients_to(new);
    primary_is(&db, "r1").await?;
    sqlx::query(AssertSqlSafe(write(30))).execute(&db).await?;
    assert_eq!(
        new.query_scalar::<i64>("select count(*) from whose where n = 30")
            .await?,
        1
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_nobody_asked_for_are_not_opened() -> Outcome {
    let cluster = start(1, OURS).await?;
    let pool = || sqlx::postgres::PgPoolOptions::new().min_connections(4);
    let db = bare()
        .primary(config(cluster.primary()).pool_options(pool()))
        .replica(config(cluster.replica(0)).pool_options(pool()));
    let db = settle(db, 1).await?;
    let node = db.read().await?;
    assert_eq!(node.route().role, Role::Replica);
    let others = "select count(*) from pg_stat_activity where application_name <> 'lagwise monitor' \
                  and backend_type = 'client backend' and pid <> pg_backend_pid()";
    let seen: i64 = cluster.replica(0).query_scalar(others).await?;
    assert_eq!(
        seen, 1,
        "what is not asked where it leads must not get old in the pool"
    );
    Ok(())
}
