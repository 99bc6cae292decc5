//! What one server says of how it is set up.
//!
//! Everything is asked by the simple protocol, which passes through every pooler, and what the role may
//! not see is absent. What is made of it is the business of the rules.
//!
//! See "System Catalogs", "Monitoring Database Activity" and "Replication" in the PostgreSQL manual.

use std::collections::BTreeMap;

use sqlx::postgres::PgConnection;
use sqlx::{Executor as _, FromRow, Row as _};

/// One server.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) state: State,
    pub(crate) settings: Settings,
    pub(crate) slots: Vec<Slot>,
    pub(crate) senders: Vec<Sender>,
    pub(crate) conflicts: Conflicts,
}

#[derive(Clone, Debug, Default, FromRow)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "facts that do not depend on each other"
)]
pub(crate) struct State {
    /// Such as 150018.
    pub(crate) version: i32,
    /// Such as `15.18 (Debian 15.18-1)`.
    pub(crate) release: String,
    pub(crate) in_recovery: bool,
    pub(crate) system: i64,
    /// When it was started, in microseconds.
    pub(crate) started: i64,
    pub(crate) read_only: bool,
    pub(crate) superuser: bool,
    /// Whether the statistics of others can be read.
    pub(crate) sees_stats: bool,
    pub(crate) role: String,
    pub(crate) encrypted: bool,
    /// Whether it is reached over a network.
    pub(crate) remote: bool,
    /// What its receiver shows most of the time.
    #[sqlx(skip)]
    pub(crate) receiver: Receiver,
    /// To those who may see it.
    pub(crate) has_upstream: Option<bool>,
    /// How many standbys stream from it.
    pub(crate) standbys: i64,
    pub(crate) replay_pause: Option<String>,
    pub(crate) connections: Option<i32>,
    /// The timeline that it writes, of a primary.
    pub(crate) timeline: Option<i32>,
    /// Where it had replayed to, in bytes; of a replica.
    pub(crate) replayed: Option<i64>,
}

const STATE: &str = "\
    SELECT /* lagwise */ current_setting('server_version_num')::int AS version, \
      current_setting('server_version') AS release, \
      r AS in_recovery, \
      (SELECT system_identifier FROM pg_control_system()) AS system, \
      (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::int8 AS started, \
      current_setting('transaction_read_only') = 'on' AS read_only, \
      current_setting('is_superuser') = 'on' AS superuser, \
      pg_has_role(current_user, 'pg_read_all_stats', 'usage') AS sees_stats, \
      current_user::text AS role, \
      coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false) AS encrypted, \
      coalesce(NOT (inet_client_addr() <<= '127.0.0.0/8' OR inet_client_addr() = '::1' \
        OR inet_client_addr() = inet_server_addr()), false) AS remote, \
      CASE WHEN pg_has_role(current_user, 'pg_read_all_settings', 'usage') \
        THEN current_setting('primary_conninfo') <> '' END AS has_upstream, \
      (SELECT count(*) FROM pg_stat_replication) AS standbys, \
      CASE WHEN r THEN pg_get_wal_replay_pause_state() END AS replay_pause, \
      (SELECT sum(numbackends)::int FROM pg_stat_database) AS connections, \
      CASE WHEN NOT r THEN \
        ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int END AS timeline, \
      CASE WHEN r THEN pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0')::int8 END AS replayed \
    FROM (SELECT pg_is_in_recovery() AS r OFFSET 0) x";

/// The process that receives the log.
#[derive(Clone, Debug, Default, PartialEq, Eq, FromRow)]
pub(crate) struct Receiver {
    pub(crate) runs: bool,
    /// `streaming`, or `waiting` where its sender has ended the stream, and so on. To those who may see it.
    pub(crate) status: Option<String>,
    /// The timeline that it streams, or streamed to its end. To those who may see it.
    pub(crate) timeline: Option<i32>,
    /// Whether replay has nothing left, is not paused, and would go over to a newer timeline.
    pub(crate) is_at_end: bool,
}

const RECEIVER: &str = "\
    SELECT /* lagwise */ w.pid IS NOT NULL AS runs, w.status, w.received_tli AS timeline, \
      r AND coalesce(pg_last_wal_replay_lsn() >= pg_last_wal_receive_lsn(), false) \
        AND CASE WHEN r THEN pg_get_wal_replay_pause_state() = 'not paused' END \
        AND current_setting('recovery_target_timeline') = 'latest' AS is_at_end \
    FROM (SELECT pg_is_in_recovery() AS r OFFSET 0) x LEFT JOIN pg_stat_wal_receiver w ON true";

impl Receiver {
    pub(crate) async fn ask(connection: &mut PgConnection) -> Result<Self, sqlx::Error> {
        one(connection, RECEIVER).await
    }

    /// Whether a stream is there; to those who may not see its status, whether one may be.
    pub(crate) fn streams(&self) -> bool {
        self.runs
            && self
                .status
                .as_deref()
                .is_none_or(|status| status == "streaming")
    }

    /// What was seen most often: one that gets nothing is started again and again, and looks well for a
    /// moment each time.
    pub(crate) fn usual(looks: &[Self]) -> Self {
        let count = |look: &&Self| looks.iter().filter(|other| other == look).count();
        looks.iter().max_by_key(count).cloned().unwrap_or_default()
    }
}

/// Where a primary stands, in bytes.
pub(crate) async fn position(connection: &mut PgConnection) -> Result<i64, sqlx::Error> {
    let query = "SELECT /* lagwise */ pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::int8";
    connection.fetch_one(sqlx::raw_sql(query)).await?.try_get(0)
}

/// The settings that rules look at.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings(BTreeMap<String, Setting>);

/// One setting.
#[derive(Clone, Debug, Default, FromRow)]
pub(crate) struct Setting {
    name: String,
    /// As people write it.
    text: String,
    /// As a number: in seconds if it is a time, in bytes if it is a size.
    amount: Option<f64>,
}

const SETTINGS: &str = "\
    SELECT /* lagwise */ name, current_setting(name) AS text, \
      CASE WHEN vartype NOT IN ('integer', 'real') THEN NULL \
        WHEN setting::float8 < 0 THEN setting::float8 \
        ELSE setting::float8 * CASE unit WHEN 'ms' THEN 0.001 WHEN 's' THEN 1 WHEN 'min' THEN 60 \
          WHEN 'kB' THEN 1024 WHEN 'MB' THEN 1048576 WHEN '8kB' THEN 8192 ELSE 1 END \
      END::float8 AS amount \
    FROM pg_settings WHERE name IN ('data_checksums', 'default_transaction_read_only', \
      'hot_standby_feedback', 'max_connections', 'max_locks_per_transaction', \
      'max_prepared_transactions', 'max_slot_wal_keep_size', 'max_standby_streaming_delay', \
      'max_wal_senders', 'max_worker_processes', 'recovery_min_apply_delay', \
      'superuser_reserved_connections', 'reserved_connections', 'synchronous_commit', \
      'synchronous_standby_names', 'wal_log_hints', 'wal_receiver_status_interval', \
      'wal_receiver_timeout', 'wal_sender_timeout')";

impl Settings {
    pub(crate) fn text(&self, name: &str) -> &str {
        self.0.get(name).map_or("", |setting| &setting.text)
    }

    /// In seconds, bytes or pieces; negative for what is without a limit.
    pub(crate) fn amount(&self, name: &str) -> Option<f64> {
        self.0.get(name)?.amount
    }

    pub(crate) fn is_on(&self, name: &str) -> bool {
        self.text(name) == "on"
    }

    #[cfg(test)]
    pub(crate) fn of(settings: &[(&str, &str, f64)]) -> Self {
        let setting = |&(name, text, amount): &(&str, &str, f64)| Setting {
            name: name.to_owned(),
            text: text.to_owned(),
            amount: Some(amount),
        };
        let settings = settings.iter().map(setting);
        Self(
            settings
                .map(|setting| (setting.name.clone(), setting))
                .collect(),
        )
    }
}

/// A replication slot.
#[derive(Clone, Debug, Default, FromRow)]
pub(crate) struct Slot {
    pub(crate) name: String,
    pub(crate) active: bool,
    /// The log that is kept for it.
    pub(crate) held: Option<i64>,
    /// `reserved`, `extended`, `unreserved`, `lost`.
    pub(crate) wal_status: Option<String>,
}

const SLOTS: &str = "\
    SELECT /* lagwise */ slot_name::text AS name, active, wal_status, \
      pg_wal_lsn_diff(CASE WHEN r THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END, \
        restart_lsn)::int8 AS held \
    FROM pg_replication_slots, (SELECT pg_is_in_recovery() AS r OFFSET 0) x \
    WHERE NOT temporary ORDER BY slot_name";

/// A stream from here to a standby. To those who may see it.
#[derive(Clone, Debug, Default, FromRow)]
pub(crate) struct Sender {
    pub(crate) name: Option<String>,
    pub(crate) sync_state: Option<String>,
    /// How many transactions ago the oldest began that vacuum spares for it.
    pub(crate) xmin_age: Option<i64>,
}

const SENDERS: &str = "\
    SELECT /* lagwise */ application_name AS name, sync_state, age(backend_xmin)::int8 AS xmin_age \
    FROM pg_stat_replication WHERE state IS NOT NULL ORDER BY application_name";

/// Queries that replay has canceled since the statistics were reset, in all databases.
#[derive(Clone, Debug, Default, FromRow)]
pub(crate) struct Conflicts {
    pub(crate) snapshot: i64,
    pub(crate) lock: i64,
    pub(crate) bufferpin: i64,
    pub(crate) deadlock: i64,
    pub(crate) tablespace: i64,
}

impl Conflicts {
    pub(crate) const fn total(&self) -> i64 {
        self.snapshot + self.lock + self.bufferpin + self.deadlock + self.tablespace
    }
}

const CONFLICTS: &str = "\
    SELECT /* lagwise */ coalesce(sum(confl_snapshot), 0)::int8 AS snapshot, coalesce(sum(confl_lock), 0)::int8 AS lock, \
      coalesce(sum(confl_bufferpin), 0)::int8 AS bufferpin, \
      coalesce(sum(confl_deadlock), 0)::int8 AS deadlock, \
      coalesce(sum(confl_tablespace), 0)::int8 AS tablespace \
    FROM pg_stat_database_conflicts";

impl Seen {
    /// Asks everything.
    pub(crate) async fn ask(connection: &mut PgConnection) -> Result<Self, sqlx::Error> {
        let state: State = one(connection, STATE).await?;
        let settings: Vec<Setting> = all(connection, SETTINGS).await?;
        let named = settings.into_iter();
        Ok(Self {
            settings: Settings(
                named
                    .map(|setting| (setting.name.clone(), setting))
                    .collect(),
            ),
            slots: all(connection, SLOTS).await?,
            senders: all(connection, SENDERS).await?,
            conflicts: one(connection, CONFLICTS).await?,
            state,
        })
    }
}

async fn one<T>(connection: &mut PgConnection, query: &'static str) -> Result<T, sqlx::Error>
where
    T: for<'r> FromRow<'r, sqlx::postgres::PgRow>,
{
    T::from_row(&connection.fetch_one(sqlx::raw_sql(query)).await?)
}

async fn all<T>(connection: &mut PgConnection, query: &'static str) -> Result<Vec<T>, sqlx::Error>
where
    T: for<'r> FromRow<'r, sqlx::postgres::PgRow>,
{
    let rows = connection.fetch_all(sqlx::raw_sql(query)).await?;
    rows.iter().map(T::from_row).collect()
}

/// Who answers on a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Backend {
    pub(crate) pid: i32,
    /// When the process of the connection was started, in microseconds.
    pub(crate) since: i64,
    /// When the server was started, in microseconds: no two are at the same.
    pub(crate) server_since: i64,
}

const BACKEND: &str = "\
    SELECT /* lagwise */ pg_backend_pid(), \
      (SELECT (extract(epoch FROM backend_start) * 1000000)::int8 FROM pg_stat_activity \
        WHERE pid = pg_backend_pid()), \
      (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::int8";

impl Backend {
    pub(crate) async fn ask(connection: &mut PgConnection) -> Result<Self, sqlx::Error> {
        let row = connection.fetch_one(sqlx::raw_sql(BACKEND)).await?;
        Ok(Self {
            pid: row.try_get(0)?,
            since: row.try_get::<Option<i64>, _>(1)?.unwrap_or_default(),
            server_since: row.try_get(2)?,
        })
    }
}

/// The server's clock, in seconds since 1970.
pub(crate) async fn clock(connection: &mut PgConnection) -> Result<f64, sqlx::Error> {
    let query = "SELECT /* lagwise */ extract(epoch FROM clock_timestamp())::float8";
    connection.fetch_one(sqlx::raw_sql(query)).await?.try_get(0)
}
