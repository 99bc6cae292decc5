//! Who becomes the primary, and whose word for it counts.

use super::super::*;
use crate::node::{NodeSpec, Role};
use crate::observation::ServerStart;
use crate::policy::Policy;

/// Configured as the primary.
const P: NodeId = NodeId::new(0);
const R1: NodeId = NodeId::new(1);
const R2: NodeId = NodeId::new(2);

const OURS: u64 = 7;
const ANOTHER: u64 = 13;

/// Three nodes, each of which answers what it is told to.
struct Scene {
    monitor: Monitor,
    millis: u64,
}

impl Scene {
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
        }
    }

    fn now(&self) -> Instant {
        Instant::from_nanos(self.millis * 1_000_000)
    }

    fn answer(&mut self, node: NodeId, system: u64, standing: Standing) {
        self.millis += 10;
        let sent_at = self.now();
        self.answer_asked_at(sent_at, node, system, standing);
    }

    fn answer_asked_at(&mut self, sent_at: Instant, node: NodeId, system: u64, standing: Standing) {
        let observed = Observation {
            sent_at,
            received_at: self.now(),
            connection: 1,
            system: SystemId::new(system),
            started: ServerStart::new(1),
            standing,
        };
        self.monitor
            .handle_observation(self.now(), node, observed, &mut || 0);
    }

    fn fail(&mut self, node: NodeId) {
        self.millis += 10;
        self.monitor
            .handle_failure(self.now(), node, ProbeFailure::Connect, &mut || 0);
    }

    /// Whoever gets the writes.
    fn primary(&self) -> Option<NodeId> {
        let snapshot = self.monitor.snapshot(self.now());
        snapshot.primary.filter(|_| snapshot.primary_lost.is_none())
    }
}

fn writes(timeline: u32) -> Standing {
    Standing::Primary {
        insert: Lsn::new(1000 * u64::from(timeline)),
        timeline: Timeline::new(timeline),
        writable: true,
        completed: None,
    }
}

const fn replays() -> Standing {
    Standing::Replica {
        replay: Some(Lsn::new(1000)),
        paused: false,
        follows: None,
    }
}

/// A promotion that was heard of while the node was suspected, so that the node itself is not trusted.
fn promoted_under_suspicion() -> Scene {
    let mut scene = Scene::new();
    scene.answer(P, OURS, writes(2));
    scene.answer(R1, OURS, replays());
    assert_eq!(scene.primary(), Some(P));
    let asked = scene.now();
    scene.millis += 10;
    scene.monitor.handle_suspicion(scene.now(), R1);
    scene.answer_asked_at(asked, R1, OURS, writes(3));
    scene
}

#[test]
fn a_promotion_deposes_the_old_primary_also_while_the_new_one_is_suspected() {
    let mut scene = promoted_under_suspicion();
    assert_eq!(scene.primary(), None);
    scene.answer(P, OURS, writes(2));
    assert_eq!(scene.primary(), None, "what it writes is lost");
    scene.answer(R1, OURS, writes(3));
    assert_eq!(scene.primary(), Some(R1));
}

#[test]
fn a_promotion_stays_known_when_its_node_is_lost_or_another_server_stands_there() {
    let mut scene = promoted_under_suspicion();
    scene.fail(R1);
    scene.answer(P, OURS, writes(2));
    assert_eq!(scene.primary(), None);
    scene.answer(R1, OURS, replays());
    scene.answer(P, OURS, writes(2));
    assert_eq!(scene.primary(), None);
    scene.answer(R2, OURS, writes(3));
    assert_eq!(scene.primary(), Some(R2));
}

#[test]
fn a_promotion_heard_of_before_it_is_known_whose_cluster_it_is_counts_once_it_is() {
    let mut scene = Scene::new();
    scene.answer(R1, OURS, writes(3));
    scene.answer(R1, OURS, replays());
    scene.answer(P, OURS, writes(2));
    assert_eq!(scene.primary(), None);
}

#[test]
fn the_first_word_of_the_configured_primary_says_whose_data_counts() {
    let mut scene = Scene::new();
    scene.answer(P, OURS, replays());
    scene.fail(P);
    scene.answer(P, ANOTHER, writes(3));
    assert_eq!(scene.primary(), None, "another cluster at its address");
    scene.answer(R1, OURS, writes(2));
    assert_eq!(scene.primary(), Some(R1));
}

#[test]
fn where_the_configured_primary_is_silent_everybody_else_is_asked() {
    let mut scene = Scene::new();
    scene.fail(P);
    scene.answer(R1, OURS, writes(2));
    assert_eq!(scene.primary(), None, "the third may name another cluster");
    scene.fail(R2);
    assert_eq!(scene.primary(), Some(R1));
}

#[test]
fn where_the_configured_primary_is_silent_and_two_clusters_are_named_nobody_is_elected() {
    let mut scene = Scene::new();
    scene.fail(P);
    scene.fail(R2);
    scene.answer(R1, OURS, replays());
    scene.answer(R1, ANOTHER, writes(3));
    assert_eq!(scene.primary(), None, "it was of another cluster before");
    scene.answer(R2, OURS, writes(2));
    assert_eq!(scene.primary(), None, "and this may not be ours either");
    scene.answer(P, OURS, replays());
    assert_eq!(scene.primary(), Some(R2), "it has the last word");
}
