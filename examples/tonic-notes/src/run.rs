//! Serves until it is told to end, or cannot go on.
//!
//! It listens before it knows of any node, and says so: who asks for its health learns what is missing.

use std::error::Error;
use std::future::pending;
use std::io::{self, Write as _};
use std::time::Duration;

use axum::serve::ListenerExt as _;
use lagwise::{Keys, NodeConfig, PgRouter};
use lagwise_testkit::Cluster;
use sqlx::Postgres;
use sqlx::postgres::PgPoolOptions;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use crate::config::Config;
use crate::{app, make_table, upkeep};

/// What ended the service.
pub type Failure = Box<dyn Error + Send + Sync>;

/// Where the secret is, that instances and their callers share.
const KEY: &str = "LAGWISE_KEY";

/// How often the monitor looks, unless a replica may be so little behind that it has to more often.
const POLL: Duration = Duration::from_millis(100);

/// The pause between two attempts to make the table.
const PAUSE: Duration = Duration::from_millis(200);

/// How often measurements are put into their buckets.
const UPKEEP: Duration = Duration::from_secs(5);

/// How long calls may still take when the service ends.
const FAREWELL: Duration = Duration::from_secs(5);

/// Serves until the process is interrupted or terminated. Prints `listening on http://ADDRESS` first.
///
/// # Errors
/// If the settings cannot be honored, the address is taken, or no primary was found in time.
///
/// # Cancel safety
/// A dropped call closes the socket and ends the monitor; calls under way are cut off.
pub async fn run(config: Config) -> Result<(), Failure> {
    if let Some(primary) = &config.primary {
        return serve(&config, primary, &config.replica).await;
    }
    let cluster = Cluster::builder().replicas(2).start().await?;
    let replicas: Vec<String> = cluster.replicas().iter().map(|node| node.url()).collect();
    serve(&config, &cluster.primary().url(), &replicas).await?;
    Ok(cluster.shutdown().await?)
}

async fn serve(config: &Config, primary: &str, replicas: &[String]) -> Result<(), Failure> {
    let db = PgRouter::builder()
        .primary(node(primary))
        .replicas(replicas.iter().map(|url| node(url)))
        .poll_interval((config.max_lag / 4).min(POLL))
        .max_lag(config.max_lag)
        .keys(keys()?)
        .connect_lazy()?;
    let service = app(db.clone())?;
    let socket = TcpListener::bind(config.listen).await?;
    announce(&format!("listening on http://{}", socket.local_addr()?))?;
    // Messages are small, and each is waited for.
    let socket = socket.tap_io(|stream| drop(stream.set_nodelay(true)));

    let mut terminate = signal(SignalKind::terminate())?;
    let (ends, ended) = oneshot::channel::<()>();
    let serving = axum::serve(socket, service).with_graceful_shutdown(async move {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
        drop(ends);
    });
    let result = tokio::select! {
        served = async { serving.await } => served.map_err(Failure::from),
        broken = start(&db, config.start_timeout) => broken,
        () = count() => Ok(()),
        // Streams that do not end are cut off.
        () = async { ended.await.ok(); sleep(FAREWELL).await } => Ok(()),
    };
    // The pools wait for every connection that is still in use.
    timeout(FAREWELL, db.close()).await.ok();
    result
}

fn node(url: &str) -> NodeConfig<Postgres> {
    let pool = PgPoolOptions::new()
        .max_connections(16)
        .acquire_timeout(Duration::from_secs(1));
    NodeConfig::url(url).pool_options(pool)
}

/// Those that are shared, or some that nobody else has.
fn keys() -> Result<Keys, Failure> {
    if std::env::var_os(KEY).is_some() {
        return Ok(Keys::from_env(KEY)?);
    }
    let text = "warning: LAGWISE_KEY is not set, so this instance signs with a random key: no other \
                instance, and no caller, knows its sessions";
    writeln!(io::stderr(), "{text}")?;
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|error| error.to_string())?;
    Ok(Keys::new(secret)?)
}

/// Makes the table as soon as there is a primary; then there is nothing left to do.
async fn start(db: &PgRouter, patience: Duration) -> Result<(), Failure> {
    db.ready(0, patience).await?;
    while make_table(db).await.is_err() {
        // It is said by `/healthz` what is missing.
        sleep(PAUSE).await;
    }
    pending().await
}

async fn count() {
    loop {
        sleep(UPKEEP).await;
        upkeep::tidy();
    }
}

/// Says something to whoever reads what the program prints, at once.
fn announce(line: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
