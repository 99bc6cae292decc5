//! The rules of the classifier, one by one, through its public face.

use lagwise_core::{Because, Catalog, CatalogObject, Overrides, RelationKind, Verdict, classify};

#[track_caller]
fn check(verdict: Verdict, texts: &[&str]) {
    for sql in texts {
        let found = classify(sql, &Catalog::built_in());
        assert_eq!(
            found.verdict, verdict,
            "{sql:?}: {} at {}",
            found.because, found.at
        );
    }
}

#[track_caller]
fn reads(texts: &[&str]) {
    check(Verdict::Read, texts);
}

#[track_caller]
fn writes(texts: &[&str]) {
    check(Verdict::Write, texts);
}

#[track_caller]
fn sessions(texts: &[&str]) {
    check(Verdict::Session, texts);
}

/// Asserts what is said to a person, and the token that it points at.
#[track_caller]
fn says(sql: &str, why: &str, token: &str) {
    let found = classify(sql, &Catalog::built_in());
    assert_eq!(found.because.to_string(), why, "{sql}");
    let rest = sql.get(found.at..).unwrap_or_default();
    assert!(rest.starts_with(token), "{sql}: {rest}");
}

// ## Where tokens end

#[test]
fn comments_nest_and_end_operators() {
    reads(&[
        "/* /* delete from t */ for update */ select 1",
        "select 1 /* ; delete from t */",
        "select 1 -- ; delete from t",
        "-- a\r select 1",
        "select 1+/* for update */2",
        "select 1 @-- @\n 2",
        "/**/select 1/***/",
        "select 1 /*/*/ ; delete from t */*/",
    ]);
    writes(&[
        "/* /* */ */ delete from t",
        "select 1 /* */ ; delete from t",
        "select 1 -- \n ; delete from t",
        "select 1 -- \r ; delete from t",
        "/*/**/*/ delete from t",
        "select 1 /*",
        "select 1 /* /* */",
        "/* /* */ select 1",
        "/* a */ for update",
    ]);
}

#[test]
fn strings_end_where_the_server_ends_them() {
    reads(&[
        "select 'it''s; delete from t'",
        "select 'a'\n' for update'",
        "select 'a' -- x '\n ' ; delete from t'",
        "select E'\\'; delete from t --'",
        "select e'a'\n'\\'; delete from t --'",
        "select 'a\\\\'",
        "select B'01', X'1F', N'a', n'; delete from t'",
        "select U&'\\0061; delete from t'",
        "select U&'!0061' uescape '!'",
        "select 'a' like 'b' escape '\\'",
        "select 'C:\\'",
    ]);
    writes(&[
        "select ''; delete from t --'",
        "select 'a",
        "select E'\\'",
        "select E'\\\\'; delete from t --'",
        "select U&'\\'; delete from t --'",
        "select B'1' ; delete from t",
        "select x'1'';' ; delete from t",
        "select 'a' /* x */ '; delete from t --'; delete from t",
    ]);
}

#[test]
fn a_string_that_may_end_elsewhere_is_read_both_ways() {
    writes(&[
        "select 'a\\'; delete from t; --'",
        "select 'a\\''; delete from t; --'",
        "select 'a\\'' || nextval('s') || ''",
    ]);
    says(
        "select 'a\\''; delete from t; --'",
        "a string ends elsewhere under standard_conforming_strings = off",
        "\\",
    );
    // Cut the other way, the server refuses it whole.
    reads(&["select '\\'", "select 'a' like '\\%' escape '\\'"]);
}

#[test]
fn dollar_quotes_have_tags_and_parameters_do_not() {
    reads(&[
        "select $$; delete from t$$",
        "select $tag$ $$; delete from t $$ $tag$",
        "select $a$ $b$ ; delete from t $b$ $a$",
        "select $1, $2 from t where a = $3",
        "select $é$; delete from t$é$",
        "select a$b$c from t",
        "select 1 as a$$, 2 as b$$",
    ]);
    writes(&[
        "select $$ $$; delete from t",
        "select $$",
        "select $a$ $A$",
        "select $a",
        "select $1$$; delete from t",
        "select a$b$; delete from t -- $b$",
        "select $a$b$a$; delete from t -- $a$",
        "select $ 1",
        "select $1a$ $1a$; delete from t",
    ]);
}

#[test]
fn quoted_names_are_never_keywords() {
    reads(&[
        "select \"for\" \"update\" from t",
        "select \"into\" from \"insert\"",
        "select \"a\"\"; delete from t\"",
        "select 1 as \"nextval\"",
    ]);
    writes(&[
        "select \"nextval\"('s')",
        "select \"my_fn\"(1)",
        "select \"\"",
        "select \"a",
        "\"select\" 1",
        "select \"IN\"(1)",
    ]);
    // Quoted, it is another name than that of the server's function.
    writes(&["select \"Lower\"('a')"]);
    reads(&["select \"lower\"('a'), LOWER('a'), Lower ('a')"]);
}

#[test]
fn names_with_escapes_are_only_labels() {
    writes(&[
        "select U&\"\\006eextval\"('s')",
        "table U&\"a\"",
        "select U&\"n!0065xtval\" uescape '!' ('s')",
        "select cast(1 as U&\"t\")",
        "U&'\\0064elete' from t",
    ]);
    reads(&[
        "select 1 as U&\"d\\0061t\\+000061\"",
        "select U&'d\\0061ta'",
    ]);
}

#[test]
fn only_the_white_space_of_every_server_is_white_space() {
    reads(&["\t\n\r\x0c select\x0c1 "]);
    writes(&[
        "select\x0b1",
        "select\u{a0}1",
        "select 1 \u{a0}for update",
        "\u{feff}select 1",
        "select 1\u{3000}",
        "ｓｅｌｅｃｔ 1",
        "select\u{200b} 1",
        "select 1 \0",
        "select 1 \\gset",
        "\\d",
        "select {1}",
    ]);
}

#[test]
fn numbers_do_not_hide_the_word_behind_them() {
    reads(&["select 1.5e10, .5, 1., 0x1F, 1_000, 1e-5, 1..2"]);
    writes(&[
        "select 1for update",
        "select 1.for update",
        "select 1.5for update",
        "select $1for update",
        "select 1into t",
    ]);
}

// ## Statements

#[test]
fn queries_and_nothing_else_are_read() {
    reads(&[
        "",
        " ; ;; ",
        "-- nothing",
        "select 1",
        "SeLeCt 1",
        "values (1), (2)",
        "table t",
        "with w as (select 1) select * from w",
        "with recursive w(a, b) as (select 1, 2 union all select a, b from w) table w",
        "with a(x) as (select 1), b(y) as materialized (select 2), c(z) as not materialized (select 3) select 1",
        "(select 1)",
        "((select 1) union (select 2)) order by 1",
        "select 1; select 2;",
        "select",
    ]);
    writes(&[
        "insert into t values (1)",
        "update t set a = 1",
        "delete from t",
        "merge into t using s on true when matched then delete",
        "create table t (a int)",
        "truncate t",
        "do $$ begin end $$",
        "call p()",
        "notify a",
        "vacuum",
        "checkpoint",
        "alter system set a = 1",
        "refresh materialized view m",
        "anything else",
        "(insert into t values (1))",
        "(begin)",
        "select 1)",
        "(select 1",
        "select (1; select 2)",
    ]);
}

#[test]
fn the_worst_statement_of_a_text_counts() {
    writes(&[
        "select 1; delete from t",
        "delete from t; select 1",
        "set a = 1; delete from t",
        "begin; insert into t values (1); commit",
        "select 1;;; drop table t",
    ]);
    sessions(&["select 1; set a = 1; select 2", "begin; select 1; commit"]);
}

#[test]
fn what_belongs_to_the_connection_is_its_own() {
    sessions(&[
        "set search_path = a",
        "SET LOCAL standard_conforming_strings = off",
        "reset all",
        "show work_mem",
        "prepare p as select 1",
        "execute p",
        "explain execute p",
        "explain create table a as execute p",
        "explain (analyze) execute p",
        "deallocate all",
        "declare c cursor for select 1",
        "fetch c",
        "move c",
        "close c",
        "listen a",
        "unlisten *",
        "discard all",
        "begin isolation level serializable",
        "start transaction read write",
        "commit",
        "rollback",
        "end",
        "abort",
        "savepoint a",
        "release a",
        "lock t in share mode",
        "load 'auto_explain'",
        "select pg_advisory_lock(1)",
        "select pg_backend_pid()",
        "select currval('s'), lastval()",
        "select set_config('a', 'b', false)",
        "select current_setting('a')",
        "select * from pg_temp.t",
        "select pg_client_encoding()",
        "select fmgr_c_validator(1)",
        "select * from pg_temp_3.t",
        "select * from \"pg_temp\".t",
        "select * from pg_cursors",
        "select * from pg_catalog.pg_settings",
        "select pg_export_snapshot()",
    ]);
}

#[test]
fn what_writes_temporary_objects_belongs_to_the_connection() {
    sessions(&[
        "create temporary table a (b int)",
        "CREATE TEMP TABLE if not exists a as select nextval('s')",
        "create local temp table a ()",
        "create global temporary table a ()",
        "create temp view a as select 1",
        "create or replace temp view a as select 1",
        "create temp sequence a",
        "create temp recursive view a (b) as select 1",
        "create /* temp */ temp -- \n table a ()",
        "create table pg_temp.a ()",
        "create function pg_temp.f() returns int begin atomic select 1; select 2; end",
        "drop table pg_temp.a",
        "drop table if exists \"pg_temp\".a cascade",
        "truncate table only pg_temp_3.a",
        "alter table pg_temp.a add b int",
        "insert into pg_temp.a values (1)",
        "update only pg_temp.a set b = 1",
        "delete from pg_temp.a",
    ]);
    writes(&[
        "create table temp (a int)",
        "create table temp.a (b int)",
        "create unlogged table a ()",
        "create table \"temp\" ()",
        "create \"temp\" table a ()",
        "create or replace function temp() returns int return 1",
        "update temp set a = 1",
        "delete from temp",
        "insert into temp values (1)",
        "drop table temp",
        "drop table a, pg_temp.b",
        "insert into a select * from pg_temp.b",
        "insert into a values ('pg_temp.')",
        "create temp table a (); delete from t",
        "delete from t; create temp table a ()",
        "explain analyze create temp table a as select 1",
        "create",
        "create or replace",
        "drop;",
        "insert into",
    ]);
    says(
        "create temp table a ()",
        "temp belongs to the connection",
        "temp",
    );
    says(
        "create table a ()",
        "create is not known to only read",
        "create",
    );
}

#[test]
fn explain_runs_its_statement_only_with_analyze() {
    reads(&[
        "explain select 1",
        "explain analyze select 1",
        "explain analyze verbose select 1",
        "explain (analyze, buffers) (select 1)",
        "explain (select 1)",
        "explain ((select 1))",
        "explain (costs off) with a as (select 1) table a",
        "explain delete from t",
        "explain verbose insert into t (a, b) values (1, 2)",
        "explain (analyze off) delete from t",
        "explain (analyze false, verbose) update t set (a, b) = (1, 2)",
        "explain (analyze 0) delete from t",
        "explain (analyze 'off') delete from t",
        "explain select * from t for update",
        "explain with d as (delete from t returning *) select * from d",
        "explain create materialized view m (a) as select 1",
    ]);
    writes(&[
        "explain analyze delete from t",
        "explain analyse delete from t",
        "explain (analyze) delete from t",
        "explain (ANALYZE true) delete from t",
        "explain (analyze on) delete from t",
        "explain (analyze 1) delete from t",
        "explain (analyze 'true') delete from t",
        "explain (\"analyze\") delete from t",
        "explain (verbose, analyze) delete from t",
        "explain (U&\"analyze\") delete from t",
        "explain /* */ ( /* */ analyze -- \n ) delete from t",
        "explain (analyze) select * from t for update",
        "explain analyze with d as (delete from t returning *) select * from d",
        "explain analyze select nextval('s')",
        "explain select nextval('s')",
        "explain analyze create table a as select 1",
        "explain",
        "explain (analyze",
        "explain explain select 1",
        "explain vacuum",
        "explain delete from t where my_fn(1)",
        "explain create table a as select my_fn(1)",
        "explain create table a (b) as with c as (select 1) select my_fn(1)",
    ]);
}

#[test]
fn copy_is_a_read_if_it_sends_rows_to_the_client() {
    reads(&[
        "copy (select 1) to stdout",
        "copy (select 1) to stdout with (format csv, force_quote (a, b))",
        "copy t to stdout",
        "COPY s.t (a, b) TO STDOUT CSV HEADER",
        "copy ((select 1)) to stdout; select 2",
    ]);
    writes(&[
        "copy t from stdin",
        "copy t to '/tmp/a'",
        "copy t to program 'rm'",
        "copy (select 1) to '/tmp/a'",
        "copy (insert into t values (1) returning *) to stdout",
        "copy (delete from t returning *) to stdout",
        "copy (with d as (delete from t returning *) select * from d) to stdout",
        "copy (select nextval('s')) to stdout",
        "copy t (a) from stdin",
        "copy",
        "copy t",
        "copy (select 1)",
        "copy (select 1) to",
        "copy t to stdout; delete from t",
        "copy t to stdout (",
        "copy t to stdout (; delete from t",
    ]);
}

// ## Inside a query

#[test]
fn locks_count_wherever_they_stand() {
    writes(&[
        "select * from t for update",
        "select * from t for no key update",
        "select * from t for share of t nowait",
        "select * from t for key share skip locked",
        "select * from (select * from t for update) s",
        "with a as (select * from t for share) select 1",
        "select exists (select from t for key share)",
        "select * from t FOR/**/UPDATE",
        "values (1) for update",
        "table t for update",
        "select * from t limit 1 for\nupdate",
    ]);
    reads(&[
        "select substring('abc' for 2)",
        "select substring('abc' from 1 for 2)",
        "select substring(x for y) from t",
        "select * from t for read only",
        "select 1 as for, t.for from t",
        "select overlay('a' placing 'b' from 1 for 1)",
        "select update from t",
        "select t.update, t.delete, share, key from t",
    ]);
    says(
        "select 1 from t for no key update",
        "for no locks rows",
        "for no",
    );
}

#[test]
fn into_makes_a_table() {
    writes(&[
        "select * into t from u",
        "select into t from u",
        "select 1 into temp t",
        "with a as (select 1) select * into t from a",
        "select * from (select 1 into t) s",
    ]);
    reads(&["select 1 as into", "select t.into from t", "select 'into'"]);
}

#[test]
fn queries_that_change_rows_are_no_reads() {
    writes(&[
        "with a as (insert into t values (1) returning *) select * from a",
        "with a as (update t set a = 1 returning *) select * from a",
        "with a as (update only t set a = 1 returning *) select * from a",
        "with a as (update \"t\" set a = 1 returning *) select * from a",
        "with a as (delete from t where false returning *) select * from a",
        "with a as materialized (merge into t using s on true when matched then delete returning 1) select 1",
        "with a as (select 1) delete from t",
        "with a as (select 1) update t set b = 1",
        "with recursive a as (select 1) search depth first by x set y delete from t",
        "with a as (with b as (delete from t returning 1) select 1) select 1",
    ]);
    says(
        "with a as (delete from t returning 1) select 1",
        "delete changes rows",
        "delete",
    );
}

#[test]
fn a_call_is_one_however_it_is_spelled() {
    writes(&[
        "select nextval('s')",
        "select NEXTVAL ('s')",
        "select pg_catalog.nextval('s')",
        "select pg_catalog . /* */ nextval -- \n ('s')",
        "select \"pg_catalog\".\"nextval\"('s')",
        "select 1 order by nextval('s')",
        "select 1 group by 1 having nextval('s') > 0",
        "select * from nextval('s')",
        "select * from a, lateral nextval('s')",
        "select * from a join nextval('s') b on true",
        "select case when true then nextval('s') end",
        "select array(select nextval('s'))",
        "select array[nextval('s')]",
        "select row(nextval('s'))",
        "select (nextval('s'))",
        "select (select nextval('s'))",
        "select 1 where exists (select nextval('s'))",
        "values (nextval('s'))",
        "select * from rows from (nextval('s'))",
        "select 1 limit nextval('s')",
        "select 1 fetch first nextval('s') rows only",
        "select coalesce(1, nextval('s'))",
        "select 'a' || nextval('s')",
        "select -nextval('s')",
        "select distinct nextval('s')",
        "select distinct on (a) nextval('s') from t",
        "select distinct on (a) my_fn(1) from t",
        "select 1 operator(pg_catalog.+) my_fn(1)",
        "select operator(pg_catalog.-) my_fn(1)",
        "select x.my_fn(1)",
        "select db.s.my_fn(1)",
        "select count(*) filter (where my_fn(1))",
        "select sum(1) over (order by my_fn(1))",
        "select * from t tablesample my_method(1)",
        "select * from t tablesample system (my_fn(1))",
        "select now() at time zone my_fn(1)",
        "select 'a' like my_fn(1) escape my_fn(2)",
        "select f(variadic my_fn(1))",
        "select xmlelement(name a, my_fn(1))",
        "select timestamp with time zone '2020-01-01', (1), my_fn(2)",
        "select 1::timestamp with time zone, (1), my_fn(2)",
        "select a, b, my_fn(1) from t",
        "select (a), my_fn(1) from t",
        "select json_object('k' value my_fn(1))",
        "select pg_catalog.my_fn(1)",
        "select myschema.lower('a')",
        "select (t).my_fn(1)",
        "select value(1)",
        "with nextval('s') as (select 1) select 1",
        "select * from t nextval(a)",
        "select * from t as nextval(a)",
        "select * from t where current_date > my_fn(1)",
        "select * from (select 1) pg_notify(a)",
    ]);
}

#[test]
fn a_call_needs_no_parentheses_behind_a_dot() {
    writes(&[
        "select ('s'::regclass).nextval",
        "select x.nextval from regclass('s') x",
        "select x . /* */ \"nextval\" from regclass('s') x",
        "select (array['s'::regclass])[1].NextVal",
        "select ((row('s'::regclass)).f1).nextval",
        "select x.nextval.abs from regclass('s') x",
        "select ('s'::regclass).nextval.abs",
        "select ('s'::regclass).nextval.abs.abs.text",
        "select (array['s'::regclass])[1].nextval.abs",
        "select (1).lo_unlink",
        "select ('/etc/passwd'::text).pg_read_file",
        "select (1).pg_terminate_backend",
        "select ('select 1'::text).ts_stat",
        "select 1 from t order by ('s'::regclass).nextval",
    ]);
    sessions(&[
        "select ('work_mem'::text).current_setting",
        "select (5::bigint).pg_advisory_lock",
    ]);
    reads(&[
        "select nextval from t",
        "select a as nextval, \"nextval\" from t",
        "select (t).lower, t.nextval_at from t",
    ]);
}

#[test]
fn the_options_of_a_column_may_be_quoted() {
    let table = |option| format!("select * from xmltable('/a' passing b columns c int {option})");
    writes(&[
        &table("\"path\" my_fn(1)"),
        &table("\"default\" my_fn(1) path 'd'"),
        &table("path my_fn(1)"),
        &table("default my_fn(1)"),
    ]);
    reads(&[
        &table("\"path\" lower('A')"),
        "select * from t \"PATH\" (a), \"paths\" b (c)",
    ]);
}

#[test]
fn a_with_list_ends_where_its_query_begins() {
    writes(&[
        "with a as (select 1) (select 1 as x) order by (1), my_fn(2)",
        "with a as (select 1) (select 1 as x) limit (1), my_fn(2)",
        "with a as (select 1), b as (select 2) ((values (1))) order by (1), my_fn(2)",
    ]);
    reads(&[
        "with a as (select 1), b (x) as (select 2) (select 1 as x) order by (1), lower('a')",
        "with a as ((select 1) union (select 2)), b (x) as (select 2) select 1",
    ]);
}

#[test]
fn grammar_with_parentheses_is_no_call() {
    reads(&[
        "select 1 where 1 in (1) and (true) or not (false)",
        "select * from t where a = any (array[1]) and b > all (select 1) and c < some (select 2)",
        "select cast(1 as numeric(10, 2)), 1::numeric(10,2), 'a'::varchar(3), 'a'::character varying(3)",
        "select '1'::bit varying(5), 1::mytype(3), now()::timestamp(3) with time zone, time(3) '10:00'",
        "select interval '1' second(3), '1'::interval day to second(3), interval(3) '1 day'",
        "select count(*) filter (where a > 1) over (partition by (b) order by (c) rows between 1 preceding and current row)",
        "select sum(a) over w from t window w as (partition by b)",
        "select percentile_cont(0.5) within group (order by a) from t",
        "select a from t group by grouping sets ((a), (), rollup (a), cube (a)), rollup (a)",
        "select grouping(a) from t group by (a) order by (a)",
        "select coalesce(1), nullif(1, 2), greatest(1), least(1), extract(year from now())",
        "select overlay('a' placing 'b' from 1), position('a' in 'b'), substring('a' from 1), trim(both from 'a')",
        "select normalize('a'), treat(a as b), row(1, 2), array[1], exists (select 1)",
        "select xmlelement(name a, xmlattributes(1 as b)), xmlforest(1 as a), xmlconcat('a')",
        "select * from xmltable('/a' passing (x) columns a int path 'b')",
        "select json_object('a': 1), json_array(1), json_query(a, '$'), json_value(a, '$')",
        "select * from json_table('[]', '$[*]' columns (a int path '$')) as j",
        "select * from t a(x, y) join (select 1) b(z) on (true) join u using (id)",
        "select * from f.t as a(x), generate_series(1, 2) g(i), unnest(array[1]) with ordinality u(a, b)",
        "select * from json_to_record('{}') as x(a int, b varchar(3), c numeric(3, 1), d my(3))",
        "select * from t tablesample system (1) repeatable (2), u tablesample bernoulli (1)",
        "select 1 operator(pg_catalog.+) (2)",
        "select distinct on (a, b) a from t",
        "select 1 union (select 2) except all (select 3) intersect (select 4)",
        "select 1 limit (1) offset (2)",
        "select 1 fetch first (1) rows only",
        "select 'a' like ('b') escape ('c'), 1 between (1) and (2), 1 is distinct from (2)",
        "select now() at time zone ('utc'), current_timestamp(3), localtime(0)",
        "select left('a', 1), right('a', 1), (1, 2) overlaps (3, 4)",
        "select case when (true) then (1) else (2) end",
        "select version(), name('a'), text(1), date('2020-01-01'), int4(1), tsquery('a')",
        "select random(), now(), clock_timestamp(), gen_random_uuid(), pg_sleep(1)",
        "select hstore('a', 'b'), similarity('a', 'b'), crypt('a', gen_salt('bf'))",
        "select information_schema._pg_truetypid(a, t) from a, t",
    ]);
}

#[test]
fn what_is_about_one_server_goes_to_the_primary() {
    writes(&[
        "select pg_is_in_recovery()",
        "select pg_current_wal_lsn()",
        "select pg_reload_conf()",
        "select pg_stat_reset()",
        "select pg_stat_get_numscans(1)",
        "select pg_read_file('a')",
        "select pg_promote()",
        "select lo_export(1, 'a')",
        "select pg_create_physical_replication_slot('a')",
        "select * from pg_stat_activity",
        "select * from pg_catalog.pg_stat_replication",
        "select * from PG_LOCKS",
        "table \"pg_stat_all_tables\"",
        "select * from pg_replication_slots",
        "select inet_server_addr()",
        "select pg_sequence_last_value('s')",
        "select pg_get_sequence_data('s')",
        "select last_value from pg_sequences",
        "select pg_collation_actual_version(100), pg_tablespace_location(1)",
        "select pg_freespace('t')",
    ]);
    reads(&[
        "select * from pg_stats",
        "select * from pg_class",
        "select relname from pg_catalog.pg_tables",
        "select * from information_schema.tables",
        "select pg_relation_size('t'), pg_get_viewdef(1), has_table_privilege('t', 'update')",
    ]);
}

#[test]
fn harm_behind_a_stable_function_is_known() {
    writes(&[
        "select txid_current()",
        "select pg_current_xact_id()",
        "select query_to_xml('delete from t', true, true, '')",
        "select database_to_xml(true, true, '')",
        "select * from crosstab('select 1')",
        "select ts_stat('select 1')",
        "select dblink_build_sql_insert('v', '1', 1, '{1}', '{1}')",
        "select domain_in('1', 'd'::regtype, -1) is null",
        "select array_in('{1}', 'd'::regtype, -1) is null",
        "select dblink_exec('delete from t')",
        "select lo_create(0), lo_unlink(1)",
        "select pg_notify('a', 'b')",
        "select brin_summarize_range('i', 0)",
        "select bt_index_parent_check('i')",
        "select binary_upgrade_create_empty_extension('a')",
    ]);
}

// ## What a catalog adds

fn function(schema: &str, name: &str, writes: bool) -> CatalogObject {
    CatalogObject::Function {
        schema: schema.to_owned(),
        name: name.to_owned(),
        writes,
        attribute: false,
    }
}

fn view(name: &str, definition: &str) -> CatalogObject {
    CatalogObject::View {
        schema: "public".to_owned(),
        name: name.to_owned(),
        definition: definition.to_owned(),
    }
}

#[track_caller]
fn check_with(catalog: &Catalog, verdict: Verdict, texts: &[&str]) {
    for sql in texts {
        let found = classify(sql, catalog);
        assert_eq!(found.verdict, verdict, "{sql:?}: {}", found.because);
    }
}

#[test]
fn functions_of_the_catalog_are_known_by_schema_and_name() {
    let objects = [
        function("app", "price", false),
        function("app", "book", true),
        function("other", "shared", true),
        function("app", "shared", false),
        function("app", "lower", true),
        function("app", "nextval", false),
        function("app", "Mixed", false),
    ];
    let catalog = Catalog::new(objects, &Overrides::default());
    let read = [
        "select price(1), app.price(1), PRICE(2), \"app\".\"price\"(1)",
        "select app.shared(1)",
        "select pg_catalog.lower('a')",
        "select app.nextval('s')",
        "select \"Mixed\"(1)",
        "select * from t price(a)",
    ];
    check_with(&catalog, Verdict::Read, &read);
    let write = [
        "select book(1)",
        "select app.book(1)",
        "select shared(1)",
        "select other.shared(1)",
        "select lower('a')",
        "select nextval('s')",
        "select elsewhere.price(1)",
        "select Mixed(1)",
        "select unknown(1)",
        "select * from t book(a)",
    ];
    check_with(&catalog, Verdict::Write, &write);
}

fn objects_of_every_kind() -> Vec<CatalogObject> {
    let name = |name: &str| name.to_owned();
    vec![
        CatalogObject::Function {
            schema: name("app"),
            name: name("total"),
            writes: true,
            attribute: true,
        },
        CatalogObject::Type {
            schema: name("app"),
            name: name("loud"),
        },
        CatalogObject::Operator { name: name("@@>") },
        CatalogObject::Operator { name: name("->") },
        CatalogObject::Operator { name: name("<>") },
        CatalogObject::Relation {
            schema: name("app"),
            name: name("scratch"),
            kind: RelationKind::Unlogged,
        },
        CatalogObject::Relation {
            schema: name("app"),
            name: name("order"),
            kind: RelationKind::Foreign,
        },
    ]
}

#[test]
fn attributes_types_operators_and_relations_count_by_name() {
    let catalog = Catalog::new(objects_of_every_kind(), &Overrides::default());
    let write = [
        "select (o).total from o",
        "select o.total from o",
        "select 'a'::loud",
        "select loud 'a'",
        "select cast(a as app.loud) from t",
        "select 1 @@> 2",
        "select 1 @@>2",
        "select 1 operator(app.@@>) 2",
        "select 1->2",
        "select 1->-2",
        "select 1 != 2",
        "select 1 <> 2",
        "select o.total.a from o",
        "select o.\"total\" from o",
        "select (array[o])[1].total from o",
        "select * from scratch",
        "select * from app.scratch",
        "select app.scratch.a from app . \"scratch\"",
        "copy scratch to stdout",
        "copy scratch (a) to stdout",
        "table SCRATCH",
        "select * from \"order\"",
        "explain select * from scratch",
    ];
    check_with(&catalog, Verdict::Write, &write);
    let read = [
        "select * from other.scratch",
        "select total from o",
        "select 1 as total",
        "select \"Scratch\" from t",
        "select 1 from t order by 1",
        "select 1 @@>- 2",
        "select 1 ->> 2",
        "select 1 - 2 > 3",
    ];
    check_with(&catalog, Verdict::Read, &read);
    let found = classify("select * from app.scratch", &catalog);
    assert_eq!(found.because.to_string(), "scratch is an unlogged table");
}

#[test]
fn a_view_is_what_its_definition_is_also_over_views() {
    let mut objects = vec![
        view("bottom", "select nextval('s'::regclass) as n"),
        view("mine", "select pg_backend_pid() as p"),
        view("fine", "select 1 as a"),
        view("two", "select 1 from mine, v0"),
        view("twin_a", "select * from public.twin_b"),
        view("twin_b", "select * from public.twin_a"),
        view("v0", "select * from bottom"),
    ];
    for over in 1..3_000 {
        let definition = format!("select * from public.v{}", over - 1);
        objects.push(view(&format!("v{over}"), &definition));
    }
    let catalog = Catalog::new(objects, &Overrides::default());
    let write = [
        "table bottom",
        "table v0",
        "table v2999",
        "table two",
        "select * from public.v7",
    ];
    check_with(&catalog, Verdict::Write, &write);
    check_with(
        &catalog,
        Verdict::Session,
        &["table mine", "select * from public.mine"],
    );
    let read = [
        "table fine",
        "table twin_a",
        "select * from other.v7",
        "select 1 as fine",
    ];
    check_with(&catalog, Verdict::Read, &read);
    let found = classify("table v0", &catalog);
    assert_eq!(
        found.because.to_string(),
        "v0 is a view that is not known to only read"
    );
}

#[test]
fn overrides_have_the_last_word() {
    let objects = || {
        [
            function("app", "book", true),
            function("app", "price", false),
            function("a", "twice", true),
            function("b", "twice", true),
            view("v", "select nextval('s')"),
            view("over", "select * from v"),
            view("w", "select 1"),
        ]
    };
    let mut overrides = Overrides::default();
    for name in [
        "BOOK",
        "a.twice",
        "v",
        "pg_stat_activity",
        "ext.do_it",
        "pg_is_in_recovery",
    ] {
        overrides.reads(name).unwrap();
    }
    for name in ["price", "w", "lower", "public.\"T\""] {
        overrides.writes(name).unwrap();
    }
    let catalog = Catalog::new(objects(), &overrides);
    let read = [
        "select book(1), app.book(1)",
        "select a.twice(1)",
        "table v",
        "table over",
        "table pg_stat_activity",
        "select ext.do_it(1), do_it(1)",
        "select pg_is_in_recovery()",
        "table other.\"T\"",
    ];
    check_with(&catalog, Verdict::Read, &read);
    let write = [
        "select b.twice(1)",
        "select twice(1)",
        "select price(1)",
        "select app.price(1)",
        "table w",
        "select pg_catalog.lower('a')",
        "table public.\"T\"",
        "table \"T\"",
        "select book(1) for update",
        "delete from v",
    ];
    check_with(&catalog, Verdict::Write, &write);
    overrides.writes("book").unwrap();
    let changed = Catalog::new(objects(), &overrides);
    check_with(&changed, Verdict::Write, &["select book(1)"]);
    assert_ne!(catalog, changed);
}

#[test]
fn equal_objects_make_equal_catalogs_in_any_order() {
    let objects = [
        function("a", "f", true),
        view("v", "select f()"),
        function("b", "f", false),
    ];
    let mut reversed = objects.to_vec();
    reversed.reverse();
    let (one, other) = (
        Catalog::new(objects, &Overrides::default()),
        Catalog::new(reversed, &Overrides::default()),
    );
    assert_eq!(one, other);
    assert_ne!(one, Catalog::built_in());
    assert!(format!("{one:?}").len() < 200, "{one:?}");
}

#[test]
fn a_text_that_is_no_name_is_not_overridden() {
    let mut overrides = Overrides::default();
    for name in ["", "a b", "a.b.c", "f()", "\"a", "a;", "a--"] {
        let error = overrides.reads(name).unwrap_err();
        assert!(error.to_string().contains("is not a name"), "{error}");
        overrides.writes(name).unwrap_err();
    }
    assert_eq!(overrides, Overrides::default());
}

// ## Transactions

#[track_caller]
fn leaves_open(sql: &str, is_open: bool) {
    let found = classify(sql, &Catalog::built_in());
    assert_eq!(found.leaves_transaction_open, is_open, "{sql}");
}

#[test]
fn a_transaction_is_open_if_it_was_begun_and_not_ended() {
    for open in [
        "begin",
        "BEGIN ISOLATION LEVEL SERIALIZABLE",
        "start transaction",
        "begin; insert into t values (1)",
        "begin; commit; begin",
        "begin; rollback to a",
        "begin; rollback work to savepoint a",
        "begin; commit and chain",
        "rollback and chain",
        "begin; commit prepared 'a'",
        "begin; prepare p as select 1",
        "delete from t; begin; select nextval('s')",
        "begin; create function f() returns int begin atomic select 1; select case when true then 1 end; end",
        "begin; create rule r as on insert to t do also (delete from a; delete from b)",
    ] {
        leaves_open(open, true);
    }
    for closed in [
        "select 1",
        "begin; commit",
        "begin; select 1; end;",
        "begin; rollback",
        "begin; abort and no chain",
        "begin; prepare transaction 'a'",
        "select 'begin'",
        "-- begin",
        "select 1 as begin",
        "do $$ begin end $$",
        "create function f() returns int begin atomic select 1; end",
        "create function f() returns int begin atomic select 1; end; select 1",
    ] {
        leaves_open(closed, false);
    }
}

// ## Limits

#[test]
fn what_is_too_long_or_too_deep_is_not_followed() {
    let deep = |depth: usize| format!("select {}1{}", "(".repeat(depth), ")".repeat(depth));
    reads(&[&deep(200)]);
    for depth in [256, 257, 10_000, 100_000] {
        let sql = deep(depth);
        let found = classify(&sql, &Catalog::built_in());
        assert_eq!(found.because, Because::TooDeep, "{depth}");
    }
    writes(&[&format!("{} delete from t", deep(100_000))]);
    let long = format!("select '{}'", "a".repeat(1024 * 1024));
    let found = classify(&long, &Catalog::built_in());
    assert_eq!(found.because, Because::TooLong);
    leaves_open(&format!("Begin; {long}"), true);
    for (end, is_open) in [
        ("commit", false),
        (" END ;\n", false),
        ("rollback work", false),
        ("commit and chain", true),
        ("rollback to savepoint a", true),
        ("select 1 -- ; commit", true),
        (
            "create function f() returns int begin atomic select 1; end",
            true,
        ),
        ("commit; begin", true),
    ] {
        leaves_open(&format!("begin; {long}; {end}"), is_open);
    }
    leaves_open(&long, false);
}

#[test]
fn adversarial_texts_of_any_shape_end() {
    for shape in [
        "/*",
        "/*/",
        "*/",
        "$a$b",
        "$a$b$a",
        "$",
        "'",
        "''",
        "'\n",
        "\\'",
        "\"",
        "\"\"",
        "E'\\",
        "(",
        ")",
        "()",
        "f(",
        "f.",
        "f()",
        "a.b.c(",
        ";",
        ";;(",
        "+-",
        "@-+",
        "-",
        "--\n",
        "'' --\n",
        "with a as (",
        ",f(",
        "for ",
        "select ",
        "begin;",
        "explain ",
        "pg_backend_pid(),",
        "é",
        "case ",
        "U&\"a\"",
        "B'1'\n",
        "1e",
        "$1",
        "::",
        "[",
        "x'1'\n",
        "$aaaaaaaaaaaaaaaa",
    ] {
        for start in [
            "",
            "select ",
            "select '",
            "select $a$",
            "create function begin atomic ",
            "/*",
        ] {
            // In whole for one start; the other ones differ in the first token alone.
            let length = if start == "select " {
                1024 * 256
            } else {
                1024 * 16
            };
            let sql = format!("{start}{}", shape.repeat(length / shape.len()));
            let found = classify(&sql, &Catalog::built_in());
            assert!(found.at <= sql.len());
        }
    }
}

// ## Words for people

#[test]
fn the_reason_of_a_long_text_is_not_inside_a_letter() {
    for blanks in 0..4 {
        let text = format!("select {}'{}'", " ".repeat(blanks), "€".repeat(400_000));
        let found = classify(&text, &Catalog::built_in());
        assert_eq!(found.verdict, Verdict::Write);
        assert!(text.is_char_boundary(found.at), "{}", found.at);
    }
}

#[test]
fn a_verdict_names_what_decided_it() {
    says("select 1", "it only reads", "select");
    says(
        "select 1; DROP table t",
        "DROP is not known to only read",
        "DROP",
    );
    says("SET a = 1", "SET belongs to the connection", "SET");
    says("select NextVal('s')", "NextVal writes", "NextVal");
    says(
        "select pg_advisory_lock(1)",
        "pg_advisory_lock belongs to the connection",
        "pg_adv",
    );
    says(
        "select pg_reload_conf()",
        "pg_reload_conf is about one server",
        "pg_reload",
    );
    says("select a.f(1)", "f is not known to only read", "a.f");
    says("select * into t", "INTO makes a table", "into");
    says("select '", "a string does not end", "'");
    says("select 1)", "its parentheses do not match", ")");
}
