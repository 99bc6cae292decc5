//! What becomes of connections that were kept at hand while their server went, or another one came in
//! its place, and of the rules that a request has to keep where one is at hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lagwise::{
    Cause, Error, NodeConfig, PgRouter, PgSession, ReadOptions, RouterBuilder,
    may_have_been_applied,
};
use lagwise_testkit::{Cluster, Node, Stop};
use lagwise_tests::Outcome;
use lagwise_tests::checker::{Chronicle, REGISTERS};
use lagwise_tests::cluster::{PATIENCE, bare, config, settle, start};
use lagwise_tests::observe::{ejected, primary_is, readmitted, snapshot_where, until, view};
use lagwise_tests::statements::{PLACES, is_read, on_replica, place};
use sqlx::postgres::{PgPool, PgPoolOptions, Postgres};
use tokio::task::JoinSet;

const NOTES: &str = "
    create table notes (n int8 primary key);
    create function nap(seconds float8) returns text language sql stable
        as $$ select here() from (select pg_sleep(seconds) offset 0) napped $$;
";

fn kept(node: &Node, connections: u32) -> NodeConfig<Postgres> {
    let pool = PgPoolOptions::new().max_connections(connections);
    // So that no test passes because somebody gave up.
    config(node)
        .pool_options(pool.acquire_timeout(6 * PATIENCE))
        .keep_warm(true)
}

fn over(cluster: &Cluster, connections: u32) -> RouterBuilder<Postgres> {
    let nodes = cluster.replicas().iter();
    let router = bare().primary(kept(cluster.primary(), connections));
    router
        .replicas(nodes.map(|node| kept(node, connections)))
        .max_lag(Duration::from_secs(30))
        .policy(|policy| policy.unseen_for = Duration::from_secs(10))
}

async fn with_notes(replicas: usize, connections: u32) -> Outcome<(Cluster, PgRouter)> {
    let cluster = start(replicas, &format!("{PLACES}{NOTES}{REGISTERS}")).await?;
    let router = settle(over(&cluster, connections), replicas).await?;
    if replicas > 0 {
        is_read(&router, "select here()").await?;
    }
    Ok((cluster, router))
}

/// Cuts the connections of all clients but the monitor, and waits until they are gone.
async fn cut_clients(node: &Node) -> Outcome<usize> {
    // All at once: to wait for each of them takes the server a tenth of a second.
    let cut = "select coalesce(string_agg(pid::text, ','), '') from \
        (select pid, pg_terminate_backend(pid) from pg_stat_activity \
        where backend_type = 'client backend' and application_name not like 'lagwise%') cut";
    let pids: String = node.query_scalar(cut).await?;
    let left =
        format!("select count(*) from pg_stat_activity where pid = any('{{{pids}}}'::int[])");
    let gone = async || Ok(node.query_scalar::<i64>(&left).await? == 0);
    until("their connections are gone", PATIENCE, gone).await?;
    Ok(pids.split_terminator(',').count())
}

async fn note(db: &PgRouter, n: i64) -> Result<(), sqlx::Error> {
    let insert = sqlx::query("insert into notes values ($1)").bind(n);
    insert.execute(db).await.map(drop)
}

/// Waits until a time has passed, counted from now.
async fn pass(time: Duration) -> Outcome {
    let over = lagwise::now().after(time);
    until("the time passes", PATIENCE, async || {
        Ok(lagwise::now() > over)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_never_fails_on_a_connection_that_was_cut_while_it_was_silent() -> Outcome {
    let (cluster, db) = with_notes(0, 1).await?;
    for n in 0..12 {
        note(&db, n).await?;
        pass(Duration::from_millis(12)).await?;
        assert_eq!(cut_clients(cluster.primary()).await?, 1, "it was kept");
        note(&db, 100 + n).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_is_not_taken_for_one_that_has_answered_because_its_holder_gives_it_back()
-> Outcome {
    let (cluster, db) = with_notes(0, 1).await?;
    for n in 0..6 {
        let write = db.write().await?;
        pass(Duration::from_millis(12)).await?;
        cut_clients(cluster.primary()).await?;
        drop(write);
        note(&db, n).await?;
        let read = db.read_with(ReadOptions::primary()).await?;
        pass(Duration::from_millis(12)).await?;
        cut_clients(cluster.primary()).await?;
        drop(read);
        note(&db, 100 + n).await?;
    }
    Ok(())
}

/// Writes numbers of its own until it is told to end: each, and whether it was acknowledged. Whatever
/// fails says that it may have been applied.
async fn keep_writing(db: PgRouter, writer: i64, ended: Arc<AtomicBool>) -> Vec<(i64, bool)> {
    let mut sent = Vec::new();
    while !ended.load(Ordering::Relaxed) {
        let n = writer * 1_000_000 + i64::try_from(sent.len()).unwrap_or_default();
        let outcome = note(&db, n).await;
        let unknown = outcome.as_ref().is_err_and(may_have_been_applied);
        assert!(outcome.is_ok() || unknown, "refused: {outcome:?}");
        sent.push((n, outcome.is_ok()));
    }
    sent
}

struct Writers {
    tasks: JoinSet<Vec<(i64, bool)>>,
    ended: Arc<AtomicBool>,
}

impl Writers {
    fn start(db: &PgRouter, writers: i64) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let task = |writer| keep_writing(db.clone(), writer, Arc::clone(&ended));
        Self {
            tasks: (0..writers).map(task).collect(),
            ended,
        }
    }

    /// Ends them, and says how many writes have failed. None that was acknowledged is missing on the
    /// node.
    async fn end(self, on: &Node) -> Outcome<usize> {
        self.ended.store(true, Ordering::Relaxed);
        let sent: Vec<(i64, bool)> = self.tasks.join_all().await.concat();
        let acknowledged = sent.iter().filter(|(_, acknowledged)| *acknowledged);
        let numbers: Vec<String> = acknowledged.map(|(n, _)| n.to_string()).collect();
        assert!(numbers.len() > 10, "too few to judge by: {}", numbers.len());
        let numbers = numbers.join(",");
        let missing = format!(
            "select count(*) from unnest(array[{numbers}]::int8[]) n where n not in (select n from notes)"
        );
        assert_eq!(
            on.query_scalar::<i64>(&missing).await?,
            0,
            "writes are lost"
        );
        Ok(sent
            .iter()
            .filter(|(_, acknowledged)| !acknowledged)
            .count())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_most_one_write_fails_for_each_connection_that_is_cut() -> Outcome {
    let (cluster, db) = with_notes(0, 4).await?;
    let writers = Writers::start(&db, 6);
    let pool: &PgPool = &db;
    let mut cut = 0;
    for _ in 0..5 {
        until("connections are open", PATIENCE, async || {
            Ok(pool.size() >= 3)
        })
        .await?;
        cut += cut_clients(cluster.primary()).await?;
    }
    let failed = writers.end(cluster.primary()).await?;
    assert!(failed <= cut, "{failed} for {cut}");
    Ok(())
}

/// Reads in a session each time: one that reads without a pause stays where it reads.
async fn keep_reading(db: PgRouter, ended: Arc<AtomicBool>) -> Outcome<usize> {
    let mut reads = 0;
    while !ended.load(Ordering::Relaxed) {
        place(&db.session()).await?;
        reads += 1;
    }
    Ok(reads)
}

struct Readers {
    tasks: JoinSet<Outcome<usize>>,
    ended: Arc<AtomicBool>,
}

impl Readers {
    fn start(db: &PgRouter, readers: usize) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let task = |_| keep_reading(db.clone(), Arc::clone(&ended));
        Self {
            tasks: (0..readers).map(task).collect(),
            ended,
        }
    }

    /// Ends them, and says how many reads the one of fewest has done. None has failed.
    async fn end(self) -> Outcome<usize> {
        self.ended.store(true, Ordering::Relaxed);
        let reads: Outcome<Vec<usize>> = self.tasks.join_all().await.into_iter().collect();
        Ok(reads?.into_iter().min().unwrap_or(0))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_of_sessions_never_fail_where_connections_are_cut() -> Outcome {
    let (cluster, db) = with_notes(2, 3).await?;
    let readers = Readers::start(&db, 6);
    for turn in 0..8 {
        let node = cluster.replica(turn % 2);
        let read = async || Ok(place(&db.session()).await? == node.name());
        until("it is read", PATIENCE, read).await?;
        cut_clients(node).await?;
    }
    let reads = readers.end().await?;
    assert!(reads > 10, "all of them read all along: {reads}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_comes_back_is_read_from_however_many_wait_elsewhere() -> Outcome {
    let (cluster, db) = with_notes(2, 3).await?;
    let readers = Readers::start(&db, 9);
    for turn in 0..6 {
        let node = cluster.replica(turn % 2);
        db.drain(node.name())?;
        ejected(&db, node.name(), Cause::Drained).await?;
        db.undrain(node.name())?;
        readmitted(&db, node.name()).await?;
        let read = async || Ok(place(&db.session()).await? == node.name());
        until("it is read", PATIENCE, read).await?;
    }
    let reads = readers.end().await?;
    assert!(reads > 10, "all of them read all along: {reads}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn once_a_connection_has_failed_nobody_is_handed_another_of_its_node_untested() -> Outcome {
    let (cluster, db) = with_notes(1, 3).await?;
    for _ in 0..3 {
        // All that was at hand is back in the pool.
        pass(Duration::from_millis(400)).await?;
        let began = lagwise::now();
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(db.session().read().await?);
        }
        drop(held);
        cut_clients(cluster.replica(0)).await?;
        place(&db.session()).await?;
        // On a machine that is so busy, some of them have gone back before they were cut.
        let in_time = lagwise::now().since(began) < Duration::from_millis(100);
        for _ in 0..3 {
            let outcome = place(&mut *db.session().read().await?).await;
            assert!(outcome.is_ok() || !in_time, "{outcome:?}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_replaced_at_its_address_answers_no_statement_any_longer() -> Outcome {
    let cluster = start(2, &format!("{PLACES}{REGISTERS}")).await?;
    let [r1, r2] = [cluster.replica(0), cluster.replica(1)];
    // Its successor is read from before the connections at hand would go back of themselves.
    let router = over(&cluster, 4).poll_interval(Duration::from_millis(10));
    let router = router.policy(|policy| policy.return_after = 1);
    let router = settle(router, 2).await?;
    is_read(&router, "select here()").await?;
    router.remove_node("r2").await?;
    for _ in 0..3 {
        let readers = Readers::start(&router, 6);
        let db = router.session();
        until("r1 answers", PATIENCE, async || {
            Ok(place(&db).await? == "r1")
        })
        .await?;
        let before = view(&router.snapshot(), "r1").started;
        r1.lead_clients_to(r2);
        // Those of clients stay: they lead to the one before.
        let monitor = "select count(pg_terminate_backend(pid)) from pg_stat_activity \
            where application_name = 'lagwise monitor'";
        r1.query_scalar::<i64>(monitor).await?;
        snapshot_where(&router, "another server is seen", |snapshot| {
            let started = view(snapshot, "r1").started;
            started.is_some() && started != before
        })
        .await?;
        for _ in 0..200 {
            assert_ne!(place(&router.session()).await?, "r1", "it is not there");
        }
        on_replica("its successor answers", &router.session()).await?;
        readers.end().await?;
        r1.lead_clients_to(r1);
        r2.query_scalar::<i64>(monitor).await?;
        snapshot_where(&router, "the first server is seen", |snapshot| {
            view(snapshot, "r1").started == before
        })
        .await?;
        readmitted(&router, "r1").await?;
    }
    Ok(())
}

/// A session that writes its register, and reads it often, until it is told to end.
async fn live(
    db: PgSession,
    number: usize,
    chronicle: Arc<Chronicle>,
    ended: Arc<AtomicBool>,
) -> Outcome {
    let key = i32::try_from(number)?;
    for turn in 0_u32.. {
        if turn.is_multiple_of(13) {
            chronicle.write_by_statement(number, &db, key).await?;
        } else {
            chronicle.read_by_statement(number, &db, key).await?;
        }
        if ended.load(Ordering::Relaxed) {
            break;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_see_what_they_wrote_while_a_replica_restarts() -> Outcome {
    let (cluster, router) = with_notes(1, 4).await?;
    let chronicle = Arc::new(Chronicle::default());
    let ended = Arc::new(AtomicBool::new(false));
    let mut sessions = JoinSet::new();
    for number in 0..5 {
        let live = live(
            router.session(),
            number,
            Arc::clone(&chronicle),
            Arc::clone(&ended),
        );
        sessions.spawn(live);
    }
    for how in [Stop::Fast, Stop::Immediate] {
        let on_replicas = chronicle.verdict().on_replicas;
        let some = async || Ok(chronicle.verdict().on_replicas > on_replicas + 40);
        until("the replica is read from", PATIENCE, some).await?;
        cluster.replica(0).restart(how).await?;
        readmitted(&router, "r1").await?;
    }
    ended.store(true, Ordering::Relaxed);
    sessions.join_all().await.into_iter().collect::<Outcome>()?;
    chronicle.verdict().expect(200, 40)
}

/// The primary is killed or stopped under load, and `r1` takes over. Says how many writes have failed.
async fn replaced(keep: bool, how: Option<Stop>) -> Outcome<usize> {
    let cluster = start(1, &format!("{PLACES}{NOTES}")).await?;
    cluster
        .primary()
        .configure("synchronous_standby_names", "*")
        .await?;
    let nodes = cluster.replicas().iter().map(config);
    let db = bare().primary(config(cluster.primary()).keep_warm(keep));
    let db = settle(db.replicas(nodes.map(|node| node.keep_warm(keep))), 1).await?;
    let writers = Writers::start(&db, WRITERS);
    let written = "select count(*) from notes";
    let some = async || Ok(cluster.primary().query_scalar::<i64>(written).await? > 60);
    until("there are writes", PATIENCE, some).await?;
    // From then on, what is acknowledged is on the replica.
    let waiting = "select count(*) from pg_stat_activity where wait_event = 'SyncRep'";
    let wait = async || Ok(cluster.primary().query_scalar::<i64>(waiting).await? > 0);
    until("commits wait for the replica", PATIENCE, wait).await?;
    match how {
        Some(stop) => cluster.primary().stop(stop).await?,
        None => cluster.primary().kill().await?,
    }
    let r1 = cluster.replica(0);
    r1.promote().await?;
    r1.configure("synchronous_standby_names", "").await?;
    primary_is(&db, "r1").await?;
    let before = r1.query_scalar::<i64>(written).await?;
    let more = async || Ok(r1.query_scalar::<i64>(written).await? > before + 20);
    until("writes go on", PATIENCE, more).await?;
    writers.end(r1).await
}

const WRITERS: i64 = 6;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_writes_fail_than_were_under_way_when_the_primary_was_killed() -> Outcome {
    for keep in [true, false] {
        let failed = replaced(keep, None).await?;
        let under_way = usize::try_from(WRITERS)? * 2;
        assert!(failed <= under_way, "{failed}, kept: {keep}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_writes_fail_than_were_under_way_when_the_primary_was_stopped() -> Outcome {
    for keep in [true, false] {
        let failed = replaced(keep, Some(Stop::Fast)).await?;
        let under_way = usize::try_from(WRITERS)? * 2;
        assert!(failed <= under_way, "{failed}, kept: {keep}");
    }
    Ok(())
}

/// Connections to both nodes are at hand.
async fn at_hand(router: &PgRouter) -> Outcome<PgSession> {
    let db = router.session();
    on_replica("there is a connection to the replica", &db).await?;
    assert_eq!(place(router).await?, "p");
    Ok(db)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_hold_where_a_connection_is_at_hand() -> Outcome {
    let (cluster, router) = with_notes(1, 2).await?;
    let late = router.session().with_deadline(Duration::ZERO);
    let reader = router.session().read_only();
    for n in 0..20 {
        let db = at_hand(&router).await?;
        let read = sqlx::query("select here()").execute(&late).await;
        let error = read.expect_err("its time is over");
        assert!(
            Error::behind(&error).is_some_and(Error::is_timed_out),
            "{error}"
        );
        let insert = || sqlx::query("insert into notes values ($1)").bind(n);
        let refused = insert().execute(&late).await;
        assert!(refused.is_err(), "its time is over");
        assert!(late.write().await.is_err(), "its time is over");
        let refused = insert().execute(&reader).await.expect_err("it only reads");
        assert!(
            Error::behind(&refused).is_some_and(Error::is_read_only),
            "{refused}"
        );
        assert!(
            reader
                .write()
                .await
                .is_err_and(|error| error.is_read_only())
        );
        let asked = db.read_with(ReadOptions::primary()).await?;
        assert_eq!(&*asked.route().node, "p");
        drop(asked);
        let within = ReadOptions::new().within(Duration::ZERO);
        let read = db.run_read_with(within, |node| Box::pin(place(node))).await;
        assert!(
            read.is_err() || read.is_ok_and(|by| by == "p"),
            "no replica is that fresh"
        );
    }
    assert_eq!(
        cluster
            .primary()
            .query_scalar::<i64>("select count(*) from notes")
            .await?,
        0
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_begins_at_hand_where_a_node_is_drained_or_the_router_closed() -> Outcome {
    let (_cluster, router) = with_notes(1, 2).await?;
    let db = at_hand(&router).await?;
    router.drain("r1")?;
    snapshot_where(&router, "it is drained", |snapshot| {
        !view(snapshot, "r1").membership.is_in_rotation()
    })
    .await?;
    assert_eq!(place(&db).await?, "p", "it is drained");
    router.undrain("r1")?;
    readmitted(&router, "r1").await?;
    let db = at_hand(&router).await?;
    router.close().await;
    for refused in [place(&db).await, place(&router).await] {
        let error = refused.expect_err("it is closed");
        assert!(
            Error::behind(&error).is_some_and(Error::is_closed),
            "{error}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_goes_on_no_longer_than_its_deadline_where_its_first_connection_is_cut() -> Outcome {
    let (cluster, router) = with_notes(2, 2).await?;
    let limit = Duration::from_millis(1500);
    let db = at_hand(&router).await?;
    let db = db.with_reads(ReadOptions::new().deadline(limit));
    let began = lagwise::now();
    let naps = sqlx::query("select nap(20)").execute(&db);
    let cuts = async {
        pass(limit * 2 / 3).await?;
        for node in cluster.replicas() {
            let cut = "select count(pg_terminate_backend(pid)) from pg_stat_activity \
                where query like 'select nap(%' and pid <> pg_backend_pid()";
            node.query_scalar::<i64>(cut).await?;
        }
        Outcome::Ok(())
    };
    let (ended, cut) = tokio::join!(async { (naps.await, lagwise::now().since(began)) }, cuts);
    cut?;
    let (outcome, took) = ended;
    assert!(outcome.is_err(), "it naps for longer");
    assert!(took < limit + limit / 3, "{took:?} for {limit:?}");
    Ok(())
}
