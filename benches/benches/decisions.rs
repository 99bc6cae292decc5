//! What one decision costs: routing a read, proving a replica, keeping a session's floor.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use lagwise_core::{
    Fallback, Floor, History, Instant, Lsn, Monitor, NodeId, NodeSpec, Observation, Policy,
    Recorded, Request, Requirement, Role, ServerStart, Session, Sight, Standing, SystemId,
    Timeline, select,
};

fn at(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}

/// A cheap generator: the cost of the decision is what counts here.
fn generator() -> impl FnMut() -> u64 {
    let mut state = 1_u64;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    }
}

/// A primary and replicas that are all in rotation, and the instant of it.
fn cluster(replicas: u16) -> (Monitor, Instant) {
    let policy = Policy::default()
        .validate()
        .expect("the defaults are valid");
    let primary = NodeSpec::new("primary", Role::Primary);
    let others = (0..replicas).map(|index| NodeSpec::new(format!("db-{index}"), Role::Replica));
    let nodes = std::iter::once(primary).chain(others);
    let mut monitor = Monitor::new(at(0), policy, nodes);
    let mut now = at(0);
    for round in 1..=100 {
        now = at(round * 100);
        for index in 0..=replicas {
            let standing = if index == 0 {
                Standing::Primary {
                    insert: Lsn::new(round * 4096),
                    timeline: Timeline::new(1),
                    writable: true,
                    completed: None,
                }
            } else {
                Standing::Replica {
                    replay: Some(Lsn::new(round * 4096)),
                    paused: false,
                    follows: None,
                }
            };
            let observed = Observation {
                sent_at: now,
                received_at: now,
                connection: 1,
                system: SystemId::new(1),
                started: ServerStart::new(1),
                standing,
            };
            monitor.handle_observation(now, NodeId::new(index), observed, &mut || 0);
        }
    }
    (monitor, now)
}

fn selection(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("select");
    for replicas in [2, 8, 64, 256] {
        let (monitor, now) = cluster(replicas);
        let snapshot = monitor.snapshot(now);
        assert_eq!(snapshot.in_rotation(), usize::from(replicas), "all serve");
        let request = Request {
            requirement: Requirement::at_least(Floor::as_of(at(1))),
            fallback: Fallback::Primary,
            wait_until: now,
            failed: &[],
        };
        let mut random = generator();
        let cost = |node: NodeId| node.index() as u64;
        group.bench_function(BenchmarkId::from_parameter(replicas), |bencher| {
            bencher.iter(|| select(&snapshot, black_box(request), now, &cost, &mut random));
        });
    }
    group.finish();
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
    let sight = Sight {
        node: NodeId::new(1),
        incarnation: lagwise_core::Incarnation::default(),
    };
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
    for nodes in [3, 64] {
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
    targets = selection, history, session, snapshot
}
criterion_main!(decisions);
