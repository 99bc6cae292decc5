//! Reads on one replica: by statement on a session and by a handle of it, beside the same on a bare
//! connection and on pools of the driver.

use lagwise::PgSession;
use sqlx::postgres::{PgConnection, PgPoolOptions};
use sqlx::{Connection as _, PgExecutor};

use crate::Result;
use crate::callers::{OnConnection, OnPool, OnSession, Work};
use crate::figure::{Figure, Unit};
use crate::processor::OneProcessor;
use crate::rounds::{Caller, Compared, Rounds, Sample};
use crate::stage::Stage;

/// A row by its key.
const POINT: &str = "select id, body from note where id = $1";

/// A hundred rows by an index.
const HUNDRED: &str = "select id, body from note where author = $1";

/// What a caller reads.
#[derive(Clone, Copy)]
enum Read {
    Point,
    Hundred,
}

/// A row.
type Note = (i32, String);

impl Read {
    const fn name(self) -> &'static str {
        match self {
            Self::Point => "point",
            Self::Hundred => "100 rows",
        }
    }
}

impl Work for Read {
    async fn on<'e>(self, executor: impl PgExecutor<'e> + 'e) -> Result<()> {
        match self {
            Self::Point => {
                let note = sqlx::query_as::<_, Note>(POINT).bind(fastrand::i32(0..10_000));
                note.fetch_one(executor).await?;
            }
            Self::Hundred => {
                let notes = sqlx::query_as::<_, Note>(HUNDRED).bind(fastrand::i32(1..100));
                let notes = notes.fetch_all(executor).await?;
                assert_eq!(notes.len(), 100, "every author has a hundred");
            }
        }
        Ok(())
    }
}

/// In a session of a router, by a handle for each read.
struct OnHandle(PgSession, Read);

impl Caller for OnHandle {
    async fn call(&mut self) -> Result<()> {
        let mut connection = self.0.read().await?;
        self.1.on(&mut *connection).await
    }
}

pub(super) async fn measure(quick: bool) -> Result<Vec<Figure>> {
    let stage = Stage::set(1).await?;
    let mut figures = Vec::new();
    for read in [Read::Point, Read::Hundred] {
        for concurrency in [1, 8, 16, 64] {
            let compared = compare(&stage, read, concurrency, quick).await?;
            figures.extend(tell(&compared, read, concurrency));
        }
    }
    stage.cluster.shutdown().await?;
    Ok(figures)
}

async fn compare(stage: &Stage, read: Read, concurrency: usize, quick: bool) -> Result<Compared> {
    let pool = stage.pool(1).await?;
    let untested = PgPoolOptions::new().test_before_acquire(false);
    let untested = untested.connect(stage.url(1)).await?;
    let router = stage.router().await?;
    let bare = PgConnection::connect(stage.url(1)).await?;
    let many = || 0..concurrency;
    let rounds = Rounds::on(stage.cluster.nodes())
        .with("connection", vec![OnConnection(bare, read)])
        .with("pool", many().map(|_| OnPool(pool.clone(), read)).collect())
        .with(
            "untested pool",
            many().map(|_| OnPool(untested.clone(), read)).collect(),
        )
        .with(
            "session",
            many().map(|_| OnSession(router.session(), read)).collect(),
        )
        .with(
            "handle",
            many().map(|_| OnHandle(router.session(), read)).collect(),
        );
    let _held = OneProcessor::for_one(concurrency, stage)?;
    let compared = rounds.run(if quick { 2 } else { 20 }).await;
    router.close().await;
    compared
}

fn tell(compared: &Compared, read: Read, concurrency: usize) -> Vec<Figure> {
    let name = |who: &str, what: &str| format!("read/{}/{concurrency}/{who}/{what}", read.name());
    let mut figures = Vec::new();
    for (who, goals) in [("session", true), ("handle", false)] {
        let ratio = |what: &str, to, of: fn(&Sample) -> f64| {
            compared.ratio(name(who, &format!("{what} to {to}")), who, to, of)
        };
        let meets = |figure: Figure, goal: Option<f64>| match goal {
            Some(goal) if goals && matches!(read, Read::Point) => figure.at_most(goal),
            _ => figure,
        };
        let (alone, sixteen) = (concurrency == 1, concurrency == 16);
        if alone {
            let latency = ratio("latency", "connection", |sample| sample.latency);
            figures.push(meets(latency, Some(1.10)));
            let client = ratio("client CPU", "connection", |sample| sample.client);
            figures.push(meets(client, Some(1.10)));
            let both = ratio("CPU of both sides", "connection", |sample| {
                sample.client + sample.server
            });
            figures.push(both.shown());
        }
        let goal = sixteen.then_some(0.5);
        figures.push(meets(
            ratio("latency", "pool", |sample| sample.latency),
            goal,
        ));
        figures.push(ratio("client CPU", "pool", |sample| sample.client));
        figures.push(ratio("server CPU", "pool", |sample| sample.server));
        figures.push(ratio("latency", "untested pool", |sample| sample.latency));
    }
    for who in ["connection", "pool", "untested pool", "session", "handle"] {
        let figure = |what, unit, of| compared.figure(name(who, what), unit, who, of);
        figures.push(figure("latency", Unit::Us, |sample| sample.latency));
        figures.push(figure("client CPU", Unit::Us, |sample| sample.client));
        figures.push(figure("server CPU", Unit::Us, |sample| sample.server));
        figures.push(figure("rate", Unit::PerSecond, |sample| sample.rate));
    }
    figures
}
