//! One decision as a routed read takes it: what the statement is, what its session needs, and which of
//! the replicas serves it.
//!
//! The cluster is one that a monitor has watched until every replica takes its full share of reads.
//! Each replica has the load of a real node, and the session is shared under a lock as it is in the
//! router. Who measures it, and how, is not this module's business.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lagwise_core::{
    Candidate, Fallback, Floor, Instant, Lsn, Monitor, NodeId, NodeSpec, Observation, Policy,
    Request, Requirement, Role, Selection, ServerStart, Session, Sight, Snapshot, Standing,
    SystemId, Timeline, Verdict, Verdicts, select,
};

use crate::load::Load;

/// A row by its key, as most reads are.
pub const POINT: &str = "SELECT id, email, name FROM users WHERE id = $1";

/// What the session of a read has done before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// Nothing.
    Nothing,
    /// It wrote, and every replica has that by now.
    Wrote,
    /// It has just read from a replica, and no other one is proved to have what it saw there.
    Read,
}

/// All that a decision takes.
#[derive(Debug)]
pub struct Decisions {
    snapshot: Snapshot,
    now: Instant,
    session: Mutex<Session>,
    verdicts: Verdicts,
    loads: Vec<Load>,
    random: u64,
}

impl Decisions {
    /// Decisions among so many replicas, in a session that did this before.
    ///
    /// # Panics
    /// If a replica does not serve: what is measured would be something else.
    #[must_use]
    pub fn among(replicas: u16, before: Before) -> Self {
        let (monitor, now) = cluster(replicas);
        let snapshot = monitor.snapshot(now);
        assert_eq!(snapshot.in_rotation(), usize::from(replicas), "all serve");
        let verdicts = Verdicts::new(7);
        verdicts.put(POINT, Verdict::Read);
        Self {
            session: Mutex::new(session(before, &snapshot, now)),
            snapshot,
            now,
            verdicts,
            loads: (0..=replicas).map(|_| Load::new(now)).collect(),
            random: 1,
        }
    }

    /// Decides where a statement goes; none if it is no read.
    #[inline]
    pub fn decide(&mut self, sql: &str) -> Option<Candidate> {
        if self.classify(sql) != Some(Verdict::Read) {
            return None;
        }
        let floor = self.floor();
        self.select(floor)
    }

    /// What the text is known to be.
    #[inline]
    #[must_use]
    pub fn classify(&self, sql: &str) -> Option<Verdict> {
        self.verdicts.get(sql)
    }

    /// What the session needs, after a look whether what it brought with it can be.
    #[inline]
    #[must_use]
    pub fn floor(&self) -> Floor {
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let _voided = session.settle_position(&self.snapshot);
        session.floor()
    }

    /// A replica that meets the floor.
    #[inline]
    pub fn select(&mut self, floor: Floor) -> Option<Candidate> {
        let request = Request {
            // The caller states nothing besides.
            requirement: Requirement::at_least(floor),
            fallback: Fallback::Primary,
            wait_until: self.now,
            failed: &[],
        };
        let (now, loads, state) = (self.now, &self.loads, &mut self.random);
        let cost = |node: NodeId| {
            loads
                .get(node.index())
                .map_or(u64::MAX, |load| load.cost(now))
        };
        match select(&self.snapshot, request, now, &cost, &mut || next(state)) {
            Selection::Replica(candidate) => Some(candidate),
            Selection::None(_) => None,
        }
    }
}

fn session(before: Before, snapshot: &Snapshot, now: Instant) -> Session {
    let mut session = Session::default();
    match before {
        Before::Nothing => {}
        Before::Wrote => {
            session.open_write(snapshot.timeline);
            session.close_write(at(1));
        }
        Before::Read => {
            let opened = snapshot.nodes.get(1).and_then(|node| {
                let reached = node.reached()?;
                session.open_read(node.sight(), reached).ok()
            });
            assert_eq!(opened, Some(()), "the replica serves");
            session.close_read(now);
        }
    }
    session
}

/// A cheap generator: the cost of the decision is what counts here (xorshift, Marsaglia 2003).
fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// A primary and replicas that are all in rotation and have started slowly before, and an instant a
/// little after they were last seen.
///
/// # Panics
/// Never: the policy is valid.
#[must_use]
pub fn cluster(replicas: u16) -> (Monitor, Instant) {
    let mut policy = Policy::default();
    policy.slow_start = Duration::from_millis(100);
    let policy = policy.validate().expect("the defaults are valid");
    let primary = NodeSpec::new("primary", Role::Primary);
    let others = (0..replicas).map(|index| NodeSpec::new(format!("db-{index}"), Role::Replica));
    let mut monitor = Monitor::new(at(0), policy, std::iter::once(primary).chain(others));
    let is_ready = |monitor: &Monitor, round| {
        monitor.snapshot(at(round * 100)).in_rotation() == usize::from(replicas)
    };
    let mut round = 0;
    // Two more rounds are as long as the slow start, and one more.
    let mut more = 2;
    while more > 0 && round < 100 {
        round += 1;
        more -= u32::from(is_ready(&monitor, round));
        for index in 0..=replicas {
            let observed = observation(index, round);
            let sent = observed.sent_at;
            monitor.handle_observation(sent, NodeId::new(index), observed, &mut || 0);
        }
    }
    (monitor, at(round * 100 + 10))
}

fn observation(index: u16, round: u64) -> Observation {
    let lsn = Lsn::new(round * 4096);
    let standing = if index == 0 {
        Standing::Primary {
            insert: lsn,
            timeline: Timeline::new(1),
            writable: true,
            completed: None,
        }
    } else {
        Standing::Replica {
            replay: Some(lsn),
            paused: false,
            follows: None,
        }
    };
    Observation {
        sent_at: at(round * 100),
        received_at: at(round * 100),
        connection: 1,
        system: SystemId::new(1),
        started: ServerStart::new(1),
        standing,
    }
}

/// So many milliseconds after the origin.
#[must_use]
pub fn at(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}

/// A replica as sessions know it, in its first run.
#[must_use]
pub fn sight(index: u16) -> Sight {
    Sight {
        node: NodeId::new(index),
        incarnation: lagwise_core::Incarnation::default(),
    }
}
