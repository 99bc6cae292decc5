//! Starting clusters: what is there when the start returns, and what an impossible one says.

use std::collections::BTreeSet;

use lagwise_testkit::{Cluster, Error, Installation, Result, Stop};
use sqlx::postgres::PgConnection;
use sqlx::{Connection, Executor};

#[tokio::test]
async fn a_started_cluster_streams_to_every_replica() -> Result<()> {
    let cluster = Cluster::builder().replicas(2).start().await?;
    let streaming = "select count(*) from pg_stat_replication where state = 'streaming'";
    assert_eq!(cluster.primary().query_scalar::<i64>(streaming).await?, 2);

    cluster
        .primary()
        .execute("create table t (id int); insert into t values (7)")
        .await?;
    cluster.wait_caught_up().await?;
    for replica in cluster.replicas() {
        assert_eq!(replica.query_scalar::<i32>("select id from t").await?, 7);
        let role = replica
            .query_scalar::<bool>("select pg_is_in_recovery()")
            .await?;
        assert!(role, "{} is a standby", replica.name());
    }
    cluster.shutdown().await
}

#[tokio::test]
async fn nodes_are_found_by_name_and_know_their_own() -> Result<()> {
    let cluster = Cluster::builder().replicas(2).start().await?;
    for name in ["p", "r1", "r2"] {
        let node = cluster.node(name).unwrap();
        assert_eq!(node.name(), name);
        assert_eq!(
            node.query_scalar::<String>("show cluster_name").await?,
            name
        );
    }
    assert!(cluster.node("r3").is_none());
    assert_eq!(cluster.nodes().len(), 3);
    assert_eq!(cluster.replica(1).follows().as_deref(), Some("p"));
    cluster.shutdown().await
}

#[tokio::test]
async fn settings_of_the_test_win_over_those_of_the_kit() -> Result<()> {
    let cluster = Cluster::builder()
        .setting("synchronous_commit", "off")
        .setting("shared_buffers", "24MB")
        .wal_segment_mb(1)
        .start()
        .await?;
    let show = async |name: &str| {
        cluster
            .primary()
            .query_scalar::<String>(&format!("show {name}"))
            .await
            .unwrap()
    };
    assert_eq!(show("synchronous_commit").await, "off");
    assert_eq!(show("shared_buffers").await, "24MB");
    assert_eq!(show("wal_segment_size").await, "1MB");
    cluster.shutdown().await
}

#[tokio::test]
async fn a_setting_changed_later_holds_for_new_sessions_and_after_a_restart() -> Result<()> {
    let cluster = Cluster::builder().start().await?;
    let node = cluster.primary();
    let work_mem = async || node.query_scalar::<String>("show work_mem").await;

    node.configure("work_mem", "9MB").await?;
    assert_eq!(work_mem().await?, "9MB", "in force when the call returns");
    node.restart(Stop::Fast).await?;
    assert_eq!(work_mem().await?, "9MB", "and after a restart");
    cluster.shutdown().await
}

#[tokio::test]
async fn both_addresses_lead_to_the_same_server() -> Result<()> {
    let cluster = Cluster::builder().start().await?;
    let node = cluster.primary();
    for url in [node.url(), node.socket_url()] {
        let mut connection = PgConnection::connect(&url).await?;
        let row = connection.fetch_one("show data_directory").await?;
        let data: String = sqlx::Row::get(&row, 0);
        assert_eq!(data, node.data_dir().to_string_lossy(), "{url}");
        connection.close().await?;
    }
    cluster.shutdown().await
}

#[tokio::test]
async fn clusters_that_run_at_once_do_not_meet() -> Result<()> {
    let (one, two) = tokio::try_join!(
        Cluster::builder().replicas(1).start(),
        Cluster::builder().replicas(1).start(),
    )?;
    one.primary().execute("create table mine ()").await?;
    one.wait_caught_up().await?;
    let tables = "select count(*) from pg_class where relname = 'mine'";
    assert_eq!(one.replica(0).query_scalar::<i64>(tables).await?, 1);
    assert_eq!(two.primary().query_scalar::<i64>(tables).await?, 0);
    let urls: BTreeSet<_> = one
        .nodes()
        .iter()
        .chain(two.nodes())
        .map(lagwise_testkit::Node::url)
        .collect();
    assert_eq!(urls.len(), 4, "every node has its own address: {urls:?}");

    one.shutdown().await?;
    assert!(
        two.replica(0).query_scalar::<bool>("select true").await?,
        "the other lives on"
    );
    two.shutdown().await
}

#[tokio::test]
async fn a_cluster_may_have_its_own_system_identifier() -> Result<()> {
    let identifier = "select system_identifier from pg_control_system()";
    let start = async |builder: lagwise_testkit::Builder| {
        let cluster = builder.start().await?;
        let identifier = cluster.primary().query_scalar::<i64>(identifier).await?;
        Ok::<_, Error>((cluster, identifier))
    };
    let (common, shared) = start(Cluster::builder()).await?;
    let (foreign, own) = start(Cluster::builder().own_system_identifier()).await?;
    assert_ne!(shared, own);
    common.shutdown().await?;
    foreign.shutdown().await
}

#[tokio::test]
async fn eight_clusters_start_at_once() -> Result<()> {
    let mut starts = tokio::task::JoinSet::new();
    for _ in 0..8 {
        starts.spawn(Cluster::builder().replicas(1).start());
    }
    let mut clusters = Vec::new();
    while let Some(started) = starts.join_next().await {
        clusters.push(started.unwrap()?);
    }
    for cluster in clusters {
        cluster.primary().execute("create table t ()").await?;
        cluster.wait_caught_up().await?;
        cluster.shutdown().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_version_that_is_not_installed_is_named_with_what_to_install() {
    let error = Cluster::builder()
        .version(8)
        .start()
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("no PostgreSQL 8"), "{error}");
    assert!(error.contains("apt-get install postgresql-8"), "{error}");
    assert!(error.contains("LAGWISE_PG_BIN"), "{error}");
}

#[tokio::test]
async fn a_version_that_is_installed_is_the_one_that_runs() -> Result<()> {
    let installed = Installation::find()?;
    let cluster = Cluster::builder()
        .version(installed.version())
        .start()
        .await?;
    let version = cluster
        .primary()
        .query_scalar::<String>("show server_version")
        .await?;
    assert_eq!(version, installed.release());
    cluster.shutdown().await
}

#[tokio::test]
async fn a_server_that_does_not_start_shows_its_log() {
    let error = Cluster::builder()
        .setting("no_such_setting", "1")
        .start()
        .await
        .unwrap_err();
    let log = error.log().unwrap_or_default();
    assert!(log.contains("no_such_setting"), "{error:?}");
    assert!(
        format!("{error:?}").contains("no_such_setting"),
        "what `unwrap` shows has it too"
    );
}

#[tokio::test]
async fn a_wait_in_vain_names_the_node_the_condition_and_the_log() -> Result<()> {
    let patience = std::time::Duration::from_millis(300);
    let cluster = Cluster::builder().replicas(1).start().await?;
    let never = async || cluster.replica(0).query_scalar("select 1/0 = 1").await;
    let error = cluster
        .wait_until(patience, "the sky falls", never)
        .await
        .unwrap_err();
    let shown = format!("{error:?}");
    for part in ["the sky falls", "division by zero", "== r1", "r1: "] {
        assert!(shown.contains(part), "{part} is missing in: {shown}");
    }
    cluster.shutdown().await
}

#[tokio::test]
async fn work_on_nodes_can_be_spawned() -> Result<()> {
    let cluster = Cluster::builder().replicas(1).start().await?;
    let (primary, replica) = (cluster.primary().clone(), cluster.replica(0).clone());
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move {
        primary.kill().await?;
        replica.promote().await?;
        primary.rejoin(&replica).await?;
        primary.wait_streaming().await
    });
    tasks.join_next().await.unwrap().unwrap()?;
    cluster.shutdown().await
}
