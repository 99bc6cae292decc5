//! No spelling of a write gets an answer from a replica, and none gets another answer through a
//! router than on the primary.
//!
//! Each text runs through a session and on a plain connection to the primary, and both come to the
//! same. What acts on one server without a trace in the data must not even reach a replica: the
//! replica's own log says so.

use lagwise::{PgRouter, PgSession};
use lagwise_testkit::Cluster;
use lagwise_tests::Outcome;
use lagwise_tests::cluster::PATIENCE;
use lagwise_tests::ear::{Ear, Sent, routes};
use lagwise_tests::statements::{
    calm, code, is_read, is_write, log_of, place, settled, start_logged,
};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, PgExecutor};

const OBJECTS: &str = r"
    create sequence hs_seq;
    create table hs1 (col1 int primary key);
    create table hs2 (col1 int);
    insert into hs2 values (1), (2), (3);
    create view hs_view as select nextval('hs_seq') as n;
    create function hs_stable() returns int8 language plpgsql stable as $$
        begin return nextval('hs_seq'); end $$;
    create table hs_mapped (t text);
    insert into hs_mapped values ('a');
    create view hs_mapped_view as select nextval('hs_seq') as n from hs_mapped;
";

/// Texts whose write is plain to see for who reads SQL as the server does.
const VISIBLE: &[&str] = &[
    // Comments, nested and before the verb.
    "select 1 /* a /* nested */ comment */, nextval('hs_seq')",
    "/* select */ delete from hs1",
    "/* /* */ select */ delete from hs1",
    "-- select\ndelete from hs1",
    "select 1 -- \n, nextval('hs_seq')",
    "select /**/nextval/**/(/**/'hs_seq'/**/)",
    "select '/*', nextval('hs_seq'), '*/'",
    "select '--', nextval('hs_seq')",
    // Quotes of every kind.
    "select $tag$;$tag$; delete from hs1",
    "select $tag$ $$ $tag$, nextval('hs_seq')",
    "select $a$ $b$ $a$, nextval('hs_seq'), $c$ $c$",
    "select E'\\'', nextval('hs_seq'), '\\'",
    "select E'\\' ; ', nextval('hs_seq')",
    "select 'a\\'; delete from hs1; --'",
    "select '''', nextval('hs_seq')",
    "select 'a' 'b' from hs2 where nextval('hs_seq') is null",
    "select U&\"\\006eextval\"('hs_seq')",
    "select U&\"!006eextval\" UESCAPE '!' ('hs_seq')",
    "select U&'\\0064elete', nextval('hs_seq')",
    "select B'1', X'1F', N'x', nextval('hs_seq')",
    // Names.
    "select \"nextval\"('hs_seq')",
    "select pg_catalog . nextval ('hs_seq')",
    "select \"pg_catalog\".\"nextval\"('hs_seq')",
    "select NEXTVAL('hs_seq')",
    "SeLeCt NextVal('hs_seq')",
    "select\tnextval\n(\r'hs_seq')",
    "select\x0cnextval('hs_seq')",
    "select nextval\x0c('hs_seq')",
    // Places.
    "select col1 from hs2 order by nextval('hs_seq')",
    "select count(*) from hs2 having nextval('hs_seq') > 0",
    "select * from nextval('hs_seq')",
    "select * from hs2, lateral nextval('hs_seq')",
    "select * from rows from (nextval('hs_seq'), generate_series(1, 1))",
    "select case when true then nextval('hs_seq') end",
    "select array(select nextval('hs_seq'))",
    "select row(nextval('hs_seq'))",
    "select array[nextval('hs_seq')]",
    "select (select nextval('hs_seq'))",
    "select 1 where exists (select nextval('hs_seq'))",
    "select col1 from hs2 group by col1, nextval('hs_seq')",
    "select sum(nextval('hs_seq')) over () from hs2",
    "select count(*) filter (where nextval('hs_seq') > 0) from hs2",
    "select col1 from hs2 limit (select nextval('hs_seq'))",
    "select 1 union all select nextval('hs_seq')",
    "values (nextval('hs_seq'))",
    "with a as (select nextval('hs_seq')) select * from a",
    "select coalesce(null, nextval('hs_seq'))",
    "select setval('hs_seq', 5)",
    "select lo_create(0) is not null",
    "select lo_from_bytea(0, 'x') is not null",
    "select pg_notify('a', 'b')",
    // Locks.
    "select col1 from hs2 for update",
    "select col1 from hs2 for no key update",
    "select col1 from hs2 for share of hs2 skip locked",
    "select col1 from hs2 for key share nowait",
    "select * from (select col1 from hs2 for update) locked",
    "with a as (select col1 from hs2 for update) select * from a",
    "select 1 where exists (select col1 from hs2 for update)",
    "select 1 where 1 in (select col1 from hs2 for/**/update)",
    // Writes in disguise.
    "with a as (insert into hs1 select -1 where false returning col1) select * from a",
    "with a as (update hs1 set col1 = col1 where false returning col1) select * from a",
    "with a as (delete from hs1 where false returning 1) select * from a",
    "with a as (delete from hs1 returning 1) select 1",
    "with recursive a as (select 1), b as (delete from hs1 returning 1) select 1",
    "select 1; delete from hs1",
    "select 1;; ; delete from hs1;",
    ";delete from hs1",
    "(delete from hs1)",
    "select 1 into hs3; drop table hs3",
    "select into hs3; drop table hs3",
    "select col1 into temporary hs3 from hs2; drop table hs3",
    "create table hs3 as select 1; drop table hs3",
    "table hs1; delete from hs1",
    "explain (analyze true) delete from hs1",
    "explain (analyze) delete from hs1",
    "explain (analyze 1, costs off) select nextval('hs_seq')",
    "explain analyze delete from hs1",
    "explain analyze verbose delete from hs1",
    "EXPLAIN (VERBOSE, ANALYZE ON) delete from hs1",
    "explain (costs off, analyze) select * from hs2 for update",
    "prepare hs_p as delete from hs1; execute hs_p; deallocate hs_p",
    "do $$ begin perform nextval('hs_seq'); end $$",
    "begin; delete from hs1; commit",
    "begin isolation level serializable; select 1; commit",
    "begin read write; select 1; commit",
    "set transaction_read_only = off; delete from hs1",
    "merge into hs1 using hs2 on false when not matched then do nothing",
    "lock table hs1",
    "truncate hs1",
    "refresh materialized view no_such_view",
    "vacuum hs1",
    "notify hs, 'payload'",
    // Functions that write by name only.
    "select database_to_xml(true, true, '') is not null",
    "select schema_to_xml('public', true, true, '') is not null",
    "select query_to_xml('select nextval(''hs_seq'')', true, true, '') is not null",
    "select table_to_xml('hs_mapped_view', true, true, '') is not null",
    "select cursor_to_xml('no_such_cursor', 1, true, true, '')",
    "select ts_stat('select nextval(''hs_seq'')::text::tsvector')",
    "select pg_logical_emit_message(true, 'a', 'b') is not null",
    "select pg_current_wal_lsn() is not null",
    "select pg_switch_wal() is not null",
    "select txid_current() > 0",
    "select pg_current_xact_id() is not null",
    "select brin_summarize_range('hs2', 0)",
    "select pg_create_restore_point('a') is not null",
    "select pg_import_system_collations('pg_catalog') >= 0",
];

/// Texts that the server itself takes for something else than they look like, or for nothing.
const JUNK: &[&str] = &[
    "select\u{a0}1",
    "\u{feff}select 1",
    "ｓｅｌｅｃｔ 1",
    "select\u{b}1",
    "select 'open",
    "select /* open",
    "select $tag$ open",
    "select \"open",
    "select 1 +",
    "",
    ";",
    "-- nothing",
    "select (1",
    "select from where",
    "copy (insert into hs1 values (-2) returning col1) to program 'false'",
    "copy hs1 from '/no/such/file'",
];

/// What the text alone does not show.
const HIDDEN: &[&str] = &[
    "select * from hs_view",
    "select hs_stable()",
    "table hs_view",
];

/// What came of a statement, as far as two runs of it can be the same.
async fn outcome_of(db: impl PgExecutor<'_>, text: &str) -> Result<usize, String> {
    let rows = sqlx::raw_sql(AssertSqlSafe(text)).fetch_all(db);
    match tokio::time::timeout(PATIENCE, rows).await {
        Ok(rows) => rows.map(|rows| rows.len()).map_err(|error| code(&error)),
        Err(_) => Err(format!("{text} does not end")),
    }
}

async fn prepared_outcome_of(db: impl PgExecutor<'_>, text: &str) -> Result<usize, String> {
    let rows = sqlx::query(AssertSqlSafe(text)).fetch_all(db);
    match tokio::time::timeout(PATIENCE, rows).await {
        Ok(rows) => rows.map(|rows| rows.len()).map_err(|error| code(&error)),
        Err(_) => Err(format!("{text} does not end")),
    }
}

struct Stage {
    cluster: Cluster,
    router: PgRouter,
    plain: PgConnection,
    ear: Ear,
}

impl Stage {
    async fn set() -> Outcome<Self> {
        let cluster = start_logged(OBJECTS).await?;
        let router = settled(calm(&cluster), 1).await?;
        is_read(&router, "select hs_stable()").await?;
        is_write(&router, "select * from hs_view").await?;
        let plain = cluster.primary().connect().await?;
        Ok(Self {
            cluster,
            router,
            plain,
            ear: Ear::open(),
        })
    }

    fn session(&self) -> PgSession {
        self.router.session()
    }

    /// Runs a text through a session in both protocols, and compares; returns where it was sent.
    async fn compare(&mut self, text: &str) -> Vec<Sent> {
        drop(self.ear.take());
        let through = outcome_of(&self.session(), text).await;
        let owed = outcome_of(&mut self.plain, text).await;
        assert_eq!(through, owed, "{text}");
        let through = prepared_outcome_of(&self.session(), text).await;
        let owed = prepared_outcome_of(&mut self.plain, text).await;
        assert_eq!(through, owed, "prepared: {text}");
        routes(&self.ear.take())
    }
}

#[tokio::test]
async fn no_spelling_of_a_write_reaches_a_replica() -> Outcome {
    let mut stage = Stage::set().await?;
    for text in VISIBLE {
        let sent = stage.compare(text).await;
        assert!(!sent.is_empty(), "{text}");
        assert!(sent.iter().all(|(node, _)| node == "p"), "{text}: {sent:?}");
    }
    let many = "(".repeat(10_000) + "1" + &")".repeat(10_000);
    let sent = stage.compare(&format!("select {many}")).await;
    assert!(sent.iter().all(|(node, _)| node == "p"), "nested: {sent:?}");
    assert_eq!(place(&stage.session()).await?, "r1");
    let log = log_of(stage.cluster.replica(0));
    assert!(log.contains("select here()"), "it logs its statements");
    assert!(!log.contains("hs_seq'"), "{log}");
    assert!(!log.contains("hs1"), "{log}");
    Ok(())
}

#[tokio::test]
async fn what_a_text_does_not_show_ends_on_the_primary() -> Outcome {
    let mut stage = Stage::set().await?;
    for text in HIDDEN {
        let sent = stage.compare(text).await;
        let last = sent.last().map(|(node, _)| &**node);
        assert_eq!(last, Some("p"), "{text}: {sent:?}");
    }
    let runs = "select last_value from hs_seq";
    let runs: i64 = stage.cluster.primary().query_scalar(runs).await?;
    assert_eq!(runs, 12, "each text ran four times");
    Ok(())
}

#[tokio::test]
async fn nonsense_is_answered_as_the_primary_answers_it() -> Outcome {
    let mut stage = Stage::set().await?;
    for text in JUNK {
        stage.compare(text).await;
    }
    // A setting that changes where a string ends stays with its connection.
    let session = stage.session();
    let text = "set standard_conforming_strings = off";
    sqlx::raw_sql(text).execute(&session).await?;
    let text = "select 'a\\'; delete from hs2; --'";
    let sent = stage.ear.routes_of(outcome_of(&session, text)).await.1;
    assert!(sent.iter().all(|(node, _)| node == "p"), "{sent:?}");
    Ok(())
}

/// Statements that every server would run on itself.
const SERVER_LOCAL: &[&str] = &[
    "select pg_stat_reset()",
    "select pg_stat_reset_shared('bgwriter')",
    "select pg_stat_reset_single_table_counters('hs2'::regclass)",
    "select pg_stat_reset_slru(null)",
    "select pg_reload_conf()",
    "select pg_rotate_logfile()",
    "select pg_advisory_lock(71)",
    "select pg_advisory_lock_shared(72)",
    "select pg_try_advisory_lock(73)",
    "select pg_advisory_xact_lock(74)",
    "select pg_advisory_unlock_all()",
    "select set_config('work_mem', '7MB', false)",
    "select set_config('application_name', 'x', true)",
    "select pg_export_snapshot()",
    "select pg_create_physical_replication_slot('hs_slot', true)",
    "select pg_drop_replication_slot('hs_slot')",
    "select txid_current()",
    "select pg_cancel_backend(0)",
    "select pg_terminate_backend(0)",
    "select pg_log_backend_memory_contexts(pg_backend_pid())",
    "select pg_promote(false, 1)",
    "select pg_wal_replay_pause()",
    "select lo_export(0, '/no/such/folder/file')",
    "select pg_read_file('postgresql.auto.conf')",
    "select pg_ls_dir('.')",
    "alter system set work_mem = '6MB'",
    "alter system reset work_mem",
    "checkpoint",
    "listen hs",
    "unlisten hs",
    "unlisten *",
    "set work_mem = '5MB'",
    "reset work_mem",
    "discard plans",
    "load 'plpgsql'",
    "select pg_backend_pid()",
    "select currval('hs_seq')",
    "select lastval()",
];

#[tokio::test]
async fn what_acts_on_one_server_never_reaches_a_replica() -> Outcome {
    let stage = Stage::set().await?;
    let r1 = stage.cluster.replica(0);
    let facts = "select concat_ws(' ', \
        (select stats_reset from pg_stat_database where datname = 'postgres'), \
        (select stats_reset from pg_stat_bgwriter), \
        (select count(*) from pg_locks where locktype = 'advisory'), \
        (select count(*) from pg_replication_slots), \
        pg_conf_load_time(), pg_is_wal_replay_paused(), pg_is_in_recovery())";
    let before: String = r1.query_scalar(facts).await?;
    for text in SERVER_LOCAL {
        let (outcome, sent) = stage
            .ear
            .routes_of(outcome_of(&stage.session(), text))
            .await;
        let sent: Vec<_> = sent.iter().map(|(node, _)| &**node).collect();
        assert_eq!(sent, ["p"], "{text}: {outcome:?}");
    }
    let after: String = r1.query_scalar(facts).await?;
    assert_eq!(after, before, "nothing has happened to the replica");
    assert_eq!(place(&stage.session()).await?, "r1");
    let log = log_of(r1);
    assert!(log.contains("select here()"), "it logs its statements");
    for text in SERVER_LOCAL {
        assert!(
            !log.contains(&format!(": {text}\n")),
            "{text} reached the replica"
        );
    }
    Ok(())
}
