//! Where the naive service reads, and what it remembers of it.
//!
//! A replica is asked where it stands on the connection that reads next. It serves if it has passed the
//! token, on the token's timeline, and is young enough; else the primary does. The answer raises the
//! token by what may have been visible: at least what was received, since a commit can be seen an
//! instant before the replay position moves.

use std::time::Duration;

use sqlx::postgres::PgConnection;

use super::flaw::Flaw;
use super::nodes::{Node, Nodes};
use super::token::Token;
use crate::clock;

/// How long a replica may take to answer.
const PATIENCE: Duration = Duration::from_millis(300);

const STANDING: &str = "
    select coalesce((select received_tli from pg_stat_wal_receiver), 0)::bigint as timeline,
           coalesce(pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0'), 0)::bigint as replayed,
           coalesce(pg_wal_lsn_diff(pg_last_wal_receive_lsn(), '0/0'), 0)::bigint as received,
           coalesce(extract(epoch from now() - pg_last_xact_replay_timestamp()) * 1000, 1e15)::bigint
               as commit_age,
           (extract(epoch from clock_timestamp()) * 1000)::bigint as now
    where pg_is_in_recovery()";

const READ: &str = "
    select note.version, note.body,
           case when pg_is_in_recovery()
               then coalesce((select received_tli from pg_stat_wal_receiver), 0)::bigint
               else ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))
                   ::bit(32)::bigint end as timeline,
           pg_wal_lsn_diff(case when pg_is_in_recovery()
               then greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())
               else pg_current_wal_insert_lsn() end, '0/0')::bigint as position
    from (select 1) as one left join notes as note on note.id = $1";

/// What a read found, and where.
#[derive(Debug)]
pub(super) struct Found {
    /// The version and body; none if there is no such note.
    pub(super) note: Option<(i64, String)>,
    pub(super) node: String,
    pub(super) reason: &'static str,
    pub(super) staleness: Option<Duration>,
    /// What may have been visible.
    pub(super) seen: Token,
}

/// The rules of one read.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    pub(super) nodes: &'a Nodes,
    pub(super) flaw: Option<Flaw>,
    pub(super) max_lag: Duration,
    pub(super) token: Token,
}

#[derive(sqlx::FromRow)]
struct Standing {
    timeline: i64,
    replayed: i64,
    received: i64,
    commit_age: i64,
    now: i64,
}

#[derive(sqlx::FromRow)]
struct Row {
    version: Option<i64>,
    body: Option<String>,
    timeline: i64,
    position: i64,
}

impl Reader<'_> {
    /// Reads a note, on a replica if one may.
    pub(super) async fn read(&self, id: i64) -> Result<Found, sqlx::Error> {
        for node in self.nodes.replicas() {
            match tokio::time::timeout(PATIENCE, self.on_replica(node, id)).await {
                Ok(Ok(Some(found))) => return Ok(found),
                Ok(Ok(None)) => {}
                Ok(Err(_)) | Err(_) => node.bench(),
            }
        }
        let node = self.nodes.primary();
        let row = look(&mut *node.pool.acquire().await?, id).await?;
        Ok(Found::new(node, row, ("primary", None)))
    }

    /// Nothing if the replica may not serve it.
    async fn on_replica(&self, node: &Node, id: i64) -> Result<Option<Found>, sqlx::Error> {
        let mut connection = node.pool.acquire().await?;
        let standing = sqlx::query_as(STANDING);
        let Some(standing) = standing.fetch_optional(&mut *connection).await? else {
            return Ok(None);
        };
        if !self.has_passed(&standing) {
            return Ok(None);
        }
        let row = look(&mut connection, id).await?;
        let Some(staleness) = self.staleness(&standing).filter(|age| *age <= self.max_lag) else {
            return Ok(None);
        };
        Ok(Some(Found::new(node, row, ("replica", Some(staleness)))))
    }

    /// Whether the session's token is visible on a replica that stands there.
    fn has_passed(&self, standing: &Standing) -> bool {
        let (token, at) = (self.token, standing.replayed);
        let here = standing.timeline == self.nodes.timeline();
        match self.flaw {
            Some(Flaw::StickyFromStart) => {
                let window = i64::try_from(self.max_lag.as_millis()).unwrap_or(i64::MAX);
                here && standing.now - token.wrote > window
            }
            Some(Flaw::TextOrder) => here && at.to_string() >= token.position.to_string(),
            Some(Flaw::TimelineIgnored) => at >= token.position,
            Some(Flaw::StrictlyAfter) => here && (token.position == 0 || at > token.position),
            _ => {
                here && (token.timeline == 0 || token.timeline == standing.timeline)
                    && at >= token.position
            }
        }
    }

    /// The most that an answer from there is behind by now; none if that cannot be said.
    fn staleness(&self, standing: &Standing) -> Option<Duration> {
        let commit_age = u64::try_from(standing.commit_age).unwrap_or(0);
        let commit_age = Duration::from_millis(commit_age);
        let all_replayed = standing.received <= standing.replayed;
        match self.flaw {
            Some(Flaw::NoLagIfReplayed) if all_replayed => Some(Duration::ZERO),
            Some(Flaw::NoLagIfReplayed | Flaw::LagOfLastCommit) => Some(commit_age),
            _ => {
                let asked = self.nodes.proven(standing.replayed)?;
                Some(clock::now().saturating_sub(asked))
            }
        }
    }
}

impl Found {
    fn new(node: &Node, row: Row, how: (&'static str, Option<Duration>)) -> Self {
        let (reason, staleness) = how;
        Self {
            note: row.version.zip(row.body),
            node: node.name.clone(),
            reason,
            staleness,
            seen: Token {
                timeline: row.timeline,
                position: row.position,
                wrote: 0,
            },
        }
    }
}

async fn look(connection: &mut PgConnection, id: i64) -> Result<Row, sqlx::Error> {
    sqlx::query_as(READ).bind(id).fetch_one(connection).await
}
