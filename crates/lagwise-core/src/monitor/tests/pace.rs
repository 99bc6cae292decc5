//! When within a beat each node is asked, and who rests.

use super::*;

/// All move on by the millisecond.
fn moving(millis: u64, node: NodeId) -> Option<Standing> {
    stands(node, 10_000 + millis)
}

/// When a node was asked.
fn times(asked: &[(u64, NodeId)], node: NodeId) -> Vec<u64> {
    let of = asked.iter().filter(|(_, one)| *one == node);
    of.map(|(millis, _)| *millis).collect()
}

/// The longest pause between two of them.
fn longest(times: &[u64]) -> u64 {
    let pauses = times.windows(2).map(|pair| pair[1] - pair[0]);
    pauses.max().unwrap_or_default()
}

#[test]
fn while_the_primary_moves_the_replicas_are_asked_together_and_a_little_after_it() {
    let mut bench = Bench::settled();
    let asked = bench.questions(2000, moving);
    let second = asked.iter().filter(|(_, node)| *node == DB_1).nth(1);
    let first = asked.iter().position(|one| Some(one) == second).unwrap();
    for turn in asked[first..].chunks_exact(3) {
        let (first, primary) = turn[0];
        assert_eq!(primary, DB_1, "{turn:?}");
        let others = turn[1..]
            .iter()
            .all(|(at, _)| (12..=14).contains(&(at - first)));
        assert!(others, "{turn:?}");
    }
}

#[test]
fn while_it_stands_they_are_asked_at_once_and_at_every_other_beat() {
    let mut bench = Bench::settled();
    bench.questions(500, still);
    let asked = bench.questions(4000, still);
    let beats = times(&asked, DB_1);
    assert!(longest(&beats) <= 100, "{beats:?}");
    for replica in [DB_2, DB_3] {
        let times = times(&asked, replica);
        let with_primary = times.iter().all(|time| beats.contains(time));
        assert!(with_primary, "without a wake-up of its own: {asked:?}");
        let every_other = times.len().abs_diff(beats.len() / 2) <= 1;
        assert!(every_other, "{times:?} of {beats:?}");
        assert!(longest(&times) <= 200, "{times:?}");
    }
}

#[test]
fn once_it_moves_nobody_rests() {
    for wait in 0..200 {
        let mut bench = Bench::settled();
        bench.questions(500 + wait, still);
        let asked = bench.questions(300, moving);
        let moved = times(&asked, DB_1)[0];
        for replica in [DB_2, DB_3] {
            let next = times(&asked, replica)[0];
            assert!(next <= moved + 13, "{next} after {moved}");
        }
        assert!(bench.as_of(DB_2) >= Some(at(bench.millis - 120)));
    }
}

#[test]
fn who_has_not_shown_all_is_asked_at_every_beat() {
    let mut bench = Bench::settled();
    bench.questions(500, still);
    let asked = bench.questions(2000, |_, node| {
        let behind = u64::from(node == DB_2);
        stands(node, 10_500 - behind)
    });
    let [late, done] = [DB_2, DB_3].map(|node| times(&asked, node));
    assert!(longest(&late) <= 113, "{late:?}");
    assert!(done.len() < late.len() * 2 / 3, "{done:?} and {late:?}");
}

#[test]
fn who_is_not_in_rotation_does_not_rest() {
    let mut bench = Bench::settled();
    bench.questions(500, still);
    bench.monitor.handle_drain(bench.now(), DB_2);
    let asked = bench.questions(2000, still);
    let times = times(&asked, DB_2);
    assert!(longest(&times[1..]) <= 113, "{times:?}");
}

#[test]
fn nobody_is_seen_less_often_than_while_nobody_reads() {
    let mut bench = Bench::settled_with(|policy| policy.idle_poll_interval = millis(199));
    bench.questions(500, still);
    let asked = bench.questions(2000, still);
    for replica in [DB_2, DB_3] {
        let times = times(&asked, replica);
        assert!(longest(&times) <= 113, "{times:?}");
    }
}

#[test]
fn a_replica_that_falls_silent_at_rest_is_asked_before_it_counts_as_unseen() {
    let mut bench = Bench::settled();
    let policy = Policy::default();
    bench.questions(500, still);
    let asked = bench.questions(5000, still);
    let pause = longest(&times(&asked, DB_2));
    assert!(millis(pause) * 2 <= policy.unseen_for, "{pause}");
    assert_eq!(bench.in_rotation(), [DB_2, DB_3]);
    assert_eq!(bench.events, [], "nobody left meanwhile");
}

/// When a node that has nothing new to show is asked next after an answer, in milliseconds.
fn next_after_rest(hastened: Option<Duration>) -> u64 {
    let policy = Policy::default();
    let mut schedule = Schedule::new(at(0), 1, &policy);
    schedule.set_hastened(hastened);
    assert_eq!(schedule.take_due(at(0)), Some(DB_1));
    schedule.answered(at(0), DB_1, Place::AtRest, &mut || 0);
    let asked = (1..1000).find(|millis| schedule.take_due(at(*millis)).is_some());
    asked.expect("it is asked again")
}

#[test]
fn while_the_cluster_changes_nobody_rests() {
    assert_eq!(next_after_rest(None), 200);
    assert_eq!(next_after_rest(Some(Duration::ZERO)), 20);
}

#[test]
fn a_node_that_does_not_answer_is_asked_no_sooner_for_what_the_primary_does() {
    for primary in [still, moving] {
        let mut bench = Bench::settled();
        bench.questions(500, still);
        let silent = |millis, node| primary(millis, node).filter(|_| node != DB_2);
        let failed = times(&bench.questions(20_000, silent), DB_2);
        // Pauses that double up to their longest, and none of them is cut short by another's answer.
        assert!(failed.len() < 40, "{} questions", failed.len());
        let last: Vec<_> = failed.windows(2).map(|two| two[1] - two[0]).collect();
        assert!(last[8..].iter().all(|pause| *pause >= 500), "{last:?}");
    }
}

#[test]
fn a_pause_after_a_failure_has_its_whole_length() {
    let mut schedule = Schedule::new(at(0), 1, &Policy::default());
    assert_eq!(schedule.take_due(at(0)), Some(DB_1));
    schedule.failed(at(0), DB_1, &mut || 0);
    schedule.primary_stood(at(90));
    schedule.primary_moved(at(90));
    assert_eq!(schedule.take_due(at(90)), None, "not before its time");
    assert_eq!(schedule.take_due(at(100)), Some(DB_1));
}
