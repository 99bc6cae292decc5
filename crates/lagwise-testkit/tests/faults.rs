//! Every fault does what it says, and its opposite undoes it.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use lagwise_testkit::{Cluster, Node, Result, Stop};
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Long enough for anything that is going to happen to have happened on a healthy node.
const MOMENT: Duration = Duration::from_millis(300);

const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::test]
async fn paused_replay_receives_but_does_not_show_until_resumed() -> Result<()> {
    let cluster = counting(1).await?;
    let replica = cluster.replica(0);
    replica.pause_replay().await?;
    let position = insert(&cluster).await?;
    let received = format!("select pg_last_wal_receive_lsn() >= '{position}'");
    cluster
        .wait_until(PATIENCE, "the row is received", || {
            replica.query_scalar::<bool>(&received)
        })
        .await?;
    assert_eq!(rows(replica).await?, 0, "replay is paused");
    replica.resume_replay().await?;
    shows(&cluster, replica, 1).await?;
    cluster.shutdown().await
}

#[tokio::test]
async fn delayed_replay_shows_a_row_no_sooner_than_the_delay() -> Result<()> {
    let cluster = counting(1).await?;
    let replica = cluster.replica(0);
    let hour = Duration::from_hours(1);
    replica.set_apply_delay(hour).await?;
    let position = insert(&cluster).await?;
    let waited = timeout(MOMENT, replica.wait_replayed(&position)).await;
    assert!(waited.is_err(), "an hour is not over yet");
    replica.set_apply_delay(Duration::ZERO).await?;
    shows(&cluster, replica, 1).await?;
    cluster.shutdown().await
}

#[tokio::test]
async fn frozen_replay_answers_queries_from_the_past_until_thawed() -> Result<()> {
    let cluster = counting(1).await?;
    let replica = cluster.replica(0);
    replica.freeze_replay()?;
    insert(&cluster).await?;
    stays_empty(replica).await?;
    replica.thaw_replay()?;
    shows(&cluster, replica, 1).await?;
    cluster.shutdown().await
}

#[tokio::test]
async fn a_frozen_stream_receives_nothing_until_thawed() -> Result<()> {
    let cluster = counting(1).await?;
    let replica = cluster.replica(0);
    replica.freeze_stream()?;
    insert(&cluster).await?;
    stays_empty(replica).await?;
    replica.thaw_stream()?;
    shows(&cluster, replica, 1).await?;
    cluster.shutdown().await
}

#[tokio::test]
async fn a_frozen_server_keeps_sessions_open_and_answers_nothing_until_thawed() -> Result<()> {
    let cluster = counting(1).await?;
    let replica = cluster.replica(0);
    let mut session = PgConnection::connect(&replica.url()).await?;
    replica.freeze()?;
    assert!(replica.is_running(), "frozen is not ended");
    {
        let answer = session.ping();
        tokio::pin!(answer);
        assert!(
            timeout(MOMENT, &mut answer).await.is_err(),
            "it does not answer"
        );
        let newcomer = timeout(MOMENT, PgConnection::connect(&replica.url())).await;
        assert!(newcomer.is_err(), "nor does it greet");
        replica.thaw()?;
        answer.await?;
    }
    session.close().await?;
    cluster.shutdown().await
}

#[tokio::test]
async fn what_is_frozen_can_be_stopped_and_killed() -> Result<()> {
    let cluster = counting(1).await?;
    let replica = cluster.replica(0);
    replica.freeze_replay()?;
    replica.restart(Stop::Fast).await?;
    replica.freeze()?;
    replica.restart(Stop::Immediate).await?;
    replica.freeze()?;
    replica.kill().await?;
    replica.start().await?;
    cluster.wait_streaming().await?;
    cluster.shutdown().await
}

#[tokio::test]
async fn a_cut_client_wire_resets_sessions_and_refuses_new_ones_until_healed() -> Result<()> {
    let cluster = counting(1).await?;
    let replica = cluster.replica(0);
    let wire = replica.client_wire();
    let mut session = PgConnection::connect(&replica.url()).await?;
    assert_eq!(wire.connections(), 1);

    wire.cut();
    assert_eq!(wire.connections(), 0);
    let broken = session.ping().await.unwrap_err();
    assert!(matches!(broken, sqlx::Error::Io(_)), "{broken:?}");
    let refused = TcpStream::connect(wire.address()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    assert_eq!(rows(replica).await?, 0, "the socket is not affected");

    wire.heal();
    PgConnection::connect(&replica.url()).await?.close().await?;
    cluster.shutdown().await
}

#[tokio::test]
async fn a_blackholed_client_wire_loses_nothing_it_was_given() -> Result<()> {
    let cluster = counting(0).await?;
    let primary = cluster.primary();
    let mut session = PgConnection::connect(&primary.url()).await?;
    primary.client_wire().blackhole();
    {
        let insert = sqlx::raw_sql("insert into t values (1)").execute(&mut session);
        tokio::pin!(insert);
        assert!(
            timeout(MOMENT, &mut insert).await.is_err(),
            "no answer comes"
        );
        assert_eq!(rows(primary).await?, 0, "nor has the statement arrived");
        primary.client_wire().heal();
        insert.await?;
    }
    assert_eq!(rows(primary).await?, 1);
    session.close().await?;
    cluster.shutdown().await
}

#[tokio::test]
async fn an_address_can_lead_to_another_node_and_home_again() -> Result<()> {
    let cluster = counting(2).await?;
    let (r1, r2) = (cluster.replica(0), cluster.replica(1));
    let mut session = PgConnection::connect(&r1.url()).await?;
    let greeted = async || -> Result<String> {
        let mut session = PgConnection::connect(&r1.url()).await?;
        let name = sqlx::query_scalar("select current_setting('cluster_name')");
        let name = name.fetch_one(&mut session).await?;
        session.close().await?;
        Ok(name)
    };
    r1.lead_clients_to(r2);
    assert!(session.ping().await.is_err(), "open connections are reset");
    assert_eq!(greeted().await?, "r2");
    assert_eq!(rows(r1).await?, 0, "the socket is not affected");
    r1.lead_clients_to(r1);
    assert_eq!(greeted().await?, "r1");
    cluster.shutdown().await
}

#[tokio::test]
async fn a_delayed_wire_adds_its_delay_each_way() -> Result<()> {
    let cluster = counting(0).await?;
    let mut session = PgConnection::connect(&cluster.primary().url()).await?;
    let each_way = Duration::from_millis(500);
    let wire = cluster.primary().client_wire();
    wire.delay(each_way);
    let asked = now();
    session.ping().await?;
    assert!(
        asked.elapsed() >= each_way * 2,
        "it took {:?}",
        asked.elapsed()
    );
    wire.heal();
    let asked = now();
    session.ping().await?;
    assert!(
        asked.elapsed() < each_way * 2,
        "healed, it took {:?}",
        asked.elapsed()
    );
    cluster.shutdown().await
}

#[tokio::test]
async fn a_delayed_wire_does_not_slow_down_what_it_carries() -> Result<()> {
    let cluster = counting(0).await?;
    let mut session = PgConnection::connect(&cluster.primary().url()).await?;
    cluster
        .primary()
        .client_wire()
        .delay(Duration::from_millis(20));
    let query = "select repeat('x', 20000000)";
    let work = sqlx::query_scalar::<_, String>(query).fetch_one(&mut session);
    let text = timeout(PATIENCE, work)
        .await
        .expect("megabytes take no minutes")?;
    assert_eq!(text.len(), 20_000_000);
    cluster.shutdown().await
}

#[tokio::test]
async fn a_cut_or_blackholed_upstream_wire_stops_the_stream_until_healed() -> Result<()> {
    let cluster = counting(2).await?;
    let [cut, dark] = cluster.replicas() else {
        panic!("two replicas")
    };
    cut.upstream_wire().cut();
    dark.upstream_wire().blackhole();
    insert(&cluster).await?;
    stays_empty(cut).await?;
    stays_empty(dark).await?;
    cut.upstream_wire().heal();
    dark.upstream_wire().heal();
    shows(&cluster, cut, 1).await?;
    shows(&cluster, dark, 1).await?;
    cluster.shutdown().await
}

#[tokio::test]
async fn faults_follow_each_other_a_hundred_times() -> Result<()> {
    let cluster = counting(1).await?;
    let wire = cluster.primary().client_wire();
    for _ in 0..100 {
        wire.cut();
        assert!(TcpStream::connect(wire.address()).await.is_err());
        wire.blackhole();
        wire.delay(Duration::from_millis(1));
        wire.heal();
        PgConnection::connect(&cluster.primary().url())
            .await?
            .ping()
            .await?;
    }
    cluster.shutdown().await
}

#[tokio::test]
async fn a_killed_server_refuses_clients_and_recovers_at_the_same_address() -> Result<()> {
    let cluster = counting(1).await?;
    let primary = cluster.primary();
    let url = primary.url();
    let mut session = PgConnection::connect(&url).await?;
    insert(&cluster).await?;

    primary.kill().await?;
    assert!(!primary.is_running());
    assert!(session.ping().await.is_err(), "the session is gone");
    let refused = TcpStream::connect(primary.client_wire().address())
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);

    primary.start().await?;
    assert_eq!(primary.url(), url);
    PgConnection::connect(&url).await?.close().await?;
    assert_eq!(rows(primary).await?, 1, "what was committed is recovered");
    assert!(
        primary.log().contains("ready to accept connections"),
        "{}",
        primary.log()
    );
    cluster.wait_streaming().await?;
    cluster.shutdown().await
}

#[tokio::test]
async fn a_stopped_server_comes_back_with_its_data_and_its_address() -> Result<()> {
    let cluster = counting(1).await?;
    insert(&cluster).await?;
    for node in cluster.nodes() {
        for how in [Stop::Fast, Stop::Immediate] {
            let url = node.url();
            node.stop(how).await?;
            node.stop(how).await?;
            assert!(!node.is_running());
            assert!(PgConnection::connect(&url).await.is_err(), "{how:?}");
            node.start().await?;
            node.wait_ready().await?;
            PgConnection::connect(&url).await?.close().await?;
        }
    }
    cluster.wait_streaming().await?;
    cluster.wait_caught_up().await?;
    assert_eq!(rows(cluster.replica(0)).await?, 1);
    cluster.shutdown().await
}

#[tokio::test]
async fn terminated_sessions_are_gone_when_the_call_returns() -> Result<()> {
    let cluster = counting(0).await?;
    let primary = cluster.primary();
    let mut one = PgConnection::connect(&primary.url()).await?;
    let mut two = primary.connect().await?;
    assert_eq!(primary.terminate_backends().await?, 2);
    assert!(one.ping().await.is_err());
    assert!(two.ping().await.is_err());
    cluster.shutdown().await
}

#[tokio::test]
async fn the_end_of_the_log_can_be_reached_even_at_the_edge_of_a_segment() -> Result<()> {
    let cluster = counting(1).await?;
    for _ in 0..5 {
        insert(&cluster).await?;
        cluster.primary().execute("select pg_switch_wal()").await?;
        cluster.wait_caught_up().await?;
    }
    cluster.shutdown().await
}

/// A cluster with an empty table `t` on every node.
async fn counting(replicas: usize) -> Result<Cluster> {
    let cluster = Cluster::builder().replicas(replicas).start().await?;
    cluster.primary().execute("create table t (id int)").await?;
    cluster.wait_caught_up().await?;
    Ok(cluster)
}

/// Adds a row, and says where the log ends then.
async fn insert(cluster: &Cluster) -> Result<String> {
    cluster
        .primary()
        .execute("insert into t values (1)")
        .await?;
    cluster.primary().lsn().await
}

async fn rows(node: &Node) -> Result<i64> {
    node.query_scalar("select count(*) from t").await
}

async fn shows(cluster: &Cluster, node: &Node, expected: i64) -> Result<()> {
    let shown = async || Ok(rows(node).await? == expected);
    cluster
        .wait_until(PATIENCE, &format!("{} shows the row", node.name()), shown)
        .await
}

/// Watches for a moment in which a healthy node would have shown the row.
async fn stays_empty(node: &Node) -> Result<()> {
    let watching = async {
        while rows(node).await? == 0 {
            tokio::task::yield_now().await;
        }
        Ok::<_, lagwise_testkit::Error>(())
    };
    match timeout(MOMENT, watching).await {
        Err(_elapsed) => Ok(()),
        Ok(seen) => seen.map(|()| panic!("{} shows the row", node.name())),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "what is tested here is how long something takes"
)]
fn now() -> Instant {
    Instant::now()
}
