//! Serves until it is told to end, or cannot go on.
//!
//! It listens before it knows of any node, and says so: who asks for its health learns what is missing.
//! Every wait at the end is bounded as well.

use std::io::{self, Write as _};
use std::time::Duration;

use lagwise::{NodeConfig, PgRouter};
use lagwise_testkit::Cluster;
use sqlx::Postgres;
use sqlx::postgres::PgPoolOptions;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{sleep, timeout};

use crate::config::{Config, random_keys};
use crate::failure::{Failure, chain};
use crate::{notes, scrape, service};

/// How long a request may wait for a connection of the primary, or a replica.
const ACQUIRE: Duration = Duration::from_secs(1);

/// How many connections an instance has to each node.
const CONNECTIONS: u32 = 16;

/// How often the monitor looks, unless a replica may be so little behind that it has to more often.
const POLL: Duration = Duration::from_millis(100);

/// How long an attempt to make the table may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The pause between two of them.
const PAUSE: Duration = Duration::from_millis(200);

/// How often measurements are put into their buckets.
const UPKEEP: Duration = Duration::from_secs(5);

/// How long requests may still take when the service ends.
const FAREWELL: Duration = Duration::from_secs(5);

/// Serves until the process is interrupted or terminated. Prints `listening on http://ADDRESS` first.
///
/// # Errors
/// If the settings cannot be honored, the address is taken, or no primary was found in time.
///
/// # Cancel safety
/// A dropped call closes the socket and ends the monitor; requests under way are cut off.
pub async fn run(config: Config) -> Result<(), Failure> {
    let signals = Signals::listen()?;
    let Some(primary) = &config.primary else {
        let cluster = Cluster::builder().replicas(2).start().await?;
        let replicas: Vec<String> = cluster.replicas().iter().map(|node| node.url()).collect();
        serve(&config, &cluster.primary().url(), &replicas, signals).await?;
        return Ok(cluster.shutdown().await?);
    };
    serve(&config, primary, &config.replica, signals).await
}

async fn serve(
    config: &Config,
    primary: &str,
    replicas: &[String],
    signals: Signals,
) -> Result<(), Failure> {
    let (keys, shared) = match config.shared_keys()? {
        Some(keys) => (keys, true),
        None => (random_keys()?, false),
    };
    let db = PgRouter::builder()
        .primary(node(primary))
        .replicas(replicas.iter().map(|url| node(url)))
        .poll_interval((config.max_lag / 4).min(POLL))
        .max_lag(config.max_lag)
        .keys(keys)
        // Whoever waits for a primary hears that there is none before the request's time is up.
        .policy(|policy| policy.write_wait = service::PATIENCE)
        .connect_lazy()?;
    let app = service::app(db.clone())?;
    let socket = TcpListener::bind(config.listen).await?;
    announce(&format!("listening on http://{}", socket.local_addr()?))?;
    if !shared {
        warn_of_own_key()?;
    }
    let (ends, mut ended) = tokio::sync::oneshot::channel::<()>();
    let serving = axum::serve(socket, app).with_graceful_shutdown(async {
        signals.come().await;
        drop(ends);
    });
    let result = tokio::select! {
        served = serving => served.map_err(Failure::from),
        broken = start(&db, config.start_timeout) => broken,
        () = upkeep() => Ok(()),
        // Connections that do not end are cut off.
        () = async { (&mut ended).await.ok(); sleep(FAREWELL).await } => Ok(()),
    };
    // No request comes in any longer; those that were cut off may hold connections.
    db.shutdown(FAREWELL).await;
    result
}

fn node(url: &str) -> NodeConfig<Postgres> {
    let pool = PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(ACQUIRE);
    NodeConfig::url(url).pool_options(pool)
}

/// Makes the table as soon as there is a primary; then there is nothing left to do.
async fn start(db: &PgRouter, patience: Duration) -> Result<(), Failure> {
    let makes = async {
        db.ready(0, patience).await?;
        while let Err(error) = made_in_time(db).await {
            tracing::warn!(error, "the table of notes cannot be made");
            sleep(PAUSE).await;
        }
        Ok(())
    };
    let made: Result<(), Failure> = makes.await;
    made?;
    std::future::pending().await
}

async fn made_in_time(db: &PgRouter) -> Result<(), String> {
    match timeout(PATIENCE, notes::make_table(db)).await {
        Ok(made) => made.map_err(|error| chain(&error)),
        Err(_) => Err("it took too long".to_owned()),
    }
}

async fn upkeep() {
    loop {
        sleep(UPKEEP).await;
        scrape::tidy();
    }
}

/// Says something to whoever reads what the program prints, at once.
fn announce(line: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

fn warn_of_own_key() -> Result<(), Failure> {
    let text = "warning: LAGWISE_KEY is not set, so this instance signs with a random key: its sessions \
                end with it, and no other instance knows them";
    Ok(writeln!(io::stderr(), "{text}")?)
}

/// The wish of whoever started the service that it end.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// From here on they do not end the process by themselves.
    fn listen() -> Result<Self, Failure> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn come(mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
