//! The router that is judged, with its default settings.
//!
//! Each write is a session of its own, so that each can be asked at the end whether it may be lost.
//! What the router tells of the cluster is written down with the drill's time.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_core::future::BoxFuture;
use lagwise::{Event, NodeConfig, PgRouter, PgSession, ReadOptions};
use lagwise_testkit::{Cluster, Node};
use tokio::task::JoinSet;

use super::{Asked, Contender, Failed, Kind, Outcome, Row, Seen, WRITE, sqlx_kind};
use crate::{Result, clock};

/// A router, and what it told.
#[derive(Debug)]
pub struct Lagwise {
    router: PgRouter,
    sessions: Mutex<Vec<(Row, PgSession)>>,
    happenings: Arc<Mutex<Vec<Happening>>>,
    _listening: JoinSet<()>,
}

/// Something that the router told of the cluster.
#[derive(Clone, Debug)]
pub struct Happening {
    /// When the router noticed.
    pub noticed: Duration,
    /// When it had acted on it, and said so.
    pub told: Duration,
    /// The node that it happened to.
    pub node: String,
    /// What.
    pub event: Event,
}

impl Lagwise {
    /// A router with default settings, once all replicas take reads.
    pub async fn connect(cluster: &Cluster) -> Result<Self> {
        let named = |node: &Node| NodeConfig::url(node.url()).name(node.name());
        let router = PgRouter::builder()
            .primary(named(cluster.primary()))
            .replicas(cluster.replicas().iter().map(named))
            .connect()
            .await?;
        let happenings = Arc::new(Mutex::new(Vec::new()));
        let mut listening = JoinSet::new();
        listening.spawn(listen(router.clone(), Arc::clone(&happenings)));
        let replicas = cluster.replicas().len();
        router.ready(replicas, Duration::from_secs(10)).await?;
        Ok(Self {
            router,
            sessions: Mutex::new(Vec::new()),
            happenings,
            _listening: listening,
        })
    }

    /// What the router told after a moment, in order.
    #[must_use]
    pub fn happenings(&self, after: Duration) -> Vec<Happening> {
        let all = self.happenings.lock();
        let all = all.unwrap_or_else(PoisonError::into_inner);
        let later = all.iter().filter(|happening| happening.noticed > after);
        later.cloned().collect()
    }

    /// The first thing of a kind that the router told after a moment.
    #[must_use]
    pub fn first(&self, after: Duration, is: impl Fn(&Happening) -> bool) -> Option<Happening> {
        self.happenings(after).into_iter().find(is)
    }

    /// The writes whose sessions say that they may be lost.
    #[must_use]
    pub fn reported_lost(&self) -> BTreeSet<Row> {
        let sessions = self.sessions.lock();
        let sessions = sessions.unwrap_or_else(PoisonError::into_inner);
        let lost = sessions
            .iter()
            .filter(|(_, session)| session.may_have_lost_writes());
        lost.map(|(row, _)| *row).collect()
    }

    /// How many reads may fall back to the primary at once: half of its pool, unless set.
    #[must_use]
    pub const fn budget() -> u32 {
        super::PLACES / 2
    }

    /// The router's pace of questions.
    #[must_use]
    pub fn poll_interval(&self) -> Duration {
        self.router.snapshot().policy.poll_interval
    }
}

async fn listen(router: PgRouter, into: Arc<Mutex<Vec<Happening>>>) {
    let mut events = router.events();
    // A router that is listened to would otherwise live for its listener.
    drop(router);
    while let Some(happened) = events.next().await {
        let told = clock::now();
        let happening = Happening {
            noticed: told.saturating_sub(lagwise::now().since(happened.at)),
            told,
            node: happened.node.as_deref().unwrap_or_default().to_owned(),
            event: happened.event,
        };
        into.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(happening);
    }
}

/// What a caller of a router can tell from the error of a statement.
fn write_kind(error: &sqlx::Error) -> Kind {
    if lagwise::may_have_been_applied(error) {
        return Kind::Unknown;
    }
    match lagwise::Error::behind(error) {
        Some(error) if error.is_unavailable() => Kind::Refused,
        _ => Kind::NotDone,
    }
}

fn read_kind(error: &lagwise::Error) -> Kind {
    if error.is_timed_out() {
        return Kind::Late;
    }
    if error.is_unavailable() {
        return Kind::Refused;
    }
    error.as_sqlx().map_or(Kind::NotDone, sqlx_kind)
}

fn options(asked: Asked) -> ReadOptions {
    let mut options = ReadOptions::new();
    if let Some(bound) = asked.within {
        options = options.within(bound);
    }
    if let Some(limit) = asked.deadline {
        options = options.deadline(limit);
    }
    options
}

impl Contender for Lagwise {
    fn write(&self, row: Row) -> BoxFuture<'_, Outcome<String>> {
        Box::pin(async move {
            let session = self.router.session();
            let query = sqlx::query_scalar(WRITE).bind(row.writer).bind(row.n);
            let written = query.fetch_one(&session).await;
            let mut sessions = self.sessions.lock();
            let sessions = sessions
                .as_mut()
                .map_err(|_poisoned| Failed::unanswered())?;
            sessions.push((row, session));
            written.map_err(|error| Failed::new(write_kind(&error), &error))
        })
    }

    fn read(&self, asked: Asked) -> BoxFuture<'_, Outcome<Seen>> {
        Box::pin(async move {
            let row: std::result::Result<(i64, String), _> = self
                .router
                .run_read_with(options(asked), move |node| {
                    Box::pin(sqlx::query_as(asked.query).fetch_one(node))
                })
                .await;
            match row {
                Ok((number, node)) => Ok(Seen { number, node }),
                Err(error) => Err(Failed::new(read_kind(&error), &error)),
            }
        })
    }
}
