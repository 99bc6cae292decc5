//! A write by statement on a session, beside the same on a pool of the driver and on a bare connection.
//!
//! How much a round trip matters depends on how long a commit takes: with `synchronous_commit` off it is
//! that of the statement alone, with `fsync` on that of the disk.

use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, PgExecutor};

use crate::Result;
use crate::callers::{OnConnection, OnPool, OnSession, Work};
use crate::figure::{Figure, Unit};
use crate::processor::OneProcessor;
use crate::rounds::{Compared, Rounds, Sample};
use crate::stage::Stage;

const WRITE: &str = "update counter set n = n + 1 where id = $1";

/// One counter among a thousand is raised.
#[derive(Clone, Copy)]
struct Write;

impl Work for Write {
    async fn on<'e>(self, executor: impl PgExecutor<'e> + 'e) -> Result<()> {
        let write = sqlx::query(WRITE).bind(fastrand::i32(0..1000));
        let done = write.execute(executor).await?;
        assert_eq!(done.rows_affected(), 1, "every counter is there");
        Ok(())
    }
}

pub(super) async fn measure(quick: bool) -> Result<Vec<Figure>> {
    let settings: [(&str, &[(&str, &str)]); 3] = [
        ("no fsync", &[]),
        ("asynchronous", &[("synchronous_commit", "off")]),
        ("fsync", &[("fsync", "on")]),
    ];
    let mut figures = Vec::new();
    for (name, settings) in settings {
        let stage = Stage::set_with(1, settings).await?;
        for concurrency in [1, 16] {
            let compared = compare(&stage, concurrency, quick).await?;
            figures.extend(tell(&compared, &format!("write/{name}/{concurrency}")));
        }
        stage.cluster.shutdown().await?;
    }
    Ok(figures)
}

async fn compare(stage: &Stage, concurrency: usize, quick: bool) -> Result<Compared> {
    let pool = stage.pool(0).await?;
    let router = stage.router().await?;
    let bare = PgConnection::connect(stage.url(0)).await?;
    let many = || 0..concurrency;
    let rounds = Rounds::on([stage.cluster.primary()])
        .with("connection", vec![OnConnection(bare, Write)])
        .with(
            "pool",
            many().map(|_| OnPool(pool.clone(), Write)).collect(),
        )
        .with(
            "session",
            many().map(|_| OnSession(router.session(), Write)).collect(),
        );
    let _held = OneProcessor::for_one(concurrency, stage)?;
    let compared = rounds.run(if quick { 2 } else { 20 }).await;
    router.close().await;
    compared
}

fn tell(compared: &Compared, name: &str) -> Vec<Figure> {
    let ratio = |what: &str, of: fn(&Sample) -> f64| {
        compared.ratio(
            format!("{name}/session/{what} to pool"),
            "session",
            "pool",
            of,
        )
    };
    let latency = ratio("latency", |sample| sample.latency);
    let mut figures = vec![
        if name.contains("/fsync/") {
            latency
        } else {
            latency.at_most(0.7)
        },
        ratio("client CPU", |sample| sample.client).shown(),
        ratio("server CPU", |sample| sample.server).shown(),
    ];
    for who in ["connection", "pool", "session"] {
        let name = format!("{name}/{who}/latency");
        figures.push(compared.figure(name, Unit::Us, who, |sample| sample.latency));
    }
    figures
}
