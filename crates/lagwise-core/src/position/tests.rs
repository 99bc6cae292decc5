//! Where positions lie, as tables.

use std::vec::Vec;

use super::*;
use crate::history::Sample;
use crate::monitor::Monitor;
use crate::node::{NodeSpec, Role};
use crate::policy::Policy;

fn at(nanos: u64) -> Instant {
    Instant::from_nanos(nanos)
}

/// A cluster that stands on a timeline at 500, as asked at 100, and has gone through `switches`.
fn snapshot(timeline: u32, switches: &[Switch]) -> Snapshot {
    let policy = Policy::default().validate().unwrap();
    let monitor = Monitor::new(at(0), policy, [NodeSpec::new("p", Role::Primary)]);
    let mut snapshot = monitor.snapshot(at(0));
    snapshot.system = Some(SystemId::new(1));
    snapshot.timeline = Some(Timeline::new(timeline));
    snapshot.head = Some(Sample {
        lsn: Lsn::new(500),
        first_sent: at(90),
        last_sent: at(100),
    });
    snapshot.switches = switches.into();
    snapshot
}

fn switch(ended: u32, kept: Option<u64>) -> Switch {
    Switch {
        ended: Timeline::new(ended),
        began: Timeline::new(ended + 1),
        kept: kept.map(Lsn::new),
        kept_as_of: kept.map(at),
        seen_at: at(1_000 * u64::from(ended)),
    }
}

fn position(timeline: u32, lsn: u64) -> Position {
    Position {
        system: SystemId::new(1),
        timeline: Timeline::new(timeline),
        lsn: Lsn::new(lsn),
    }
}

#[test]
fn a_position_on_the_present_timeline_is_here_unless_the_primary_was_asked_since_and_never_there() {
    let now = snapshot(1, &[]);
    for (lsn, since, place) in [
        (499, 0, Place::Here),
        (500, 100, Place::Here),
        (501, 100, Place::Beyond),
        (501, 99, Place::Beyond),
        // The primary may have got there since it was last asked.
        (501, 101, Place::Here),
        (u64::MAX, 101, Place::Here),
        (u64::MAX, 100, Place::Beyond),
    ] {
        assert_eq!(
            now.place(position(1, lsn), at(since)),
            place,
            "{lsn} at {since}"
        );
    }
}

#[test]
fn a_position_on_a_timeline_that_ended_is_here_as_far_as_it_was_proved_to_be_kept() {
    let now = snapshot(3, &[switch(1, Some(300)), switch(2, Some(350))]);
    for (timeline, lsn, place) in [
        (1, 299, Place::Here),
        (1, 300, Place::Here),
        (1, 301, Place::Lost),
        (2, 350, Place::Here),
        (2, 351, Place::Lost),
        // Where every timeline begins.
        (2, 0, Place::Here),
        (1, 0, Place::Here),
        // The end of a timeline that nobody here saw end.
        (0, 1, Place::Lost),
        (4, 0, Place::Ahead),
        (4, 1, Place::Ahead),
        (u32::MAX, 1, Place::Ahead),
    ] {
        let found = now.place(position(timeline, lsn), at(0));
        assert_eq!(found, place, "{lsn} on {timeline}");
    }
}

#[test]
fn what_one_promotion_kept_the_next_may_lose() {
    let lost = [switch(1, Some(400)), switch(2, None)];
    let kept = [switch(1, Some(400)), switch(2, Some(450))];
    let place = |switches| snapshot(3, switches).place(position(1, 300), at(0));
    assert_eq!(place(&lost), Place::Lost, "that node need not have had it");
    assert_eq!(place(&kept), Place::Here);
}

#[test]
fn a_position_of_another_cluster_is_foreign_and_before_a_primary_was_seen_nothing_is_known() {
    let foreign = Position {
        system: SystemId::new(2),
        ..position(1, 1)
    };
    assert_eq!(snapshot(1, &[]).place(foreign, at(0)), Place::Foreign);
    let mut unseen = snapshot(1, &[]);
    unseen.timeline = None;
    for position in [foreign, position(1, 1)] {
        assert_eq!(unseen.place(position, at(0)), Place::Unknown);
    }
}

#[test]
fn a_write_may_be_lost_unless_it_was_proved_to_be_kept_or_made_after_the_promotion() {
    let kept = snapshot(2, &[switch(1, Some(300))]);
    let unknown = snapshot(2, &[switch(1, None)]);
    for (written, of_kept) in [(299, false), (300, true), (1_000, true), (1_001, false)] {
        assert_eq!(kept.may_have_lost(at(written)), of_kept, "{written}");
        assert_eq!(
            unknown.may_have_lost(at(written)),
            written <= 1_000,
            "{written}"
        );
    }
    let twice = snapshot(3, &[switch(1, Some(1_000)), switch(2, None)]);
    assert!(
        twice.may_have_lost(at(5)),
        "the second promotion may lose it"
    );
    assert_eq!(twice.lost_on(at(5).into()), Some(Timeline::new(2)));
}

#[test]
fn a_write_on_a_timeline_that_ended_unseen_may_be_lost() {
    let on = |timeline| Written {
        at: at(2_000),
        on: Some(Timeline::new(timeline)),
    };
    let never_saw_another = snapshot(3, &[]);
    for (timeline, lost) in [(2, true), (3, false), (4, false)] {
        assert_eq!(never_saw_another.may_have_lost(on(timeline)), lost);
    }
    let saw_the_last = snapshot(3, &[switch(2, Some(3_000))]);
    for (timeline, lost) in [(1, true), (2, false), (3, false)] {
        assert_eq!(saw_the_last.may_have_lost(on(timeline)), lost);
    }
    assert_eq!(saw_the_last.lost_on(on(1)), Some(Timeline::new(1)));
}

#[test]
fn of_two_positions_the_one_on_the_later_timeline_counts_and_then_the_farther_one() {
    let foreign = Position {
        system: SystemId::new(2),
        ..position(9, 900)
    };
    let ordered: Vec<Position> = [(1, 5), (1, 900), (2, 3), (2, 0x1000_0000)]
        .map(|(timeline, lsn)| position(timeline, lsn))
        .into();
    for (index, one) in ordered.iter().enumerate() {
        for more in &ordered[index..] {
            assert_eq!(later(Some(*one), Some(*more)), Some(*more));
            assert_eq!(later(Some(*more), Some(*one)), Some(*more));
        }
        assert_eq!(later(Some(*one), None), Some(*one));
        assert_eq!(later(None, Some(*one)), Some(*one));
        assert_eq!(later(Some(*one), Some(foreign)), Some(*one));
    }
}
