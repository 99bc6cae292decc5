//! A statement that looks like a read and that a replica refuses as a write runs once on the primary,
//! which the caller never learns, and the session, the log and the next time do.

use lagwise::{PgRouter, PgSession};
use lagwise_testkit::{Cluster, Node};
use lagwise_tests::Outcome;
use lagwise_tests::ear::{Ear, Heard, Sent, routes, warnings};
use lagwise_tests::statements::{code, drained, is_read, on_replica, place, warm_up, with_places};
use sqlx::{AssertSqlSafe, Executor as _, Row as _, SqlSafeStr as _};

/// Functions that claim to only read. Each fails on a server in recovery with another code, and ends
/// by counting that it ran where it could.
const LIARS: &str = "
    create sequence runs;
    create table notes (body text not null);
    create function counted() returns int8 language plpgsql volatile as $$
        begin return nextval('runs'); end $$;
    create function note_down(body text) returns int8 language plpgsql volatile as $$
        begin insert into notes values (body); return nextval('runs'); end $$;

    create function lies_25006(note text) returns int8 language plpgsql stable as $$
        begin return nextval('runs'); end $$;
    create function lies_insert(note text) returns int8 language plpgsql stable as $$
        begin return note_down(note); end $$;
    create function lies_55000(note text) returns int8 language plpgsql stable as $$
        begin perform pg_current_wal_lsn(); return nextval('runs'); end $$;
    create function lies_xx000_oid(note text) returns int8 language plpgsql stable as $$
        begin perform lo_create(0); return nextval('runs'); end $$;
    create function lies_xx000_wal(note text) returns int8 language plpgsql stable as $$
        begin perform pg_logical_emit_message(true, 'a', note); return nextval('runs'); end $$;
    create function lies_0a000(note text) returns int8 language plpgsql stable as $$
        begin
            if pg_is_in_recovery() then
                raise exception 'not here' using errcode = '0A000';
            end if;
            return nextval('runs');
        end $$;
    create function lies_late(n int8) returns int8 language plpgsql stable as $$
        begin
            if n = 5000 then perform nextval('runs'); end if;
            return n;
        end $$;
    create function unheard_of() returns int8 language plpgsql stable as $$
        begin raise exception 'nowhere' using errcode = '0A000'; end $$;
";

const FAMILIES: [&str; 6] = [
    "lies_25006",
    "lies_insert",
    "lies_55000",
    "lies_xx000_oid",
    "lies_xx000_wal",
    "lies_0a000",
];

/// What must be in no log line.
const SECRET: &str = "h1dden";

async fn among_liars() -> Outcome<(Cluster, PgRouter)> {
    let (cluster, router) = with_places(1, LIARS).await?;
    for function in FAMILIES {
        is_read(&router, &format!("select {function}('x')")).await?;
    }
    is_read(&router, "select lies_late(1), unheard_of()").await?;
    Ok((cluster, router))
}

/// How often a liar has run on the primary.
async fn runs(p: &Node) -> Outcome<i64> {
    let runs = "select case when is_called then last_value else 0 end from runs";
    Ok(p.query_scalar(runs).await?)
}

const FORMS: [&str; 7] = [
    "execute", "all", "one", "optional", "stream", "many", "items",
];

/// Runs a statement with one argument in some form, and says how many rows it had.
async fn rows_of(db: &PgSession, form: &str, text: &str) -> Result<usize, sqlx::Error> {
    let query = sqlx::query(AssertSqlSafe(text)).bind(format!("{SECRET} too"));
    Ok(match form {
        "execute" => usize::from(query.execute(db).await?.rows_affected() == 1),
        "all" => query.fetch_all(db).await?.len(),
        "one" => usize::from(!query.fetch_one(db).await?.is_empty()),
        "optional" => usize::from(query.fetch_optional(db).await?.is_some()),
        "stream" => drained(query.fetch(db)).await?.len(),
        "many" => drained(db.execute_many(query)).await?.len(),
        _ => {
            let items = drained(db.fetch_many(query)).await?;
            items.iter().filter(|item| item.is_right()).count()
        }
    })
}

/// One run of a liar.
struct Run {
    text: String,
    /// Whether the text has been run before.
    known: bool,
    heard: Vec<Heard>,
    /// How often liars had run by then.
    ran: i64,
}

/// Runs a liar twice in every form, each with a text of its own.
async fn in_every_form(db: &PgSession, family: &str, ear: &Ear, p: &Node) -> Outcome<Vec<Run>> {
    let mut done = Vec::new();
    for form in FORMS {
        for known in [false, true] {
            let text = format!("select {family}($1) as {form}, '{SECRET}' as literal");
            drop(ear.take());
            assert_eq!(rows_of(db, form, &text).await?, 1, "{text}");
            let (heard, ran) = (ear.take(), runs(p).await?);
            done.push(Run {
                text,
                known,
                heard,
                ran,
            });
        }
    }
    Ok(done)
}

fn sent(node: &str, reason: &str) -> Sent {
    (node.to_owned(), reason.to_owned())
}

/// Where a liar goes, and how often that is warned of.
fn owed(known: bool) -> (Vec<Sent>, usize) {
    if known {
        return (vec![sent("p", "write")], 0);
    }
    let healed = vec![sent("r1", "eligible"), sent("p", "refused_by_replica")];
    (healed, 1)
}

/// Fails if a log line holds what came with a statement.
fn keeps_quiet(heard: &[Heard]) {
    for said in heard {
        let line = format!("{said:?}");
        assert!(!line.contains(SECRET), "{line}");
    }
}

const LEARNED: &str = "refused as a write";

#[tokio::test]
async fn a_statement_that_a_replica_refuses_runs_once_on_the_primary_in_every_form() -> Outcome {
    let (cluster, router) = among_liars().await?;
    let p = cluster.primary();
    let ear = Ear::open();
    let mut before = 0;
    for family in FAMILIES {
        // Where the session's last write is not yet on the replica, its next read waits for that.
        let done = in_every_form(&router.session(), family, &ear, p).await?;
        for run in done {
            keeps_quiet(&run.heard);
            assert_eq!(run.ran, before + 1, "{}", run.text);
            before = run.ran;
            let learned = warnings(&run.heard, LEARNED).len();
            assert_eq!(
                (routes(&run.heard), learned),
                owed(run.known),
                "{}",
                run.text
            );
        }
    }
    let noted: i64 = p.query_scalar("select count(*) from notes").await?;
    assert_eq!(noted, 14, "seven texts, twice");
    Ok(())
}

#[tokio::test]
async fn a_session_reads_what_a_healed_statement_has_written() -> Outcome {
    let (cluster, router) = among_liars().await?;
    let r1 = cluster.replica(0);
    for (number, form) in (1_i64..).zip(["one", "stream", "typed"]) {
        let db = router.session();
        warm_up(&router).await?;
        assert_eq!(place(&db).await?, "r1");
        r1.freeze_replay()?;
        let text = format!("select lies_insert($1) as {form}");
        let query = || sqlx::query_scalar::<_, i64>(AssertSqlSafe(&*text)).bind("a note");
        match form {
            "one" => drop(query().fetch_one(&db).await?),
            "typed" => drop(query().fetch_all(&db).await?),
            _ => {
                drained(query().fetch(&db)).await?;
            }
        }
        // The replica takes reads still, and lacks the note.
        let thaw = tokio::time::timeout(std::time::Duration::from_millis(300), place(&db));
        let meanwhile = thaw.await;
        assert!(
            !matches!(&meanwhile, Ok(Ok(node)) if node == "r1"),
            "{form}: {meanwhile:?}"
        );
        r1.thaw_replay()?;
        let notes: i64 = sqlx::query_scalar("select count(*) from notes")
            .fetch_one(&db)
            .await?;
        assert_eq!(notes, number, "{form}");
        on_replica("the session is back on the replica", &db).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_table_that_no_replica_has_is_read_on_the_primary_before_it_is_known() -> Outcome {
    let (cluster, router) = among_liars().await?;
    cluster
        .primary()
        .execute("create unlogged table scratch (n int8); insert into scratch values (8)")
        .await?;
    cluster.wait_caught_up().await?;
    let db = router.session();
    let ear = Ear::open();
    let text = "select n from scratch where n < $1";
    let query = || sqlx::query_scalar::<_, i64>(text).bind(9_i64);
    let (n, went) = ear.routes_of(query().fetch_one(&db)).await;
    assert_eq!(n?, 8);
    assert_eq!(
        went,
        [sent("r1", "eligible"), sent("p", "refused_by_replica")]
    );
    let (n, went) = ear.routes_of(query().fetch_all(&db)).await;
    assert_eq!((n?, went), (vec![8], vec![sent("p", "write")]));
    // A refusal has the catalog read again.
    lagwise_tests::statements::is_write(&router, "select count(*) from scratch").await
}

#[tokio::test]
async fn what_a_replica_cannot_describe_the_primary_does() -> Outcome {
    let (cluster, router) = among_liars().await?;
    cluster
        .primary()
        .execute("create unlogged table scratch (n int8 not null)")
        .await?;
    cluster.wait_caught_up().await?;
    let db = router.session();
    let described = db.describe("select n from scratch".into_sql_str()).await?;
    assert_eq!(
        (described.columns.len(), described.nullable(0)),
        (1, Some(false))
    );
    let text = "select n + 1 from scratch".into_sql_str();
    let prepared = db.prepare(text).await?;
    let rows = sqlx::Statement::query(&prepared).fetch_all(&db).await?;
    assert_eq!(rows.len(), 0);
    Ok(())
}

#[tokio::test]
async fn what_the_primary_refuses_likewise_is_its_error_and_not_remembered() -> Outcome {
    let (_cluster, router) = among_liars().await?;
    let db = router.session();
    let ear = Ear::open();
    for turn in 0..3 {
        for form in ["one", "stream"] {
            let text = format!("select unheard_of() as {form} where $1 <> ''");
            drop(ear.take());
            let failed = rows_of(&db, form, &text).await;
            assert_eq!(failed.as_ref().map_err(code), Err("0A000".to_owned()));
            let heard = ear.take();
            let owed = [sent("r1", "eligible"), sent("p", "refused_by_replica")];
            assert_eq!(routes(&heard), owed, "turn {turn}");
            assert_eq!(warnings(&heard, LEARNED).len(), 0, "turn {turn}");
        }
        warm_up(&router).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_text_is_warned_of_once_however_many_sessions_run_it_at_once() -> Outcome {
    let (cluster, router) = among_liars().await?;
    let ear = Ear::open();
    let text = "select lies_25006('a')";
    let sessions: Vec<PgSession> = (0..6).map(|_| router.session()).collect();
    let run = |db| sqlx::query_scalar::<_, i64>(text).fetch_one(db);
    let [a, b, c, d, e, f] = &sessions[..] else {
        return lagwise_tests::fail("six sessions");
    };
    let ran = tokio::join!(run(a), run(b), run(c), run(d), run(e), run(f));
    let mut seen = [ran.0?, ran.1?, ran.2?, ran.3?, ran.4?, ran.5?];
    seen.sort_unstable();
    assert_eq!(seen, [1, 2, 3, 4, 5, 6], "each ran once");
    assert_eq!(warnings(&ear.take(), LEARNED).len(), 1);
    assert_eq!(runs(cluster.primary()).await?, 6);
    Ok(())
}

#[tokio::test]
async fn a_refusal_after_the_first_row_is_an_error_once() -> Outcome {
    let (cluster, router) = among_liars().await?;
    let db = router.session();
    let text = "select lies_late(n) from generate_series(1, $1) n";
    let typed = || sqlx::query_scalar::<_, i64>(text).bind(6000_i64);
    let first = typed().fetch_all(&db).await;
    assert_eq!(first.as_ref().map_err(code), Err("25006".to_owned()));
    assert_eq!(typed().fetch_all(&db).await?.len(), 6000);
    assert_eq!(runs(cluster.primary()).await?, 1);
    Ok(())
}
