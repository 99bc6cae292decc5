//! Whoever is compared: it writes a row and reads a row, and nothing else is asked of it.
//!
//! Each contender is set up as its users set it up: pools of ten, deadlines of a second where it has
//! none of its own. What it does about a fault is its business; what it tells its caller is ours.

mod driver;
mod lagwise;
mod pgpool;
mod pools;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_core::future::BoxFuture;
use lagwise_testkit::Cluster;
use sqlx::postgres::PgPoolOptions;

use crate::Result;

pub use self::lagwise::{Happening, Lagwise};

/// Connections of one pool: the driver's default.
pub const PLACES: u32 = 10;

/// How long a caller waits for a connection to a replica, and to the primary.
const PATIENCE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));

/// What is compared.
pub trait Contender: fmt::Debug + Send + Sync {
    /// Writes one row, and says which node did.
    fn write(&self, row: Row) -> BoxFuture<'_, Outcome<String>>;

    /// Reads one row.
    fn read(&self, asked: Asked) -> BoxFuture<'_, Outcome<Seen>>;
}

/// What came of a request.
pub type Outcome<T> = std::result::Result<T, Failed>;

/// A row: no two are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    /// Whose it is.
    pub writer: i32,
    /// Its number.
    pub n: i64,
}

/// The statement of every write.
const WRITE: &str = "insert into entry (writer, n, node) \
                     values ($1, $2, current_setting('cluster_name')) returning node";

/// What a read asks for.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// A query of one row: a number, and the node's name.
    pub query: &'static str,
    /// By when the caller wants an answer.
    pub deadline: Option<Duration>,
    /// How stale the answer may be, for those who can say.
    pub within: Option<Duration>,
}

/// What a read saw.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The number.
    pub number: i64,
    /// The node.
    pub node: String,
}

/// How a request failed, as far as its caller can tell from the error.
#[derive(Clone, Debug)]
pub struct Failed {
    /// What the caller knows.
    pub kind: Kind,
    /// What it was told.
    pub text: String,
}

/// What a caller knows of a request that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It was not done.
    NotDone,
    /// It was refused for now, by a type of its own.
    Refused,
    /// The caller's deadline passed.
    Late,
    /// It may have been done.
    Unknown,
    /// There was no answer when the drill ended.
    Unanswered,
}

impl Failed {
    /// A failure that a caller can tell.
    #[must_use]
    pub fn new(kind: Kind, error: &dyn std::error::Error) -> Self {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(deeper) = cause {
            text = format!("{text}: {deeper}");
            cause = deeper.source();
        }
        let text = text.replace('\n', "; ");
        Self { kind, text }
    }

    /// Nothing was heard until the drill ended.
    #[must_use]
    pub fn unanswered() -> Self {
        Self {
            kind: Kind::Unanswered,
            text: "no answer when the drill ended".to_owned(),
        }
    }

    fn late() -> Self {
        Self {
            kind: Kind::Late,
            text: "the caller's deadline passed".to_owned(),
        }
    }
}

/// What is compared with what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// This project's router.
    Lagwise,
    /// A pool for each node, reads in turn.
    Pools,
    /// The same, with a check of how late replicas are.
    Checked,
    /// A driver that is given all hosts.
    Driver,
    /// A proxy.
    Pgpool,
}

impl Which {
    /// Those that can run here.
    #[must_use]
    pub fn here() -> Vec<Self> {
        let mut all = vec![Self::Lagwise, Self::Pools, Self::Checked, Self::Driver];
        if pgpool::program().is_some() {
            all.push(Self::Pgpool);
        }
        all
    }

    /// Its name in a table.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lagwise => "lagwise",
            Self::Pools => "PgPool per node",
            Self::Checked => "PgPools, lag check",
            Self::Driver => "multi-host driver",
            Self::Pgpool => "Pgpool-II",
        }
    }

    /// What it is.
    #[must_use]
    pub const fn told(self) -> &'static str {
        match self {
            Self::Lagwise => "default settings",
            Self::Pools => {
                "sqlx: writes to the primary's pool, reads to the replicas' in turn; \
                 acquire_timeout 5 s and 1 s"
            }
            Self::Checked => {
                "the same, and replicas that are more than 1 s late, asked every 500 ms, are left out; \
                 where all are, reads go to the primary's pool"
            }
            Self::Driver => {
                "tokio-postgres under deadpool: all hosts and target_session_attrs=read-write \
                 for writes, the replicas and load_balance_hosts=random for reads; \
                 connect_timeout 1 s, wait timeouts 5 s and 1 s"
            }
            Self::Pgpool => {
                "streaming_replication mode, health_check_period 1 s, health_check_timeout 3 s, one retry, \
                 sr_check_period 1 s, delay_threshold 100 kB, load balanced by statement; behind a sqlx pool of 10 for \
                 writes and one of 20 for reads, neither of which keeps statements prepared"
            }
        }
    }

    /// Connects it to a cluster.
    pub async fn connect(self, cluster: &Cluster) -> Result<Entrant> {
        let contender: Arc<dyn Contender> = match self {
            Self::Lagwise => {
                let router = Arc::new(Lagwise::connect(cluster).await?);
                return Ok(Entrant {
                    contender: Arc::clone(&router) as Arc<dyn Contender>,
                    router: Some(router),
                });
            }
            Self::Pools => Arc::new(pools::Pools::connect(cluster)?),
            Self::Checked => Arc::new(pools::Pools::connect(cluster)?.checked()),
            Self::Driver => Arc::new(driver::Driver::connect(cluster)?),
            Self::Pgpool => Arc::new(pgpool::Pgpool::start(cluster).await?),
        };
        Ok(Entrant {
            contender,
            router: None,
        })
    }
}

/// A contender, and what only lagwise tells of itself.
#[derive(Debug)]
pub struct Entrant {
    /// It.
    pub contender: Arc<dyn Contender>,
    /// It again, where it is lagwise.
    pub router: Option<Arc<Lagwise>>,
}

/// What a caller of sqlx can tell from an error: only what the database or the pool said is certain.
fn sqlx_kind(error: &sqlx::Error) -> Kind {
    match error {
        sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => Kind::NotDone,
        sqlx::Error::Database(said) => said_kind(said.code().as_deref()),
        sqlx::Error::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            Kind::NotDone
        }
        _ => Kind::Unknown,
    }
}

/// What a caller can tell from an SQLSTATE: an error undoes its statement, but for lost connections.
fn said_kind(state: Option<&str>) -> Kind {
    match state {
        Some("57P01" | "57P02") | None => Kind::Unknown,
        Some(state) if state.starts_with("08") => Kind::Unknown,
        Some(_) => Kind::NotDone,
    }
}

/// Cuts a read off at the caller's deadline, as a caller does.
async fn by_deadline<T>(asked: Asked, work: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    match asked.deadline {
        None => work.await,
        Some(deadline) => match tokio::time::timeout(deadline, work).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => Err(Failed::late()),
        },
    }
}

fn pool_options(patience: Duration) -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(PLACES)
        .acquire_timeout(patience)
}

async fn write_on(pool: &sqlx::PgPool, row: Row) -> Outcome<String> {
    let query = sqlx::query_scalar(WRITE).bind(row.writer).bind(row.n);
    let written = query.fetch_one(pool).await;
    written.map_err(|error| Failed::new(sqlx_kind(&error), &error))
}

async fn read_on(pool: &sqlx::PgPool, asked: Asked) -> Outcome<Seen> {
    let row: std::result::Result<(i64, String), _> =
        sqlx::query_as(asked.query).fetch_one(pool).await;
    match row {
        Ok((number, node)) => Ok(Seen { number, node }),
        Err(error) => Err(Failed::new(sqlx_kind(&error), &error)),
    }
}
