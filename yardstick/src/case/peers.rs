//! What a read costs more where something stands between it and the server: a pool, a router, a proxy.
//!
//! The read is a row by its key, by a statement that is prepared once on each connection, and what it
//! needs on a bare connection to the replica, in the same round, is taken off. What is left is what each
//! way adds: to the time that a call takes, and to the processor time of client, proxy and servers together.
//!
//! One caller is measured with everybody on one processor, and its time is that of the middle call: what
//! is done on the way, without waking processors and without a network, which a proxy on a machine of
//! its own has twice. Sixteen callers have all processors and sixteen bare connections, and reach a proxy by
//! as many, or by a pool. The time is the mean then, which is their number by the rate: without
//! a pool that lets them wait in turn a few of them are served at once again and again, and the middle call says
//! nothing of the others.
//!
//! `PgBouncer` leads to that replica; it pools by transaction where its version keeps prepared statements,
//! and else by session, as its older versions have to. `Pgpool-II` balances reads over the primary and the
//! replica. All else has the driver's defaults. A proxy that is not installed yields no figures.

mod proxies;

use std::sync::Arc;

use arc_swap::ArcSwap;
use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, PgExecutor, PgPool};

use self::proxies::Proxies;
use crate::Result;
use crate::callers::{OnConnection, OnPool, OnSession, Work};
use crate::figure::{Figure, Unit};
use crate::processor::OneProcessor;
use crate::rounds::{Caller, Compared, Rounds, Sample};
use crate::stage::Stage;

/// What all others are compared with.
const BARE: &str = "connection";

/// A row by its key.
#[derive(Clone, Copy)]
struct Read;

impl Work for Read {
    async fn on<'e>(self, executor: impl PgExecutor<'e> + 'e) -> Result<()> {
        let note = sqlx::query_as::<_, (i32, String)>("select id, body from note where id = $1");
        note.bind(fastrand::i32(0..10_000))
            .fetch_one(executor)
            .await?;
        Ok(())
    }
}

/// What the crate `sqlx-pool-router` 1.0 does when it is asked to read, by the same calls.
///
/// It is of an older release of the driver, and the workspace has no room for two. It looks up the pool of
/// the role and has a connection of it run the statement; there is nothing else to it.
#[derive(Clone)]
struct ByRole(Arc<ArcSwap<Pools>>);

struct Pools {
    primary: PgPool,
    replica: Option<PgPool>,
}

impl Caller for ByRole {
    async fn call(&mut self) -> Result<()> {
        let pools = self.0.load();
        let pool = pools.replica.as_ref().unwrap_or(&pools.primary).clone();
        drop(pools);
        let run = Box::pin(async move {
            let mut connection = pool.acquire().await?;
            Read.on(&mut *connection).await
        });
        run.await
    }
}

pub(super) async fn measure(quick: bool) -> Result<Vec<Figure>> {
    let stage = Stage::set(1).await?;
    let proxies = Proxies::before(&stage).await?;
    let mut figures = Vec::new();
    for callers in [1, MANY] {
        let field = Field::new(&proxies, callers);
        let compared = field.compare(&stage, quick).await?;
        figures.extend(field.tell(&compared));
    }
    proxies.shutdown().await?;
    stage.cluster.shutdown().await?;
    Ok(figures)
}

/// So many callers on every way that there is.
struct Field<'a> {
    proxies: &'a Proxies,
    callers: usize,
}

impl<'a> Field<'a> {
    fn new(proxies: &'a Proxies, callers: usize) -> Self {
        Self { proxies, callers }
    }

    async fn compare(&self, stage: &Stage, quick: bool) -> Result<Compared> {
        let many = || 0..self.callers;
        let pool = stage.pool(1).await?;
        let by_role = ByRole(Arc::new(ArcSwap::from_pointee(Pools {
            primary: stage.pool(0).await?,
            replica: Some(stage.pool(1).await?),
        })));
        let router = stage.router().await?;
        let mut rounds = Rounds::on(stage.cluster.nodes())
            .with(BARE, self.connections(stage.url(1)).await?)
            .with("pool", many().map(|_| OnPool(pool.clone(), Read)).collect())
            .with("pools by role", many().map(|_| by_role.clone()).collect())
            .with(
                "lagwise",
                many().map(|_| OnSession(router.session(), Read)).collect(),
            );
        for proxy in self.proxies.all() {
            let connections = self.connections(&proxy.url).await?;
            rounds = rounds.through(proxy.process);
            if self.callers == 1 {
                rounds = rounds.with(proxy.name, connections);
                continue;
            }
            let pool = PgPool::connect(&proxy.url).await?;
            rounds = rounds.with(proxy.by_connections, connections).with(
                proxy.by_pool,
                many().map(|_| OnPool(pool.clone(), Read)).collect(),
            );
        }
        let held = (self.callers == 1).then(|| self.hold(stage)).transpose()?;
        let compared = rounds.run(if quick { 2 } else { 20 }).await;
        drop(held);
        router.close().await;
        compared
    }

    async fn connections(&self, url: &str) -> Result<Vec<OnConnection<Read>>> {
        let mut connections = Vec::new();
        for _ in 0..self.callers {
            connections.push(OnConnection(PgConnection::connect(url).await?, Read));
        }
        Ok(connections)
    }

    fn hold(&self, stage: &Stage) -> Result<OneProcessor> {
        let proxies = self.proxies.all().into_iter().map(|proxy| proxy.process);
        OneProcessor::hold(stage.first_processes()?.into_iter().chain(proxies))
    }

    /// The names of the ways through a proxy.
    fn through_proxies(&self) -> Vec<&'static str> {
        let proxies = self.proxies.all().into_iter();
        let names = proxies.flat_map(|proxy| match self.callers {
            1 => vec![proxy.name],
            _ => vec![proxy.by_connections, proxy.by_pool],
        });
        names.collect()
    }

    fn tell(&self, compared: &Compared) -> Vec<Figure> {
        let name = |who: &str, what: &str| format!("peers/{}/{who}/{what}", self.callers);
        let time = self.time();
        let of_bare = |what, of| compared.figure(name(BARE, what), Unit::Us, BARE, of);
        let mut figures = vec![of_bare("latency", time), of_bare("CPU", processors)];
        let ours = ["pool", "pools by role", "lagwise"];
        let proxies = self.through_proxies();
        for who in ours.iter().chain(&proxies) {
            let added = |what, of| Figure::of(name(who, what), Unit::Us, &added(compared, who, of));
            figures.push(added("added latency", time));
            figures.push(added("added CPU", processors));
        }
        if let Some(shares) = share_of_fastest(compared, &proxies, time) {
            let name = name("lagwise", "added latency to the fastest proxy");
            let figure = Figure::of(name, Unit::Ratio, &shares);
            // Many callers wait for each other, on whichever way.
            figures.push(match self.callers {
                1 => figure.at_most(0.1),
                _ => figure,
            });
        }
        figures
    }

    /// How long a call takes, in microseconds.
    fn time(&self) -> fn(&Sample) -> f64 {
        match self.callers {
            1 => |sample| sample.latency,
            _ => |sample| MANY as f64 * 1e6 / sample.rate,
        }
    }
}

/// How many callers there are where there are many.
const MANY: usize = 16;

fn processors(sample: &Sample) -> f64 {
    sample.client + sample.proxy + sample.server
}

/// What a way needs more than a bare connection, in each round.
fn added(compared: &Compared, who: &str, of: fn(&Sample) -> f64) -> Vec<f64> {
    let pairs = compared.of(who).iter().zip(compared.of(BARE));
    pairs.map(|(one, bare)| of(one) - of(bare)).collect()
}

/// What the router adds to the time of a call, as a share of what the proxy adds that adds the least;
/// below zero where the router takes something off.
fn share_of_fastest(
    compared: &Compared,
    proxies: &[&str],
    time: fn(&Sample) -> f64,
) -> Option<Vec<f64>> {
    let proxies = proxies.iter().map(|who| added(compared, who, time));
    let middle = |rounds: &[f64]| Figure::of("", Unit::Us, rounds).value;
    let fastest = proxies.min_by(|one, other| middle(one).total_cmp(&middle(other)))?;
    let ours = added(compared, "lagwise", time);
    let shares = ours.iter().zip(&fastest).map(|(ours, its)| ours / its);
    Some(shares.collect())
}
