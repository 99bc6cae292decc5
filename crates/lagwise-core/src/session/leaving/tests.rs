//! A session that leaves and comes in elsewhere needs no less than before.

use std::string::ToString;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::history::Sample;
use crate::lsn::Lsn;
use crate::monitor::Monitor;
use crate::node::{Incarnation, NodeId, NodeSpec, Role, SystemId};
use crate::observation::ServerStart;
use crate::policy::Policy;
use crate::position::Switch;
use crate::requirement::Requirement;
use crate::selection::recheck;

const WINDOW: Duration = Duration::from_secs(2);
const MS: u64 = 1_000_000;

/// A cluster of one primary and three replicas, as its servers know it.
#[derive(Clone, Debug)]
struct World {
    millis: u64,
    /// Where the primary stood from which millisecond on.
    log: Vec<(u64, u64)>,
    shows: [u64; 3],
    /// Each replica's run, and when its server was started.
    runs: [u32; 3],
    started: [i64; 3],
    /// Since when each run goes on.
    since: [u64; 3],
}

impl World {
    fn new() -> Self {
        Self {
            millis: 100_000,
            log: Vec::from([(0, 100)]),
            shows: [100; 3],
            runs: [0; 3],
            started: [1, 2, 3],
            since: [90_000; 3],
        }
    }

    fn head(&self) -> u64 {
        self.log.last().map_or(0, |(_, lsn)| *lsn)
    }

    fn commit(&mut self) {
        self.millis += 1;
        self.log.push((self.millis, self.head() + 1));
    }

    /// When the primary last stood no farther than a replica does.
    fn as_of(&self, shows: u64) -> u64 {
        let next = self.log.iter().find(|(_, lsn)| *lsn > shows);
        next.map_or(self.millis, |(at, _)| at.saturating_sub(1))
    }
}

/// A process: its instants and its wall clock begin anywhere, and its monitor began at `began`.
#[derive(Clone, Copy, Debug)]
struct Process {
    offset: u64,
    wall: u64,
    began: u64,
}

/// The second one's clock is ahead by as much as clocks may differ.
const PROCESSES: [Process; 2] = [
    Process {
        offset: 0,
        wall: 1_000_000,
        began: 95_000,
    },
    Process {
        offset: 7_000_000,
        wall: 1_002_000,
        began: 99_000,
    },
];

impl Process {
    fn at(self, millis: u64) -> Instant {
        Instant::from_nanos((millis + self.offset) * MS)
    }

    fn wall(self, world: &World) -> WallTime {
        WallTime::from_millis(world.millis + self.wall)
    }

    /// What its monitor knows, which has just asked everybody.
    fn snapshot(self, world: &World) -> Snapshot {
        let policy = Policy::default().validate().unwrap();
        let replica = |number: i32| NodeSpec::new(number.to_string(), Role::Replica);
        let nodes = [NodeSpec::new("p", Role::Primary)].into_iter();
        let monitor = Monitor::new(self.at(0), policy, nodes.chain((1..4).map(replica)));
        let now = self.at(world.millis);
        let mut snapshot = monitor.snapshot(now);
        snapshot.primary = Some(NodeId::new(0));
        snapshot.system = Some(SystemId::new(1));
        snapshot.timeline = Some(Timeline::new(1));
        snapshot.head = Some(Sample {
            lsn: Lsn::new(world.head()),
            first_sent: now,
            last_sent: now,
        });
        snapshot.nodes = snapshot.nodes.changed(|(number, node)| {
            let Some(number) = number.checked_sub(1) else {
                return;
            };
            let as_of = self.at(world.as_of(world.shows[number]));
            node.as_of = Some(as_of);
            node.passed = Some(as_of);
            node.lsn = Some(Lsn::new(world.shows[number]));
            node.started = Some(ServerStart::new(world.started[number]));
            node.runs_since = Some(self.at(world.since[number].max(self.began)));
            for _ in 0..world.runs[number] {
                node.incarnation = node.incarnation.next();
            }
        });
        snapshot
    }
}

#[derive(Clone, Debug)]
enum Act {
    Write,
    /// A write of unknown outcome; it commits later, if at all.
    Lose,
    Noise,
    Capture,
    ReadPrimary,
    Read(usize),
    Replay(usize, u64),
    /// The server goes back, under the same start time or another one.
    Crash(usize, u64, bool),
    Pass(u64),
    Carry,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        3 => Just(Act::Write),
        1 => Just(Act::Lose),
        3 => Just(Act::Noise),
        2 => Just(Act::Capture),
        1 => Just(Act::ReadPrimary),
        9 => (0_usize..3).prop_map(Act::Read),
        7 => (0_usize..3, 0_u64..6).prop_map(|(node, lag)| Act::Replay(node, lag)),
        1 => (0_usize..3, 1_u64..9, any::<bool>())
            .prop_map(|(node, back, restarted)| Act::Crash(node, back, restarted)),
        2 => (1_u64..5_000).prop_map(Act::Pass),
        6 => Just(Act::Carry),
    ];
    prop::collection::vec(act, 1..60)
}

/// A session on its way through two processes, and what it has written and seen in fact.
struct Traveler {
    world: World,
    place: usize,
    session: Session,
    wrote: u64,
    saw: u64,
    /// A write that may commit until then.
    may_commit_until: Option<u64>,
}

impl Traveler {
    fn process(&self) -> Process {
        PROCESSES[self.place]
    }

    fn now(&self) -> Instant {
        self.process().at(self.world.millis)
    }

    fn act(&mut self, act: &Act) -> Result<(), TestCaseError> {
        self.world.millis += 1;
        match *act {
            Act::Write => {
                self.session.open_write(None);
                self.world.commit();
                self.wrote = self.world.head();
                self.world.millis += 1;
                self.session.close_write(self.now());
            }
            Act::Lose => {
                self.session.open_write(None);
                self.session.lose_write(self.now(), WINDOW);
                self.may_commit_until = Some(self.world.millis + 1_900);
            }
            Act::Noise => self.world.commit(),
            Act::Capture => {
                let position = Position {
                    system: SystemId::new(1),
                    timeline: Timeline::new(1),
                    lsn: Lsn::new(self.world.head()),
                };
                self.session.cover(position, self.now());
            }
            Act::ReadPrimary => {
                self.session.open_primary_read();
                self.saw = self.world.head();
                self.world.millis += 1;
                self.session.close_primary_read(self.now());
            }
            Act::Read(number) => self.read(number)?,
            Act::Replay(number, lag) => {
                let shows = &mut self.world.shows[number];
                *shows = (*shows).max(self.world.log.last().unwrap().1.saturating_sub(lag));
            }
            Act::Crash(number, back, restarted) => {
                self.world.shows[number] = self.world.shows[number].saturating_sub(back);
                self.world.runs[number] += 1;
                self.world.since[number] = self.world.millis;
                self.world.started[number] += if restarted { 10 } else { 0 };
            }
            Act::Pass(millis) => self.world.millis += millis,
            Act::Carry => self.carry(),
        }
        self.commit_late();
        Ok(())
    }

    /// The write of unknown outcome takes effect at the last moment.
    fn commit_late(&mut self) {
        if self
            .may_commit_until
            .is_some_and(|until| self.world.millis >= until)
        {
            let until = self.may_commit_until.take().unwrap();
            let after = self.world.log.partition_point(|(at, _)| *at <= until);
            if after == self.world.log.len() {
                self.world.log.push((until, self.world.head() + 1));
                self.wrote = self.world.head();
            }
        }
    }

    fn read(&mut self, number: usize) -> Result<(), TestCaseError> {
        let snapshot = self.process().snapshot(&self.world);
        self.session.settle_position(&snapshot);
        let node = NodeId::new(u16::try_from(number).unwrap() + 1);
        let floor = self.session.floor();
        let requirement = Requirement::at_least(floor);
        let Ok(reached) = recheck(&snapshot, node, &requirement, self.now()) else {
            return Ok(());
        };
        let shows = self.world.shows[number];
        prop_assert!(
            shows >= self.wrote,
            "{shows} lacks the write of {}",
            self.wrote
        );
        prop_assert!(shows >= self.saw, "back from {} to {shows}", self.saw);
        let sight = snapshot.node(node).unwrap().sight();
        prop_assert!(self.session.open_read(sight, reached).is_ok());
        self.saw = self.saw.max(shows);
        self.world.millis += 1;
        self.session.close_read(self.now());
        Ok(())
    }

    fn carry(&mut self) {
        let process = self.process();
        let times = (self.now(), process.wall(&self.world));
        let claim = self
            .session
            .claim(&process.snapshot(&self.world), times, WINDOW);
        let claim = Claim::decode(&claim.unwrap().encode()).unwrap();
        self.place = 1 - self.place;
        let process = self.process();
        self.session = Session::default();
        let wall = process.wall(&self.world);
        self.session
            .take_up(&claim, &process.snapshot(&self.world), self.now(), wall);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever a session did in two processes, a replica that its floor admits shows all that it
    /// wrote and all that it saw.
    #[test]
    fn what_a_token_carries_admits_no_replica_that_lacks_anything(acts in acts()) {
        let mut traveler = Traveler {
            world: World::new(),
            place: 0,
            session: Session::default(),
            wrote: 0,
            saw: 0,
            may_commit_until: None,
        };
        for act in &acts {
            traveler.act(act)?;
        }
    }
}

fn settled() -> (World, Process) {
    let mut world = World::new();
    world.millis += 10_000;
    (world, PROCESSES[0])
}

fn position(timeline: u32, lsn: u64) -> Position {
    Position {
        system: SystemId::new(1),
        timeline: Timeline::new(timeline),
        lsn: Lsn::new(lsn),
    }
}

fn promoted(mut snapshot: Snapshot, kept: u64, seen_at: Instant) -> Snapshot {
    snapshot.timeline = snapshot
        .timeline
        .map(|ended| Timeline::new(ended.as_u32() + 1));
    snapshot.switches = [Switch {
        ended: Timeline::new(1),
        began: Timeline::new(2),
        kept: Some(Lsn::new(kept)),
        kept_as_of: Some(Instant::from_nanos(1)),
        seen_at,
    }]
    .into();
    snapshot
}

/// A session that wrote, and what it captured if it did.
fn wrote(process: Process, world: &mut World, captured: Option<u64>) -> Session {
    let mut session = Session::default();
    session.open_write(None);
    world.commit();
    session.close_write(process.at(world.millis));
    world.millis += 1;
    if let Some(lsn) = captured {
        session.cover(position(1, lsn), process.at(world.millis));
    }
    session
}

fn taken_up(claim: &Claim, snapshot: &Snapshot, world: &World, process: Process) -> Session {
    let mut session = Session::default();
    session.take_up(
        claim,
        snapshot,
        process.at(world.millis),
        process.wall(world),
    );
    session
}

#[test]
fn a_token_made_after_a_promotion_does_not_pass_a_lost_write_off_as_kept() {
    for captured in [None, Some(101)] {
        for captured_after in [false, true] {
            let (mut world, process) = settled();
            let mut session = wrote(process, &mut world, captured);
            let seen_at = process.at(world.millis);
            let after = promoted(process.snapshot(&world), 100, seen_at);
            world.millis += 5;
            session.settle_position(&after);
            if captured_after {
                session.cover(position(2, 400), process.at(world.millis));
            }
            assert!(session.may_have_lost_writes(&after));
            let times = (process.at(world.millis), process.wall(&world));
            let claim = session.claim(&after, times, WINDOW).unwrap();
            let mut next = taken_up(&claim, &after, &world, process);
            next.settle_position(&after);
            assert!(next.may_have_lost_writes(&after), "{claim:?}");
            assert!(
                next.floor().needed().is_some(),
                "what is left of it is needed"
            );
        }
    }
}

#[test]
fn a_write_that_was_kept_is_satisfied_after_the_promotion() {
    let (mut world, process) = settled();
    let session = wrote(process, &mut world, Some(101));
    let times = (process.at(world.millis), process.wall(&world));
    let claim = session
        .claim(&process.snapshot(&world), times, WINDOW)
        .unwrap();
    let after = promoted(process.snapshot(&world), 101, process.at(world.millis));
    let mut next = taken_up(&claim, &after, &world, process);
    assert_eq!(next.settle_position(&after), None);
    assert!(!next.may_have_lost_writes(&after));
    assert_eq!(next.floor().needed_position(), Some(position(1, 101)));
}

#[test]
fn a_later_write_does_not_hide_that_an_earlier_one_may_be_lost() {
    let (mut world, process) = settled();
    let mut session = wrote(process, &mut world, None);
    let after = promoted(process.snapshot(&world), 100, process.at(world.millis));
    world.millis += 5;
    // Its next write is routed by what is known then.
    session.settle_position(&after);
    session.open_write(None);
    session.close_write(process.at(world.millis));
    assert!(session.may_have_lost_writes(&after));
}

#[test]
fn a_write_that_the_old_primary_acknowledged_after_the_promotion_was_seen_may_be_lost() {
    let (mut world, process) = settled();
    let after = promoted(process.snapshot(&world), 100, process.at(world.millis));
    let mut session = Session::default();
    session.open_write(Some(Timeline::new(1)));
    world.millis += 50;
    // Another write of the session goes where writes go now, and ends first.
    session.open_write(Some(Timeline::new(2)));
    session.close_write(process.at(world.millis));
    assert!(
        session.may_have_lost_writes(&after),
        "nobody knows which of them ended"
    );
    world.millis += 50;
    session.close_write(process.at(world.millis));
    assert!(session.may_have_lost_writes(&after));
    let times = (process.at(world.millis), process.wall(&world));
    session.cover(position(2, 900), times.0);
    let claim = session.claim(&after, times, WINDOW).unwrap();
    let next = taken_up(&claim, &after, &world, process);
    assert!(
        next.may_have_lost_writes(&after),
        "its token says so: {claim:?}"
    );
}

#[test]
fn what_a_promotion_kept_is_not_called_lost_because_of_a_write_after_it() {
    let (mut world, process) = settled();
    let mut session = Session::default();
    session.open_write(Some(Timeline::new(1)));
    session.close_write(process.at(world.millis - 40));
    let kept_as_of = process.at(world.millis - 20);
    let mut after = promoted(process.snapshot(&world), 100, process.at(world.millis));
    let mut switches = after.switches.to_vec();
    switches[0].kept_as_of = Some(kept_as_of);
    after.switches = switches.into();
    world.millis += 50;
    session.settle_position(&after);
    session.open_write(Some(Timeline::new(2)));
    session.close_write(process.at(world.millis));
    assert!(!session.may_have_lost_writes(&after), "neither of them is");
}

#[test]
fn a_write_elsewhere_that_was_never_captured_may_be_lost_in_a_promotion_after_it_came_in() {
    let (mut world, process) = settled();
    let session = wrote(process, &mut world, None);
    let before = process.snapshot(&world);
    let times = (process.at(world.millis), process.wall(&world));
    let claim = session.claim(&before, times, WINDOW).unwrap();
    let mut next = taken_up(&claim, &before, &world, process);
    assert!(!next.may_have_lost_writes(&before));
    world.millis += 5;
    let after = promoted(before, 100, process.at(world.millis));
    next.settle_position(&after);
    assert!(next.may_have_lost_writes(&after));
}

#[test]
fn a_write_elsewhere_may_be_lost_in_a_promotion_before_a_primary_was_first_seen_here() {
    let (mut world, process) = settled();
    let session = wrote(process, &mut world, None);
    let mut here = process.snapshot(&world);
    let times = (process.at(world.millis), process.wall(&world));
    let claim = session.claim(&here, times, WINDOW).unwrap();
    let mut blind = here.clone();
    (blind.timeline, blind.head) = (None, None);
    let mut next = taken_up(&claim, &blind, &world, process);
    assert!(!next.may_have_lost_writes(&blind));
    here.timeline = Some(Timeline::new(2));
    next.settle_position(&here);
    assert!(next.may_have_lost_writes(&here));
}

#[test]
fn what_is_left_of_a_position_that_the_primary_never_reached_is_needed_as_of_when_it_came() {
    let (world, process) = settled();
    let snapshot = process.snapshot(&world);
    let since = process.at(world.millis);
    let mut session = Session::resume(Floor::position(position(1, 999), since));
    assert_eq!(session.settle_position(&snapshot), Some(Voided::Beyond));
    assert_eq!(
        session.floor().needed_position(),
        None,
        "nobody waits for it"
    );
    assert_eq!(
        session.floor().needed(),
        Some(since),
        "the rest of it is not lost"
    );
    assert!(session.may_have_lost_writes(&snapshot));
    assert_eq!(session.settle_position(&snapshot), None, "it is said once");
}

#[test]
fn a_position_of_another_cluster_replaces_none_of_ours() {
    let (world, process) = settled();
    let now = process.at(world.millis);
    let foreign = Position {
        system: SystemId::new(2),
        ..position(1, 5)
    };
    for (first, second) in [(foreign, position(1, 90)), (position(1, 90), foreign)] {
        // Before a primary was seen nobody knows whose position is whose.
        let mut session = Session::resume(Floor::position(first, now));
        session.merge(Floor::position(second, now));
        session.settle_position(&process.snapshot(&world));
        let floor = session.floor();
        assert!(
            floor.needed() == Some(now) || floor.needed_position() == Some(position(1, 90)),
            "{floor:?}"
        );
        let sight = Sight {
            node: NodeId::new(1),
            incarnation: Incarnation::default(),
        };
        assert!(floor.lacking(sight, process.at(5).into()).is_some() || floor.position.is_some());
    }
}

#[test]
fn an_open_write_is_told_as_open() {
    let (world, process) = settled();
    let snapshot = process.snapshot(&world);
    let wall = process.wall(&world);
    let mut session = Session::default();
    session.open_write(None);
    let claim = session
        .claim(&snapshot, (process.at(world.millis), wall), WINDOW)
        .unwrap();
    assert!(claim.beyond && claim.uncaptured, "{claim:?}");
    assert_eq!(claim.unsettled_until, Some(wall.after(WINDOW)));
    let next = taken_up(&claim, &snapshot, &world, process);
    let needed = process.at(world.millis).after(WINDOW);
    assert!(
        next.floor().needed() >= Some(needed),
        "no replica reaches that before"
    );
}

#[test]
fn a_write_of_unknown_outcome_is_not_waited_out_for_longer_with_every_token() {
    let (mut world, process) = settled();
    let mut session = Session::default();
    session.open_write(None);
    session.lose_write(process.at(world.millis), WINDOW);
    let told = |session: &Session, world: &World| {
        let times = (process.at(world.millis), process.wall(world));
        session
            .claim(&process.snapshot(world), times, WINDOW)
            .unwrap()
    };
    let first = told(&session, &world).unsettled_until;
    assert_eq!(first, Some(process.wall(&world).after(WINDOW)));
    for _ in 0..9 {
        let claim = told(&session, &world);
        assert!(claim.unsettled_until.is_none() || claim.unsettled_until == first);
        session = taken_up(&claim, &process.snapshot(&world), &world, process);
        world.millis += 900;
    }
    let now = process.at(world.millis);
    assert!(session.floor().needed() < Some(now), "it has ended");
}

#[test]
fn a_token_is_due_only_when_there_is_something_to_say() {
    let (mut world, process) = settled();
    let renew_after = Duration::from_secs(75);
    let mut session = Session::default();
    let wall = process.wall(&world);
    assert!(
        !session.has_moved(wall, renew_after),
        "nothing has happened"
    );
    let snapshot = process.snapshot(&world);
    let sight = snapshot.node(NodeId::new(1)).unwrap().sight();
    let mut read = |session: &mut Session| {
        session.open_read(sight, process.at(world.millis)).unwrap();
        world.millis += 1;
        session.close_read(process.at(world.millis));
    };
    read(&mut session);
    assert!(session.has_moved(wall, renew_after));
    assert!(!session.has_written());
    let claim = session
        .claim(&snapshot, (process.at(200_000), wall), WINDOW)
        .unwrap();
    session.told(&claim);
    assert!(!session.has_moved(wall, renew_after), "it was told");
    read(&mut session);
    assert!(
        !session.has_moved(wall, renew_after),
        "the same replica again"
    );
    let later = wall.after(renew_after);
    assert!(session.has_moved(later, renew_after), "the token grows old");
    session.open_write(None);
    assert!(session.has_moved(wall, renew_after));
    assert!(session.has_written());
}

#[test]
fn a_position_covers_what_had_ended_when_it_was_asked_for_and_no_more() {
    let (world, process) = settled();
    let at = |millis| process.at(world.millis + millis);
    for (sent, covered) in [(9, false), (10, true), (11, true)] {
        let mut session = Session::default();
        session.open_write(None);
        session.close_write(at(10));
        session.cover(position(1, 101), at(sent));
        assert_eq!(session.is_uncaptured(), !covered, "asked at {sent}");
        let times = (at(20), process.wall(&world));
        let claim = session.claim(&process.snapshot(&world), times, WINDOW);
        let claim = claim.unwrap();
        assert_eq!((claim.beyond, claim.uncaptured), (!covered, !covered));
        assert_eq!(claim.lsn, Some(Lsn::new(101)));
    }
    for (sent, covered) in [(9, false), (10, true)] {
        let mut session = Session::default();
        let sight = process.snapshot(&world).nodes[1].sight();
        session.open_read(sight, at(1)).unwrap();
        session.close_read(at(10));
        session.cover(position(1, 101), at(sent));
        let times = (at(20), process.wall(&world));
        let claim = session.claim(&process.snapshot(&world), times, WINDOW);
        assert_eq!(claim.unwrap().read.is_none(), covered, "asked at {sent}");
    }
}

#[test]
fn a_replica_that_stands_where_the_token_says_serves_and_one_before_it_does_not() {
    let (mut world, process) = settled();
    let session = wrote(process, &mut world, Some(101));
    world.commit();
    let times = (process.at(world.millis), process.wall(&world));
    let claim = session.claim(&process.snapshot(&world), times, WINDOW);
    let next = taken_up(&claim.unwrap(), &process.snapshot(&world), &world, process);
    world.shows = [100, 101, 102];
    let snapshot = process.snapshot(&world);
    let requirement = Requirement::at_least(next.floor());
    let serves = |node| recheck(&snapshot, NodeId::new(node), &requirement, times.0).is_ok();
    assert_eq!([1, 2, 3].map(serves), [false, true, true]);
}

/// Which replica a session that read on the first one is excused on, elsewhere, `age` after.
fn excused(claim: &Claim, world: &World, process: Process) -> Option<NodeId> {
    let next = taken_up(claim, &process.snapshot(world), world, process);
    assert!(
        next.floor().needed().is_some(),
        "other replicas must have it, too"
    );
    next.floor().seen.map(|sight| sight.node)
}

#[test]
fn the_replica_that_was_read_is_excused_only_if_it_has_surely_run_on() {
    let (mut world, process) = settled();
    let mut session = Session::default();
    let sight = process.snapshot(&world).nodes[1].sight();
    session.open_read(sight, process.at(world.millis)).unwrap();
    session.close_read(process.at(world.millis));
    let times = (process.at(world.millis), process.wall(&world));
    let claim = session.claim(&process.snapshot(&world), times, WINDOW);
    let claim = claim.unwrap();
    let read_at = world.millis;
    world.millis += 1_000;
    // Clocks may differ by two seconds, so its run must be known since two before the read.
    for (since, known) in [
        (read_at - 2_001, true),
        (read_at - 2_000, true),
        (read_at - 1_999, false),
        (read_at + 500, false),
    ] {
        world.since[0] = since;
        let found = excused(&claim, &world, process);
        assert_eq!(found.is_some(), known, "since {since}, read at {read_at}");
        assert!(found.is_none_or(|node| node == NodeId::new(1)));
    }
    world.since[0] = 0;
    world.started[1] = world.started[0];
    assert_eq!(excused(&claim, &world, process), None, "two look the same");
    world.started[1] = 77;
    world.started[0] = 78;
    assert_eq!(
        excused(&claim, &world, process),
        None,
        "it was started anew"
    );
}

/// Whether a session has something to tell its client after an answer from elsewhere, and whether
/// that is told as a write.
fn after_news(
    session: &mut Session,
    claim: &Claim,
    world: &World,
    process: Process,
) -> (bool, bool) {
    let (now, wall) = (process.at(world.millis), process.wall(world));
    session.take_up_news(claim, &process.snapshot(world), now, wall);
    let told = (
        session.has_moved(wall, Duration::from_secs(60)),
        session.has_written(),
    );
    let said = session.claim(&process.snapshot(world), (now, wall), WINDOW);
    session.told(&said.unwrap());
    told
}

#[test]
fn what_another_service_wrote_is_told_as_a_write_and_what_it_read_as_a_read() {
    let (mut world, process) = settled();
    let mut session = wrote(process, &mut world, Some(101));
    let times = (process.at(world.millis), process.wall(&world));
    let own = session
        .claim(&process.snapshot(&world), times, WINDOW)
        .unwrap();
    session.told(&own);
    let with = |change: fn(&mut Claim)| {
        let mut claim = own;
        change(&mut claim);
        claim
    };
    let mut news = |claim: &Claim| after_news(&mut session, claim, &world, process);
    assert_eq!(news(&own), (false, false), "what it had said itself");
    assert_eq!(news(&with(|claim| claim.lsn = None)), (false, false));
    let wrote = with(|claim| claim.lsn = Some(Lsn::new(102)));
    assert_eq!(news(&wrote), (true, true));
    assert_eq!(news(&wrote), (false, false), "once");
    let several = with(|claim| claim.read = Some(ReadFrom::Several));
    assert_eq!(news(&several), (true, false));
    assert_eq!(news(&several), (true, false), "it may have been later");
    let uncaptured = with(|claim| (claim.uncaptured, claim.beyond) = (true, true));
    assert_eq!(news(&uncaptured), (true, true));
    assert_eq!(news(&uncaptured), (true, true), "it may be another one");
}

#[test]
fn what_another_service_read_on_the_primary_is_told_as_a_read() {
    let (world, process) = settled();
    let mut session = Session::default();
    let wall = process.wall(&world);
    let mut claim = Claim::new(SystemId::new(1), Timeline::new(1), wall);
    claim.beyond = true;
    assert_eq!(
        after_news(&mut session, &claim, &world, process),
        (true, false)
    );
    let needed = session.floor().needed();
    assert_eq!(needed, Some(process.at(world.millis)), "and is needed here");
}
