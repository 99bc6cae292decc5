//! A balancer has one address, and each connection to it may show another server.

use std::io::ErrorKind;
use std::time::Duration;

use lagwise_testkit::{Balancer, Cluster, Node, Result};
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Long enough for anything that is going to happen to have happened on a healthy node.
const MOMENT: Duration = Duration::from_millis(300);

#[tokio::test]
async fn connections_land_on_the_nodes_in_turn() -> Result<()> {
    let cluster = Cluster::builder().replicas(2).start().await?;
    let [r1, r2] = cluster.replicas() else {
        panic!("two replicas")
    };
    let balancer = Balancer::over([r1, r2])?;
    let mut servers = Vec::new();
    let mut open = Vec::new();
    for _ in 0..4 {
        let mut connection = PgConnection::connect(&balancer.url()).await?;
        servers.push(server(&mut connection).await?);
        open.push(connection);
    }
    assert_eq!(servers, [home(r1), home(r2), home(r1), home(r2)]);
    assert_eq!(balancer.wire().connections(), 4);
    assert_eq!(
        r1.client_wire().connections(),
        2,
        "the way goes over theirs"
    );
    let again = server(&mut open[0]).await?;
    assert_eq!(again, home(r1), "a connection stays where it is");
    cluster.shutdown().await
}

#[tokio::test]
async fn a_node_that_is_down_or_cut_off_is_passed_over() -> Result<()> {
    let cluster = Cluster::builder().replicas(2).start().await?;
    let [r1, r2] = cluster.replicas() else {
        panic!("two replicas")
    };
    let balancer = Balancer::over(cluster.replicas())?;
    let mut session = PgConnection::connect(&balancer.url()).await?;
    assert_eq!(server(&mut session).await?, home(r1));
    r1.kill().await?;
    assert!(session.ping().await.is_err(), "its connection is gone");
    assert_eq!(lands(&balancer).await?, home(r2), "in its own turn");
    assert_eq!(lands(&balancer).await?, home(r2), "in the other's turn");

    r1.start().await?;
    r2.client_wire().cut();
    assert_eq!(lands(&balancer).await?, home(r1));
    assert_eq!(lands(&balancer).await?, home(r1));
    r1.client_wire().cut();
    let nowhere = lands(&balancer).await;
    assert!(nowhere.is_err(), "{nowhere:?}");
    cluster.shutdown().await
}

#[tokio::test]
async fn a_node_that_hangs_keeps_its_turn() -> Result<()> {
    let cluster = Cluster::builder().replicas(1).start().await?;
    let [p, r1] = cluster.nodes() else {
        panic!("two nodes")
    };
    let balancer = Balancer::over([p, r1])?;
    p.client_wire().blackhole();
    let first = timeout(MOMENT, lands(&balancer)).await;
    assert!(first.is_err(), "nobody notices that it hears nothing");
    assert_eq!(lands(&balancer).await?, home(r1));
    cluster.shutdown().await
}

#[tokio::test]
async fn faults_of_the_balancer_are_faults_of_all_nodes_behind_it() -> Result<()> {
    let cluster = Cluster::builder().start().await?;
    let balancer = Balancer::over([cluster.primary()])?;
    let mut session = PgConnection::connect(&balancer.url()).await?;
    balancer.wire().cut();
    assert!(session.ping().await.is_err(), "its connection is gone");
    let refused = TcpStream::connect(balancer.wire().address())
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    balancer.wire().heal();
    assert_eq!(lands(&balancer).await?, home(cluster.primary()));
    let address = balancer.wire().address();
    drop(balancer);
    // The thread that carries the wire ends by itself, after the drop.
    let gone = async || Ok(TcpStream::connect(address).await.is_err());
    cluster
        .wait_until(Duration::from_secs(10), "the port is free", gone)
        .await?;
    cluster.shutdown().await
}

#[test]
fn a_balancer_over_no_node_is_refused() {
    let error = Balancer::over([]).unwrap_err();
    assert_eq!(error.to_string(), "a balancer over no node leads nowhere");
}

/// Where a new connection to the balancer lands.
async fn lands(balancer: &Balancer) -> Result<String> {
    let mut connection = PgConnection::connect(&balancer.url()).await?;
    let server = server(&mut connection).await?;
    connection.close().await?;
    Ok(server)
}

/// The folder of the server that answers.
async fn server(connection: &mut PgConnection) -> Result<String> {
    let folder = sqlx::query_scalar("show data_directory").fetch_one(connection);
    Ok(folder.await?)
}

fn home(node: &Node) -> String {
    node.data_dir().to_string_lossy().into_owned()
}
