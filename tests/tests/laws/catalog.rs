//! What the text of a statement cannot show, the router learns from the database.

use std::time::Duration;

use lagwise::{PgRouter, RouterBuilder, Verdict};
use lagwise_tests::Outcome;
use lagwise_tests::cluster::{bare, config, settle, start};
use lagwise_tests::statements::{PLACES, calm, is_read, is_write, place, with_places};
use sqlx::Postgres;

/// One object of every kind that writes, or that a server in recovery cannot read; and harmless ones.
const OBJECTS: &str = "
    create table notes (id serial primary key, body text not null);
    create type pair as (one int8, two int8);
    create table pairs (p pair);
    create sequence numbers;
    create function writes(n int8) returns int8 language sql volatile as $$ select n $$;
    create function reads(n int8) returns int8 language sql immutable as $$ select n $$;
    create function sum_step(state int8, n int8) returns int8 language plpgsql volatile as $$
        begin return state + n; end $$;
    create aggregate writing_sum(int8) (sfunc = sum_step, stype = int8, initcond = '0');
    create aggregate reading_sum(int8) (sfunc = int8pl, stype = int8, initcond = '0');
    create unlogged table scratch (n int8);
    create table parted (n int8) partition by range (n);
    create table parted_low partition of parted for values from (0) to (10);
    create unlogged table parted_high partition of parted for values from (10) to (20);
    create table plain_parted (n int8) partition by range (n);
    create table plain_low partition of plain_parted for values from (0) to (10);
    create view view_of_write as select writes(id) from notes;
    create view view_of_scratch as select * from scratch;
    create view view_of_parted as select * from parted;
    create view view_of_view as select * from view_of_write where true;
    create view view_of_number as select nextval('numbers') as n;
    create view view_of_notes as select id from notes;
    create function writes_text(a text, b text) returns bool language plpgsql volatile as $$
        begin return true; end $$;
    create operator ~~~> (leftarg = text, rightarg = text, function = writes_text);
    create operator ~~~< (leftarg = text, rightarg = text, function = texteq);
    create function to_pair(n int8) returns pair language plpgsql volatile as $$
        begin return row(n, n)::pair; end $$;
    create cast (int8 as pair) with function to_pair(int8);
    create function attribute(p pair) returns int8 language plpgsql volatile as $$
        begin return 1; end $$;
    create function quiet(p pair) returns int8 language sql immutable as $$ select 1::int8 $$;
    create table guarded (id int8);
    alter table guarded enable row level security;
    create policy looks on guarded for select using (writes(id) > 0);
    create table open_to_all (id int8);
    alter table open_to_all enable row level security;
    create policy looks on open_to_all for select using (reads(id) > 0);
    create schema other;
    create function other.elsewhere() returns int language plpgsql volatile as $$
        begin return 1; end $$;
";

const FOREIGN: &str = "
    create extension dblink;
    create extension pgcrypto;
    create extension file_fdw;
    create server files foreign data wrapper file_fdw;
    create foreign table remote (line text) server files options (filename '/dev/null');
    create view view_of_remote as select * from remote;
";

/// Statements that must go to the primary, and the name that says so.
const WRITES: [(&str, &str); 22] = [
    ("select writes(1)", "writes"),
    ("select id from notes where public.writes(id) = 1", "writes"),
    ("select \"writes\"(1)", "writes"),
    ("select WRITES (1)", "writes"),
    ("select writing_sum(id) from notes", "writing_sum"),
    ("select * from scratch", "scratch"),
    ("select * from notes, public.scratch", "scratch"),
    ("table scratch", "scratch"),
    ("select * from parted", "parted"),
    ("select * from parted_high", "parted_high"),
    ("select * from view_of_write", "view_of_write"),
    ("select * from view_of_scratch", "view_of_scratch"),
    ("select * from view_of_parted", "view_of_parted"),
    (
        "select * from notes join view_of_view v on true",
        "view_of_view",
    ),
    ("select n from view_of_number", "view_of_number"),
    ("select * from guarded", "guarded"),
    ("select 'a' ~~~> 'b'", "~~~>"),
    ("select (1::int8)::pair", "pair"),
    ("select (p).attribute from pairs", "attribute"),
    ("select (id::int8).writes from notes", "writes"),
    ("select last_value from numbers", "numbers"),
    ("select other.elsewhere()", "elsewhere"),
];

const READS: [&str; 10] = [
    "select reads(1), here()",
    "select reading_sum(id) from notes",
    "select * from plain_parted",
    "select * from view_of_notes",
    "select * from open_to_all",
    "select 'a' ~~~< 'b'",
    "select (p).one from pairs",
    "select (p).quiet from pairs",
    "select id from notes where body = 'writes(1)' -- writes(1)",
    "select id as writes from notes",
];

fn knows(router: &PgRouter, sql: &str, name: &str) {
    let classification = router.classify(sql);
    assert_eq!(classification.verdict, Verdict::Write, "{sql}");
    let because = classification.because.to_string();
    assert!(
        because.to_lowercase().contains(name),
        "{sql}: {because:?} does not name {name}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_object_does_decides_where_its_statements_go() -> Outcome {
    let (_cluster, router) = with_places(1, &format!("{OBJECTS}{FOREIGN}")).await?;
    is_read(&router, "select reads(1)").await?;
    for (sql, name) in WRITES {
        knows(&router, sql, name);
    }
    knows(&router, "select * from remote", "remote");
    knows(&router, "select * from view_of_remote", "view_of_remote");
    knows(&router, "select public.dblink_exec('', '')", "dblink_exec");
    // It is volatile, because it is random.
    is_read(&router, "select public.gen_salt('md5')").await?;
    for sql in READS {
        let classification = router.classify(sql);
        let because = &classification.because;
        assert_eq!(classification.verdict, Verdict::Read, "{sql}: {because}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_known_goes_to_the_primary_and_what_is_new_is_noticed() -> Outcome {
    let cluster = start(1, PLACES).await?;
    let often = calm(&cluster).catalog_interval(Duration::from_secs(1));
    let router = settle(often, 1).await?;
    is_read(&router, "select here()").await?;
    for sql in ["select grows(1)", "select other.grows(1)"] {
        assert_eq!(router.classify(sql).verdict, Verdict::Write, "{sql}");
    }
    let p = cluster.primary();
    let grows = "create function grows(n int8) returns int8 language sql";
    p.execute(&format!("{grows} stable as $$ select n $$"))
        .await?;
    is_read(&router, "select grows(1)").await?;
    p.execute("alter function grows(int8) volatile").await?;
    is_write(&router, "select grows(1)").await?;
    p.execute("alter function grows(int8) stable").await?;
    is_read(&router, "select grows(1)").await?;
    p.execute("drop function grows(int8)").await?;
    is_write(&router, "select grows(1)").await?;

    p.execute("create table notes (id int8)").await?;
    is_read(&router, "select * from notes").await?;
    p.execute("alter table notes set unlogged").await?;
    is_write(&router, "select * from notes").await?;
    p.execute("alter table notes set logged").await?;
    is_read(&router, "select * from notes").await?;
    p.execute("create view v as select * from notes").await?;
    is_read(&router, "select * from v").await?;
    p.execute("create or replace view v as select id from notes where txid_current() > 0")
        .await?;
    is_write(&router, "select * from v").await?;
    p.execute("create table parted (n int8) partition by range (n)")
        .await?;
    is_read(&router, "select * from parted").await?;
    p.execute("create unlogged table part partition of parted for values from (0) to (10)")
        .await?;
    is_write(&router, "select * from parted").await?;
    p.execute("alter table notes enable row level security")
        .await?;
    p.execute("create policy looks on notes for select using (nextval('pg_toast.x') > 0)")
        .await
        .ok();
    p.execute("create sequence s; create policy looks on notes using (nextval('s') > 0)")
        .await?;
    is_write(&router, "select * from notes").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_does_not_wait_for_the_catalog() -> Outcome {
    let cluster = start(1, PLACES).await?;
    let router = calm(&cluster).connect_lazy()?;
    router.ready(1, lagwise_tests::cluster::PATIENCE).await?;
    // Whether the catalog was read by now or not: a name of the schema's is answered at once.
    let node = place(&router.session()).await?;
    assert!(["p", "r1"].contains(&&*node));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_application_has_the_last_word() -> Outcome {
    let cluster = start(1, &format!("{PLACES}{OBJECTS}")).await?;
    let told = calm(&cluster)
        .reads("writes")
        .reads("other.elsewhere")
        .reads("scratch")
        .writes("reads")
        .writes("public.notes")
        .writes("\"Odd Name\"");
    let router = settle(told, 1).await?;
    is_read(&router, "select here()").await?;
    for sql in [
        "select writes(1)",
        "select public.writes(1)",
        "select other.elsewhere()",
        "select * from scratch",
    ] {
        let because = router.classify(sql).because.to_string();
        assert_eq!(
            router.classify(sql).verdict,
            Verdict::Read,
            "{sql}: {because}"
        );
    }
    knows(&router, "select reads(1)", "reads");
    knows(&router, "select * from notes", "notes");
    knows(&router, "select * from public.notes", "notes");
    knows(&router, "select * from \"Odd Name\"", "odd name");
    knows(&router, "select writing_sum(1)", "writing_sum");
    Ok(())
}

fn refuses_name(builder: RouterBuilder<Postgres>, bad: &str) -> Outcome {
    let Err(error) = builder.connect_lazy() else {
        return lagwise_tests::fail(format!("{bad:?} was taken for a name"));
    };
    let message = error.to_string();
    assert!(error.is_config(), "{message}");
    assert!(message.contains(&format!("{bad:?}")), "{message}");
    Ok(())
}

#[tokio::test]
async fn a_name_that_is_none_is_refused() -> Outcome {
    let cluster = start(0, "").await?;
    for bad in ["", "a b", "a.b.c.d", "writes(1)", "\"open", "a;b", "."] {
        let nodes = || bare().primary(config(cluster.primary()));
        for builder in [nodes().reads(bad), nodes().writes(bad)] {
            refuses_name(builder, bad)?;
        }
    }
    let too_often = bare()
        .primary(config(cluster.primary()))
        .catalog_interval(Duration::from_millis(999));
    let refused = too_often
        .connect_lazy()
        .err()
        .map(|error| error.to_string());
    assert!(
        refused.is_some_and(|refused| refused.contains("catalog_interval is 999ms")),
        "the catalog is not read that often"
    );
    Ok(())
}
