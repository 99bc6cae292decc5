//! What a person wants to know of a server and no decision needs: its connections, its stream, its
//! conflicts.
//!
//! The monitor asks what is proved by; this asks the rest, seldom, and on a connection of its own, so
//! that neither ever waits for the other. What the role may not see is absent, never zero. No verdict
//! on reads comes from here.
//!
//! Views are described in the PostgreSQL manual, chapter "Monitoring Database Activity".

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, FromRow};

/// What one server says of itself.
#[derive(Clone, Debug, Default, Serialize, FromRow)]
pub(crate) struct Vitals {
    /// Such as 150018.
    pub(crate) version: i32,
    pub(crate) in_recovery: bool,
    /// Whether a new transaction may not write, in recovery or by `default_transaction_read_only`.
    pub(crate) read_only: bool,
    /// What the server calls itself; its receiver goes by that name at its sender, unless it is given
    /// another.
    pub(crate) cluster_name: String,
    /// Which server it is: no two of one cluster have been started at the same microsecond.
    #[sqlx(flatten)]
    #[serde(skip)]
    pub(crate) identity: Identity,
    /// The server's clock when it answered, in seconds since 1970.
    pub(crate) clock_seconds: f64,
    /// The timeline of its last checkpoint; that which it replays is seen at its next one.
    pub(crate) checkpoint_timeline: Option<i32>,
    /// The newest timeline that it is seen to write, or to receive or replay.
    pub(crate) timeline: Option<i32>,
    /// Client connections, those of this command among them.
    pub(crate) connections: Option<i32>,
    pub(crate) max_connections: i32,
    /// Queries that replay has canceled since the statistics were reset, in all databases.
    pub(crate) conflicts: Option<i64>,
    /// Whether a receiver of the log runs: on a replica, whether there is a stream.
    pub(crate) receiving: bool,
    /// What the receiver says of itself: `streaming`, or `waiting` and so on. To those who may see it.
    pub(crate) receiver_status: Option<String>,
    /// The timeline that the receiver streams, or streamed to its end. To those who may see it.
    #[serde(skip)]
    pub(crate) received_timeline: Option<i32>,
    /// Which timeline replay goes over to by itself: `latest`, unless somebody has said otherwise.
    #[serde(skip)]
    pub(crate) target_timeline: String,
    /// Whether nothing that was received waits for replay; on a replica.
    #[serde(skip)]
    pub(crate) has_replayed_all: Option<bool>,
    /// How long ago the receiver last heard from its sender, by the server's clock. To those who may see it.
    pub(crate) heard_seconds_ago: Option<f64>,
    /// After which silence the receiver gives its sender up; it asks for a word after half of it. 0 for
    /// never.
    pub(crate) receiver_timeout_seconds: f64,
    /// How often the receiver tells its sender where it is, at least. 0 for never.
    pub(crate) receiver_status_seconds: f64,
    /// Whether the server is told to stream from another at all: a standby may be fed from an archive
    /// alone. To those who may see it.
    pub(crate) has_upstream: Option<bool>,
    /// How long ago the last transaction that was replayed had been committed, by the clocks of both.
    pub(crate) last_replayed_commit_seconds_ago: Option<f64>,
    /// The last position that was received and written.
    pub(crate) received_lsn: Option<String>,
    pub(crate) replayed_lsn: Option<String>,
    /// `not paused`, `pause requested` or `paused`.
    pub(crate) replay_pause: Option<String>,
    /// How many standbys stream from here. To those who may see it; to others only whether any is there.
    pub(crate) senders: i64,
    /// Who streams from here, as a JSON list of [`Sender`]. To those who may see it.
    #[serde(skip)]
    pub(crate) streams: Option<String>,
}

/// What tells a server from every other, by whatever address it is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromRow)]
pub(crate) struct Identity {
    /// That of its cluster.
    pub(crate) system: i64,
    /// When it was started, in microseconds since 1970.
    pub(crate) started: i64,
}

/// A stream from a server to one of its standbys, as the server sees it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct Sender {
    /// The name that the standby goes by.
    pub(crate) name: String,
    /// When the standby last said where it is, by the standby's clock in seconds since 1970.
    pub(crate) replied_at: Option<f64>,
}

impl Vitals {
    /// Whether a receiver that was told the end of its timeline has no way on to the primary's: replay
    /// stands beyond where the two part. One that has yet to replay may find the way.
    pub(crate) fn cannot_follow(&self, timeline: Option<u32>) -> bool {
        let older = self.received_timeline.zip(timeline);
        let older = older.is_some_and(|(received, timeline)| i64::from(received) < timeline.into());
        let runs = self.replay_pause.as_deref() == Some("not paused");
        older && runs && self.target_timeline == "latest" && self.has_replayed_all == Some(true)
    }

    /// Who streams from here; none to those who may not see it.
    pub(crate) fn streams(&self) -> Vec<Sender> {
        let text = self.streams.as_deref().unwrap_or("[]");
        serde_json::from_str(text).unwrap_or_default()
    }
}

const QUESTION: &str = "\
    SELECT /* lagwise */ current_setting('server_version_num')::int AS version, \
      r AS in_recovery, \
      current_setting('transaction_read_only') = 'on' AS read_only, \
      current_setting('cluster_name') AS cluster_name, \
      (SELECT system_identifier FROM pg_control_system()) AS system, \
      (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::int8 AS started, \
      extract(epoch FROM clock_timestamp())::float8 AS clock_seconds, \
      (SELECT timeline_id FROM pg_control_checkpoint()) AS checkpoint_timeline, \
      greatest((SELECT timeline_id FROM pg_control_checkpoint()), \
        CASE WHEN r THEN (SELECT min_recovery_end_timeline FROM pg_control_recovery()) END, \
        (SELECT received_tli FROM pg_stat_wal_receiver)) AS timeline, \
      (SELECT sum(numbackends)::int FROM pg_stat_database) AS connections, \
      current_setting('max_connections')::int AS max_connections, \
      CASE WHEN r THEN (SELECT sum(conflicts)::int8 FROM pg_stat_database) END AS conflicts, \
      EXISTS (SELECT FROM pg_stat_wal_receiver) AS receiving, \
      (SELECT status FROM pg_stat_wal_receiver) AS receiver_status, \
      (SELECT received_tli FROM pg_stat_wal_receiver) AS received_timeline, \
      current_setting('recovery_target_timeline') AS target_timeline, \
      CASE WHEN r THEN pg_last_wal_replay_lsn() >= pg_last_wal_receive_lsn() END AS has_replayed_all, \
      (SELECT extract(epoch FROM clock_timestamp() - last_msg_receipt_time)::float8 \
        FROM pg_stat_wal_receiver) AS heard_seconds_ago, \
      extract(epoch FROM current_setting('wal_receiver_timeout')::interval)::float8 \
        AS receiver_timeout_seconds, \
      extract(epoch FROM current_setting('wal_receiver_status_interval')::interval)::float8 \
        AS receiver_status_seconds, \
      CASE WHEN pg_has_role(current_user, 'pg_read_all_settings', 'usage') \
        THEN current_setting('primary_conninfo') <> '' END AS has_upstream, \
      CASE WHEN r THEN extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float8 \
        END AS last_replayed_commit_seconds_ago, \
      CASE WHEN r THEN pg_last_wal_receive_lsn()::text END AS received_lsn, \
      CASE WHEN r THEN pg_last_wal_replay_lsn()::text END AS replayed_lsn, \
      CASE WHEN r THEN pg_get_wal_replay_pause_state() END AS replay_pause, \
      (SELECT count(*) FROM pg_stat_replication) AS senders, \
      (SELECT json_agg(json_build_object('name', application_name, \
          'replied_at', extract(epoch FROM reply_time)))::text \
        FROM pg_stat_replication WHERE state = 'streaming') AS streams \
    FROM (SELECT pg_is_in_recovery() AS r OFFSET 0) x";

/// Asks one server, and keeps the connection for the next time.
#[derive(Debug)]
pub(crate) struct VitalsProbe {
    options: PgConnectOptions,
    connection: Option<PgConnection>,
}

impl VitalsProbe {
    pub(crate) fn new(options: &PgConnectOptions, timeout: Duration) -> Self {
        let limit = timeout.as_millis().max(1).to_string();
        let options = options
            .clone()
            .application_name("lagwise")
            .options([("statement_timeout", limit.as_str())]);
        Self {
            options,
            connection: None,
        }
    }

    /// What the server says, within a time limit.
    ///
    /// # Errors
    /// In words that hold no password. The connection is then not used again.
    pub(crate) async fn ask(&mut self, timeout: Duration) -> Result<Vitals, Unwell> {
        // Whatever happens on the way, a connection of which the answer is still owed is not kept.
        let kept = self.connection.take();
        let asks = async {
            let mut connection = match kept {
                Some(connection) => connection,
                None => self.options.connect().await.map_err(Unwell::Connect)?,
            };
            let vitals = sqlx::query_as(QUESTION)
                .fetch_one(&mut connection)
                .await
                .map_err(Unwell::Answer)?;
            Ok((vitals, connection))
        };
        let (vitals, connection) = tokio::time::timeout(timeout, asks)
            .await
            .map_err(|_elapsed| Unwell::Late(timeout))??;
        self.connection = Some(connection);
        Ok(vitals)
    }
}

/// Why a server has said nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unwell {
    #[error("cannot be connected to: {0}")]
    Connect(#[source] sqlx::Error),
    #[error("did not answer: {0}")]
    Answer(#[source] sqlx::Error),
    #[error("has not answered within {}", crate::format::short(*.0))]
    Late(Duration),
}
