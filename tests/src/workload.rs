//! A load of commits, and the memory of when each was acknowledged.
//!
//! Each lane is one writer that counts in one row. A commit enters the ledger with the instant after
//! it returned, so "every commit acknowledged before `t`" is a number for each lane, and a reader
//! either sees at least that number or has been lied to.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lagwise_core::Instant;
use lagwise_testkit::Node;
use sqlx::postgres::PgConnection;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::{Outcome, fail};

/// Makes the lanes' table; for [`start`](crate::cluster::start).
pub const LANES: &str = "
    create table lanes (lane int primary key, n bigint not null, ballast text not null);
    insert into lanes select lane, 0, '' from generate_series(0, 7) lane;
";

/// When each commit was acknowledged, for each lane in order.
#[derive(Debug)]
pub struct Ledger(Vec<Mutex<Vec<(Instant, i64)>>>);

impl Ledger {
    /// The number that every read of a state as of `instant` must show for each lane.
    #[must_use]
    pub fn as_of(&self, instant: Instant) -> Vec<i64> {
        let newest = |lane: &Mutex<Vec<(Instant, i64)>>| {
            let lane = lane.lock().unwrap_or_else(PoisonError::into_inner);
            let before = lane.partition_point(|(acked, _)| *acked < instant);
            before.checked_sub(1).map_or(0, |newest| lane[newest].1)
        };
        self.0.iter().map(newest).collect()
    }

    /// How many commits were acknowledged.
    #[must_use]
    pub fn commits(&self) -> usize {
        let length = |lane: &Mutex<Vec<_>>| lane.lock().map_or(0, |lane| lane.len());
        self.0.iter().map(length).sum()
    }

    /// What is missing from a reading of the lanes that claims to be as of `instant`.
    #[must_use]
    pub fn missing(&self, instant: Instant, seen: &[i64]) -> Option<String> {
        let owed = self.as_of(instant);
        let short = owed.iter().zip(seen).position(|(owed, seen)| seen < owed)?;
        Some(format!(
            "lane {short} shows {} where {} had been acknowledged before the as-of instant",
            seen[short], owed[short]
        ))
    }

    fn enter(&self, lane: usize, n: i64) {
        let acked = lagwise::now();
        let mut lane = self.0[lane].lock().unwrap_or_else(PoisonError::into_inner);
        lane.push((acked, n));
    }
}

/// How the writers write.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// How many writers there are, at most eight.
    pub lanes: usize,
    /// Whether a commit waits for its own flush.
    pub synchronous: bool,
    /// The pause after each commit.
    pub pause: Duration,
    /// How many bytes each commit writes besides.
    pub ballast: usize,
}

impl Default for Style {
    fn default() -> Self {
        Self {
            lanes: 2,
            synchronous: true,
            pause: Duration::from_millis(1),
            ballast: 0,
        }
    }
}

/// Writers at work; they end with this.
#[derive(Debug)]
pub struct Load {
    ledger: Arc<Ledger>,
    stop: watch::Sender<bool>,
    writers: JoinSet<Outcome>,
}

impl Load {
    /// Starts the writers, and waits until each has written.
    pub async fn start(node: &Node, style: Style) -> Outcome<Self> {
        let ledger = Arc::new(Ledger((0..style.lanes).map(|_| Mutex::default()).collect()));
        let (stop, stopped) = watch::channel(false);
        let mut writers = JoinSet::new();
        for lane in 0..style.lanes {
            let connection = node.connect().await?;
            writers.spawn(write(
                connection,
                lane,
                style,
                Arc::clone(&ledger),
                stopped.clone(),
            ));
        }
        let load = Self {
            ledger,
            stop,
            writers,
        };
        let begun = async || Ok(load.ledger.as_of(Instant::NEVER).iter().all(|n| *n > 0));
        crate::observe::until("every writer writes", crate::cluster::PATIENCE, begun).await?;
        Ok(load)
    }

    /// What was acknowledged.
    #[must_use]
    pub fn ledger(&self) -> Arc<Ledger> {
        Arc::clone(&self.ledger)
    }

    /// Ends the writers, and says how many commits they have made.
    pub async fn stop(mut self) -> Outcome<usize> {
        self.stop.send(true).ok();
        while let Some(writer) = self.writers.join_next().await {
            writer??;
        }
        Ok(self.ledger.commits())
    }

    /// Ends writers whose server may be gone, whatever they say of it.
    pub async fn abandon(mut self) -> usize {
        self.writers.shutdown().await;
        self.ledger.commits()
    }
}

async fn write(
    mut connection: PgConnection,
    lane: usize,
    style: Style,
    ledger: Arc<Ledger>,
    stopped: watch::Receiver<bool>,
) -> Outcome {
    let commit = if style.synchronous { "on" } else { "off" };
    sqlx::query("select set_config('synchronous_commit', $1, false)")
        .bind(commit)
        .execute(&mut connection)
        .await?;
    let ballast = "x".repeat(style.ballast);
    let row = i32::try_from(lane)?;
    let mut n = 0;
    while !*stopped.borrow() {
        n += 1;
        sqlx::query("update lanes set n = $2, ballast = $3 where lane = $1")
            .bind(row)
            .bind(n)
            .bind(&ballast)
            .execute(&mut connection)
            .await?;
        ledger.enter(lane, n);
        if !style.pause.is_zero() {
            tokio::time::sleep(style.pause).await;
        }
    }
    Ok(())
}

/// What all lanes show on a connection, in order.
pub async fn read_lanes(connection: &mut PgConnection) -> Result<Vec<i64>, sqlx::Error> {
    sqlx::query_scalar("select n from lanes order by lane")
        .fetch_all(connection)
        .await
}

/// Fails if a reading of the lanes lacks what a state as of `instant` must show.
pub fn expect_as_of(ledger: &Ledger, instant: Instant, seen: &[i64], who: &str) -> Outcome {
    match ledger.missing(instant, seen) {
        Some(missing) => fail(format!("{who}: {missing}")),
        None => Ok(()),
    }
}
