//! The proxies of this machine, before the stage's servers.

use std::io::{Write as _, stderr};
use std::net::SocketAddr;

use lagwise_testkit::{PgBouncer, Pgpool};
use sqlx::postgres::PgConnectOptions;

use crate::Result;
use crate::stage::Stage;

/// The proxies that there are.
pub(super) struct Proxies {
    pgbouncer: Option<PgBouncer>,
    pgpool: Option<Pgpool>,
}

/// One that runs.
pub(super) struct Proxy {
    /// What it is called where it has one caller, and many.
    pub(super) name: &'static str,
    pub(super) by_connections: &'static str,
    pub(super) by_pool: &'static str,
    pub(super) url: String,
    /// Its first process.
    pub(super) process: u32,
}

impl Proxies {
    /// Starts those that are installed, and says of the others how to get them.
    pub(super) async fn before(stage: &Stage) -> Result<Self> {
        let (primary, replica) = (address(stage.url(0))?, address(stage.url(1))?);
        let pgbouncer = PgBouncer::over(replica).await;
        let pgbouncer = unless_missing(pgbouncer, PgBouncer::is_installed())?;
        let pgpool = Pgpool::over([primary, replica]).await;
        let pgpool = unless_missing(pgpool, Pgpool::is_installed())?;
        if let Some(pgbouncer) = &pgbouncer {
            writeln!(stderr(), "PgBouncer pools by {:?}", pgbouncer.pooling())?;
        }
        Ok(Self { pgbouncer, pgpool })
    }

    /// Those that run.
    pub(super) fn all(&self) -> Vec<Proxy> {
        let pgbouncer = self.pgbouncer.as_ref().and_then(|proxy| {
            Some(Proxy {
                name: "pgbouncer",
                by_connections: "pgbouncer by connections",
                by_pool: "pgbouncer by pool",
                url: proxy.url(),
                process: proxy.process()?,
            })
        });
        let pgpool = self.pgpool.as_ref().and_then(|proxy| {
            Some(Proxy {
                name: "pgpool",
                by_connections: "pgpool by connections",
                by_pool: "pgpool by pool",
                url: proxy.url(),
                process: proxy.process()?,
            })
        });
        pgbouncer.into_iter().chain(pgpool).collect()
    }

    pub(super) async fn shutdown(self) -> Result<()> {
        if let Some(pgbouncer) = self.pgbouncer {
            pgbouncer.shutdown().await?;
        }
        if let Some(pgpool) = self.pgpool {
            pgpool.shutdown().await?;
        }
        Ok(())
    }
}

fn unless_missing<P>(started: lagwise_testkit::Result<P>, installed: bool) -> Result<Option<P>> {
    match started {
        Err(error) if !installed => {
            writeln!(stderr(), "not measured: {error}")?;
            Ok(None)
        }
        started => Ok(Some(started?)),
    }
}

fn address(url: &str) -> Result<SocketAddr> {
    let options: PgConnectOptions = url.parse()?;
    Ok(SocketAddr::new(
        options.get_host().parse()?,
        options.get_port(),
    ))
}
