//! Statements whose servers say for themselves where one ran, and routers that let them.
//!
//! Which node answers is asked of the server: `here()` is its name. It is declared to only read, so
//! that a router that has read the catalog sends it to replicas.

use std::future::poll_fn;
use std::time::Duration;

use futures_core::stream::BoxStream;
use lagwise::{PgRouter, RouterBuilder, Verdict};
use lagwise_testkit::{Cluster, Node};
use sqlx::{PgExecutor, Postgres};

use crate::Outcome;
use crate::cluster::{PATIENCE, number, router, settle, start, start_with};
use crate::observe::{each_poll, until};

/// Makes the function that every server answers with its own name.
pub const PLACES: &str = "
    create function here() returns text language sql stable
        as $$ select current_setting('cluster_name') $$;
";

/// Begins a router that a busy machine does not make lose its replicas, and whose reads rather wait
/// for a replica than fall back.
pub fn calm(cluster: &Cluster) -> RouterBuilder<Postgres> {
    router(cluster)
        .max_lag(Duration::from_secs(30))
        .wait(Duration::from_secs(5))
        .policy(|policy| policy.unseen_for = Duration::from_secs(10))
}

/// A cluster that tells where it is asked, and a calm router that knows it.
pub async fn with_places(replicas: usize, statements: &str) -> Outcome<(Cluster, PgRouter)> {
    let cluster = start(replicas, &format!("{PLACES}{statements}")).await?;
    let router = settled(calm(&cluster), replicas).await?;
    Ok((cluster, router))
}

/// A cluster of one replica that tells where it is asked, and whose servers write down every
/// statement.
pub async fn start_logged(statements: &str) -> Outcome<Cluster> {
    let cluster = Cluster::builder().replicas(1);
    let cluster = cluster.setting("log_statement", "all");
    start_with(cluster, &format!("{PLACES}{statements}")).await
}

/// [`settle`] that waits for the catalog as well, and opens connections to the replicas.
pub async fn settled(builder: RouterBuilder<Postgres>, replicas: usize) -> Outcome<PgRouter> {
    let router = settle(builder, replicas).await?;
    is_read(&router, "select here()").await?;
    warm_up(&router).await?;
    Ok(router)
}

/// Opens connections to all replicas, and waits until their nodes were seen after that. A session
/// that is given a younger one may well go on on the primary.
pub async fn warm_up(router: &PgRouter) -> Outcome {
    let replicas: Vec<String> = {
        let snapshot = router.snapshot();
        let nodes = snapshot
            .nodes
            .iter()
            .filter(|node| Some(node.id) != snapshot.primary);
        nodes.map(|node| node.spec.name.to_string()).collect()
    };
    let mut held = Vec::new();
    let enough = async || {
        let mut node = router.read().await?;
        // What has ended meanwhile is found out by using it.
        if number(&mut node, "select 1::int8").await.is_ok() {
            held.push(node);
        }
        let of = |name: &String| {
            let places = held.iter().filter(|node| *node.route().node == **name);
            places.count() >= CONNECTIONS
        };
        Ok(replicas.iter().all(of))
    };
    until("connections are open", PATIENCE, enough).await?;
    drop(held);
    for name in &replicas {
        each_poll(router, name, 2, |_| {}).await?;
    }
    Ok(())
}

/// A connection is back in its pool a little after its statement has ended.
const CONNECTIONS: usize = 8;

/// Waits until the router takes a text for a read.
pub async fn is_read(router: &PgRouter, sql: &str) -> Outcome {
    is(router, sql, Verdict::Read).await
}

/// Waits until the router takes a text for a write.
pub async fn is_write(router: &PgRouter, sql: &str) -> Outcome {
    is(router, sql, Verdict::Write).await
}

async fn is(router: &PgRouter, sql: &str, verdict: Verdict) -> Outcome {
    let what = format!("{sql:?} is taken for a {verdict}");
    let told = async || {
        let classification = router.classify(sql);
        if classification.verdict == verdict {
            return Ok(true);
        }
        crate::fail(classification.because.to_string())
    };
    until(&what, PATIENCE, told).await
}

/// The node that answers.
pub async fn place(db: impl PgExecutor<'_>) -> Result<String, sqlx::Error> {
    sqlx::query_scalar("select here()").fetch_one(db).await
}

/// Waits until reads are answered by a replica.
pub async fn on_replica<P>(what: &str, db: &P) -> Outcome
where
    for<'e> &'e P: PgExecutor<'e>,
{
    let away = async || Ok(place(db).await?.starts_with('r'));
    until(what, PATIENCE, away).await
}

/// The next item of a stream.
pub async fn next<T>(stream: &mut BoxStream<'_, T>) -> Option<T> {
    poll_fn(|context| stream.as_mut().poll_next(context)).await
}

/// All items of a stream, or its error.
pub async fn drained<T>(
    mut stream: BoxStream<'_, Result<T, sqlx::Error>>,
) -> Result<Vec<T>, sqlx::Error> {
    let mut items = Vec::new();
    while let Some(item) = next(&mut stream).await {
        items.push(item?);
    }
    Ok(items)
}

/// All that a server has written down so far.
///
/// # Panics
/// If it cannot be read: the server writes it from its first moment on.
#[must_use]
pub fn log_of(node: &Node) -> String {
    let file = node.data_dir().with_file_name("server.log");
    let log = std::fs::read(file).expect("a server's log can be read");
    String::from_utf8_lossy(&log).into_owned()
}

/// The SQLSTATE of an error, or what else it is.
#[must_use]
pub fn code(error: &sqlx::Error) -> String {
    let code = error.as_database_error().and_then(|error| error.code());
    code.map_or_else(|| format!("{error:?}"), |code| code.into_owned())
}
