//! The naive service's nodes: their pools, who is the primary, and where it stood when.
//!
//! One loop asks the primary for its position, so that a replica's position proves an age: it is at
//! most as old as the question whose answer it has passed. What a read may see is `serve`'s business.

use std::collections::VecDeque;
use std::str::FromStr as _;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};

use super::flaw::Flaw;
use crate::{Result, clock};

/// How often the primary is asked.
const EVERY: Duration = Duration::from_millis(50);

/// How long one question may take.
const PATIENCE: Duration = Duration::from_millis(400);

/// How long a replica that failed is left alone.
const PENALTY: Duration = Duration::from_millis(500);

/// How many answers are kept: a minute's.
const KEPT: usize = 1200;

/// The timeline and position of a primary; a replica has no answer.
pub(super) const POSITION: &str = "
    select ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::bigint,
           pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint";

/// One server.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) pool: PgPool,
    /// Until when it is left alone, in nanoseconds of the clock.
    benched: AtomicU64,
}

/// Where the primary stood, and when it was asked.
#[derive(Debug, Default)]
struct Track {
    timeline: i64,
    samples: VecDeque<(Duration, i64)>,
}

/// All servers.
#[derive(Debug)]
pub(super) struct Nodes {
    pub(super) all: Vec<Node>,
    /// The index of the primary; relaxed, since it is only a hint for where to ask.
    primary: AtomicUsize,
    track: Mutex<Track>,
}

impl Nodes {
    /// Makes pools, without connecting; the first address is the primary's.
    pub(super) fn open(primary: &str, replicas: &[String]) -> Result<Self> {
        let numbered = (1..).zip(replicas);
        let names = numbered.map(|(number, url)| (format!("replica-{number}"), url.as_str()));
        let first = ("primary".to_owned(), primary);
        let mut all = Vec::new();
        for (name, url) in std::iter::once(first).chain(names) {
            let options = PgConnectOptions::from_str(url)?;
            let pool = PgPoolOptions::new()
                .max_connections(12)
                .acquire_timeout(PATIENCE)
                .connect_lazy_with(options);
            let benched = AtomicU64::new(0);
            all.push(Node {
                name,
                pool,
                benched,
            });
        }
        Ok(Self {
            all,
            primary: AtomicUsize::new(0),
            track: Mutex::default(),
        })
    }

    pub(super) fn primary(&self) -> &Node {
        &self.all[self.primary.load(Ordering::Relaxed)]
    }

    /// The nodes that may serve a read, in random order.
    pub(super) fn replicas(&self) -> Vec<&Node> {
        let primary = self.primary.load(Ordering::Relaxed);
        let now = clock::now();
        let mut rest: Vec<&Node> = (0..)
            .zip(&self.all)
            .filter(|(index, node)| *index != primary && !node.is_benched(now))
            .map(|(_, node)| node)
            .collect();
        fastrand::shuffle(&mut rest);
        rest
    }

    /// The timeline of the primary when it was last asked; zero before that.
    pub(super) fn timeline(&self) -> i64 {
        self.track().timeline
    }

    /// When the primary was last asked for a position that a replica at this one has passed.
    pub(super) fn proven(&self, position: i64) -> Option<Duration> {
        let track = self.track();
        let passed = |sample: &&(Duration, i64)| sample.1 <= position;
        let newest = track.samples.iter().rev().find(passed);
        newest.map(|(asked, _)| *asked)
    }

    /// Asks all nodes again and again: of two that take writes the one on the later timeline counts.
    pub(super) async fn watch(&self, flaw: Option<Flaw>) {
        loop {
            let current = self.primary.load(Ordering::Relaxed);
            let answers = self.ask(current).await;
            if !answers || flaw != Some(Flaw::OldPrimary) {
                self.look_for_primary(current).await;
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    /// Asks all nodes once.
    pub(super) async fn find_primary(&self) {
        self.look_for_primary(self.all.len()).await;
    }

    /// Asks all but this one.
    async fn look_for_primary(&self, but: usize) {
        for index in (0..self.all.len()).filter(|index| *index != but) {
            if self.ask(index).await {
                self.primary.store(index, Ordering::Relaxed);
            }
        }
    }

    /// Asks a node where it stands; only a primary can say.
    async fn ask(&self, index: usize) -> bool {
        let asked = clock::now();
        let question = sqlx::query_as(POSITION).fetch_one(&self.all[index].pool);
        let answer = tokio::time::timeout(PATIENCE, question).await;
        let Ok(Ok((timeline, position))) = answer else {
            return false;
        };
        let mut track = self.track();
        if timeline < track.timeline {
            return false;
        }
        if timeline > track.timeline {
            track.samples.clear();
            track.timeline = timeline;
        }
        track.samples.push_back((asked, position));
        if track.samples.len() > KEPT {
            track.samples.pop_front();
        }
        true
    }

    fn track(&self) -> std::sync::MutexGuard<'_, Track> {
        self.track.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Node {
    /// Leaves the node alone for a while.
    pub(super) fn bench(&self) {
        let until = clock::now() + PENALTY;
        let nanos = u64::try_from(until.as_nanos()).unwrap_or(u64::MAX);
        self.benched.store(nanos, Ordering::Relaxed);
    }

    fn is_benched(&self, now: Duration) -> bool {
        now < Duration::from_nanos(self.benched.load(Ordering::Relaxed))
    }
}
