//! What is remembered of a promotion, seen by a monitor.

use super::super::*;
use crate::node::{NodeSpec, Role};
use crate::observation::ServerStart;
use crate::policy::Policy;

const P: NodeId = NodeId::new(0);
const R1: NodeId = NodeId::new(1);
const R2: NodeId = NodeId::new(2);

fn at(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}

fn monitor() -> Monitor {
    let policy = Policy::default().validate().unwrap();
    let nodes = [
        NodeSpec::new("p", Role::Primary),
        NodeSpec::new("r1", Role::Replica),
        NodeSpec::new("r2", Role::Replica),
    ];
    Monitor::new(at(0), policy, nodes)
}

fn primary(lsn: u64, timeline: u32) -> Standing {
    Standing::Primary {
        insert: Lsn::new(lsn),
        timeline: Timeline::new(timeline),
        writable: true,
        completed: None,
    }
}

fn replica(lsn: u64) -> Standing {
    Standing::Replica {
        replay: Some(Lsn::new(lsn)),
        paused: false,
        follows: None,
    }
}

/// What a node answers at once when it is asked at `millis`.
fn answer(monitor: &mut Monitor, millis: u64, node: NodeId, standing: Standing) {
    let observed = Observation {
        sent_at: at(millis),
        received_at: at(millis),
        connection: 1,
        system: SystemId::new(1),
        started: ServerStart::new(1),
        standing,
    };
    monitor.handle_observation(at(millis), node, observed, &mut || 0);
}

/// A primary that writes, one replica that follows it, and one that stopped at 200.
fn followed() -> Monitor {
    let mut monitor = monitor();
    for round in 1..=5 {
        answer(&mut monitor, round * 100, P, primary(round * 100, 1));
        answer(&mut monitor, round * 100 + 1, R1, replica(round * 100));
        let stopped = (round * 100).min(200);
        answer(&mut monitor, round * 100 + 2, R2, replica(stopped));
    }
    monitor
}

#[test]
fn of_a_promotion_it_is_remembered_how_far_the_promoted_node_was_proved_to_follow() {
    for (node, kept, as_of) in [(R1, 500, 500), (R2, 200, 200)] {
        let mut monitor = followed();
        answer(&mut monitor, 700, node, primary(600, 2));
        let snapshot = monitor.snapshot(at(700));
        let [switch] = snapshot.switches[..] else {
            panic!("one promotion: {:?}", snapshot.switches);
        };
        assert_eq!(switch.ended, Timeline::new(1));
        assert_eq!(switch.began, Timeline::new(2));
        assert_eq!(switch.kept, Some(Lsn::new(kept)));
        assert_eq!(switch.kept_as_of, Some(at(as_of)));
        assert_eq!(switch.seen_at, at(700));
        assert!(!snapshot.may_have_lost(at(as_of - 1)), "it was kept");
        assert!(snapshot.may_have_lost(at(as_of)), "that is not proved");
    }
}

#[test]
fn a_write_that_returns_while_the_promotion_is_being_found_out_may_be_lost() {
    let mut monitor = followed();
    let observed = Observation {
        sent_at: at(700),
        received_at: at(740),
        connection: 1,
        system: SystemId::new(1),
        started: ServerStart::new(1),
        standing: primary(600, 2),
    };
    monitor.handle_observation(at(740), R1, observed, &mut || 0);
    let snapshot = monitor.snapshot(at(740));
    assert!(
        snapshot.may_have_lost(at(739)),
        "the old primary may have answered it"
    );
    assert!(!snapshot.may_have_lost(at(741)));
}

#[test]
fn of_a_node_that_was_never_seen_to_follow_nothing_is_proved_to_be_kept() {
    let mut monitor = monitor();
    answer(&mut monitor, 100, P, primary(100, 1));
    answer(&mut monitor, 200, P, primary(200, 1));
    answer(&mut monitor, 300, R1, primary(300, 2));
    let switches = &monitor.snapshot(at(300)).switches;
    assert_eq!(switches.len(), 1);
    assert_eq!((switches[0].kept, switches[0].kept_as_of), (None, None));
}

#[test]
fn where_a_promotion_in_between_went_unseen_nothing_is_proved_to_be_kept() {
    let mut monitor = followed();
    answer(&mut monitor, 700, R1, primary(600, 3));
    let switches = &monitor.snapshot(at(700)).switches;
    assert_eq!(switches.len(), 1);
    assert_eq!(switches[0].kept, None, "it may have followed timeline 2");
}

#[test]
fn what_was_kept_of_one_timeline_says_nothing_of_the_next() {
    let mut monitor = followed();
    answer(&mut monitor, 700, R1, primary(600, 2));
    // R2 was last proved on timeline 1.
    answer(&mut monitor, 800, R2, primary(700, 3));
    let switches = &monitor.snapshot(at(800)).switches;
    assert_eq!(switches.len(), 2);
    assert_eq!(switches[0].kept, Some(Lsn::new(500)));
    assert_eq!(switches[1].kept, None);
}

#[test]
fn the_same_timeline_begun_anew_is_no_promotion() {
    let mut monitor = followed();
    answer(&mut monitor, 700, P, primary(10, 1));
    assert!(
        monitor.snapshot(at(700)).switches.is_empty(),
        "it lost what it had not flushed"
    );
}

#[test]
fn a_promotion_is_forgotten_after_a_day() {
    let mut monitor = followed();
    answer(&mut monitor, 700, R1, primary(600, 2));
    let day = 86_400_000;
    answer(&mut monitor, 700 + day, R2, primary(700, 3));
    let switches = &monitor.snapshot(at(700 + day)).switches;
    assert_eq!(switches.len(), 1, "{switches:?}");
    assert_eq!(switches[0].ended, Timeline::new(2));
}

#[test]
fn what_is_proved_by_the_silence_of_a_rival_is_remembered_too() {
    let mut monitor = followed();
    answer(&mut monitor, 700, R1, primary(600, 2));
    answer(&mut monitor, 710, P, primary(700, 1));
    for millis in [720, 740] {
        answer(&mut monitor, millis, R2, replica(600));
        answer(&mut monitor, millis + 10, R1, primary(600, 2));
    }
    let proved = |monitor: &Monitor| {
        let snapshot = monitor.snapshot(at(770));
        snapshot.node(R2).and_then(|view| view.as_of)
    };
    assert_eq!(proved(&monitor), None, "it may follow the old primary");
    monitor.handle_failure(at(770), P, ProbeFailure::Connect, &mut || 0);
    assert_eq!(proved(&monitor), Some(at(750)));
    answer(&mut monitor, 780, R2, primary(700, 3));
    let switches = &monitor.snapshot(at(780)).switches;
    assert_eq!(switches[1].kept, Some(Lsn::new(600)));
    assert_eq!(switches[1].kept_as_of, Some(at(750)));
}
