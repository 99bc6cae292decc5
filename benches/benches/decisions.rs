//! What one decision costs: routing a read, proving a replica, keeping a session's floor.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use lagwise_benches::decision::{Before, Decisions, POINT, at, cluster, sight};
use lagwise_benches::publication::Publication;
use lagwise_core::{Floor, History, Lsn, Recorded, Session, SystemId, Timeline};

const REPLICAS: [u16; 4] = [2, 8, 64, 256];

/// The statement is known, the session is asked, and a replica is selected.
fn decision(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decision");
    for (name, before) in [
        ("", Before::Nothing),
        ("/after a write", Before::Wrote),
        ("/after a read", Before::Read),
    ] {
        for replicas in REPLICAS {
            let mut decisions = Decisions::among(replicas, before);
            assert!(decisions.decide(POINT).is_some(), "a replica serves");
            group.bench_function(format!("{replicas}{name}"), |bencher| {
                bencher.iter(|| decisions.decide(black_box(POINT)));
            });
        }
    }
    group.finish();
    let decisions = Decisions::among(8, Before::Wrote);
    criterion.bench_function("session/check", |bencher| {
        bencher.iter(|| decisions.floor());
    });
}

fn selection(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("select");
    for replicas in REPLICAS {
        let mut decisions = Decisions::among(replicas, Before::Nothing);
        let floor = Floor::as_of(at(1));
        group.bench_function(BenchmarkId::from_parameter(replicas), |bencher| {
            bencher.iter(|| decisions.select(black_box(floor)));
        });
    }
    group.finish();
}

/// Loads while somebody publishes a hundred times a second, and publications while eight threads load.
fn publication(criterion: &mut Criterion) {
    let (monitor, now) = cluster(8);
    let publication = Arc::new(Publication::new(monitor.snapshot(now)));
    criterion.bench_function("published/load", |bencher| {
        bencher.iter(|| publication.load());
    });
    let snapshot = monitor.snapshot(now);
    beside(
        1,
        || {
            publication.publish(snapshot.clone());
            thread::park_timeout(Duration::from_millis(10));
        },
        || {
            criterion.bench_function("published/load, 100 publications a second", |bencher| {
                bencher.iter(|| publication.load());
            });
        },
    );
    beside(
        8,
        || {
            black_box(publication.load());
        },
        || {
            criterion.bench_function("published/publish, 8 threads load", |bencher| {
                bencher.iter_batched(
                    || snapshot.clone(),
                    |next| publication.publish(next),
                    BatchSize::SmallInput,
                );
            });
        },
    );
}

/// Runs `measure` while so many threads do `work` over and over.
fn beside(threads: usize, work: impl Fn() + Sync, measure: impl FnOnce()) {
    let is_over = AtomicBool::new(false);
    let work_on = || {
        while !is_over.load(Ordering::Relaxed) {
            work();
        }
    };
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work_on);
        }
        measure();
        is_over.store(true, Ordering::Relaxed);
    });
}

/// An hour of polls, as far as the ring keeps them.
fn full_ring() -> (History, u64) {
    let mut history = History::new(SystemId::new(1), Timeline::new(1));
    let mut tick = 0;
    while tick < 36_000 {
        tick += 1;
        let recorded = history.record(at(tick * 100), Lsn::new(tick * 4096));
        assert_eq!(recorded, Recorded::Appended, "the primary writes on");
    }
    (history, tick)
}

fn history(criterion: &mut Criterion) {
    let (ring, newest) = full_ring();
    criterion.bench_function("history/100 records on a full ring", |bencher| {
        bencher.iter_batched_ref(
            || (ring.clone(), newest),
            |(ring, tick)| {
                for _ in 0..100 {
                    *tick += 1;
                    let recorded = ring.record(at(*tick * 100), Lsn::new(*tick * 4096));
                    assert_eq!(recorded, Recorded::Appended, "the primary writes on");
                }
            },
            BatchSize::SmallInput,
        );
    });
    for (case, behind) in [("fresh", 0), ("ten seconds late", 100)] {
        let replay = Lsn::new((newest - behind) * 4096);
        criterion.bench_function(&format!("history/as_of, {case}"), |bencher| {
            bencher.iter(|| ring.as_of(black_box(replay)));
        });
    }
}

fn session(criterion: &mut Criterion) {
    let sight = sight(1);
    criterion.bench_function("session/a write and the floor after it", |bencher| {
        let mut session = Session::default();
        let mut millis = 0;
        bencher.iter(|| {
            millis += 1;
            session.open_write(None);
            session.close_write(at(millis));
            black_box(session.floor().needed_from(sight))
        });
    });
    criterion.bench_function("session/a read and the floor after it", |bencher| {
        let mut session = Session::default();
        let mut millis = 0;
        bencher.iter(|| {
            millis += 1;
            let opened = session.open_read(sight, at(millis));
            assert!(opened.is_ok(), "the replica is the one just read from");
            session.close_read(at(millis));
            black_box(session.floor().needed_from(sight))
        });
    });
}

fn snapshot(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("snapshot");
    for nodes in [3, 9, 64] {
        let (monitor, now) = cluster(nodes - 1);
        group.bench_function(BenchmarkId::from_parameter(nodes), |bencher| {
            bencher.iter(|| monitor.snapshot(black_box(now)));
        });
    }
    group.finish();
}

criterion_group! {
    name = decisions;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600))
        .sample_size(30)
        .without_plots();
    targets = decision, selection, history, session, snapshot, publication
}
criterion_main!(decisions);
