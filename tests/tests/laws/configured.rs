//! A router is what its file or its connection string says, and who is the primary is asked of the
//! nodes.

use std::fs;

use lagwise::config::Config;
use lagwise::{NodeConfig, PgRouter, Reason};
use lagwise_testkit::{Cluster, Node};
use lagwise_tests::Outcome;
use lagwise_tests::cluster::{PATIENCE, number, start};
use lagwise_tests::observe::primary_is;
use lagwise_tests::workload::LANES;

/// One connection string with the hosts of all these nodes.
fn hosts<'a>(nodes: impl IntoIterator<Item = &'a Node>) -> String {
    let addresses = nodes
        .into_iter()
        .map(|node| node.client_wire().address().to_string());
    let addresses: Vec<String> = addresses.collect();
    format!("postgres://postgres@{}/postgres", addresses.join(","))
}

/// The name that a node has in a router over such a string.
fn name(node: &Node) -> String {
    node.client_wire().address().to_string()
}

async fn over(connection: &str) -> Outcome<PgRouter> {
    let mut config = Config::new();
    config.add_hosts(connection)?;
    let router = config.builder().connect_timeout(PATIENCE).connect().await?;
    Ok(router)
}

async fn replicas_first() -> Outcome<(Cluster, String)> {
    let cluster = start(2, LANES).await?;
    let connection = hosts(cluster.replicas().iter().chain([cluster.primary()]));
    Ok((cluster, connection))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_hosts_the_primary_is_found_wherever_it_stands() -> Outcome {
    let (cluster, connection) = replicas_first().await?;
    let router = over(&connection).await?;
    primary_is(&router, &name(cluster.primary())).await?;
    router.ready(2, PATIENCE).await?;
    let session = router.session();
    sqlx::query("insert into lanes values (7000, 1, '')")
        .execute(&session)
        .await?;
    let mut read = session.read().await?;
    let found = number(&mut read, "select count(*) from lanes where lane = 7000");
    assert_eq!(found.await?, 1);
    let mut read = router.read().await?;
    assert_eq!(read.route().reason, Reason::Eligible);
    assert_eq!(number(&mut read, "select count(*) from lanes").await?, 9);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_host_that_is_down_or_hangs_keeps_nobody_from_finding_the_primary() -> Outcome {
    let (cluster, connection) = replicas_first().await?;
    cluster.replica(0).client_wire().cut();
    let router = over(&connection).await?;
    primary_is(&router, &name(cluster.primary())).await?;
    router.close().await;
    cluster.replica(0).client_wire().blackhole();
    let router = over(&connection).await?;
    primary_is(&router, &name(cluster.primary())).await?;
    router.ready(1, PATIENCE).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_router_from_a_file_has_its_nodes_under_their_names() -> Outcome {
    let cluster = start(1, LANES).await?;
    let file = cluster.folder().join("lagwise.toml");
    let text = format!(
        "max_lag = '700ms'\n[primary]\nurl = '{}'\n[[replica]]\nname = 'near'\nurl = '{}'\n",
        cluster.primary().url(),
        cluster.replica(0).url()
    );
    fs::write(&file, text)?;
    let router = PgRouter::from_config(&file)?.connect().await?;
    router.ready(1, PATIENCE).await?;
    assert_eq!(router.snapshot().policy.max_lag.as_millis(), 700);
    assert_eq!(&*router.read().await?.route().node, "near");
    primary_is(&router, "primary").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_without_roles_and_one_primary_are_told_apart_by_asking() -> Outcome {
    let cluster = start(1, LANES).await?;
    let router = PgRouter::builder()
        .node(NodeConfig::url(cluster.replica(0).url()))
        .node(NodeConfig::url(cluster.primary().url()))
        .connect()
        .await?;
    primary_is(&router, "node-2").await?;
    router.ready(1, PATIENCE).await?;
    assert_eq!(&*router.read().await?.route().node, "node-1");
    Ok(())
}
