//! What the probes of a fleet put on a database: the monitors of many routers on a simulated clock.
//!
//! Nothing is measured here, all of it is counted: how often a node is asked in a second, and in the worst
//! span of 10 ms and of 1 s beside the mean of such spans. The routers start within the same instant, as
//! after a deploy; their primary is lost for ten seconds and comes back; after that nobody reads.
//! A question takes up to a millisecond each way, and one to the lost primary fails at once.

use std::collections::BTreeMap;

use lagwise_core::{
    Completed, Instant, Lsn, Monitor, NodeId, NodeSpec, Observation, Policy, ProbeFailure, Role,
    ServerStart, Standing, SystemId, Timeline,
};

use crate::Result;
use crate::figure::{Figure, Unit};

/// A primary and two replicas.
const NODES: usize = 3;

const SECOND: u64 = 1_000_000_000;

/// When what happens, in nanoseconds.
const BEGINS: u64 = 100 * SECOND;
const STEADY: u64 = BEGINS + 10 * SECOND;
const LOST: u64 = BEGINS + 20 * SECOND;
const BACK: u64 = BEGINS + 30 * SECOND;
const IDLE: u64 = BEGINS + 60 * SECOND;
const SLOW: u64 = IDLE + 15 * SECOND;
const ENDS: u64 = SLOW + 10 * SECOND;

/// A router, and its probes that are under way: when each was sent, and when its outcome is there.
struct Router {
    monitor: Monitor,
    under_way: [Option<(u64, u64)>; NODES],
    connections: [u64; NODES],
}

impl Router {
    fn new(now: u64) -> Result<Self> {
        let nodes = (0..NODES).map(|number| {
            let role = if number == 0 {
                Role::Primary
            } else {
                Role::Replica
            };
            NodeSpec::new(number.to_string(), role)
        });
        let policy = Policy::default().validate()?;
        Ok(Self {
            monitor: Monitor::new(Instant::from_nanos(now), policy, nodes),
            under_way: [None; NODES],
            connections: [1; NODES],
        })
    }

    /// Does what is due; who is asked is counted.
    fn turn(&mut self, now: u64, count: &mut impl FnMut(usize)) {
        let at = Instant::from_nanos(now);
        let last_read = Instant::from_nanos(now.min(IDLE));
        for node in 0..NODES {
            if let Some((sent, there)) = self.under_way[node].filter(|(_, there)| *there <= now) {
                self.under_way[node] = None;
                self.answer(node, sent, there);
            }
        }
        self.monitor.handle_activity(at, last_read);
        self.monitor.handle_timeout(at);
        while let Some(node) = self.monitor.poll_probe(at) {
            count(node.index());
            let took = SECOND / 10_000 + fastrand::u64(..2 * SECOND / 1000);
            self.under_way[node.index()] = Some((now, now + took));
        }
        while self.monitor.poll_event().is_some() {}
    }

    fn answer(&mut self, node: usize, sent: u64, there: u64) {
        let now = Instant::from_nanos(there);
        let place = u16::try_from(node).unwrap_or(u16::MAX);
        let random = &mut || fastrand::u64(..);
        if node == 0 && (LOST..BACK).contains(&sent) {
            self.connections[node] += 1;
            let failure = ProbeFailure::Connect;
            return self
                .monitor
                .handle_failure(now, NodeId::new(place), failure, random);
        }
        // The primary writes all the time, and its replicas are five milliseconds behind.
        let stood = |then: u64| Lsn::new(then / 1000);
        let written = sent.min(if (LOST..BACK).contains(&sent) {
            LOST
        } else {
            sent
        });
        let standing = if node == 0 {
            Standing::Primary {
                insert: stood(sent),
                timeline: Timeline::new(1),
                writable: true,
                completed: Some(Completed::new(sent, 0)),
            }
        } else {
            Standing::Replica {
                replay: Some(stood(written - 5_000_000)),
                paused: false,
                follows: Some(Timeline::new(1)),
            }
        };
        let observed = Observation {
            sent_at: Instant::from_nanos(sent),
            received_at: now,
            connection: self.connections[node],
            system: SystemId::new(1),
            started: ServerStart::new(1),
            standing,
        };
        self.monitor
            .handle_observation(now, NodeId::new(place), observed, random);
    }

    /// When to come back.
    fn next(&self, now: u64) -> u64 {
        let answers = self.under_way.iter().flatten().map(|(_, there)| *there);
        let timeout = self.monitor.next_timeout().map(Instant::as_nanos);
        // Nothing tells a monitor that nobody reads any longer: it looks when it turns.
        answers.chain(timeout).min().unwrap_or(ENDS).max(now + 1)
    }
}

/// How often each node was asked in each millisecond.
struct Counts(Vec<[u32; NODES]>);

impl Counts {
    /// What one node was asked between two instants: in a second for each router, and in the worst span
    /// of 10 ms and of 1 s beside the mean of them.
    fn between(&self, node: usize, from: u64, to: u64, routers: u32) -> [f64; 3] {
        let place = |at: u64| usize::try_from((at - BEGINS) / 1_000_000).unwrap_or(0);
        let span = &self.0[place(from)..place(to)];
        let all: u32 = span.iter().map(|counts| counts[node]).sum();
        let mean = f64::from(all) / span.len() as f64;
        let worst = |millis: usize| {
            let sum = |window: &[[u32; NODES]]| window.iter().map(|counts| counts[node]).sum();
            let most: u32 = span.windows(millis).map(sum).max().unwrap_or(0);
            f64::from(most) / (mean * millis as f64)
        };
        [mean * 1000.0 / f64::from(routers), worst(10), worst(1000)]
    }
}

fn simulate(routers: u32) -> Result<Counts> {
    let millis = usize::try_from((ENDS - BEGINS) / 1_000_000)?;
    let mut counts = Counts(vec![[0; NODES]; millis + 1]);
    let mut agenda: BTreeMap<(u64, u32), Router> = BTreeMap::new();
    for number in 0..routers {
        agenda.insert((BEGINS, number), Router::new(BEGINS)?);
    }
    while let Some(((now, number), mut router)) = agenda.pop_first() {
        if now >= ENDS {
            break;
        }
        let millis = usize::try_from((now - BEGINS) / 1_000_000)?;
        router.turn(now, &mut |node| counts.0[millis][node] += 1);
        agenda.insert((router.next(now), number), router);
    }
    Ok(counts)
}

pub(super) fn measure(quick: bool) -> Result<Vec<Figure>> {
    let sizes: &[u32] = if quick { &[1, 10] } else { &[1, 10, 100, 1000] };
    let mut figures = Vec::new();
    for routers in sizes {
        let counts = simulate(*routers)?;
        let spans = [
            ("start", 1, BEGINS, STEADY),
            ("steady", 1, STEADY, LOST),
            ("primary lost/primary", 0, LOST, BACK),
            ("primary lost/replica", 1, LOST, BACK),
            ("primary back/primary", 0, BACK, BACK + 10 * SECOND),
            ("primary back/replica", 1, BACK, BACK + 10 * SECOND),
            ("idle", 1, SLOW, ENDS),
        ];
        for (name, node, from, to) in spans {
            let [rate, narrow, wide] = counts.between(node, from, to, *routers);
            let figure = |what: &str, unit, value| {
                Figure::of(
                    format!("fleet/{routers} routers/{name}/{what}"),
                    unit,
                    &[value],
                )
            };
            figures.push(figure("probes of each router", Unit::PerSecond, rate));
            figures.push(figure("worst 10 ms to mean", Unit::Ratio, narrow));
            figures.push(figure("worst 1 s to mean", Unit::Ratio, wide));
        }
    }
    Ok(figures)
}
