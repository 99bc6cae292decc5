//! When each node is to be asked next.
//!
//! Four paces: the ordinary one, a slower one while nobody reads, a fast one while the cluster
//! changes, and the fastest while a session waits for replay. At the first three all nodes are asked at
//! the beats of the router, and the replicas a little after the primary: what it says then is what they
//! can have replayed when they are asked. One that stands where it stood leaves them nothing to replay:
//! they are asked at once, which spares a wake-up, and those that have shown all there is only at every
//! other beat, to see that they are there. A node that does not answer is tried at growing pauses.

use alloc::vec::Vec;
use core::time::Duration;

use super::beat::Beat;
use crate::backoff::Backoff;
use crate::node::NodeId;
use crate::policy::Policy;
use crate::random::Random;
use crate::time::Instant;

/// When each node is due.
#[derive(Debug)]
pub(super) struct Schedule {
    turns: Vec<Turn>,
    beat: Beat,
    /// How a node begins that does not answer.
    backoff: Backoff,
    poll_interval: Duration,
    idle_poll_interval: Duration,
    settle_interval: Duration,
    demand_interval: Duration,
    idle: bool,
    /// For how long the cluster has been changing, while it is.
    hastened: Option<Duration>,
    demand: Option<Demand>,
    /// Which node is looked at first in this round of questions, and in the next: with the same one
    /// always first, waiting reads would always be served by it.
    first: usize,
    next_first: usize,
}

#[derive(Debug)]
struct Turn {
    due: Instant,
    asked: bool,
    /// Where the next question would stand if all were spaced at the fastest pace.
    spaced: Instant,
    /// It was to be asked again while it was being asked.
    hurried: bool,
    place: Place,
    backoff: Backoff,
}

impl Turn {
    fn new(now: Instant, backoff: Backoff) -> Self {
        Self {
            due: now,
            asked: false,
            spaced: Instant::from_nanos(0),
            hurried: false,
            place: Place::First,
            backoff,
        }
    }

    /// When the node may be asked next at the fastest pace: a few questions may follow each other
    /// closely, many may not. (The generic cell rate algorithm, ITU-T I.371.)
    fn soonest(&self, now: Instant, pace: Duration) -> Instant {
        self.spaced.before(pace.saturating_mul(BURST)).max(now)
    }

    fn ask(&mut self, now: Instant, pace: Duration) {
        self.asked = true;
        self.spaced = self.spaced.max(now).after(pace);
    }
}

/// When within a beat a node is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    First,
    AfterPrimary,
    /// After the primary, and as long as that stands where it stood only at every other beat.
    AtRest,
}

/// A read waits.
#[derive(Debug)]
struct Demand {
    needed: Instant,
    until: Instant,
    /// How often a replica was asked again.
    repeats: u32,
    pause: Duration,
}

impl Schedule {
    pub(super) fn new(now: Instant, nodes: usize, policy: &Policy) -> Self {
        let backoff = Backoff::new(policy.poll_interval, policy.max_backoff);
        Self {
            turns: (0..nodes).map(|_| Turn::new(now, backoff)).collect(),
            beat: Beat::new(now),
            backoff,
            poll_interval: policy.poll_interval,
            idle_poll_interval: policy.idle_poll_interval,
            settle_interval: policy.settle_interval,
            demand_interval: policy.demand_interval,
            idle: false,
            hastened: None,
            demand: None,
            first: 0,
            next_first: 0,
        }
    }

    /// A node has come, which is due at once.
    pub(super) fn admit(&mut self, now: Instant, node: NodeId) {
        let turn = Turn::new(now, self.backoff);
        match self.turns.get_mut(node.index()) {
            Some(place) => *place = turn,
            None => self.turns.push(turn),
        }
    }

    /// A node has gone: it is never due again, as one whose answer never comes.
    pub(super) fn retire(&mut self, node: NodeId) {
        if let Some(turn) = self.turns.get_mut(node.index()) {
            turn.asked = true;
        }
    }

    /// Other intervals hold from now on, also for the turn that each node waits for.
    pub(super) fn set_policy(&mut self, now: Instant, policy: &Policy) {
        self.poll_interval = policy.poll_interval;
        self.idle_poll_interval = policy.idle_poll_interval;
        self.settle_interval = policy.settle_interval;
        self.demand_interval = policy.demand_interval;
        self.backoff = Backoff::new(policy.poll_interval, policy.max_backoff);
        let latest = now.after(policy.max_backoff.max(self.interval()));
        for turn in &mut self.turns {
            turn.backoff = self.backoff;
            turn.due = turn.due.min(latest);
        }
    }

    /// A node that is due and not being asked; from now on it is being asked. None ends a round.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<NodeId> {
        self.beat.advance(now, self.interval());
        let nodes = self.turns.len();
        let due = |index: &usize| {
            let turn = &self.turns[*index];
            !turn.asked && turn.due <= now
        };
        let Some(index) = (self.first..nodes).chain(0..self.first).find(due) else {
            self.first = self.next_first;
            return None;
        };
        if self.first == self.next_first {
            self.next_first = (index + 1) % nodes;
        }
        self.turns[index].ask(now, self.demand_interval);
        u16::try_from(index).ok().map(NodeId::new)
    }

    /// When the next node is due that is not being asked, or the next beat: it is there before the
    /// answers that it is waited for with, so that these change nothing about it.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.turns
            .iter()
            .filter(|turn| !turn.asked)
            .map(|turn| turn.due)
            .chain([self.beat.next()])
            .min()
    }

    /// A node has answered. Its next turn is at the next beat after the one that it was due at, so
    /// that slow answers do not stretch the interval.
    pub(super) fn answered(
        &mut self,
        now: Instant,
        node: NodeId,
        place: Place,
        random: &mut impl Random,
    ) {
        let (offset, rest) = match place {
            Place::First => (Duration::ZERO, Duration::ZERO),
            Place::AfterPrimary => (self.after_primary(), Duration::ZERO),
            Place::AtRest => (self.after_primary(), self.rest()),
        };
        let Some(turn) = self.turns.get_mut(node.index()) else {
            return;
        };
        // An answer that comes twice answers one question.
        if !turn.asked {
            return;
        }
        self.beat.draw(random);
        turn.asked = false;
        turn.place = place;
        turn.backoff.reset();
        let soonest = turn.soonest(now, self.demand_interval);
        turn.due = if core::mem::take(&mut turn.hurried) {
            soonest
        } else {
            let next = self.beat.following(turn.due, offset);
            next.after(rest).max(soonest)
        };
    }

    /// The primary has said that it stands where it stood: those that would be asked a little after it
    /// need not wait for anything.
    pub(super) fn primary_stood(&mut self, now: Instant) {
        let soon = now.after(self.interval() / 4);
        for turn in &mut self.turns {
            if turn.place != Place::First && turn.due <= soon {
                turn.due = turn.due.min(turn.soonest(now, self.demand_interval));
            }
        }
    }

    /// The primary has moved on: nobody rests.
    pub(super) fn primary_moved(&mut self, now: Instant) {
        let due = self.beat.last().after(self.after_primary()).max(now);
        for turn in &mut self.turns {
            if turn.place == Place::AtRest {
                turn.due = turn.due.min(due);
            }
        }
    }

    /// A node has not answered.
    pub(super) fn failed(&mut self, now: Instant, node: NodeId, random: &mut impl Random) {
        let Some(turn) = self.turns.get_mut(node.index()) else {
            return;
        };
        turn.asked = false;
        turn.hurried = false;
        turn.place = Place::First;
        let pause = turn.backoff.fail(random);
        // Who comes back while the cluster changes may be the one that everybody waits for.
        let pause = if self.hastened.is_some() {
            pause.min(self.poll_interval)
        } else {
            pause
        };
        turn.due = now.after(pause);
    }

    /// A node is to be asked at once; again, if it is being asked. However many ask for it, one
    /// question follows another no sooner than the fastest pace allows.
    pub(super) fn hurry(&mut self, now: Instant, node: NodeId) {
        let Some(turn) = self.turns.get_mut(node.index()) else {
            return;
        };
        turn.hurried = turn.asked;
        turn.due = turn.due.min(turn.soonest(now, self.demand_interval));
    }

    /// A read waits for a replica to reach `needed`. It joins those that wait already.
    pub(super) fn demand(&mut self, now: Instant, needed: Instant, until: Instant) {
        let joined = self.demand.take().filter(|demand| now < demand.until);
        let Some(mut demand) = joined else {
            self.demand = Some(Demand {
                needed,
                until,
                repeats: 0,
                pause: self.demand_interval,
            });
            return;
        };
        demand.needed = demand.needed.max(needed);
        demand.until = demand.until.max(until);
        self.demand = Some(demand);
    }

    /// The instant that a waiting read needs, while one waits.
    pub(super) fn demanded(&self, now: Instant) -> Option<Instant> {
        self.demand
            .as_ref()
            .filter(|demand| now < demand.until)
            .map(|demand| demand.needed)
    }

    /// Nobody waits any longer.
    pub(super) fn satisfy(&mut self) {
        self.demand = None;
    }

    /// A node has answered and is not there yet. The first times it is asked again at once, for
    /// replay takes less than a pause; then after pauses that grow, so that a replica that cannot
    /// keep up is not asked to death.
    pub(super) fn repeat_for_demand(&mut self, now: Instant, node: NodeId) {
        let Some(demand) = self.demand.as_mut() else {
            return;
        };
        let Some(turn) = self.turns.get_mut(node.index()) else {
            return;
        };
        demand.repeats = demand.repeats.saturating_add(1);
        if demand.repeats <= BURST {
            turn.due = turn.due.min(turn.soonest(now, self.demand_interval));
            return;
        }
        turn.due = turn.due.min(now.after(demand.pause));
        let longest = self.demand_interval.saturating_mul(10);
        demand.pause = (demand.pause.saturating_mul(5) / 4).min(longest);
    }

    /// How long after the primary the others are asked.
    fn after_primary(&self) -> Duration {
        self.interval() / 8
    }

    /// For how long those may rest that have shown all there is: for an interval, but no node is seen
    /// less often than while nobody reads, and while the cluster changes nobody rests.
    fn rest(&self) -> Duration {
        let interval = self.interval();
        let seen = interval.saturating_mul(2) <= self.idle_poll_interval;
        if seen && self.hastened.is_none() {
            interval
        } else {
            Duration::ZERO
        }
    }

    /// How often each node is asked at present. The longer a change takes, the less a moment more of it
    /// counts: after the first seconds haste slows down to the ordinary pace, so that a fleet whose
    /// primary stays away does not load the nodes that are left.
    pub(super) fn interval(&self) -> Duration {
        match self.hastened {
            Some(elapsed) => {
                let slower = u32::try_from(elapsed.as_secs()).unwrap_or(u32::MAX);
                let slower = slower.checked_next_power_of_two().unwrap_or(u32::MAX);
                let pace = self.settle_interval.saturating_mul(slower);
                pace.min(self.poll_interval)
            }
            None if self.idle => self.idle_poll_interval,
            None => self.poll_interval,
        }
    }

    /// For how long the cluster has been changing, if it is, and is asked faster.
    pub(super) fn set_hastened(&mut self, hastened: Option<Duration>) {
        self.hastened = hastened;
    }

    pub(super) const fn is_idle(&self) -> bool {
        self.idle
    }

    pub(super) fn set_idle(&mut self, idle: bool) {
        self.idle = idle;
    }
}

/// How many questions to a node may follow each other without a pause.
const BURST: u32 = 4;
