//! What a cluster can be told to be like, so that someone else can count on it: names, ports, its
//! folder, and who has to show a password.
#![expect(clippy::unwrap_used, reason = "what a test stands on may fail it")]

use std::fs;
use std::path::{Path, PathBuf};

use lagwise_testkit::{Cluster, Error, Result};
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;

#[tokio::test]
async fn nodes_have_the_names_they_are_given_also_for_each_other() -> Result<()> {
    let names = ["primary", "replica-1"];
    let builder = Cluster::builder().replicas(2).names(names);
    let cluster = builder.start().await?;
    let named: Vec<_> = cluster.nodes().iter().map(|node| node.name()).collect();
    assert_eq!(named, ["primary", "replica-1", "r2"]);
    let seen = "select string_agg(application_name, ' ' order by application_name) from pg_stat_replication";
    let seen: String = cluster.primary().query_scalar(seen).await?;
    assert_eq!(seen, "r2 replica-1");
    cluster.node("replica-1").unwrap().promote().await?;
    cluster.primary().rejoin(cluster.replica(0)).await?;
    cluster.primary().wait_streaming().await?;
    cluster.shutdown().await
}

#[tokio::test]
async fn a_name_that_cannot_be_one_is_refused() {
    for names in [
        &["a", "a"][..],
        &[""],
        &["a b"],
        &["a'"],
        &["../a"],
        &["a", "p", "p"],
    ] {
        let builder = Cluster::builder().replicas(2).names(names.iter().copied());
        let error = builder.start().await.unwrap_err();
        let said = error.to_string();
        assert!(
            said.contains("no name of a node") || said.contains("both be"),
            "{said}"
        );
    }
}

#[tokio::test]
async fn ports_are_those_asked_for_and_a_taken_one_is_named() -> Result<()> {
    // Whoever else runs tests here looks for free ports elsewhere.
    let first = 20_000 + u16::try_from(std::process::id() % 5_000).unwrap();
    let cluster = Cluster::builder().replicas(1).ports(first).start().await?;
    let ports = cluster
        .nodes()
        .iter()
        .map(|node| node.client_wire().address().port());
    assert_eq!(ports.collect::<Vec<_>>(), [first, first + 1]);
    let error = Cluster::builder()
        .ports(first + 1)
        .start()
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains(&format!("port {} of", first + 1)),
        "{error}"
    );
    let home = cluster.folder().to_owned();
    cluster.shutdown().await?;
    assert!(!home.exists());
    // Free again, also for whoever wants the same.
    Cluster::builder()
        .ports(first)
        .start()
        .await?
        .shutdown()
        .await?;
    let error = Cluster::builder()
        .replicas(1)
        .ports(u16::MAX)
        .start()
        .await
        .unwrap_err();
    assert!(error.to_string().contains("65535"), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_role_can_be_made_to_show_its_password() -> Result<()> {
    let builder = Cluster::builder()
        .replicas(1)
        .hba("local all app scram-sha-256");
    let cluster = builder.start().await?;
    cluster
        .primary()
        .execute("create role app login password 'right'")
        .await?;
    cluster.wait_caught_up().await?;
    let connect = async |node: &lagwise_testkit::Node, password: &str| {
        let address = node.client_wire().address();
        PgConnection::connect(&format!("postgres://app:{password}@{address}/postgres")).await
    };
    let checked = async || {
        for node in cluster.nodes() {
            drop(connect(node, "right").await?);
            let refused = connect(node, "wrong").await.unwrap_err();
            let refused = refused.as_database_error().and_then(|error| error.code());
            assert_eq!(refused.as_deref(), Some("28P01"), "{}", node.name());
        }
        Ok::<_, Error>(())
    };
    checked().await?;
    let (old, new) = (cluster.primary(), cluster.replica(0));
    new.promote().await?;
    old.rejoin(new).await?;
    checked().await?;
    cluster.shutdown().await
}

#[tokio::test]
async fn a_folder_that_was_chosen_is_made_and_goes_with_the_cluster() -> Result<()> {
    let parent = Parent::make("a");
    let folder = parent.0.join("nodes");
    let cluster = Cluster::builder()
        .replicas(1)
        .folder(&folder)
        .start()
        .await?;
    assert_eq!(cluster.folder(), folder);
    let error = Cluster::builder()
        .folder(&folder)
        .start()
        .await
        .unwrap_err();
    assert!(error.to_string().contains("nodes"), "{error}");
    assert_eq!(
        cluster.replica(0).query_scalar::<i32>("select 1").await?,
        1,
        "it is untouched"
    );
    cluster.shutdown().await?;
    assert!(parent.is_empty(), "no draft and no folder stays");
    Ok(())
}

#[tokio::test]
async fn a_path_that_is_too_long_for_the_longest_name_is_refused_and_leaves_nothing() -> Result<()>
{
    let parent = Parent::make("long");
    let builder = Cluster::builder().names(["n".repeat(70)]);
    let error = builder
        .folder(parent.0.join("nodes"))
        .start()
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("choose a shorter folder"),
        "{error}"
    );
    assert!(parent.is_empty());
    Ok(())
}

#[tokio::test]
async fn what_is_left_in_a_folder_is_ended_and_removed() -> Result<()> {
    let parent = Parent::make("left");
    let folder = parent.0.join("nodes");
    Cluster::remove_leftovers(&folder).await?;
    let cluster = Cluster::builder()
        .replicas(1)
        .folder(&folder)
        .start()
        .await?;
    Cluster::remove_leftovers(&folder).await?;
    assert!(parent.is_empty());
    let ended = cluster.primary().query_scalar::<i32>("select 1").await;
    assert!(ended.is_err(), "its servers have ended");
    // The cluster's own watchdog finds nothing to do.
    cluster.shutdown().await
}

/// A folder for clusters' folders, which a test removes.
struct Parent(PathBuf);

impl Parent {
    fn make(name: &str) -> Self {
        let name = format!("lwc-{name}-{}", std::process::id());
        let folder = Path::new("/tmp").canonicalize().unwrap().join(name);
        Cluster::make_folder(&folder).unwrap();
        assert!(
            Cluster::make_folder(&folder).is_err(),
            "it is there already"
        );
        Self(folder)
    }

    fn is_empty(&self) -> bool {
        fs::read_dir(&self.0).unwrap().next().is_none()
    }
}

impl Drop for Parent {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}
