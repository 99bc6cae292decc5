//! PostgreSQL: one query that any role may ask and any version from 14 on answers, and the table of
//! SQLSTATEs that say where a read may be tried again.
//!
//! The functions are documented under "System Administration Functions" (sections "Backup Control"
//! and "Recovery Control") and "System Information Functions" of the PostgreSQL manual; none needs a
//! grant.

mod catalog;

use std::hash::{DefaultHasher, Hasher as _};
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
                Some(Role::Primary) => ask_primary(connection, *identity).await.map(Some),
                Some(Role::Replica) => ask_replica(connection, *identity).await,
                _ => ask(connection, *identity).await.map(Some),
            };
            let reading = match answer {
                Ok(Some(reading)) => reading,
                Ok(None) => ask(connection, *identity).await?,
                // No primary, or a promotion between two of a query's functions: the next answer is
                // consistent.
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

/// Asks a node that was a primary.
async fn ask_primary(
    connection: &mut PgConnection,
    identity: Identity,
) -> Result<Reading, sqlx::Error> {
    let asked = sqlx::query_as(STANDING_AS_PRIMARY);
    of_primary(asked.fetch_one(connection).await?, identity)
}

/// Asks a node that was a replica; none if it is one no longer.
async fn ask_replica(
    connection: &mut PgConnection,
    identity: Identity,
) -> Result<Option<Reading>, sqlx::Error> {
    let asked = sqlx::query_as(STANDING_AS_REPLICA);
    let answer: ReplicaAnswer = asked.fetch_one(connection).await?;
    let still = answer.0;
    still.then(|| of_replica(answer, identity)).transpose()
}

fn reading(answer: Answer, identity: Identity) -> Result<Reading, sqlx::Error> {
    let (in_recovery, position, follows, paused, started, file, read_only, snapshot) = answer;
    if in_recovery {
        let paused = paused.unwrap_or_default();
        return of_replica((true, position, follows, paused, started), identity);
    }
    let position = position.ok_or_else(|| garbled("the primary has no insert position"))?;
    let file = file.ok_or_else(|| garbled("the primary writes no file"))?;
    let snapshot = snapshot.ok_or_else(|| garbled("the primary has no snapshot"))?;
    of_primary((position, file, read_only, started, snapshot), identity)
}

fn of_primary(answer: PrimaryAnswer, identity: Identity) -> Result<Reading, sqlx::Error> {
    let (insert, file, read_only, started, snapshot) = answer;
    // The name of a file begins with its timeline.
    let timeline = file.get(..8).ok_or_else(|| garbled("a short file name"))?;
    let timeline = u32::from_str_radix(timeline, 16).map_err(garbled)?;
    let standing = Standing::Primary {
        insert: lsn(&insert)?.without_page_header(identity.wal),
        timeline: Timeline::new(timeline),
        writable: read_only == "off",
        completed: Some(completed(&snapshot)?),
    };
    of(identity, &started, standing)
}

fn of_replica(answer: ReplicaAnswer, identity: Identity) -> Result<Reading, sqlx::Error> {
    let (_, replay, follows, paused, started) = answer;
    let standing = Standing::Replica {
        replay: replay.as_deref().map(lsn).transpose()?,
        paused,
        follows: follows.map(|timeline| Timeline::new(timeline.cast_unsigned())),
    };
    of(identity, &started, standing)
}

fn of(identity: Identity, started: &[u8], standing: Standing) -> Result<Reading, sqlx::Error> {
    let started = i64::from_be_bytes(eight(started)?);
    Ok(Reading {
        system: identity.system,
        started: ServerStart::new(started.saturating_add(EPOCH)),
        standing,
    })
}

fn lsn(sent: &[u8]) -> Result<Lsn, sqlx::Error> {
    Ok(Lsn::new(u64::from_be_bytes(eight(sent)?)))
}

/// A snapshot as it is sent: how many transactions are in progress, the first, the end, and all of them.
fn completed(snapshot: &[u8]) -> Result<Completed, sqlx::Error> {
    let end = snapshot.get(12..20);
    let end = end.ok_or_else(|| garbled("a short snapshot"))?;
    let mut hasher = DefaultHasher::new();
    hasher.write(snapshot);
    Ok(Completed::new(
        u64::from_be_bytes(eight(end)?),
        hasher.finish(),
    ))
}

fn eight(sent: &[u8]) -> Result<[u8; 8], sqlx::Error> {
    sent.try_into().map_err(garbled)
}

/// Recovery, position, timeline received, pause, start, file written, `transaction_read_only`, and the
/// transactions in progress.
type Answer = (
    bool,
    Option<Vec<u8>>,
    Option<i32>,
    Option<bool>,
    Vec<u8>,
    Option<String>,
    String,
    Option<Vec<u8>>,
);

/// Of that a primary: position, file, `transaction_read_only`, start, transactions.
type PrimaryAnswer = (Vec<u8>, String, String, Vec<u8>, Vec<u8>);

/// Of that a replica: recovery, position, timeline, pause, start.
type ReplicaAnswer = (bool, Option<Vec<u8>>, Option<i32>, bool, Vec<u8>);

/// The server counts microseconds since 2000 (`src/include/datatype/timestamp.h`), we since 1970.
const EPOCH: i64 = 946_684_800_000_000;

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
///
/// What is read here is sent in the form of the protocol and as bytes: to write numbers and times as
/// text is a fifth of what a probe costs the server, and of types that it does not know the driver
/// would have to ask on every connection.
const STANDING: &str = "\
    SELECT /* lagwise */ s, \
      pg_lsn_send(CASE WHEN s THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END), \
      CASE WHEN s THEN (SELECT received_tli FROM pg_stat_wal_receiver) END, \
      CASE WHEN s THEN pg_is_wal_replay_paused() END, \
      timestamptz_send(pg_postmaster_start_time()), \
      CASE WHEN s THEN NULL ELSE pg_walfile_name(pg_current_wal_insert_lsn()) END, \
      current_setting('transaction_read_only'), \
      CASE WHEN s THEN NULL ELSE pg_snapshot_send(pg_current_snapshot()) END \
    FROM (SELECT pg_is_in_recovery() AS s OFFSET 0) x";

/// [`STANDING`] for a node that was a primary: of one that is in recovery the position raises 55000.
/// Without branches and subqueries a server computes little, which is most of what a probe costs one
/// that is asked now and again.
const STANDING_AS_PRIMARY: &str = "\
    SELECT /* lagwise */ pg_lsn_send(pg_current_wal_insert_lsn()), \
      pg_walfile_name(pg_current_wal_insert_lsn()), \
      current_setting('transaction_read_only'), \
      timestamptz_send(pg_postmaster_start_time()), \
      pg_snapshot_send(pg_current_snapshot())";

/// [`STANDING`] for a node that was a replica: one that was promoted says so, and first of all.
///
/// The function is what the view reads, and shows a role no more than the view.
const STANDING_AS_REPLICA: &str = "\
    SELECT /* lagwise */ pg_is_in_recovery(), \
      pg_lsn_send(pg_last_wal_replay_lsn()), \
      (pg_stat_get_wal_receiver()).received_tli, \
      pg_is_wal_replay_paused(), \
      timestamptz_send(pg_postmaster_start_time())";

#[cfg(test)]
mod tests {
    use lagwise_testkit::Cluster;

    use super::*;

    /// Asks on a connection, and says which role the node has.
    async fn role(connection: &mut PgConnection, known: &mut Option<Identity>) -> Role {
        let reading = Postgres::probe(connection, known).await.unwrap();
        reading.standing.role()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_node_of_another_role_than_before_is_noticed_where_no_connection_fails() {
        let cluster = Cluster::builder().replicas(1).start().await.unwrap();
        let replica = cluster.replica(0);
        let (mut connection, mut known) = (replica.connect().await.unwrap(), None);
        for _ in 0..2 {
            let found = role(&mut connection, &mut known).await;
            assert_eq!(found, Role::Replica, "as anybody, and as a replica");
        }
        // Through a pooler the same connection leads to a primary and then to a replica.
        known.as_mut().unwrap().role = Some(Role::Primary);
        let found = role(&mut connection, &mut known).await;
        assert_eq!(found, Role::Replica, "it was demoted");
        replica.promote().await.unwrap();
        for _ in 0..2 {
            let found = role(&mut connection, &mut known).await;
            assert_eq!(found, Role::Primary, "as a replica, and as a primary");
        }
    }

    /// What is the same whenever a node is asked: not the position, which grows.
    fn lasting(reading: Reading) -> (ServerStart, Timeline, bool) {
        let (timeline, usable) = match reading.standing {
            Standing::Primary {
                timeline, writable, ..
            } => (timeline, writable),
            Standing::Replica {
                follows, paused, ..
            } => (follows.unwrap(), !paused),
        };
        (reading.started, timeline, usable)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn all_ways_to_ask_find_the_same() {
        let cluster = Cluster::builder().replicas(1).start().await.unwrap();
        cluster.wait_caught_up().await.unwrap();
        let sql = "select (extract(epoch from pg_postmaster_start_time()) * 1000000)::int8";
        for node in cluster.nodes() {
            let (mut connection, mut known) = (node.connect().await.unwrap(), None);
            let asked = sqlx::query_scalar(sql).fetch_one(&mut connection);
            let started = ServerStart::new(asked.await.unwrap());
            let expected = (started, Timeline::new(1), true);
            let first = Postgres::probe(&mut connection, &mut known).await;
            assert_eq!(lasting(first.unwrap()), expected, "as anybody");
            let second = Postgres::probe(&mut connection, &mut known).await;
            assert_eq!(lasting(second.unwrap()), expected, "as of its role");
            let once = Postgres::ask_once(&mut connection).await.unwrap();
            assert_eq!(lasting(once), expected, "unprepared");
        }
        let mut connection = cluster.primary().connect().await.unwrap();
        let identity = identify(&mut connection).await.unwrap();
        let sql = "select pg_current_wal_insert_lsn()::text";
        let asked = sqlx::query_scalar::<_, String>(sql).fetch_one(&mut connection);
        let position: Lsn = asked.await.unwrap().parse().unwrap();
        let reading = ask_primary(&mut connection, identity).await.unwrap();
        let Standing::Primary { insert, .. } = reading.standing else {
            panic!("a primary: {reading:?}");
        };
        let position = position.without_page_header(identity.wal);
        assert!(
            insert >= position && insert.as_u64() < position.as_u64() + 100_000,
            "{insert} soon after {position}"
        );
    }

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

    #[test]
    fn a_snapshot_is_the_same_only_with_the_same_transactions_in_progress() {
        let sent = |first: u64, end: u64, in_progress: &[u64]| {
            let count = u32::try_from(in_progress.len()).unwrap();
            let numbers = [first, end].into_iter().chain(in_progress.iter().copied());
            let mut sent = count.to_be_bytes().to_vec();
            sent.extend(numbers.flat_map(u64::to_be_bytes));
            completed(&sent).unwrap()
        };
        let one = sent(7, 9, &[7]);
        assert_eq!(one, sent(7, 9, &[7]));
        assert_ne!(one, sent(9, 9, &[]), "it has completed");
        assert_ne!(one, sent(7, 10, &[7]), "another one has");
        assert_ne!(sent(7, 12, &[7, 8]), sent(7, 12, &[7, 9]), "one of them");
        assert!(completed(&[0; 19]).is_err(), "it is cut off");
    }
}
