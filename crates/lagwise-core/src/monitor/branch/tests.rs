//! A replica that goes on following the old primary while both primaries write.

use super::super::*;
use crate::node::{NodeSpec, Role};
use crate::observation::ServerStart;
use crate::policy::Policy;

const OLD: NodeId = NodeId::new(0);
const NEW: NodeId = NodeId::new(1);
const R: NodeId = NodeId::new(2);

/// Both primaries and a replica, each of which answers at once.
struct World {
    monitor: Monitor,
    millis: u64,
}

fn standing_of_primary(lsn: u64, timeline: u32) -> Standing {
    Standing::Primary {
        insert: Lsn::new(lsn),
        timeline: Timeline::new(timeline),
        writable: true,
        completed: None,
    }
}

fn standing_of_replica(lsn: u64, follows: Option<u32>) -> Standing {
    Standing::Replica {
        replay: Some(Lsn::new(lsn)),
        paused: false,
        follows: follows.map(Timeline::new),
    }
}

impl World {
    fn new() -> Self {
        let policy = Policy::default().validate().unwrap();
        let nodes = [
            NodeSpec::new("old", Role::Primary),
            NodeSpec::new("new", Role::Replica),
            NodeSpec::new("r", Role::Replica),
        ];
        let monitor = Monitor::new(Instant::from_nanos(0), policy, nodes);
        Self { monitor, millis: 0 }
    }

    fn now(&self) -> Instant {
        Instant::from_nanos(self.millis * 1_000_000)
    }

    fn answer(&mut self, node: NodeId, standing: Standing) {
        self.millis += 1;
        let observed = Observation {
            sent_at: self.now(),
            received_at: self.now(),
            connection: 1,
            system: SystemId::new(1),
            started: ServerStart::new(1),
            standing,
        };
        self.monitor
            .handle_observation(self.now(), node, observed, &mut || 0);
    }

    /// All follow the old primary until 1000; then the other one is promoted.
    fn promoted() -> Self {
        let mut world = Self::new();
        for lsn in (100..=1000).step_by(100) {
            world.answer(OLD, standing_of_primary(lsn, 1));
            world.answer(NEW, standing_of_replica(lsn, None));
            world.answer(R, standing_of_replica(lsn, None));
            world.millis += 100;
        }
        assert_eq!(world.in_rotation(), 2);
        world.answer(NEW, standing_of_primary(1010, 2));
        assert_eq!(world.in_rotation(), 0, "the new history proves nothing yet");
        world
    }

    fn in_rotation(&self) -> usize {
        self.monitor.snapshot(self.now()).in_rotation()
    }

    /// Asks all three, round by round: where the old primary, the new one and the replica stand.
    fn rounds(&mut self, stand: impl Fn(u64) -> [u64; 3], follows: Option<u32>) {
        for round in 1..=20 {
            let [old, new, replica] = stand(round);
            self.answer(NEW, standing_of_primary(new, 2));
            self.answer(R, standing_of_replica(replica, follows));
            self.answer(OLD, standing_of_primary(old, 1));
            self.millis += 100;
        }
    }
}

#[test]
fn one_that_follows_the_old_primary_is_not_taken_for_ours_by_its_number() {
    let mut world = World::promoted();
    // It trails the new primary by number, as one does that follows it.
    world.rounds(|n| [1000 + n * 50, 1010 + n * 60, 1000 + n * 50], None);
    assert_eq!(world.in_rotation(), 0);
}

#[test]
fn one_that_has_what_the_old_primary_has_not_is_ours() {
    let mut world = World::promoted();
    world.rounds(|n| [1000, 1010 + n * 60, 1010 + n * 60], None);
    assert_eq!(world.in_rotation(), 1);
    // Proved once, it stays: a server does not go back to an older timeline as it runs.
    world.rounds(|n| [9_000, 2_210 + n * 60, 2_210 + n * 60], None);
    assert_eq!(world.in_rotation(), 1);
}

#[test]
fn an_answer_of_the_rival_from_before_proves_nothing() {
    let mut world = World::promoted();
    for n in 1..=20 {
        world.answer(OLD, standing_of_primary(1000 + n * 50, 1));
        // By now the old primary stands here as well, as far as anybody knows.
        world.answer(R, standing_of_replica(1000 + n * 50 + 20, None));
        world.answer(NEW, standing_of_primary(1010 + n * 60, 2));
        world.millis += 100;
    }
    assert_eq!(world.in_rotation(), 0);
}

#[test]
fn what_a_replica_says_that_it_receives_settles_it() {
    let mut world = World::promoted();
    world.rounds(|n| [1000, 1010 + n * 60, 1010 + n * 60], Some(1));
    assert_eq!(
        world.in_rotation(),
        0,
        "it receives the log of the old primary"
    );
    world.rounds(|n| [9_000, 2_210 + n * 60, 2_210 + n * 60], Some(2));
    assert_eq!(world.in_rotation(), 1, "it receives that of the new one");
}

#[test]
fn a_rival_that_comes_back_into_reach_casts_doubt_on_those_who_cannot_tell() {
    for (follows, expected) in [(None, 0), (Some(2), 1)] {
        let mut world = World::promoted();
        world
            .monitor
            .handle_failure(world.now(), OLD, ProbeFailure::Connect, &mut || 0);
        for n in 1..=20 {
            world.answer(NEW, standing_of_primary(1010 + n * 60, 2));
            world.answer(R, standing_of_replica(1010 + n * 60, follows));
            world.millis += 100;
        }
        assert_eq!(world.in_rotation(), 1, "nobody speaks against it");
        world.rounds(|n| [5_000 + n, 2_210 + n * 60, 2_210 + n * 60], follows);
        assert_eq!(world.in_rotation(), expected, "{follows:?}");
    }
}

#[test]
fn a_rival_that_is_suspected_is_not_out_of_reach() {
    let mut world = World::promoted();
    world.answer(OLD, standing_of_primary(1000, 1));
    world.monitor.handle_suspicion(world.now(), OLD);
    for n in 1..=5 {
        world.answer(NEW, standing_of_primary(1010 + n * 60, 2));
        world.answer(R, standing_of_replica(1000 + n * 50, None));
        world.millis += 100;
    }
    assert_eq!(world.in_rotation(), 0, "it may follow the old primary");
}
