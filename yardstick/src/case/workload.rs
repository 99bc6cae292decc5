//! A web service's requests on a primary and two replicas, through a router, beside the same requests on
//! the primary alone: through a pool of the driver, and through a router that has no replicas.
//!
//! A request is a session of five statements. Every second one only reads; the others write a row
//! among their reads and read it back, and fail if it is not what they wrote. So one statement in ten is
//! a write, and two of the nine reads come after one in their session.
//!
//! All servers and the callers share the processors of one machine here, so the rate cannot show what
//! machines of their own would give: a replica takes the time that it spends from the primary. What
//! carries over is the processor time that a request costs the primary, which is what a cluster runs out
//! of; the share that is saved there is room for that many more requests. Routers' monitors run
//! through the turns of all.

use lagwise::PgRouter;
use lagwise::status::Cluster;
use sqlx::{PgExecutor, PgPool};

use crate::Result;
use crate::figure::{Figure, Unit};
use crate::rounds::{Caller, Compared, Rounds, Sample};
use crate::stage::Stage;

/// How many requests are under way at any time.
const CALLERS: i32 = 32;

/// Whose requests they are: each has a row that nobody else writes.
struct Client {
    row: i32,
    /// How often it has written that row.
    written: i64,
    requests: u64,
}

impl Client {
    fn new(row: i32) -> Self {
        Self {
            row,
            written: 0,
            requests: 0,
        }
    }

    /// Makes the next request on a handle that runs statements.
    async fn request<'e>(&mut self, db: impl PgExecutor<'e> + Copy) -> Result<()> {
        self.requests += 1;
        if self.requests.is_multiple_of(2) {
            self.change(db).await
        } else {
            look(db).await
        }
    }

    async fn change<'e>(&mut self, db: impl PgExecutor<'e> + Copy) -> Result<()> {
        note(db).await?;
        note(db).await?;
        let write = sqlx::query("update counter set n = n + 1 where id = $1");
        write.bind(self.row).execute(db).await?;
        self.written += 1;
        let read = sqlx::query_scalar::<_, i64>("select n from counter where id = $1");
        let seen = read.bind(self.row).fetch_one(db).await?;
        assert_eq!(seen, self.written, "a session sees what it wrote");
        note(db).await
    }
}

/// A list, and some of what is in it.
async fn look<'e>(db: impl PgExecutor<'e> + Copy) -> Result<()> {
    let list = sqlx::query_as::<_, (i32, String)>("select id, body from note where author = $1");
    let notes = list.bind(fastrand::i32(1..100)).fetch_all(db).await?;
    assert_eq!(notes.len(), 100, "every author has a hundred");
    for _ in 0..4 {
        note(db).await?;
    }
    Ok(())
}

/// One row.
async fn note<'e>(db: impl PgExecutor<'e>) -> Result<()> {
    let note = sqlx::query_as::<_, (i32, String)>("select id, body from note where id = $1");
    note.bind(fastrand::i32(0..10_000)).fetch_one(db).await?;
    Ok(())
}

struct OnPool(PgPool, Client);

struct OnRouter(PgRouter, Client);

impl Caller for OnPool {
    async fn call(&mut self) -> Result<()> {
        self.1.request(&self.0).await
    }
}

impl Caller for OnRouter {
    async fn call(&mut self) -> Result<()> {
        self.1.request(&self.0.session()).await
    }
}

/// The contenders, by their names in figures.
const ROUTER: &str = "router";
const POOL: &str = "pool";
const ALONE: &str = "router without replicas";

pub(super) async fn measure(quick: bool) -> Result<Vec<Figure>> {
    let stage = Stage::set(2).await?;
    let pool = stage.pool(0).await?;
    let router = stage.router().await?;
    let alone = PgRouter::builder().primary(stage.url(0)).connect().await?;
    // A row belongs to one client of one contender.
    let clients = |contender: i32| (0..CALLERS).map(move |one| Client::new(contender * 100 + one));
    let rounds = Rounds::on(stage.cluster.nodes())
        .with(
            ROUTER,
            clients(0)
                .map(|client| OnRouter(router.clone(), client))
                .collect(),
        )
        .with(
            POOL,
            clients(1)
                .map(|client| OnPool(pool.clone(), client))
                .collect(),
        )
        .with(
            ALONE,
            clients(2)
                .map(|client| OnRouter(alone.clone(), client))
                .collect(),
        );
    let compared = rounds.run(if quick { 2 } else { 20 }).await;
    let on_replicas = on_replicas(&Cluster::of(&router));
    router.close().await;
    alone.close().await;
    let mut figures = tell(&compared?);
    figures.push(Figure::of(
        "workload/reads on replicas",
        Unit::Percent,
        &[on_replicas],
    ));
    stage.cluster.shutdown().await?;
    Ok(figures)
}

/// How many of all reads, in percent, were sent to replicas.
fn on_replicas(cluster: &Cluster) -> f64 {
    let mut reads = [0.0, 0.0];
    for node in &cluster.nodes {
        let routes = node.routes.iter().filter(|(reason, _)| **reason != "write");
        let count: u64 = routes.map(|(_, count)| count).sum();
        reads[usize::from(node.is_primary)] += count as f64;
    }
    100.0 * reads[0] / (reads[0] + reads[1])
}

fn tell(compared: &Compared) -> Vec<Figure> {
    let mut figures = Vec::new();
    for to in [POOL, ALONE] {
        let ratio = |what: &str, of: fn(&Sample) -> f64| {
            compared.ratio(format!("workload/{what} to {to}"), ROUTER, to, of)
        };
        figures.push(ratio("rate", |sample| sample.rate));
        figures.push(ratio("primary CPU", |sample| sample.primary));
        figures.push(ratio("server CPU", |sample| sample.server));
        figures.push(ratio("client CPU", |sample| sample.client));
    }
    for who in [ROUTER, POOL, ALONE] {
        let figure =
            |what, unit, of| compared.figure(format!("workload/{who}/{what}"), unit, who, of);
        figures.push(figure("rate", Unit::PerSecond, |sample| sample.rate));
        figures.push(figure("latency", Unit::Us, |sample| sample.latency));
        figures.push(figure("primary CPU", Unit::Us, |sample| sample.primary));
        figures.push(figure("client CPU", Unit::Us, |sample| sample.client));
    }
    figures
}
