//! Every row of the guide's table: where it runs, and what its session may read afterwards.
#![cfg(not(feature = "plain-pool"))]
#![expect(clippy::unwrap_used, reason = "what a test stands on may fail it")]

use std::time::Duration;

use lagwise::{PgSession, Role};
use lagwise_notes::db::{self, Db};
use lagwise_notes::nodes::Nodes;
use lagwise_testkit::Cluster;
use sqlx::postgres::{PgConnection, PgExecutor, PgListener, PgPoolCopyExt};
use sqlx::{Acquire, Connection, Executor, PgPool, Postgres};
use tokio_stream::StreamExt as _;

const ON_REPLICA: &str = "select pg_is_in_recovery()";
const INSERT: &str = "insert into notes (title, body) values ('t', 'b')";

/// A router on a cluster with an empty table, and a session.
struct Stage {
    db: Db,
    session: PgSession,
    cluster: Cluster,
}

impl Stage {
    async fn set() -> Self {
        let (nodes, cluster) = Nodes::start().await.unwrap();
        let db = db::open(&nodes).await.unwrap();
        lagwise_notes::notes::migrate(&db).await.unwrap();
        cluster.wait_caught_up().await.unwrap();
        db.ready(1, Duration::from_secs(20)).await.unwrap();
        let session = db.session();
        Self {
            db,
            session,
            cluster,
        }
    }

    /// Asserts that the session sees so many notes, and sees them on the replica in the end.
    async fn returns(&self, notes: i64) {
        self.is_back(notes).await;
        self.end().await;
    }

    /// Waits until the session reads on the replica, which shows so many notes.
    async fn is_back(&self, notes: i64) {
        let asked = async {
            while !self.reads_on_replica(notes).await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let limit = Duration::from_secs(10);
        tokio::time::timeout(limit, asked).await.unwrap();
    }

    /// Asserts that the session sees so many notes, and only on the primary.
    async fn stays(&self, notes: i64) {
        self.cluster.wait_caught_up().await.unwrap();
        for _ in 0..20 {
            assert!(!self.reads_on_replica(notes).await);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.end().await;
    }

    async fn reads_on_replica(&self, notes: i64) -> bool {
        let text = "select count(*), pg_is_in_recovery() from notes";
        let (count, on_replica) = sqlx::query_as::<_, (i64, bool)>(text)
            .fetch_one(&self.session)
            .await
            .unwrap();
        assert_eq!(count, notes);
        on_replica
    }

    async fn end(&self) {
        self.db.close().await;
    }
}

async fn on_replica(executor: impl PgExecutor<'_>) -> bool {
    sqlx::query_scalar(ON_REPLICA)
        .fetch_one(executor)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_transaction() {
    let stage = Stage::set().await;
    let isolated = "begin isolation level serializable";
    for statement in [None, Some(isolated)] {
        let mut tx = match statement {
            None => stage.session.begin().await.unwrap(),
            Some(text) => stage.session.begin_with(text).await.unwrap(),
        };
        assert!(!on_replica(&mut *tx).await);
        tx.execute(INSERT).await.unwrap();
        let mut savepoint = Connection::begin(&mut *tx).await.unwrap();
        savepoint.execute(INSERT).await.unwrap();
        savepoint.rollback().await.unwrap();
        tx.commit().await.unwrap();
    }
    let mut tx = stage.session.begin().await.unwrap();
    tx.execute(INSERT).await.unwrap();
    tx.rollback().await.unwrap();
    stage.returns(2).await;
}

#[tokio::test]
async fn a_function_that_takes_the_drivers_transaction() {
    async fn inserts(tx: &mut sqlx::Transaction<'_, Postgres>) {
        tx.execute(INSERT).await.unwrap();
    }
    async fn also_inserts(connection: &mut PgConnection) {
        connection.execute(INSERT).await.unwrap();
    }
    let stage = Stage::set().await;
    let mut tx = stage.session.begin().await.unwrap();
    inserts(tx.as_sqlx()).await;
    also_inserts(&mut tx).await;
    tx.commit().await.unwrap();
    stage.returns(2).await;
}

#[tokio::test]
async fn a_function_that_takes_what_acquires() {
    async fn inserts(db: impl Acquire<'_, Database = Postgres>) {
        let mut connection = db.acquire().await.unwrap();
        connection.execute(INSERT).await.unwrap();
    }
    async fn inserts_in_transaction(db: impl Acquire<'_, Database = Postgres>) {
        let mut tx = db.begin().await.unwrap();
        tx.execute(INSERT).await.unwrap();
        tx.commit().await.unwrap();
    }
    let stage = Stage::set().await;
    inserts(&stage.session).await;
    stage.returns(1).await;

    let stage = Stage::set().await;
    inserts_in_transaction(&stage.session).await;
    stage.stays(1).await;
}

#[tokio::test]
async fn a_function_that_takes_a_pool() {
    async fn inserts(pool: &PgPool) {
        pool.execute(INSERT).await.unwrap();
    }
    let stage = Stage::set().await;
    inserts(&stage.db).await;
    // The pool is taken where `&db` is evaluated, which has to be inside.
    let inside = async { inserts(&stage.db).await };
    stage.session.scope(inside).await;
    stage.stays(2).await;
}

#[tokio::test]
async fn a_pools_own_connection() {
    let stage = Stage::set().await;
    let takes = async {
        let mut connection = PgPool::acquire(&stage.db).await.unwrap();
        assert!(!on_replica(&mut *connection).await);
        connection.execute(INSERT).await.unwrap();
    };
    stage.session.scope(takes).await;
    stage.stays(1).await;
}

#[tokio::test]
async fn what_is_taken_outside_of_a_session_binds_none() {
    let stage = Stage::set().await;
    let mut listener = PgListener::connect_with(&stage.db).await.unwrap();
    listener.listen("notes").await.unwrap();
    let copy = stage.db.copy_in_raw("copy notes (title, body) from stdin");
    copy.await.unwrap().finish().await.unwrap();
    drop(listener);
    stage.returns(0).await;
}

#[tokio::test]
async fn a_copy_into_a_table() {
    let stage = Stage::set().await;
    let mut connection = stage.session.acquire().await.unwrap();
    let text = "copy notes (title, body) from stdin";
    let mut copy = connection.copy_in_raw(text).await.unwrap();
    copy.send(&b"t\tb\n"[..]).await.unwrap();
    copy.finish().await.unwrap();
    drop(connection);
    stage.returns(1).await;
}

#[tokio::test]
async fn a_copy_out_of_a_replica() {
    let stage = Stage::set().await;
    let mut node = stage.session.read().await.unwrap();
    let text = "copy (select pg_is_in_recovery()) to stdout";
    let mut lines = node.copy_out_raw(text).await.unwrap();
    let line = lines.next().await.unwrap().unwrap();
    assert_eq!(line, "t\n");
    // To the end: sqlx leaves what is not read to the connection's next statement.
    assert!(lines.next().await.is_none());
    drop(lines);
    drop(node);
    stage.returns(0).await;
}

#[tokio::test]
async fn a_cursor_on_a_replica() {
    let stage = Stage::set().await;
    stage.session.execute(INSERT).await.unwrap();
    // A new connection may fall short of what was just read on another one.
    let mut snapshot = loop {
        stage.is_back(1).await;
        let snapshot = stage.session.begin_read_only().await.unwrap();
        if snapshot.route().role == Role::Replica {
            break snapshot;
        }
    };
    let declare = "declare titles cursor for \
                   select title, pg_is_in_recovery() from notes";
    snapshot.execute(declare).await.unwrap();
    let rows: Vec<(String, bool)> = sqlx::query_as("fetch 100 from titles")
        .fetch_all(&mut *snapshot)
        .await
        .unwrap();
    assert_eq!(rows, [("t".to_owned(), true)]);
    assert!(snapshot.execute(INSERT).await.is_err());
    snapshot.rollback().await.unwrap();
    stage.returns(1).await;
}

/// The body of a response is read when the handler, and the scope around it, have ended.
#[tokio::test]
async fn a_stream_that_is_read_later() {
    let stage = Stage::set().await;
    let made = async { sqlx::query_scalar::<_, bool>(ON_REPLICA).fetch(&stage.db) };
    let mut rows = stage.session.scope(made).await;
    assert!(rows.next().await.unwrap().unwrap());
    drop(rows);
    stage.returns(0).await;
}

#[tokio::test]
async fn two_statements_at_once() {
    let stage = Stage::set().await;
    let session = &stage.session;
    let (one, other) = tokio::join!(session.execute(INSERT), session.execute(INSERT));
    one.and(other).unwrap();
    stage.returns(2).await;
}

#[tokio::test]
async fn an_error_is_what_the_database_or_the_router_said() {
    let stage = Stage::set().await;
    let text = "insert into notes (title) values ('t')";
    let error = stage.session.execute(text).await.unwrap_err();
    let code = error.as_database_error().and_then(|error| error.code());
    assert_eq!(code.as_deref(), Some("23502"));
    assert!(lagwise::Error::behind(&error).is_none());
    stage.returns(0).await;

    let error = stage.session.execute(INSERT).await.unwrap_err();
    assert!(lagwise::Error::behind(&error).is_some_and(lagwise::Error::is_closed));
}
