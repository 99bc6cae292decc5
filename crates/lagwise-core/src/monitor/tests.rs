//! The monitor's laws, one test each.

mod pace;

use core::time::Duration;
use std::vec::Vec;

use super::*;
use crate::lsn::Lsn;
use crate::membership::Membership;
use crate::node::{Role, Timeline};
use crate::observation::ServerStart;
use crate::policy::{Policy, PrimaryLoss};

const DB_1: NodeId = NodeId::new(0);
const DB_2: NodeId = NodeId::new(1);
const DB_3: NodeId = NodeId::new(2);

/// A monitor of one primary and two replicas, and a clock in milliseconds.
struct Bench {
    monitor: Monitor,
    millis: u64,
    events: Vec<Event>,
    connections: [u64; 3],
    asked: [bool; 3],
    system: SystemId,
    started: i64,
}

impl Bench {
    fn new(change: impl FnOnce(&mut Policy)) -> Self {
        let mut policy = Policy::default();
        change(&mut policy);
        let policy = policy.validate().expect("the policy can be honored");
        let spec = |name, role| NodeSpec::new(name, role);
        let nodes = [
            spec("db-1", Role::Primary),
            spec("db-2", Role::Replica),
            spec("db-3", Role::Replica),
        ];
        Self {
            monitor: Monitor::new(at(1000), policy, nodes),
            millis: 901,
            events: Vec::new(),
            connections: [1; 3],
            asked: [false; 3],
            system: SystemId::new(7),
            started: 1,
        }
    }

    /// A bench whose replicas have been in rotation for a while; the primary stands at 10,000.
    fn settled() -> Self {
        Self::settled_with(|_| {})
    }

    fn settled_with(change: impl FnOnce(&mut Policy)) -> Self {
        let mut bench = Self::new(change);
        for round in 1..=10 {
            bench.round(round * 1000);
        }
        assert_eq!(bench.in_rotation(), [DB_2, DB_3], "both replicas are in");
        bench.events.clear();
        bench
    }

    fn now(&self) -> Instant {
        at(self.millis)
    }

    fn pass(&mut self, millis: u64) {
        self.millis += millis;
        self.monitor.handle_timeout(self.now());
        self.drain();
    }

    /// Everybody stands at `lsn` and is asked once, 100 ms after the last time.
    fn round(&mut self, lsn: u64) {
        self.pass(99);
        self.primary(DB_1, lsn, 1);
        self.pass(1);
        self.replica(DB_2, lsn);
        self.replica(DB_3, lsn);
        self.answer_rest();
    }

    /// Whoever was hurried meanwhile answers what it said before, until nobody is due.
    fn answer_rest(&mut self) {
        for node in [DB_1, DB_2, DB_3].repeat(4) {
            drop(self.asked());
            let track = &self.monitor.tracks[node.index()];
            let last = track.last().filter(|_| track.failure().is_none()).copied();
            if let Some(last) = last.filter(|_| self.asked[node.index()]) {
                let observed = self.observation(node, last.standing);
                self.tell(node, observed);
            }
        }
    }

    fn observation(&self, node: NodeId, standing: Standing) -> Observation {
        Observation {
            sent_at: self.now(),
            received_at: self.now(),
            connection: self.connections[node.index()],
            system: self.system,
            started: ServerStart::new(self.started),
            standing,
        }
    }

    fn tell(&mut self, node: NodeId, observed: Observation) {
        drop(self.asked());
        self.asked[node.index()] = false;
        self.monitor
            .handle_observation(self.now(), node, observed, &mut || 0);
        self.drain();
    }

    fn primary(&mut self, node: NodeId, lsn: u64, timeline: u32) {
        let observed = self.observation(node, claims(lsn, timeline));
        self.tell(node, observed);
    }

    fn replica(&mut self, node: NodeId, lsn: u64) {
        let observed = self.observation(node, replays(lsn));
        self.tell(node, observed);
    }

    /// Answers every question at once for a while, and notes when each node was asked. Where there is no
    /// answer, it fails.
    fn questions(
        &mut self,
        millis: u64,
        mut standing: impl FnMut(u64, NodeId) -> Option<Standing>,
    ) -> Vec<(u64, NodeId)> {
        let mut seed = 7_u64;
        let mut random = move || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            seed
        };
        let mut asked = Vec::new();
        for _ in 0..millis {
            self.pass(1);
            // Who is asked because of an answer is asked in the same moment.
            while let Some(node) = self.monitor.poll_probe(self.now()) {
                asked.push((self.millis, node));
                let (now, standing) = (self.now(), standing(self.millis, node));
                let observed = standing.map(|standing| self.observation(node, standing));
                let (monitor, random) = (&mut self.monitor, &mut random);
                match observed {
                    Some(observed) => monitor.handle_observation(now, node, observed, random),
                    None => monitor.handle_failure(now, node, ProbeFailure::Timeout, random),
                }
                self.drain();
            }
        }
        asked
    }

    /// Answers every question at once for a while, and counts them. Nobody moves.
    fn answer_all(&mut self, millis: u64) -> [u32; 3] {
        let mut asked = [0; 3];
        for (_, node) in self.questions(millis, still) {
            asked[node.index()] += 1;
        }
        asked
    }

    fn fail(&mut self, node: NodeId, failure: ProbeFailure) {
        drop(self.asked());
        self.asked[node.index()] = false;
        self.monitor
            .handle_failure(self.now(), node, failure, &mut || 0);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(event) = self.monitor.poll_event() {
            self.events.push(event);
        }
    }

    fn view(&self, node: NodeId) -> NodeView {
        self.monitor.snapshot(self.now()).nodes[node.index()].clone()
    }

    fn cause(&self, node: NodeId) -> Option<Cause> {
        self.view(node).membership.cause()
    }

    fn as_of(&self, node: NodeId) -> Option<Instant> {
        self.view(node).as_of
    }

    fn in_rotation(&self) -> Vec<NodeId> {
        let snapshot = self.monitor.snapshot(self.now());
        let nodes = snapshot.nodes.iter();
        nodes
            .filter(|node| node.membership.is_in_rotation())
            .map(|node| node.id)
            .collect()
    }

    fn asked(&mut self) -> Vec<NodeId> {
        let mut asked = Vec::new();
        while let Some(node) = self.monitor.poll_probe(self.now()) {
            self.asked[node.index()] = true;
            asked.push(node);
        }
        asked
    }
}

fn at(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn claims(lsn: u64, timeline: u32) -> Standing {
    Standing::Primary {
        insert: Lsn::new(lsn),
        timeline: Timeline::new(timeline),
        writable: true,
        completed: None,
    }
}

fn replays(lsn: u64) -> Standing {
    Standing::Replica {
        replay: Some(Lsn::new(lsn)),
        paused: false,
        follows: None,
    }
}

fn stands(node: NodeId, lsn: u64) -> Option<Standing> {
    Some(match node {
        DB_1 => claims(lsn, 1),
        _ => replays(lsn),
    })
}

/// All stand at 10,000.
fn still(_: u64, node: NodeId) -> Option<Standing> {
    stands(node, 10_000)
}

#[test]
fn at_a_cold_start_nobody_is_in_rotation_and_everybody_is_asked_at_once() {
    let mut bench = Bench::new(|_| {});
    bench.pass(99);
    assert_eq!(bench.in_rotation(), [], "unknown is out");
    assert_eq!(bench.monitor.snapshot(bench.now()).primary, None);
    assert_eq!(bench.asked(), [DB_1, DB_2, DB_3]);
    assert_eq!(bench.asked(), [], "each of them once");
    let next = bench.monitor.next_timeout();
    assert!(next > Some(bench.now()), "all are being asked: {next:?}");
}

#[test]
fn a_replica_enters_with_its_third_good_observation_and_not_before() {
    let mut bench = Bench::new(|_| {});
    for round in 1..=2 {
        bench.round(round * 1000);
        assert_eq!(bench.in_rotation(), [], "after {round} observations");
    }
    bench.round(3000);
    assert_eq!(bench.in_rotation(), [DB_2, DB_3]);
    let readmitted = Event::Readmitted {
        node: DB_2,
        after: Cause::Unproved,
    };
    assert!(bench.events.contains(&readmitted), "{:?}", bench.events);
}

#[test]
fn one_observation_is_never_proof_enough_whatever_the_policy_says() {
    let mut bench = Bench::new(|policy| policy.return_after = 1);
    bench.pass(99);
    bench.primary(DB_1, 1000, 1);
    bench.pass(1);
    bench.replica(DB_2, 1000);
    bench.replica(DB_3, 1000);
    assert_eq!(
        bench.in_rotation(),
        [],
        "the primary was not asked since the replica was first heard"
    );
    assert_eq!(bench.as_of(DB_2), None);
    bench.round(2000);
    assert_eq!(bench.in_rotation(), [DB_2, DB_3]);
}

#[test]
fn a_late_replica_leaves_and_returns_once_it_has_caught_up() {
    let mut bench = Bench::settled();
    for round in 11..=23 {
        bench.pass(100);
        bench.primary(DB_1, round * 1000, 1);
        bench.replica(DB_2, 10_000);
        bench.replica(DB_3, round * 1000);
    }
    assert_eq!(bench.cause(DB_2), Some(Cause::Lagging));
    assert_eq!(bench.in_rotation(), [DB_3], "the other one stays");
    for round in 24..=26 {
        assert_eq!(bench.in_rotation(), [DB_3], "before round {round}");
        bench.round(round * 1000);
    }
    assert_eq!(bench.in_rotation(), [DB_2, DB_3]);
    let pair: Vec<_> = bench.events.iter().map(Event::as_str).collect();
    assert_eq!(pair, ["ejected", "readmitted"], "and nothing else happened");
}

#[test]
fn a_primary_that_answers_more_slowly_than_its_replica_keeps_nobody_out() {
    let mut bench = Bench::new(|_| {});
    for round in 1..=12 {
        bench.pass(94);
        if round % 2 == 1 {
            bench.primary(DB_1, round * 1000, 1);
        }
        bench.replica(DB_2, round * 1000);
    }
    assert_eq!(
        bench.in_rotation(),
        [DB_2],
        "an observation that proves nothing new does not count against it"
    );
}

#[test]
fn a_suspicion_voids_what_is_known_until_an_observation_that_was_sent_after_it() {
    let mut bench = Bench::settled();
    let sent_before = bench.observation(DB_2, replays(10_000));
    bench.pass(1);
    bench.monitor.handle_suspicion(bench.now(), DB_2);
    assert_eq!(bench.as_of(DB_2), None);
    assert!(bench.asked().contains(&DB_2), "it is asked at once");
    bench.tell(DB_2, sent_before);
    assert_eq!(
        bench.as_of(DB_2),
        None,
        "that answer is older than the doubt"
    );
    bench.pass(1);
    bench.replica(DB_2, 10_000);
    assert!(bench.as_of(DB_2).is_some(), "this one is not");
    assert_eq!(bench.in_rotation(), [DB_2, DB_3], "and it never left");
}

#[test]
fn a_node_that_is_being_asked_when_it_is_suspected_is_asked_again_at_once() {
    let mut bench = Bench::settled();
    bench.pass(100);
    assert_eq!(bench.asked().len(), 3, "all of them were due");
    let too_early = bench.observation(DB_2, replays(10_000));
    bench.pass(5);
    bench.monitor.handle_suspicion(bench.now(), DB_2);
    assert_eq!(bench.asked(), [], "one question at a time");
    bench.tell(DB_2, too_early);
    bench.pass(1);
    assert_eq!(bench.asked(), [DB_2], "that answer is of before the doubt");
}

#[test]
fn suspicions_of_a_dead_node_do_not_hasten_its_next_probe() {
    let mut bench = Bench::settled();
    bench.pass(100);
    bench.fail(DB_2, ProbeFailure::Connect);
    for _ in 0..10 {
        bench.pass(1);
        bench.monitor.handle_suspicion(bench.now(), DB_2);
        assert!(
            !bench.asked().contains(&DB_2),
            "it is known to be gone, and is tried at growing pauses"
        );
    }
}

#[test]
fn replay_that_goes_backwards_voids_what_was_known() {
    let mut bench = Bench::settled();
    let before = bench.view(DB_2).incarnation;
    bench.pass(100);
    bench.replica(DB_2, 9_000);
    assert_eq!(bench.cause(DB_2), Some(Cause::Unproved));
    assert_eq!(bench.as_of(DB_2), None, "it must be proved anew");
    assert_ne!(bench.view(DB_2).incarnation, before);
}

#[test]
fn another_start_or_connection_or_a_failure_voids_what_was_known() {
    let breaks: [fn(&mut Bench); 3] = [
        |bench| bench.started = 2,
        |bench| bench.connections[1] = 2,
        |bench| bench.fail(DB_2, ProbeFailure::Lost),
    ];
    for (case, disturb) in breaks.into_iter().enumerate() {
        let mut bench = Bench::settled();
        let before = bench.view(DB_2).incarnation;
        bench.pass(100);
        disturb(&mut bench);
        bench.pass(1);
        bench.replica(DB_2, 10_000);
        assert_eq!(bench.as_of(DB_2), None, "case {case}");
        assert!(!bench.in_rotation().contains(&DB_2), "case {case}");
        assert_ne!(bench.view(DB_2).incarnation, before, "case {case}");
    }
}

#[test]
fn an_answer_from_before_a_failure_proves_nothing() {
    let mut bench = Bench::settled();
    let late = bench.observation(DB_2, replays(10_000));
    bench.pass(100);
    bench.fail(DB_2, ProbeFailure::Timeout);
    bench.pass(10);
    bench.tell(DB_2, late);
    assert_eq!(bench.cause(DB_2), Some(Cause::Unreachable));
    assert_eq!(bench.as_of(DB_2), None);
}

#[test]
fn a_promotion_begins_a_new_history_and_puts_all_replicas_out() {
    let mut bench = Bench::settled();
    bench.pass(100);
    bench.fail(DB_1, ProbeFailure::Connect);
    bench.primary(DB_2, 9_990, 2);
    let snapshot = bench.monitor.snapshot(bench.now());
    assert_eq!(snapshot.primary, Some(DB_2));
    assert_eq!(snapshot.timeline, Some(Timeline::new(2)));
    assert_eq!(bench.in_rotation(), [], "also one that stands beyond it");
    assert_eq!(bench.as_of(DB_3), None);
    let begun = bench
        .events
        .iter()
        .filter(|event| event.as_str() == "history_begun");
    assert_eq!(begun.count(), 1);
}

#[test]
fn the_same_node_on_a_new_timeline_begins_a_new_history_too() {
    let mut bench = Bench::settled();
    bench.pass(100);
    bench.primary(DB_1, 11_000, 2);
    let timeline = bench.monitor.snapshot(bench.now()).timeline;
    assert_eq!(timeline, Some(Timeline::new(2)));
    assert_eq!(bench.in_rotation(), [], "it was recovered to somewhere");
}

#[test]
fn another_node_on_the_same_timeline_begins_a_new_history_too() {
    let mut bench = Bench::settled();
    bench.pass(100);
    bench.replica(DB_1, 10_000);
    bench.primary(DB_2, 10_500, 1);
    assert_eq!(bench.monitor.snapshot(bench.now()).primary, Some(DB_2));
    assert_eq!(
        bench.as_of(DB_3),
        None,
        "what the one wrote says nothing of the other"
    );
}

#[test]
fn a_primary_that_goes_backwards_begins_a_new_history() {
    let mut bench = Bench::settled();
    bench.pass(100);
    bench.primary(DB_1, 9_500, 1);
    let begun = Event::HistoryBegun {
        system: SystemId::new(7),
        timeline: Timeline::new(1),
    };
    assert!(bench.events.contains(&begun), "{:?}", bench.events);
    let head = bench.monitor.snapshot(bench.now()).head;
    assert_eq!(head.map(|head| head.lsn), Some(Lsn::new(9_500)));
}

#[test]
fn a_replica_ahead_of_a_primary_that_was_asked_later_has_diverged() {
    let mut bench = Bench::settled();
    bench.pass(10);
    bench.replica(DB_2, 20_000);
    assert!(bench.in_rotation().contains(&DB_2), "it may just be newer");
    bench.pass(10);
    bench.primary(DB_1, 15_000, 1);
    assert_eq!(bench.cause(DB_2), Some(Cause::Diverged));
    assert_eq!(bench.as_of(DB_2), None);
    for round in 21..=40 {
        bench.round(round * 1000);
    }
    assert_eq!(
        bench.cause(DB_2),
        Some(Cause::Diverged),
        "that the primary passes it later does not make it one of ours"
    );
}

#[test]
fn answers_that_always_cross_do_not_hide_a_divergence() {
    let mut bench = Bench::settled();
    bench.pass(100);
    bench.fail(DB_2, ProbeFailure::Lost);
    for round in 0..6 {
        // The replica's answer always comes between the primary's question and its answer.
        let mut sample = bench.observation(DB_1, claims(11_000 + round, 1));
        bench.pass(10);
        bench.replica(DB_2, 20_000);
        bench.pass(10);
        sample.received_at = bench.now();
        bench.tell(DB_1, sample);
        bench.pass(80);
        assert!(!bench.in_rotation().contains(&DB_2), "round {round}");
    }
    assert_eq!(bench.cause(DB_2), Some(Cause::Diverged));
}

#[test]
fn a_node_that_stands_where_another_history_left_it_is_not_even_the_freshest() {
    let mut bench = Bench::settled_with(|policy| policy.min_in_rotation = 2);
    bench.pass(100);
    bench.fail(DB_2, ProbeFailure::Lost);
    for round in 11..=13 {
        bench.round(round * 1000);
    }
    bench.pass(10);
    bench.connections[1] = 2;
    // The primary has long passed the position, so no guard sees it.
    for _ in 0..20 {
        bench.pass(100);
        let head = bench.monitor.snapshot(bench.now()).head.expect("known");
        bench.primary(DB_1, head.lsn.as_u64() + 500, 1);
        bench.replica(DB_2, 12_100);
    }
    assert_ne!(bench.cause(DB_2), None, "the floor does not let it in");
    assert_ne!(
        bench.cause(DB_2),
        Some(Cause::Lagging),
        "it is not late, it is unproved"
    );
    assert_eq!(bench.as_of(DB_2), None);
}

#[test]
fn a_replica_that_went_on_along_the_old_timeline_is_not_proved_by_the_new_one() {
    let mut bench = Bench::settled();
    bench.pass(100);
    bench.replica(DB_3, 10_000);
    bench.fail(DB_1, ProbeFailure::Connect);
    // Unseen, it replays on to where the old primary ended, beyond the switch point.
    bench.pass(50);
    bench.primary(DB_2, 10_100, 2);
    bench.pass(10);
    bench.replica(DB_3, 12_000);
    assert_eq!(
        bench.as_of(DB_3),
        None,
        "that it stood before the new primary once says nothing of where it stands now"
    );
    bench.pass(100);
    bench.primary(DB_2, 11_000, 2);
    assert_eq!(bench.cause(DB_3), Some(Cause::Diverged));
}

#[test]
fn a_late_replica_that_falls_silent_is_not_the_freshest_for_long() {
    let mut bench = Bench::settled();
    for round in 11..=23 {
        bench.pass(100);
        bench.primary(DB_1, round * 1000, 1);
        bench.replica(DB_2, 10_000);
        bench.replica(DB_3, round * 1000);
    }
    assert_eq!(bench.cause(DB_2), Some(Cause::Lagging));
    bench.monitor.handle_drain(bench.now(), DB_3);
    bench.pass(100);
    drop(bench.asked());
    let silent_from = bench.monitor.next_timeout().expect("silence is counted");
    assert!(
        silent_from.since(bench.now()) <= millis(401),
        "{silent_from:?}"
    );
    bench.pass(401);
    assert_eq!(bench.cause(DB_2), Some(Cause::Unseen));
}

#[test]
fn a_node_of_another_cluster_is_foreign_whatever_its_position() {
    let mut bench = Bench::settled();
    bench.pass(100);
    bench.system = SystemId::new(8);
    bench.replica(DB_2, 10_000);
    assert_eq!(bench.cause(DB_2), Some(Cause::Foreign));
    assert_eq!(bench.as_of(DB_2), None);
}

#[test]
fn another_cluster_at_the_primary_s_address_gets_no_writes_and_proves_nothing() {
    let mut bench = Bench::settled();
    bench.pass(100);
    bench.system = SystemId::new(8);
    bench.primary(DB_1, 500, 9);
    let snapshot = bench.monitor.snapshot(bench.now());
    assert_eq!(snapshot.primary, None);
    assert_eq!(snapshot.system, Some(SystemId::new(7)));
    assert_eq!(
        snapshot.timeline,
        Some(Timeline::new(1)),
        "the history stays"
    );
    assert_eq!(snapshot.head.map(|head| head.lsn), Some(Lsn::new(10_000)));
}

#[test]
fn a_paused_replica_leaves_at_once() {
    let mut bench = Bench::settled();
    bench.pass(100);
    let paused = Standing::Replica {
        replay: Some(Lsn::new(10_000)),
        paused: true,
        follows: None,
    };
    let observed = bench.observation(DB_2, paused);
    bench.tell(DB_2, observed);
    assert_eq!(bench.cause(DB_2), Some(Cause::Paused));
}

#[test]
fn a_promoted_replica_leaves_also_while_the_old_primary_keeps_the_writes() {
    let mut bench = Bench::settled();
    bench.pass(100);
    bench.primary(DB_2, 10_000, 1);
    assert_eq!(bench.cause(DB_2), Some(Cause::Promoted));
    assert_eq!(bench.monitor.snapshot(bench.now()).primary, Some(DB_1));
    assert!(bench.events.contains(&Event::Rival { node: DB_2 }));
}

#[test]
fn nothing_but_a_hand_undoes_a_drain() {
    let mut bench = Bench::settled();
    bench.monitor.handle_drain(bench.now(), DB_2);
    for round in 11..=30 {
        bench.round(round * 1000);
        assert_eq!(bench.cause(DB_2), Some(Cause::Drained), "round {round}");
    }
    bench.pass(1);
    bench.fail(DB_2, ProbeFailure::Lost);
    bench.round(31_000);
    assert_eq!(bench.cause(DB_2), Some(Cause::Drained));
    bench.monitor.handle_undrain(bench.now(), DB_2);
    assert_eq!(bench.in_rotation(), [DB_3], "it proves itself first");
    for round in 32..=34 {
        bench.round(round * 1000);
    }
    assert_eq!(bench.in_rotation(), [DB_2, DB_3]);
}

#[test]
fn a_node_that_is_not_heard_of_in_time_is_out_by_the_passing_of_time_alone() {
    let mut bench = Bench::settled();
    let heard = bench.now();
    bench.pass(100);
    assert_eq!(bench.asked().len(), 3, "nobody will answer");
    bench.pass(399);
    let due = heard.after(millis(500)).after(Duration::from_nanos(1));
    drop(bench.asked());
    assert_eq!(bench.monitor.next_timeout(), Some(due));
    bench.pass(1);
    assert_eq!(bench.in_rotation(), [DB_2, DB_3], "the limit is not passed");
    bench.pass(1);
    assert_eq!(bench.cause(DB_2), Some(Cause::Unseen));
    assert_eq!(bench.cause(DB_3), Some(Cause::Unseen));
}

/// The primary's probe hangs, then fails; the replicas answer throughout.
fn lose_the_primary(policy: impl FnOnce(&mut Policy)) -> Bench {
    let mut bench = Bench::settled_with(policy);
    for round in 0..20 {
        bench.pass(100);
        bench.replica(DB_2, 10_000);
        bench.replica(DB_3, 10_000);
        if round == 5 {
            bench.fail(DB_1, ProbeFailure::Timeout);
        }
    }
    bench
}

#[test]
fn a_loss_of_the_primary_freezes_the_rotation() {
    let tight = |policy: &mut Policy| {
        *policy = core::mem::take(policy).with_max_lag(millis(400));
        policy.primary_loss = PrimaryLoss::Freeze;
    };
    let bench = lose_the_primary(tight);
    assert_eq!(
        bench.in_rotation(),
        [DB_2, DB_3],
        "also while its probe hangs for longer than the lag limit"
    );
    let staleness = bench.view(DB_2).staleness(bench.now());
    assert!(
        staleness >= Some(millis(2000)),
        "bounds still see the truth: {staleness:?}"
    );
}

#[test]
fn where_the_bound_is_honored_a_loss_of_the_primary_takes_every_replica_out() {
    let bench = lose_the_primary(|policy| policy.primary_loss = PrimaryLoss::HonorBound);
    assert_eq!(bench.in_rotation(), []);
    assert_eq!(bench.cause(DB_2), Some(Cause::Lagging));
}

#[test]
fn without_reads_the_monitor_slows_down_and_a_read_wakes_it() {
    let mut bench = Bench::settled();
    let last_read = bench.now();
    let busy = bench.answer_all(1000);
    assert!(busy[0] >= 10, "{busy:?}");
    let resting = busy[1..].iter().all(|many| (5..=6).contains(many));
    assert!(resting, "there is nothing new to show: {busy:?}");
    let idle_since = last_read.after(millis(10_001));
    bench.monitor.handle_activity(idle_since, last_read);
    assert!(bench.monitor.is_idle());
    let idle = bench.answer_all(1000);
    assert!(idle.iter().all(|many| (3..=5).contains(many)), "{idle:?}");
    bench.monitor.handle_activity(bench.now(), bench.now());
    let awake = bench.answer_all(10);
    assert_eq!(awake, [1, 1, 1], "at once");
}

#[test]
fn a_node_that_leaves_ends_the_slow_pace() {
    let mut bench = Bench::settled();
    let long_ago = at(0);
    bench.monitor.handle_activity(at(100_000), long_ago);
    assert!(bench.monitor.is_idle());
    bench.pass(10);
    bench.replica(DB_2, 9_000);
    assert!(!bench.monitor.is_idle(), "something is on its way");
}

#[test]
fn a_waiting_read_has_the_primary_and_the_replicas_asked_at_once() {
    let mut bench = Bench::settled();
    bench.asked();
    bench.round(11_000);
    bench.pass(10);
    assert_eq!(bench.asked(), [], "nobody is due");
    let needed = bench.now();
    bench
        .monitor
        .handle_demand(bench.now(), needed, needed.after(millis(20)));
    let mut asked = bench.asked();
    asked.sort_unstable();
    assert_eq!(asked, [DB_1, DB_2, DB_3]);
}

#[test]
fn a_primary_that_is_being_asked_when_a_read_begins_to_wait_is_asked_again() {
    let mut bench = Bench::settled();
    bench.pass(100);
    assert_eq!(bench.asked().len(), 3, "all of them were due");
    let too_early = bench.observation(DB_1, claims(10_000, 1));
    bench.pass(5);
    let needed = bench.now();
    bench
        .monitor
        .handle_demand(needed, needed, needed.after(millis(20)));
    assert_eq!(bench.asked(), [], "one question at a time");
    bench.tell(DB_1, too_early);
    bench.pass(1);
    assert_eq!(bench.asked(), [DB_1], "that answer is of before the need");
}

#[test]
fn no_node_is_always_the_first_to_be_asked() {
    let mut bench = Bench::settled();
    let mut first = [0; 3];
    for _ in 0..300 {
        bench.pass(10);
        let needed = bench.now();
        bench
            .monitor
            .handle_demand(needed, needed, needed.after(millis(20)));
        if let Some(node) = bench.asked().first() {
            first[node.index()] += 1;
        }
        bench.answer_rest();
    }
    assert!(first.iter().all(|many| *many >= 50), "{first:?}");
}

#[test]
fn a_demand_repeats_with_growing_pauses_and_ends_when_it_is_reached() {
    let mut bench = Bench::settled();
    bench.round(11_000);
    bench.pass(10);
    let needed = bench.now();
    bench
        .monitor
        .handle_demand(bench.now(), needed, needed.after(millis(200)));
    bench.primary(DB_1, 12_000, 1);
    let mut pauses = Vec::new();
    for _ in 0..12 {
        bench.replica(DB_2, 11_000);
        let due = bench.monitor.next_timeout().expect("it is asked again");
        pauses.push(due.since(bench.now()));
        let nanos = due.since(bench.now()).as_nanos();
        bench.pass(u64::try_from(nanos).unwrap().div_ceil(1_000_000).max(1));
    }
    assert!(pauses.is_sorted(), "{pauses:?}");
    assert!(pauses[11] > pauses[7], "{pauses:?}");
    assert!(
        pauses[0] <= millis(2) && pauses[11] <= millis(10),
        "{pauses:?}"
    );
    bench.replica(DB_2, 12_000);
    bench.replica(DB_3, 12_000);
    let asked = bench.answer_all(1000);
    assert!(asked[1] <= 12, "the ordinary pace: {asked:?}");
}

#[test]
fn a_demand_for_what_cannot_come_yet_asks_nobody_to_death() {
    let mut bench = Bench::settled();
    let until = bench.now().after(millis(1000));
    let mut asked = [0_u32; 3];
    for _ in 0..1000 {
        bench.pass(1);
        let now = bench.now();
        bench.monitor.handle_demand(now, Instant::NEVER, until);
        loop {
            let due = bench.asked();
            if due.is_empty() {
                break;
            }
            for node in due {
                asked[node.index()] += 1;
                let standing = match node {
                    DB_1 => claims(10_000, 1),
                    _ => replays(10_000),
                };
                let observed = bench.observation(node, standing);
                bench
                    .monitor
                    .handle_observation(now, node, observed, &mut || 0);
            }
        }
        let due = bench.monitor.next_timeout();
        assert!(due.is_none_or(|due| due > now), "no busy loop: {due:?}");
    }
    assert!(asked.iter().all(|many| *many <= 1005), "{asked:?}");
}

#[test]
fn the_configured_primary_is_heard_before_anybody_is_elected() {
    let mut bench = Bench::new(|_| {});
    bench.system = SystemId::new(8);
    bench.primary(DB_2, 5_000, 3);
    assert_eq!(bench.monitor.snapshot(bench.now()).primary, None);
    bench.system = SystemId::new(7);
    bench.primary(DB_1, 1_000, 1);
    let snapshot = bench.monitor.snapshot(bench.now());
    assert_eq!(snapshot.primary, Some(DB_1), "db-2 holds another cluster");
    assert_eq!(snapshot.system, Some(SystemId::new(7)));
}

#[test]
fn at_the_start_too_the_highest_timeline_of_our_cluster_wins() {
    let mut bench = Bench::new(|_| {});
    bench.primary(DB_2, 5_000, 2);
    bench.primary(DB_1, 9_000, 1);
    assert_eq!(bench.monitor.snapshot(bench.now()).primary, Some(DB_2));
    let found = bench
        .events
        .iter()
        .filter(|event| event.as_str() == "primary_found");
    assert_eq!(found.count(), 1, "the old primary gets no write in between");
}

#[test]
fn a_configured_primary_that_is_a_replica_now_still_says_whose_cluster_it_is() {
    let mut bench = Bench::new(|_| {});
    bench.replica(DB_1, 5_000);
    bench.system = SystemId::new(8);
    bench.primary(DB_2, 5_000, 9);
    assert_eq!(bench.monitor.snapshot(bench.now()).primary, None);
    bench.system = SystemId::new(7);
    bench.primary(DB_3, 5_000, 2);
    assert_eq!(bench.monitor.snapshot(bench.now()).primary, Some(DB_3));
}

#[test]
fn a_later_timeline_succeeds_and_an_earlier_one_never_does() {
    let mut bench = Bench::settled();
    bench.pass(100);
    bench.primary(DB_2, 10_000, 2);
    assert_eq!(bench.monitor.snapshot(bench.now()).primary, Some(DB_2));
    assert!(bench.events.contains(&Event::Rival { node: DB_1 }));
    bench.fail(DB_2, ProbeFailure::Connect);
    bench.primary(DB_1, 11_000, 1);
    let snapshot = bench.monitor.snapshot(bench.now());
    assert_eq!(snapshot.primary, Some(DB_2), "the old one is no successor");
    assert!(snapshot.primary_lost.is_some());
}

#[test]
fn below_the_floor_the_least_stale_of_the_late_ones_serves() {
    let mut bench = Bench::settled_with(|policy| policy.min_in_rotation = 1);
    for round in 11..=40 {
        bench.pass(100);
        bench.primary(DB_1, round * 1000, 1);
        bench.replica(DB_2, 10_000);
        bench.replica(DB_3, 10_500);
    }
    assert_eq!(bench.in_rotation().len(), 1, "one has to stay");
    let left = bench.in_rotation()[0];
    bench.pass(1);
    bench.fail(left, ProbeFailure::Connect);
    assert_eq!(bench.in_rotation().len(), 1, "the other one steps in");
    assert_ne!(bench.in_rotation()[0], left);
}

#[test]
fn a_lag_that_swings_around_the_ceiling_does_not_flap() {
    let mut bench = Bench::settled_with(|policy| {
        policy.min_in_rotation = 1;
        policy.lag_ceiling = millis(2000);
    });
    bench.fail(DB_3, ProbeFailure::Connect);
    bench.events.clear();
    // Both write and replay at one pace, 1.9 s or 2.1 s apart, in turns of half a second.
    for step in 0..400_u64 {
        bench.pass(100);
        let head = 11_000 + step * 1000;
        bench.primary(DB_1, head, 1);
        let behind = if step / 5 % 2 == 0 { 19_000 } else { 21_000 };
        let before = bench.view(DB_2).lsn.map_or(0, Lsn::as_u64);
        bench.replica(DB_2, head.saturating_sub(behind).max(before));
    }
    let many = bench.events.len();
    assert!(many <= 1, "it leaves once at the most: {:?}", bench.events);
}

#[test]
fn nodes_that_nobody_knows_are_passed_over() {
    let mut bench = Bench::settled();
    let unknown = NodeId::new(77);
    let observed = bench.observation(DB_2, replays(10_000));
    let now = bench.now();
    let monitor = &mut bench.monitor;
    monitor.handle_observation(now, unknown, observed, &mut || 0);
    monitor.handle_failure(now, unknown, ProbeFailure::Lost, &mut || 0);
    monitor.handle_suspicion(now, unknown);
    monitor.handle_drain(now, unknown);
    monitor.handle_undrain(now, unknown);
    bench.drain();
    assert_eq!(bench.events, [], "nothing has happened to anybody");
    assert!(matches!(
        bench.view(DB_2).membership,
        Membership::InRotation { .. }
    ));
}
