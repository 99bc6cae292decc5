//! PostgreSQL: one query that any role may ask and any version from 14 on answers, and the table of
//! SQLSTATEs that say where a read may be tried again.
//!
//! The functions are documented under "System Administration Functions" (sections "Backup Control"
//! and "Recovery Control") and "System Information Functions" of the PostgreSQL manual; none needs a
//! grant.

mod catalog;

use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;
use lagwise_core::{
    Catalog, CatalogObject, Classification, Completed, Lsn, Role, ServerStart, Standing, SystemId,
    Timeline, WalGeometry,
};
use sqlx::postgres::{
    PgConnectOptions, PgConnection, PgDatabaseError, PgRow, PgStatement, PgTypeInfo,
};
use sqlx::{Connection as _, Describe, Executor as _, FromRow, Postgres, Row as _, SqlStr};

use super::sealed::Translate;
use super::{Backend, Fault, Identity, Reading};
use crate::executor::{Item, Statement};

impl Backend for Postgres {}

impl Translate for Postgres {
    const BEGIN_READ_ONLY: &'static str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

    fn probe<'c>(
        connection: &'c mut PgConnection,
        known: &'c mut Option<Identity>,
    ) -> BoxFuture<'c, Result<Reading, sqlx::Error>> {
        Box::pin(async move {
            let identity = match known {
                Some(identity) => identity,
                none => none.insert(identify(connection).await?),
            };
            let answer = match identity.role {
                Some(Role::Primary) => ask_primary(connection, *identity).await,
                Some(Role::Replica) => ask_replica(connection, *identity).await,
                _ => ask(connection, *identity).await.map(Some),
            };
            let reading = match answer {
                Ok(Some(reading)) => reading,
                Ok(None) => ask(connection, *identity).await?,
                // A promotion between two of the query's functions: the next answer is consistent.
                Err(error) if code_of(&error) == Some("55000") => {
                    ask(connection, *identity).await?
                }
                Err(error) => return Err(error),
            };
            identity.role = Some(reading.standing.role());
            Ok(reading)
        })
    }

    fn ask_once(connection: &mut PgConnection) -> BoxFuture<'_, Result<Reading, sqlx::Error>> {
        Box::pin(async move {
            let row = connection.fetch_one(sqlx::raw_sql(IDENTITY)).await?;
            let identity = identity(FromRow::from_row(&row)?)?;
            let row = connection.fetch_one(sqlx::raw_sql(STANDING)).await?;
            reading(FromRow::from_row(&row)?, identity)
        })
    }

    fn monitor_options(options: &PgConnectOptions, timeout: Duration) -> PgConnectOptions {
        let timeout = timeout.as_millis().max(1).to_string();
        options
            .clone()
            .application_name("lagwise monitor")
            .options([("statement_timeout", timeout.as_str())])
    }

    fn fault(error: &sqlx::Error) -> Fault {
        match error {
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::Protocol(_) => Fault::Node,
            sqlx::Error::Database(_) => server_error(error).map_or(Fault::Statement, |error| {
                fault_of(error.code(), error.routine())
            }),
            _ => Fault::Statement,
        }
    }

    fn is_read_only(error: &sqlx::Error) -> bool {
        code_of(error) == Some("25006")
    }

    fn accepts_writes(connection: &mut PgConnection) -> BoxFuture<'_, Result<bool, sqlx::Error>> {
        Box::pin(async move {
            // Unprepared: one round trip, also the first time.
            let row = connection.fetch_one(sqlx::raw_sql(ACCEPTS_WRITES)).await?;
            row.try_get(0)
        })
    }

    fn is_at_rest(connection: &mut PgConnection) -> bool {
        // What waits to be sent may be the end of a copy that was given up, and its answer is not
        // counted among those that are owed.
        if connection.is_in_transaction() || connection.should_flush() {
            return false;
        }
        // It waits for answers that are owed. Where none is, it ends at once.
        let owed = pin!(connection.flush());
        let mut context = Context::from_waker(Waker::noop());
        matches!(owed.poll(&mut context), Poll::Ready(Ok(())))
    }

    fn classify<'a>(sql: &'a str, catalog: &Catalog) -> Classification<'a> {
        lagwise_core::classify(sql, catalog)
    }

    fn catalog(
        connection: &mut PgConnection,
    ) -> BoxFuture<'_, Result<Vec<CatalogObject>, sqlx::Error>> {
        Box::pin(catalog::read(connection))
    }

    fn catalog_mark(connection: &mut PgConnection) -> BoxFuture<'_, Result<String, sqlx::Error>> {
        Box::pin(catalog::mark(connection))
    }

    fn fetch_many_on(
        connection: &mut PgConnection,
        statement: Statement<Self>,
    ) -> BoxStream<'_, Result<Item<Self>, sqlx::Error>> {
        connection.fetch_many(statement)
    }

    fn fetch_optional_on(
        connection: &mut PgConnection,
        statement: Statement<Self>,
    ) -> BoxFuture<'_, Result<Option<PgRow>, sqlx::Error>> {
        connection.fetch_optional(statement)
    }

    fn prepare_on<'c>(
        connection: &'c mut PgConnection,
        sql: SqlStr,
        parameters: &'c [PgTypeInfo],
    ) -> BoxFuture<'c, Result<PgStatement, sqlx::Error>> {
        connection.prepare_with(sql, parameters)
    }

    fn describe_on(
        connection: &mut PgConnection,
        sql: SqlStr,
    ) -> BoxFuture<'_, Result<Describe<Self>, sqlx::Error>> {
        connection.describe(sql)
    }
}

/// Recovery refuses writes, and so does a transaction that began as read-only.
const ACCEPTS_WRITES: &str = "select /* lagwise */ not pg_is_in_recovery() and current_setting('transaction_read_only') = 'off'";

/// The table of SQLSTATEs (PostgreSQL manual, appendix A), as far as they speak of the node.
fn fault_of(code: &str, routine: Option<&str>) -> Fault {
    match code {
        // Shut down by an administrator, crashed, starting up or shutting down; a lost connection.
        "57P01" | "57P02" | "57P03" => Fault::Node,
        code if code.starts_with("08") => Fault::Node,
        // A serialization failure or a deadlock: a conflict with replay, to a reader on a standby.
        "40001" | "40P01" => Fault::Conflict,
        // No connection slot left.
        "53300" => Fault::Busy,
        // Not refusals: a plan that was prepared before a table changed, and a materialized view
        // that is empty until its refresh is replayed.
        "0A000" if routine == Some("RevalidateCachedQuery") => Fault::Busy,
        "55000" if routine == Some("ExecOpenScanRelation") => Fault::Busy,
        // A write in a read-only transaction, and what a server in recovery cannot do at all.
        "25006" | "0A000" | "55000" => Fault::ReplicaRefuses,
        // An internal error, raised where something was about to be written after all. Its text is
        // translated; the routine's name is not.
        "XX000" if routine.is_some_and(|routine| ONLY_OUT_OF_RECOVERY.contains(&routine)) => {
            Fault::ReplicaRefuses
        }
        _ => Fault::Statement,
    }
}

/// The routines of the server that say "cannot .. during recovery" by an internal error
/// (`src/backend/access/transam/varsup.c` and `xloginsert.c`).
const ONLY_OUT_OF_RECOVERY: [&str; 4] = [
    "GetNewTransactionId",
    "GetNewObjectId",
    "GetNewMultiXactId",
    "XLogBeginInsert",
];

fn server_error(error: &sqlx::Error) -> Option<&PgDatabaseError> {
    let sqlx::Error::Database(database) = error else {
        return None;
    };
    database.try_downcast_ref::<PgDatabaseError>()
}

fn code_of(error: &sqlx::Error) -> Option<&str> {
    server_error(error).map(PgDatabaseError::code)
}

/// Reads the control file once: that is too much for every probe.
async fn identify(connection: &mut PgConnection) -> Result<Identity, sqlx::Error> {
    identity(sqlx::query_as(IDENTITY).fetch_one(connection).await?)
}

fn identity((system, segment, page): (i64, i64, i64)) -> Result<Identity, sqlx::Error> {
    let size = |bytes: i64| u64::try_from(bytes).map_err(garbled);
    let wal = WalGeometry::new(size(segment)?, size(page)?).map_err(garbled)?;
    Ok(Identity {
        system: SystemId::new(system.cast_unsigned()),
        wal,
        role: None,
    })
}

async fn ask(connection: &mut PgConnection, identity: Identity) -> Result<Reading, sqlx::Error> {
    reading(
        sqlx::query_as(STANDING).fetch_one(connection).await?,
        identity,
    )
}

/// Asks a node that was a primary; none if it is one no longer.
async fn ask_primary(
    connection: &mut PgConnection,
    identity: Identity,
) -> Result<Option<Reading>, sqlx::Error> {
    let answer: Answer = sqlx::query_as(STANDING_AS_PRIMARY)
        .fetch_one(connection)
        .await?;
    let still = !answer.0;
    still.then(|| reading(answer, identity)).transpose()
}

/// Asks a node that was a replica; none if it is one no longer.
async fn ask_replica(
    connection: &mut PgConnection,
    identity: Identity,
) -> Result<Option<Reading>, sqlx::Error> {
    let answer: ReplicaAnswer = sqlx::query_as(STANDING_AS_REPLICA)
        .fetch_one(connection)
        .await?;
    let (in_recovery, lsn, follows, pause, started) = answer;
    let read_only = "on".to_owned();
    let answer = (
        in_recovery,
        lsn,
        follows,
        pause,
        read_only,
        started,
        None,
        None,
    );
    in_recovery.then(|| reading(answer, identity)).transpose()
}

fn reading(answer: Answer, identity: Identity) -> Result<Reading, sqlx::Error> {
    let (in_recovery, lsn, timeline, pause, read_only, started, xmax, in_progress) = answer;
    let lsn: Option<Lsn> = lsn.map(|text| text.parse()).transpose().map_err(garbled)?;
    let standing = if in_recovery {
        let paused = pause.is_some_and(|state| state != "not paused");
        Standing::Replica {
            replay: lsn,
            paused,
            follows: timeline.map(|timeline| Timeline::new(timeline.cast_unsigned())),
        }
    } else {
        let insert = lsn.ok_or_else(|| garbled("the primary has no insert position"))?;
        let timeline = timeline.ok_or_else(|| garbled("the primary has no timeline"))?;
        Standing::Primary {
            insert: insert.without_page_header(identity.wal),
            timeline: Timeline::new(timeline.cast_unsigned()),
            writable: read_only == "off",
            completed: xmax.zip(in_progress).map(|(xmax, in_progress)| {
                Completed::new(xmax.cast_unsigned(), in_progress.cast_unsigned())
            }),
        }
    };
    Ok(Reading {
        system: identity.system,
        started: ServerStart::new(started),
        standing,
    })
}

/// Recovery, position, timeline, pause state, `transaction_read_only`, start in microseconds, and of
/// the transactions in progress the end and a hash.
type Answer = (
    bool,
    Option<String>,
    Option<i32>,
    Option<String>,
    String,
    i64,
    Option<i64>,
    Option<i64>,
);

/// The same of a replica: recovery, position, timeline, pause state, start.
type ReplicaAnswer = (bool, Option<String>, Option<i32>, Option<String>, i64);

fn garbled(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> sqlx::Error {
    sqlx::Error::Decode(cause.into())
}

const IDENTITY: &str = "\
    SELECT /* lagwise */ system_identifier, \
      pg_size_bytes(current_setting('wal_segment_size')), \
      pg_size_bytes(current_setting('wal_block_size')) \
    FROM pg_control_system()";

/// The branches by role must stay: a promoted node still has its last replay position, and the
/// functions of the other role raise 55000. `OFFSET 0` keeps the role from being asked twice.
///
/// The snapshot is taken before the query runs, and the insert position is read while it does: every
/// commit that the snapshot shows lies below the position.
const STANDING: &str = "\
    SELECT /* lagwise */ s, \
      CASE WHEN s THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END::text, \
      CASE WHEN s THEN (SELECT received_tli FROM pg_stat_wal_receiver) \
        ELSE ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int END, \
      CASE WHEN s THEN pg_get_wal_replay_pause_state() END, \
      current_setting('transaction_read_only'), \
      (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::int8, \
      CASE WHEN s THEN NULL ELSE pg_snapshot_xmax(pg_current_snapshot())::text::int8 END, \
      CASE WHEN s THEN NULL ELSE hashtextextended(pg_current_snapshot()::text, 0) END \
    FROM (SELECT pg_is_in_recovery() AS s OFFSET 0) x";

/// [`STANDING`] for a node that was a primary: of one that is a replica now it raises 55000, or says
/// so. Without branches, subqueries and decimal numbers a server computes little, which is most of what
/// a probe costs one that is asked now and again.
const STANDING_AS_PRIMARY: &str = "\
    SELECT /* lagwise */ pg_is_in_recovery(), \
      pg_current_wal_insert_lsn()::text, \
      ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int, \
      NULL::text, \
      current_setting('transaction_read_only'), \
      (date_part('epoch', pg_postmaster_start_time()) * 1000000)::int8, \
      pg_snapshot_xmax(pg_current_snapshot())::text::int8, \
      hashtextextended(pg_current_snapshot()::text, 0)";

/// [`STANDING`] for a node that was a replica: one that was promoted says so, and first of all.
///
/// The function is what the view reads, and shows a role no more than the view.
const STANDING_AS_REPLICA: &str = "\
    SELECT /* lagwise */ pg_is_in_recovery(), \
      pg_last_wal_replay_lsn()::text, \
      (pg_stat_get_wal_receiver()).received_tli, \
      pg_get_wal_replay_pause_state(), \
      (date_part('epoch', pg_postmaster_start_time()) * 1000000)::int8";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_node_a_busy_one_and_a_bad_statement_are_told_apart() {
        for (code, fault) in [
            ("57P01", Fault::Node),
            ("08006", Fault::Node),
            ("40001", Fault::Conflict),
            ("40P01", Fault::Conflict),
            ("53300", Fault::Busy),
            ("25006", Fault::ReplicaRefuses),
            ("57014", Fault::Statement),
            ("42P01", Fault::Statement),
            ("23505", Fault::Statement),
        ] {
            assert_eq!(fault_of(code, None), fault, "{code}");
        }
        let stale_plan = fault_of("0A000", Some("RevalidateCachedQuery"));
        assert_eq!(stale_plan, Fault::Busy, "the statement is no write");
        let internal = |routine| fault_of("XX000", Some(routine));
        assert_eq!(internal("GetNewObjectId"), Fault::ReplicaRefuses);
        assert_eq!(internal("heap_update"), Fault::Statement, "a real one");
        assert_eq!(Postgres::fault(&sqlx::Error::PoolTimedOut), Fault::Node);
        assert_eq!(Postgres::fault(&sqlx::Error::RowNotFound), Fault::Statement);
    }
}
