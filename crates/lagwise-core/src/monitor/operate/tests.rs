//! What people change at run time, on a clock of the tests' own.

use core::time::Duration;
use std::vec;
use std::vec::Vec;

use super::*;
use crate::floor::{Floor, Sight};
use crate::lsn::Lsn;
use crate::membership::Membership;
use crate::node::{SystemId, Timeline};
use crate::observation::{Observation, ProbeFailure, ServerStart, Standing};
use crate::policy::Policy;
use crate::requirement::{Fallback, Requirement};
use crate::selection::{Request, Selection, Step, next_step, select};
use crate::snapshot::{NodeView, Snapshot};

const PRIMARY: NodeId = NodeId::new(0);
const ONE: NodeId = NodeId::new(1);
const TWO: NodeId = NodeId::new(2);

/// A cluster in which everybody answers what is set for it, as soon as it is asked.
struct Cluster {
    monitor: Monitor,
    millis: u64,
    lsn: u64,
    nodes: Vec<Answer>,
    events: Vec<Event>,
    /// How often each was asked.
    asked: Vec<u32>,
}

/// What a node answers.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Answer {
    Nothing,
    Follows,
    StandsAt(u64),
    Writes(u32),
}

impl Cluster {
    fn new(change: impl FnOnce(&mut Policy)) -> Self {
        let nodes = [
            NodeSpec::new("primary", Role::Primary),
            replica("one"),
            replica("two"),
        ];
        let monitor = Monitor::new(at(1000), policy(change), nodes);
        Self {
            monitor,
            millis: 1000,
            lsn: 1000,
            nodes: vec![Answer::Writes(1), Answer::Follows, Answer::Follows],
            events: Vec::new(),
            asked: vec![0; 3],
        }
    }

    fn settled(change: impl FnOnce(&mut Policy)) -> Self {
        let mut cluster = Self::new(change);
        cluster.run(2000);
        assert_eq!(cluster.in_rotation(), [ONE, TWO]);
        cluster.events.clear();
        cluster
    }

    fn now(&self) -> Instant {
        at(self.millis)
    }

    fn run(&mut self, millis: u64) {
        for _ in 0..millis {
            self.millis += 1;
            self.lsn += 10;
            self.monitor.handle_timeout(self.now());
            while let Some(node) = self.monitor.poll_probe(self.now()) {
                self.asked[node.index()] += 1;
                self.answer(node);
            }
            self.take_events();
        }
    }

    fn answer(&mut self, node: NodeId) {
        let now = self.now();
        let standing = match self.nodes[node.index()] {
            Answer::Nothing => {
                let lost = ProbeFailure::Lost;
                return self.monitor.handle_failure(now, node, lost, &mut || 0);
            }
            Answer::Follows => replays(self.lsn),
            Answer::StandsAt(lsn) => replays(lsn),
            Answer::Writes(timeline) => Standing::Primary {
                insert: Lsn::new(self.lsn),
                timeline: Timeline::new(timeline),
                writable: true,
                completed: None,
            },
        };
        let observed = observation(now, standing);
        self.monitor
            .handle_observation(now, node, observed, &mut || 0);
    }

    fn take_events(&mut self) {
        while let Some(event) = self.monitor.poll_event() {
            self.events.push(event);
        }
    }

    fn add(&mut self, name: &str, answer: Answer) -> NodeId {
        let added = self.monitor.add(self.now(), replica(name));
        let id = added.expect("the name is free");
        self.nodes.resize(self.monitor.tracks.len(), answer);
        self.nodes[id.index()] = answer;
        self.asked.resize(self.nodes.len(), 0);
        self.take_events();
        id
    }

    fn remove(&mut self, node: NodeId) -> Result<(), NodeFault> {
        let removed = self.monitor.remove(self.now(), node);
        self.take_events();
        removed
    }

    fn drain(&mut self, node: NodeId) {
        self.monitor.handle_drain(self.now(), node);
        self.take_events();
    }

    fn snapshot(&self) -> Snapshot {
        self.monitor.snapshot(self.now())
    }

    fn view(&self, node: NodeId) -> NodeView {
        self.snapshot().nodes[node.index()].clone()
    }

    fn cause(&self, node: NodeId) -> Option<Cause> {
        self.view(node).membership.cause()
    }

    fn in_rotation(&self) -> Vec<NodeId> {
        let snapshot = self.snapshot();
        let serving = |node: &&NodeView| node.membership.is_in_rotation();
        snapshot
            .replicas()
            .filter(serving)
            .map(|node| node.id)
            .collect()
    }
}

fn at(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}

fn replica(name: &str) -> NodeSpec {
    NodeSpec::new(name, Role::Replica)
}

fn policy(change: impl FnOnce(&mut Policy)) -> ValidPolicy {
    let mut policy = Policy::default();
    change(&mut policy);
    policy.validate().expect("the policy can be honored")
}

fn replays(lsn: u64) -> Standing {
    Standing::Replica {
        replay: Some(Lsn::new(lsn)),
        paused: false,
        follows: None,
    }
}

fn observation(now: Instant, standing: Standing) -> Observation {
    Observation {
        sent_at: now,
        received_at: now,
        connection: 1,
        system: SystemId::new(7),
        started: ServerStart::new(1),
        standing,
    }
}

fn request(fallback: Fallback) -> Request<'static> {
    Request {
        requirement: Requirement::any(),
        fallback,
        wait_until: at(0),
        failed: &[],
    }
}

#[test]
fn a_node_that_comes_proves_itself_before_it_serves() {
    let mut cluster = Cluster::settled(|_| {});
    let three = cluster.add("three", Answer::Follows);
    assert_eq!(cluster.cause(three), Some(Cause::Unproved));
    assert_eq!(cluster.events, [Event::NodeAdded { node: three }]);
    cluster.run(150);
    assert_eq!(cluster.in_rotation(), [ONE, TWO], "one look is no proof");
    cluster.run(500);
    assert_eq!(cluster.in_rotation(), [ONE, TWO, three]);
}

#[test]
fn a_node_that_comes_takes_no_name_that_is_taken() {
    let mut cluster = Cluster::settled(|_| {});
    let refused = cluster.monitor.add(cluster.now(), replica("one"));
    assert_eq!(refused, Err(NodeFault::NameTaken));
    assert_eq!(cluster.remove(ONE), Ok(()));
    cluster.add("one", Answer::Follows);
}

#[test]
fn a_node_that_has_gone_is_nowhere() {
    let mut cluster = Cluster::settled(|policy| policy.min_in_rotation = 2);
    assert_eq!(cluster.remove(ONE), Ok(()));
    let cause = Cause::Removed;
    let told = [
        Event::Ejected { node: ONE, cause },
        Event::NodeRemoved { node: ONE },
    ];
    assert_eq!(cluster.events, told);
    let before = cluster.asked[ONE.index()];
    let late = observation(cluster.now(), replays(cluster.lsn));
    for _ in 0..20 {
        cluster.run(50);
        // An answer that was on its way, a suspicion, an order: all of a node that is no more.
        let now = cluster.now();
        cluster
            .monitor
            .handle_observation(now, ONE, late, &mut || 0);
        cluster.monitor.handle_suspicion(now, ONE);
        cluster.monitor.handle_undrain(now, ONE);
        cluster.monitor.handle_demand(now, now, now.after(MINUTE));
        assert_eq!(cluster.in_rotation(), [TWO]);
    }
    let (now, lost) = (cluster.now(), ProbeFailure::Lost);
    cluster.monitor.handle_failure(now, ONE, lost, &mut || 0);
    cluster.run(500);
    assert_eq!(cluster.asked[ONE.index()], before, "it is not asked");
    assert_eq!(cluster.events, told, "and nothing is said of it");
    assert_eq!(cluster.cause(ONE), Some(Cause::Removed));
    let snapshot = cluster.snapshot();
    assert_eq!(snapshot.in_rotation(), 1);
    assert!(snapshot.present().all(|node| node.id != ONE));
    assert!(snapshot.replicas().all(|node| node.id != ONE));
}

#[test]
fn a_node_that_has_gone_keeps_nobody_awake() {
    let mut cluster = Cluster::settled(|policy| policy.idle_after = Duration::from_millis(100));
    assert_eq!(cluster.remove(ONE), Ok(()));
    cluster.run(500);
    let now = cluster.now();
    let last_read = now.before(Duration::from_millis(101));
    cluster.monitor.handle_activity(now, last_read);
    assert!(cluster.monitor.is_idle(), "all others are settled");
}

#[test]
fn a_place_goes_to_another_node_only_once_nothing_is_under_way_there_and_as_another_run() {
    let mut cluster = Cluster::settled(|_| {});
    let old = cluster.view(ONE).sight();
    assert_eq!(cluster.remove(ONE), Ok(()));
    assert_eq!(cluster.view(ONE).sight(), old, "what is under way goes on");
    let three = cluster.add("three", Answer::Follows);
    assert_ne!(three, ONE, "something may be under way there");
    cluster.monitor.release(ONE);
    let four = cluster.add("four", Answer::Follows);
    assert_eq!(four, ONE, "the place is free");
    let new = cluster.view(four);
    assert!(new.incarnation > old.incarnation);
    assert_eq!(new.as_of, None, "nothing of the old node counts for it");
    // A session that has read everything the old node ever showed.
    let floor = Floor::read(cluster.now(), Some(old));
    cluster.run(1000);
    assert!(cluster.in_rotation().contains(&four));
    let lacking = |sight: Sight| floor.needed_from(sight);
    assert_eq!(lacking(old), None, "the same run shows it again");
    assert_ne!(lacking(cluster.view(four).sight()), None);
}

#[test]
fn the_primary_cannot_be_removed_while_it_is_the_primary() {
    let mut cluster = Cluster::settled(|_| {});
    assert_eq!(cluster.remove(PRIMARY), Err(NodeFault::Primary));
    cluster.nodes[0] = Answer::Nothing;
    cluster.run(500);
    let lost = cluster.remove(PRIMARY);
    assert_eq!(lost, Err(NodeFault::Primary), "also while it is lost");
    cluster.nodes[1] = Answer::Writes(2);
    cluster.run(500);
    assert_eq!(cluster.snapshot().primary, Some(ONE));
    assert_eq!(cluster.remove(PRIMARY), Ok(()));
    cluster.run(1000);
    assert_eq!(cluster.snapshot().primary, Some(ONE));
    assert_eq!(cluster.in_rotation(), [TWO]);
    let unknown = NodeId::new(40);
    assert_eq!(cluster.remove(unknown), Err(NodeFault::Unknown));
    assert_eq!(cluster.remove(PRIMARY), Err(NodeFault::Unknown), "twice");
}

#[test]
fn before_a_primary_is_known_the_configured_one_stays() {
    let mut cluster = Cluster::new(|_| {});
    assert_eq!(cluster.remove(PRIMARY), Err(NodeFault::Primary));
    assert_eq!(cluster.remove(ONE), Ok(()));
}

#[test]
fn a_new_node_goes_on_with_nobody_s_history() {
    let mut cluster = Cluster::settled(|_| {});
    // The primary is demoted, so nobody writes, and its place goes to another server.
    cluster.nodes[0] = Answer::Follows;
    cluster.run(300);
    assert_eq!(cluster.snapshot().primary, None);
    assert_eq!(cluster.remove(PRIMARY), Ok(()));
    cluster.monitor.release(PRIMARY);
    cluster.events.clear();
    assert_eq!(cluster.add("new", Answer::Writes(1)), PRIMARY);
    cluster.run(300);
    let begun = |event: &Event| matches!(event, Event::HistoryBegun { .. });
    assert!(cluster.events.iter().any(begun), "{:?}", cluster.events);
}

#[test]
fn a_changed_weight_is_what_everybody_sees() {
    let mut cluster = Cluster::settled(|_| {});
    cluster.monitor.set_weight(ONE, Weight::new(7));
    assert_eq!(cluster.view(ONE).spec.weight, Weight::new(7));
    assert_eq!(cluster.view(TWO).spec.weight, Weight::default());
}

#[test]
fn a_lower_limit_takes_who_is_beyond_it_out_at_once_and_a_higher_one_lets_it_return() {
    let mut cluster = Cluster::settled(|_| {});
    cluster.nodes[1] = Answer::StandsAt(cluster.lsn);
    cluster.run(700);
    assert_eq!(cluster.in_rotation(), [ONE, TWO], "700 ms are allowed");
    let lower = policy(|policy| {
        *policy = policy.clone().with_max_lag(Duration::from_millis(400));
    });
    cluster.monitor.set_policy(cluster.now(), lower);
    cluster.take_events();
    assert_eq!(cluster.in_rotation(), [TWO]);
    assert_eq!(cluster.cause(ONE), Some(Cause::Lagging));
    assert_eq!(cluster.events[0], Event::PolicyChanged);
    assert_eq!(
        cluster.snapshot().policy.max_lag,
        Duration::from_millis(400)
    );
    let higher = policy(|policy| {
        *policy = policy.clone().with_max_lag(Duration::from_secs(30));
    });
    cluster.monitor.set_policy(cluster.now(), higher);
    assert_eq!(cluster.in_rotation(), [TWO], "it returns by proof");
    cluster.nodes[1] = Answer::Follows;
    cluster.run(500);
    assert_eq!(cluster.in_rotation(), [ONE, TWO]);
}

#[test]
fn a_lower_limit_takes_nobody_out_who_is_needed() {
    let mut cluster = Cluster::settled(|policy| policy.min_in_rotation = 2);
    cluster.nodes[1] = Answer::StandsAt(cluster.lsn);
    cluster.run(700);
    let lower = policy(|policy| {
        *policy = policy.clone().with_max_lag(Duration::from_millis(400));
        policy.min_in_rotation = 2;
    });
    cluster.monitor.set_policy(cluster.now(), lower);
    assert_eq!(cluster.in_rotation(), [ONE, TWO]);
}

#[test]
fn a_changed_interval_holds_from_the_next_question_on() {
    let slow = |policy: &mut Policy| {
        *policy = policy
            .clone()
            .with_poll_interval(Duration::from_secs(1))
            .with_max_lag(Duration::from_secs(8));
    };
    let mut cluster = Cluster::new(slow);
    cluster.run(8000);
    cluster.asked.fill(0);
    cluster.monitor.set_policy(cluster.now(), policy(|_| {}));
    cluster.run(1000);
    for asked in &cluster.asked {
        assert!((9..=14).contains(asked), "{:?}", cluster.asked);
    }
    cluster.monitor.set_policy(cluster.now(), policy(slow));
    cluster.asked.fill(0);
    cluster.run(4000);
    for asked in &cluster.asked {
        assert!((4..=7).contains(asked), "{:?}", cluster.asked);
    }
}

#[test]
fn a_changed_zone_is_the_one_that_reads_prefer() {
    let mut cluster = Cluster::settled(|_| {});
    let zoned = policy(|policy| policy.zone = Some("here".into()));
    cluster.monitor.set_policy(cluster.now(), zoned);
    assert!(!cluster.view(ONE).near, "it names none");
    cluster.monitor.set_policy(cluster.now(), policy(|_| {}));
    assert!(cluster.view(ONE).near);
}

#[test]
fn no_automation_undoes_a_drain() {
    let mut cluster = Cluster::settled(|policy| policy.min_in_rotation = 2);
    cluster.drain(ONE);
    cluster.drain(ONE);
    let told = [
        Event::Ejected {
            node: ONE,
            cause: Cause::Drained,
        },
        Event::Drained { node: ONE },
    ];
    for event in told {
        let times = cluster.events.iter().filter(|told| **told == event);
        assert_eq!(times.count(), 1, "{event}: {:?}", cluster.events);
    }
    let stays_out = |cluster: &Cluster, after: &str| {
        assert_eq!(cluster.cause(ONE), Some(Cause::Drained), "{after}");
        let view = cluster.view(ONE).membership;
        assert!(matches!(view, Membership::Ejected { .. }), "{after}");
    };
    cluster.run(1000);
    stays_out(&cluster, "the floor of replicas in service");
    cluster.add("three", Answer::Follows);
    cluster.run(1000);
    stays_out(&cluster, "a node that came");
    let other = policy(|policy| policy.min_in_rotation = 3);
    cluster.monitor.set_policy(cluster.now(), other);
    cluster.run(1000);
    stays_out(&cluster, "another policy");
    cluster.nodes[0] = Answer::Nothing;
    cluster.run(300);
    cluster.nodes[2] = Answer::Writes(2);
    cluster.run(2000);
    assert_eq!(cluster.snapshot().primary, Some(TWO));
    stays_out(&cluster, "a promotion");
    cluster.monitor.handle_undrain(cluster.now(), ONE);
    cluster.monitor.handle_undrain(cluster.now(), ONE);
    cluster.run(1000);
    assert!(cluster.in_rotation().contains(&ONE), "a hand does");
    let told = |told: &&Event| **told == Event::Undrained { node: ONE };
    assert_eq!(cluster.events.iter().filter(told).count(), 1);
}

#[test]
fn a_drained_node_is_not_the_freshest_either() {
    let mut cluster = Cluster::settled(|_| {});
    cluster.drain(ONE);
    cluster.drain(TWO);
    let (snapshot, now) = (cluster.snapshot(), cluster.now());
    let request = request(Fallback::Freshest);
    let Selection::None(rejections) = select(&snapshot, request, now, &|_| 0, &mut || 0) else {
        panic!("a drained node was chosen");
    };
    let step = next_step(&snapshot, request, &rejections, now);
    assert_eq!(step, Step::Refuse);
}

#[test]
fn a_node_may_be_drained_before_it_was_ever_seen() {
    let mut cluster = Cluster::new(|_| {});
    cluster.drain(ONE);
    assert_eq!(cluster.cause(ONE), Some(Cause::Drained));
    cluster.run(2000);
    assert_eq!(cluster.in_rotation(), [TWO]);
}

#[test]
fn a_drained_node_that_comes_back_by_its_name_is_still_drained() {
    let mut cluster = Cluster::settled(|_| {});
    cluster.drain(ONE);
    assert_eq!(cluster.remove(ONE), Ok(()));
    let again = cluster.add("one", Answer::Follows);
    assert_eq!(cluster.cause(again), Some(Cause::Drained));
    cluster.run(1000);
    assert_eq!(cluster.in_rotation(), [TWO]);
    cluster.monitor.handle_undrain(cluster.now(), again);
    cluster.run(1000);
    assert_eq!(cluster.in_rotation(), [TWO, again]);
    assert_eq!(cluster.remove(again), Ok(()));
    let third = cluster.add("one", Answer::Follows);
    cluster.run(1000);
    assert_eq!(cluster.in_rotation(), [TWO, third], "that drain is over");
}

#[test]
fn a_drained_primary_keeps_its_writes_and_a_drained_replica_takes_them_when_promoted() {
    let mut cluster = Cluster::settled(|_| {});
    cluster.drain(PRIMARY);
    cluster.drain(ONE);
    cluster.run(500);
    assert_eq!(cluster.snapshot().primary, Some(PRIMARY));
    cluster.nodes[0] = Answer::Nothing;
    cluster.nodes[1] = Answer::Writes(2);
    cluster.run(1000);
    let snapshot = cluster.snapshot();
    assert_eq!((snapshot.primary, snapshot.primary_lost), (Some(ONE), None));
    assert_eq!(cluster.in_rotation(), [TWO]);
}

const MINUTE: Duration = Duration::from_secs(60);
