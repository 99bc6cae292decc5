//! How often nodes are asked while the cluster changes.

use super::super::*;
use crate::node::{NodeSpec, Role};
use crate::observation::ServerStart;
use crate::policy::Policy;

const P: usize = 0;
const R1: usize = 1;
const R2: usize = 2;

/// A cluster that answers at once, unless a node is dead.
struct World {
    monitor: Monitor,
    millis: u64,
    asked: [u32; 3],
    dead: [bool; 3],
    primary: usize,
    timeline: u32,
    /// Whether replicas follow the primary.
    follow: bool,
    stands: u64,
}

impl World {
    fn new() -> Self {
        let policy = Policy::default().validate().unwrap();
        let nodes = [
            NodeSpec::new("p", Role::Primary),
            NodeSpec::new("r1", Role::Replica),
            NodeSpec::new("r2", Role::Replica),
        ];
        Self {
            monitor: Monitor::new(Instant::from_nanos(0), policy, nodes),
            millis: 0,
            asked: [0; 3],
            dead: [false; 3],
            primary: P,
            timeline: 1,
            follow: true,
            stands: 0,
        }
    }

    fn now(&self) -> Instant {
        Instant::from_nanos(self.millis * 1_000_000)
    }

    /// Lets time pass, and says how often each node was asked in it.
    fn run(&mut self, millis: u64) -> [u32; 3] {
        self.asked = [0; 3];
        for _ in 0..millis {
            self.millis += 1;
            let now = self.now();
            self.monitor.handle_activity(now, now);
            self.monitor.handle_timeout(now);
            while let Some(node) = self.monitor.poll_probe(now) {
                self.answer(node);
            }
            while self.monitor.poll_event().is_some() {}
        }
        self.asked
    }

    fn answer(&mut self, node: NodeId) {
        let (index, now) = (node.index(), self.now());
        self.asked[index] += 1;
        if self.dead[index] {
            let failure = ProbeFailure::Connect;
            return self.monitor.handle_failure(now, node, failure, &mut || 0);
        }
        let lsn = if self.follow {
            self.millis
        } else {
            self.stands
        };
        let standing = if index == self.primary {
            Standing::Primary {
                insert: Lsn::new(self.millis),
                timeline: Timeline::new(self.timeline),
                writable: true,
                completed: None,
            }
        } else {
            Standing::Replica {
                replay: Some(Lsn::new(lsn)),
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
        self.monitor
            .handle_observation(now, node, observed, &mut || 0);
    }
}

#[test]
fn a_settled_cluster_is_asked_at_the_ordinary_pace() {
    let mut world = World::new();
    world.run(1_000);
    let asked = world.run(1_000);
    assert!(
        asked.iter().all(|asked| (9..=12).contains(asked)),
        "{asked:?}"
    );
}

#[test]
fn without_a_primary_all_are_asked_faster_and_after_the_promotion_until_they_follow() {
    let mut world = World::new();
    world.run(2_000);
    world.dead[P] = true;
    world.run(200);
    let asked = world.run(1_000);
    assert!(asked[R1] >= 48 && asked[R2] >= 48, "every 20 ms: {asked:?}");
    assert!(
        (9..=30).contains(&asked[P]),
        "the dead one at poll_interval: {asked:?}"
    );

    (world.primary, world.timeline) = (R1, 2);
    (world.follow, world.stands) = (false, world.millis);
    world.run(25);
    assert_eq!(
        world.monitor.snapshot(world.now()).primary,
        Some(NodeId::new(1))
    );
    let asked = world.run(1_000);
    assert!(asked[R2] >= 48, "it does not follow yet: {asked:?}");

    world.follow = true;
    world.run(500);
    assert_eq!(world.monitor.snapshot(world.now()).in_rotation(), 1);
    let asked = world.run(1_000);
    assert!((9..=12).contains(&asked[R1]), "all are in place: {asked:?}");
    assert!((9..=12).contains(&asked[R2]), "all are in place: {asked:?}");
}

#[test]
fn haste_slows_down_the_longer_a_change_takes() {
    let mut world = World::new();
    world.run(1_000);
    world.dead[P] = true;
    world.run(100);
    let at_first = world.run(2_000);
    assert!(at_first[R1] >= 95, "every 20 ms: {at_first:?}");
    world.run(4_000);
    let later = world.run(1_000);
    assert!((9..=12).contains(&later[R1]), "as ever: {later:?}");
}

#[test]
fn a_cluster_that_never_settles_is_not_asked_faster_for_ever() {
    let mut world = World::new();
    world.run(1_000);
    world.dead[P] = true;
    world.run(31_000);
    let asked = world.run(1_000);
    assert!(asked[R1] <= 12 && asked[R2] <= 12, "{asked:?}");
    assert!(asked[P] <= 3, "{asked:?}");
}

#[test]
fn a_replica_that_lags_hastens_nobody() {
    let mut world = World::new();
    world.run(1_000);
    (world.follow, world.stands) = (false, world.millis);
    world.run(3_000);
    assert_eq!(world.monitor.snapshot(world.now()).in_rotation(), 0);
    let asked = world.run(1_000);
    assert!(
        asked.iter().all(|asked| (9..=12).contains(asked)),
        "{asked:?}"
    );
}
