//! Connections are kept at hand beside their pool: whoever takes one gets it clean, whoever waits in the
//! pool gets its turn, and in the end all of them are back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use lagwise::{NodeConfig, PgRouter, PgSession, ReadConnection, ReadOptions, RouterBuilder};
use lagwise_testkit::{Cluster, Node};
use lagwise_tests::Outcome;
use lagwise_tests::cluster::{PATIENCE, bare, config, number, settle, start};
use lagwise_tests::observe::until;
use lagwise_tests::statements::{PLACES, code, is_read, next, place};
use sqlx::PgExecutor;
use sqlx::postgres::{PgConnection, PgPool, PgPoolOptions, Postgres};
use tokio::task::JoinSet;

const NUMBERS: &str = "create table numbers (n int8 primary key); insert into numbers values (0);";

/// Asks for a number that only this statement knows.
const ECHO: &str = "select $1::int8";

fn pool(connections: u32) -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(PATIENCE)
}

/// A node with few connections, of which any is kept at hand after any use.
fn narrow(node: &Node, connections: u32) -> NodeConfig<Postgres> {
    config(node).pool_options(pool(connections)).keep_warm(true)
}

/// A router that a busy machine does not make lose its replicas.
fn patient() -> RouterBuilder<Postgres> {
    bare()
        .max_lag(Duration::from_secs(30))
        .wait(Duration::from_secs(5))
        .policy(|policy| policy.unseen_for = Duration::from_secs(10))
}

/// A cluster of one replica, and a router that has few connections to each node.
async fn with_few(connections: u32) -> Outcome<(Cluster, PgRouter)> {
    let cluster = start(1, &format!("{PLACES}{NUMBERS}")).await?;
    let router = patient()
        .primary(narrow(cluster.primary(), connections))
        .replica(narrow(cluster.replica(0), connections));
    let router = settle(router, 1).await?;
    is_read(&router, "select here()").await?;
    Ok((cluster, router))
}

/// A number that nobody else has.
fn unique() -> i64 {
    static LAST: AtomicUsize = AtomicUsize::new(1);
    i64::try_from(LAST.fetch_add(1, Ordering::Relaxed)).unwrap_or_default()
}

/// The router writes, and reads on the primary since that is outside of any session.
async fn write_and_read(router: &PgRouter) -> Outcome {
    let n = unique();
    let written: i64 = sqlx::query_scalar("insert into numbers values ($1) returning n")
        .bind(n)
        .fetch_one(router)
        .await?;
    assert_eq!(written, n, "another's number");
    let read: i64 = sqlx::query_scalar(ECHO).bind(n).fetch_one(router).await?;
    assert_eq!(read, n, "another's number");
    Ok(())
}

async fn write_and_read_often(router: PgRouter, times: usize) -> Outcome {
    for _ in 0..times {
        write_and_read(&router).await?;
    }
    Ok(())
}

/// Tasks that write and read without a pause until they are told to end; each says how often.
fn busy(router: &PgRouter, tasks: usize, ended: &Arc<AtomicBool>) -> JoinSet<Outcome<usize>> {
    let one = |_| {
        let (router, ended) = (router.clone(), Arc::clone(ended));
        async move {
            let mut turns = 0;
            while !ended.load(Ordering::Relaxed) {
                write_and_read(&router).await?;
                turns += 1;
            }
            Ok(turns)
        }
    };
    (0..tasks).map(one).collect()
}

async fn end(mut tasks: JoinSet<Outcome<usize>>, ended: &AtomicBool) -> Outcome<usize> {
    ended.store(true, Ordering::Relaxed);
    let mut least = usize::MAX;
    while let Some(turns) = tasks.join_next().await {
        least = least.min(turns??);
    }
    Ok(least)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_takes_connections_from_the_pool_gets_its_turn_among_statements_without_a_pause()
-> Outcome {
    let (_cluster, router) = with_few(2).await?;
    let ended = Arc::new(AtomicBool::new(false));
    let tasks = busy(&router, 8, &ended);
    let pool: &PgPool = &router;
    for turn in 0..8 {
        let taken = tokio::time::timeout(Duration::from_secs(3), pool.acquire()).await;
        let mut taken = taken.map_err(|_| format!("turn {turn} has not come"))??;
        assert_eq!(number(&mut taken, "select 7::int8").await?, 7);
    }
    assert!(end(tasks, &ended).await? > 0, "everybody else had a turn");
    Ok(())
}

/// When a read was run, by the clock of the server.
async fn run_at(db: PgSession, by_handle: bool) -> Outcome<i64> {
    let sql = "select (extract(epoch from clock_timestamp()) * 1e6)::int8";
    let asked = sqlx::query_scalar(sql);
    if by_handle {
        return Ok(asked.fetch_one(&mut *db.read().await?).await?);
    }
    Ok(asked.fetch_one(&db).await?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_have_their_turns_in_the_order_in_which_they_came() -> Outcome {
    let (_cluster, router) = with_few(1).await?;
    // When the first of them gets its turn, some wait in one place and some in another, by how long they
    // have waited. However long anything takes here, the order is the same.
    for millis in 0..12 {
        let order = order_of_turns(&router, Duration::from_millis(millis)).await?;
        assert_eq!(order, [0, 1, 2, 3, 4, 5], "held for {millis} ms");
    }
    Ok(())
}

/// In which order reads that came one after the other were run, once the only connection was given back.
async fn order_of_turns(router: &PgRouter, held_for: Duration) -> Outcome<Vec<usize>> {
    let held = router.session().read().await?;
    let mut reads = JoinSet::new();
    for number in 0..6_usize {
        let mut read = Box::pin(run_at(router.session(), number % 2 == 0));
        // It is in the queue once it has been looked at.
        let waits = tokio::time::timeout(Duration::ZERO, &mut read).await;
        assert!(waits.is_err(), "the only connection is in use");
        reads.spawn(async move { read.await.map(|at| (at, number)) });
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tokio::time::sleep(held_for).await;
    drop(held);
    let mut order = Vec::new();
    while let Some(read) = reads.join_next().await {
        order.push(read??);
    }
    order.sort_unstable();
    Ok(order.into_iter().map(|(_, number)| number).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statements_go_on_while_somebody_else_holds_all_connections_but_one() -> Outcome {
    let (_cluster, router) = with_few(3).await?;
    let ended = Arc::new(AtomicBool::new(false));
    let tasks = busy(&router, 8, &ended);
    let pool: &PgPool = &router;
    let held = (pool.acquire().await?, pool.acquire().await?);
    let mut late = JoinSet::new();
    for _ in 0..4 {
        late.spawn(write_and_read_often(router.clone(), 20));
    }
    let all = tokio::time::timeout(PATIENCE, late.join_all()).await?;
    all.into_iter().collect::<Outcome>()?;
    let turns = end(tasks, &ended).await?;
    assert!(turns > 0, "everybody has had a turn");
    drop(held);
    Ok(())
}

/// What leaves a connection in the middle of something, or seems to.
const MISCHIEFS: u8 = 12;

/// Does something to a connection that the next one must not notice. Says how many numbers were
/// written for good.
async fn mischief(db: &PgSession, which: u8, hasty: Duration) -> Outcome<usize> {
    match which {
        0..4 => give_up(db, which, hasty).await?,
        4 => nap(&mut *db.read().await?, hasty).await,
        5 => nap(&mut *db.write().await?, hasty).await,
        6 | 7 => fail(db, which).await,
        8..11 => give_up_copy(db, which).await?,
        _ => {
            let insert = sqlx::query("insert into numbers values ($1)").bind(unique());
            insert.execute(db).await?;
            return Ok(1);
        }
    }
    Ok(0)
}

/// A statement that is given up halfway.
async fn nap(db: impl PgExecutor<'_>, hasty: Duration) {
    let nap = sqlx::query("select $1::int8 from pg_sleep(0.01)").bind(unique());
    tokio::time::timeout(hasty, nap.fetch_one(db)).await.ok();
}

/// What a session runs and does not see the end of.
async fn give_up(db: &PgSession, which: u8, hasty: Duration) -> Outcome {
    match which {
        0 => nap(db, hasty).await,
        1 => {
            let rows = sqlx::query_scalar("select n from generate_series(1, 2000) n");
            let mut rows = rows.fetch(db);
            for wanted in 1..=i32::try_from(hasty.as_millis())? {
                let row: Option<i32> = next(&mut rows).await.transpose()?;
                assert_eq!(row, Some(wanted));
            }
        }
        2 => {
            let mut open = db.begin().await?;
            let insert = sqlx::query("insert into numbers values ($1)").bind(-unique());
            insert.execute(&mut *open).await?;
        }
        _ => drop(tokio::time::timeout(hasty, db.begin()).await),
    }
    Ok(())
}

/// What the server refuses.
async fn fail(db: &PgSession, which: u8) {
    let (text, owed) = if which == 6 {
        ("insert into numbers values ($1)", "23505")
    } else {
        ("select 1 / $1::int8", "22012")
    };
    let refused = sqlx::query(text).bind(0_i64).execute(db).await;
    let error = refused.expect_err("the number is there, and zero");
    assert_eq!(code(&error), owed);
}

/// A copy that is given up halfway. The driver does not count its answers among those that are owed.
async fn give_up_copy(db: &PgSession, which: u8) -> Outcome {
    let (mut reads, mut writes);
    let node: &mut PgConnection = if which == 8 {
        reads = db.read_with(ReadOptions::primary()).await?;
        &mut reads
    } else {
        writes = db.write().await?;
        &mut writes
    };
    if which == 10 {
        let mut copied = node.copy_out_raw("copy (select 1) to stdout").await?;
        assert!(next(&mut copied).await.transpose()?.is_some());
    } else {
        let mut copy = node.copy_in_raw("copy numbers from stdin").await?;
        copy.send(format!("{}\n", -unique()).as_bytes()).await?;
    }
    Ok(())
}

/// Whether connections answer what they are asked: by a session's statement, which reads on a replica
/// or the primary, and outside of a session.
async fn is_clean(router: &PgRouter, db: &PgSession) -> Outcome {
    for _ in 0..2 {
        let n = unique();
        let echo = sqlx::query_scalar::<_, i64>(ECHO).bind(n).fetch_one(db);
        assert_eq!(echo.await?, n, "another's answer");
        write_and_read(router).await?;
    }
    Ok(())
}

/// Does all of that, in turns. Says how many numbers were written.
async fn play(router: PgRouter, seed: u64) -> Outcome<usize> {
    let mut random = fastrand::Rng::with_seed(seed);
    let order = (0..MISCHIEFS).cycle().skip(random.usize(..12));
    let mut written = 0;
    for which in order.take(30) {
        let db = router.session();
        let hasty = Duration::from_millis(random.u64(0..4));
        let done = mischief(&db, which, hasty).await;
        written += done.map_err(|error| format!("in the course of {which}: {error}"))?;
        let clean = is_clean(&router, &db).await;
        clean.map_err(|error| format!("after {which}: {error}"))?;
        written += 2;
    }
    Ok(written)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_was_done_on_a_connection_the_next_one_gets_its_own_answer() -> Outcome {
    let (cluster, router) = with_few(3).await?;
    let mut tasks = JoinSet::new();
    for seed in 0..8 {
        tasks.spawn(play(router.clone(), seed));
    }
    let mut written = 0;
    while let Some(task) = tasks.join_next().await {
        written += task??;
    }
    let lost = "select count(*) from numbers where n > 0";
    let found: i64 = cluster.primary().query_scalar(lost).await?;
    assert_eq!(usize::try_from(found)?, written, "all that was written");
    for node in cluster.nodes() {
        let open = "select count(*) from pg_stat_activity where state like 'idle in trans%'";
        let none = async || Ok(node.query_scalar::<i64>(open).await? == 0);
        until("no transaction stays open", PATIENCE, none).await?;
    }
    let strays = "select count(*) from numbers where n < 0";
    assert_eq!(cluster.primary().query_scalar::<i64>(strays).await?, 0);
    Ok(())
}

/// Each thing that can be left undone, on a pool of one connection: whoever comes next comes after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_is_left_undone_is_left_to_the_next_one() -> Outcome {
    let (_cluster, router) = with_few(1).await?;
    for which in 0..MISCHIEFS {
        for hasty in [0, 1, 3] {
            let db = router.session();
            is_clean(&router, &db).await?;
            mischief(&db, which, Duration::from_millis(hasty)).await?;
            let clean = is_clean(&router, &db).await;
            clean.map_err(|error| format!("after {which}: {error}"))?;
        }
    }
    Ok(())
}

/// How often a pool was given a connection back.
#[derive(Clone, Default)]
struct Returns(Arc<AtomicUsize>);

impl Returns {
    fn of(&self, pool: PgPoolOptions) -> PgPoolOptions {
        let returns = Arc::clone(&self.0);
        pool.after_release(move |_, _| {
            returns.fetch_add(1, Ordering::Relaxed);
            Box::pin(async { Ok(true) })
        })
    }

    fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    async fn become_(&self, wanted: usize, after: &str) -> Outcome {
        let what = format!("the pool has its connection back after {after}");
        until(&what, PATIENCE, async || {
            let count = self.count();
            assert!(count <= wanted, "{count} times after {after}");
            Ok(count == wanted)
        })
        .await
    }
}

/// Reads on the primary without a pause, and says how often its pool was given a connection back for
/// it, and how often at most if they were kept at hand.
async fn returned_by(
    router: &PgRouter,
    returns: &Returns,
    reads: usize,
) -> Outcome<(usize, usize)> {
    let (before, began) = (returns.count(), lagwise::now());
    for _ in 0..reads {
        let n = unique();
        let echo = sqlx::query_scalar::<_, i64>(ECHO).bind(n).fetch_one(router);
        assert_eq!(echo.await?, n);
    }
    let took = lagwise::now().since(began).as_millis();
    let kept = usize::try_from(took / 125)? + 2;
    Ok((returns.count() - before, kept))
}

async fn all_are_back(pool: &PgPool) -> Outcome {
    let back = async || Ok(pool.size() > 0 && pool.num_idle() == usize::try_from(pool.size())?);
    until("all connections are back", PATIENCE, back).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_with_settings_of_ones_own_is_given_back_all_but_reads_at_once() -> Outcome {
    let cluster = start(0, &format!("{PLACES}{NUMBERS}")).await?;
    let returns = Returns::default();
    let primary = config(cluster.primary()).pool_options(returns.of(pool(1)));
    let router = settle(patient().primary(primary), 0).await?;
    for round in 0..3 {
        let before = returns.count();
        sqlx::query("insert into numbers values ($1)")
            .bind(unique())
            .execute(&router)
            .await?;
        returns.become_(before + 1, "a write").await?;
        let mut node = router.write().await?;
        number(&mut node, "select 1::int8").await?;
        drop(node);
        returns.become_(before + 2, "a handle").await?;
        drop(router.read_with(ReadOptions::primary()).await?);
        returns.become_(before + 3, "a handle for reading").await?;
        router
            .run_read_with(ReadOptions::primary(), |node| {
                Box::pin(number(node, "select 1::int8"))
            })
            .await?;
        returns.become_(before + 4, "a closure").await?;
        router.begin().await?.commit().await?;
        returns.become_(before + 5, "a transaction").await?;
        drop(router.begin().await?);
        returns
            .become_(before + 6, "a transaction that is dropped")
            .await?;
        let (returned, at_most) = returned_by(&router, &returns, 60).await?;
        assert!(returned <= at_most, "round {round}: {returned} of 60 reads");
        all_are_back(&router).await?;
        assert!(returns.count() > before + 6, "after its term");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_of_ones_own_keeps_nothing_at_hand_unless_that_is_asked_for() -> Outcome {
    let cluster = start(0, &format!("{PLACES}{NUMBERS}")).await?;
    for (own, asked, keeps) in [
        (true, None, false),
        (true, Some(true), true),
        (false, Some(false), false),
        (false, Some(true), true),
        (false, None, true),
    ] {
        let returns = Returns::default();
        let options = returns.of(pool(1));
        let primary = if own {
            let pool = options.connect(&cluster.primary().url()).await?;
            NodeConfig::pool(pool).name("p")
        } else {
            config(cluster.primary()).pool_options(options)
        };
        let primary = match asked {
            Some(asked) => primary.keep_warm(asked),
            None => primary,
        };
        let router = settle(patient().primary(primary), 0).await?;
        let (returned, at_most) = returned_by(&router, &returns, 40).await?;
        let what = format!("own: {own}, asked: {asked:?}, {returned} of 40");
        if keeps {
            assert!(returned <= at_most, "{what}");
        } else {
            assert!(returned >= 39, "{what}");
        }
        all_are_back(&router).await?;
        router.close().await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_at_hand_go_back_when_nobody_uses_them() -> Outcome {
    let (_cluster, router) = with_few(4).await?;
    let ended = Arc::new(AtomicBool::new(false));
    let tasks = busy(&router, 8, &ended);
    let pool: &PgPool = &router;
    until("all are open", PATIENCE, async || Ok(pool.size() == 4)).await?;
    end(tasks, &ended).await?;
    all_are_back(&router).await
}

/// Connections of clients to all nodes of a cluster.
async fn clients(cluster: &Cluster) -> Outcome<i64> {
    let clients = "select count(*) from pg_stat_activity \
        where backend_type = 'client backend' and application_name <> 'lagwise-testkit'";
    let mut count = 0;
    for node in cluster.nodes() {
        count += node.query_scalar::<i64>(clients).await?;
    }
    Ok(count)
}

/// A router over a cluster, with connections at hand to each node.
async fn at_work(cluster: &Cluster) -> Outcome<PgRouter> {
    let nodes = cluster.replicas().iter().map(config);
    let router = patient().primary(config(cluster.primary()));
    let router = settle(router.replicas(nodes), cluster.replicas().len()).await?;
    is_read(&router, "select here()").await?;
    let db = router.session();
    for _ in 0..4 {
        write_and_read(&router).await?;
        place(&db).await?;
    }
    Ok(router)
}

async fn nothing_is_left(cluster: &Cluster, after: &str) -> Outcome {
    let what = format!("no connection is left after {after}");
    until(&what, PATIENCE, async || Ok(clients(cluster).await? == 0)).await
}

/// Does something where no runtime is, and fails if it panics.
fn on_a_plain_thread<T: Send + 'static>(
    what: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    let thread = std::thread::spawn(work);
    let Ok(ended) = thread.join() else {
        panic!("{what} panics");
    };
    ended
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whichever_way_a_router_ends_it_leaves_no_connection_behind() -> Outcome {
    let cluster = start(1, &format!("{PLACES}{NUMBERS}")).await?;
    at_work(&cluster).await?.close().await;
    nothing_is_left(&cluster, "a close").await?;
    let ended = at_work(&cluster).await?.shutdown(PATIENCE).await;
    assert!(ended.is_complete(), "what is at hand is not under way");
    nothing_is_left(&cluster, "a shutdown").await?;
    let ended = at_work(&cluster).await?.shutdown(Duration::ZERO).await;
    assert!(ended.is_complete(), "what is at hand is not under way");
    nothing_is_left(&cluster, "a shutdown without a grace").await?;
    drop(at_work(&cluster).await?);
    nothing_is_left(&cluster, "a drop").await?;
    let router = at_work(&cluster).await?;
    on_a_plain_thread("a drop elsewhere", || drop(router));
    nothing_is_left(&cluster, "a drop on a plain thread").await?;
    let router = at_work(&cluster).await?;
    let (read, write) = (router.session().read().await?, router.write().await?);
    let other = router.read_with(ReadOptions::primary()).await?;
    drop(router);
    on_a_plain_thread("a handle that is dropped elsewhere", || drop((read, write)));
    drop(other);
    let primary = config(cluster.primary()).keep_warm(false);
    let router = settle(patient().primary(primary), 0).await?;
    let (read, write) = (router.read().await?, router.write().await?);
    on_a_plain_thread("one that goes back to its pool", || drop((read, write)));
    drop(router);
    nothing_is_left(&cluster, "handles that outlive their router").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handle_that_outlives_its_router_keeps_no_connection_but_its_own() -> Outcome {
    let cluster = start(0, NUMBERS).await?;
    let own = pool(2).connect(&cluster.primary().url()).await?;
    let primary = NodeConfig::pool(own.clone()).name("p").keep_warm(true);
    let router = settle(patient().primary(primary), 0).await?;
    let primary = async || router.read_with(ReadOptions::primary()).await;
    let (first, second) = (primary().await?, primary().await?);
    drop(router);
    drop(first);
    let back = async || Ok(own.num_idle() == 1);
    until("the pool has the other one back", PATIENCE, back).await?;
    drop(second);
    all_are_back(&own).await
}

async fn with_handle_or_not(
    cluster: &Cluster,
    with: bool,
) -> Outcome<(PgRouter, Option<ReadConnection<Postgres>>)> {
    let router = at_work(cluster).await?;
    let handle = router.session().read().await?;
    Ok((router, with.then_some(handle)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_router_that_outlives_its_runtime_leaves_no_connection_behind() -> Outcome {
    let cluster = Arc::new(start(1, &format!("{PLACES}{NUMBERS}")).await?);
    for with_handle in [false, true] {
        let nodes = Arc::clone(&cluster);
        let left = on_a_plain_thread("a runtime that ends", move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            let left = runtime.block_on(with_handle_or_not(&nodes, with_handle));
            drop(runtime);
            left
        })?;
        on_a_plain_thread("a drop after the runtime", || drop(left));
        nothing_is_left(&cluster, "the end of a runtime").await?;
    }
    Ok(())
}

async fn read_until(db: PgSession, ended: Arc<AtomicBool>) -> Outcome<usize> {
    let mut reads = 0;
    while !ended.load(Ordering::Relaxed) {
        place(&db).await?;
        reads += 1;
    }
    Ok(reads)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_removed_while_it_is_read_from_is_left_alone() -> Outcome {
    let (cluster, router) = with_few(3).await?;
    let others = async || {
        let others = "select count(*) from pg_stat_activity \
            where backend_type = 'client backend' and application_name <> 'lagwise-testkit'";
        Ok(cluster.replica(0).query_scalar::<i64>(others).await? == 0)
    };
    for _ in 0..3 {
        let ended = Arc::new(AtomicBool::new(false));
        let mut readers = JoinSet::new();
        for _ in 0..4 {
            readers.spawn(read_until(router.session(), Arc::clone(&ended)));
        }
        let db = router.session();
        until("it is read", PATIENCE, async || {
            Ok(place(&db).await? == "r1")
        })
        .await?;
        router.remove_node("r1").await?;
        for _ in 0..10 {
            assert_eq!(place(&db).await?, "p", "it was removed");
        }
        end(readers, &ended).await?;
        until("the replica is left alone", PATIENCE, others).await?;
        router.add_replica(narrow(cluster.replica(0), 3)).await?;
        router.ready(1, PATIENCE).await?;
    }
    Ok(())
}

/// Asks for connections and answers, and waits for none.
async fn ask_in_vain(router: PgRouter, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let db = router.session();
    for _ in 0..40 {
        let hasty = Duration::from_micros(random.u64(0..2500));
        drop(tokio::time::timeout(hasty, router.write()).await);
        drop(tokio::time::timeout(hasty, db.read()).await);
        // Made, and never polled.
        drop(sqlx::query("insert into numbers values (0)").execute(&router));
        drop(tokio::time::timeout(hasty, place(&router)).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_that_are_given_up_at_any_moment_leave_all_places_free() -> Outcome {
    let (_cluster, router) = with_few(2).await?;
    let mut tasks = JoinSet::new();
    for seed in 0..8 {
        tasks.spawn(ask_in_vain(router.clone(), seed));
    }
    tasks.join_all().await;
    let one = async || {
        let db = router.session();
        Ok::<_, lagwise::Error>((router.write().await?, db.read().await?))
    };
    let all = tokio::time::timeout(PATIENCE / 2, async { tokio::join!(one(), one()) }).await?;
    drop((all.0?, all.1?));
    all_are_back(&router).await
}

/// With others who do so, now and then both come at once, and mostly nobody does.
async fn ask_now_and_then(router: PgRouter, ended: Arc<AtomicBool>) -> Outcome<usize> {
    let mut reads = 0;
    while !ended.load(Ordering::Relaxed) {
        place(&router).await?;
        reads += 1;
        tokio::time::sleep(Duration::from_millis(fastrand::u64(20..60))).await;
    }
    Ok(reads)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_grows_although_connections_take_long_to_open() -> Outcome {
    let (cluster, router) = with_few(2).await?;
    cluster
        .primary()
        .client_wire()
        .delay(Duration::from_millis(6));
    let ended = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    for _ in 0..2 {
        tasks.spawn(ask_now_and_then(router.clone(), Arc::clone(&ended)));
    }
    let open = "select count(*) from pg_stat_activity where backend_type = 'client backend' \
        and state is not null and application_name not like 'lagwise%'";
    let grown = async || Ok(cluster.primary().query_scalar::<i64>(open).await? == 2);
    let grows = until("both have a connection", PATIENCE, grown).await;
    end(tasks, &ended).await?;
    grows
}
