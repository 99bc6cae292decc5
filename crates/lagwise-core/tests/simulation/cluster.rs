//! The cluster as it really is: which commits every node shows at any instant.
//!
//! A timeline is a branch that shares its parent's log up to the switch point. Positions of two
//! branches never coincide: each writes at an offset of its own, as real logs all but always do.

use std::collections::BTreeMap;

use lagwise_core::Random;

use crate::chance::Chance;

pub(crate) const MS: u64 = 1_000_000;
pub(crate) const OURS: u64 = 7;
pub(crate) const FOREIGN: u64 = 13;
const RECORD: u64 = 1024;

/// A place in the log of a timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) timeline: u32,
    pub(crate) lsn: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Primary,
    Standby,
}

/// How the monitor's probes fare on their way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Open,
    Refused,
    Hung,
}

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) system: u64,
    pub(crate) kind: Kind,
    /// Inserted on a primary, replayed on a standby.
    pub(crate) at: Place,
    /// Safe on its disk: on a standby the farthest that it has replayed, to where a promotion replays
    /// again after a crash.
    pub(crate) flushed: u64,
    /// Transactions that have completed, as the node counts them: after a crash it may count anew.
    pub(crate) completed: u64,
    /// Where recovery would begin to serve after a crash.
    pub(crate) least: u64,
    pub(crate) up: bool,
    pub(crate) back_at: u64,
    pub(crate) started: i64,
    /// Counts crashes and restarts: connections of an earlier one are dead.
    pub(crate) epoch: u64,
    pub(crate) paused_until: u64,
    pub(crate) stalled_until: u64,
    /// Bytes a millisecond that it replays.
    pub(crate) speed: u64,
    pub(crate) slow_until: u64,
    pub(crate) writable: bool,
    pub(crate) way: Way,
    pub(crate) way_until: u64,
    pub(crate) clients: bool,
    /// Added to each way of a probe, in microseconds.
    pub(crate) delay: u64,
}

/// An acknowledged commit of a branch, in the order of acknowledgment.
#[derive(Clone, Copy, Debug)]
struct Ack {
    at: u64,
    lsn: u64,
    highest: u64,
}

#[derive(Debug, Default)]
struct Branch {
    parent: Option<Place>,
    acks: Vec<Ack>,
}

/// A commit that its client waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pending {
    pub(crate) ticket: u64,
    pub(crate) node: usize,
    pub(crate) place: Place,
    epoch: u64,
    ack_at: u64,
}

#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) now: u64,
    pub(crate) nodes: Vec<Node>,
    /// The node that the others follow.
    pub(crate) current: usize,
    pub(crate) writes_per_second: u64,
    pub(crate) async_commit: bool,
    /// Nobody writes, not even in a transaction that is still open.
    pub(crate) quiet: bool,
    /// Commits acknowledged in this step.
    pub(crate) acked: Vec<Pending>,
    /// Where a crash cut a primary's log in this step.
    pub(crate) cut: Option<Place>,
    branches: BTreeMap<u32, Branch>,
    newest: u32,
    pending: Vec<Pending>,
    tickets: u64,
    epochs: u64,
}

impl Cluster {
    pub(crate) fn new(now: u64, nodes: usize) -> Self {
        let node = |index| Node {
            system: OURS,
            kind: if index == 0 {
                Kind::Primary
            } else {
                Kind::Standby
            },
            at: Place {
                timeline: 1,
                lsn: 64 * RECORD + 8,
            },
            flushed: 64 * RECORD + 8,
            completed: 0,
            least: 64 * RECORD + 8,
            up: true,
            back_at: 0,
            // Two of them are started in the same microsecond.
            started: [1, 1, 1_001, 2_001, 3_001][index % 5],
            epoch: 1,
            paused_until: 0,
            stalled_until: 0,
            speed: 4_000_000,
            slow_until: 0,
            writable: true,
            way: Way::Open,
            way_until: 0,
            clients: true,
            delay: 0,
        };
        Self {
            now,
            nodes: (0..nodes).map(node).collect(),
            current: 0,
            writes_per_second: 50,
            async_commit: false,
            quiet: false,
            epochs: 1,
            acked: Vec::new(),
            cut: None,
            branches: BTreeMap::from([(1, Branch::default())]),
            newest: 1,
            pending: Vec::new(),
            tickets: 0,
        }
    }

    /// Time passes: the primary writes and flushes, commits are acknowledged, replicas replay.
    pub(crate) fn advance(&mut self, now: u64, chance: &mut Chance) {
        let passed = now - self.now;
        self.now = now;
        self.acked.clear();
        self.cut = None;
        for node in &mut self.nodes {
            node.up |= now >= node.back_at;
            if now >= node.way_until {
                node.way = Way::Open;
            }
            if now >= node.slow_until {
                node.speed = 4_000_000;
            }
            if node.system == FOREIGN && chance.one_in(4) {
                node.at.lsn += RECORD * chance.below(300);
                node.flushed = node.at.lsn;
            }
        }
        self.write_in_background(passed, chance);
        self.acknowledge();
        for index in 0..self.nodes.len() {
            self.replay(index, passed);
            let node = &mut self.nodes[index];
            if node.up && chance.one_in(400) {
                node.least = node.at.lsn;
            }
        }
    }

    fn write_in_background(&mut self, passed: u64, chance: &mut Chance) {
        if self.quiet {
            return;
        }
        let current = self.current;
        let many = self.writes_per_second * passed + chance.below(1000 * MS);
        for _ in 0..many / (1000 * MS) {
            let _ = self.write(current, chance);
        }
        let node = &mut self.nodes[current];
        if node.up && node.kind == Kind::Primary && chance.one_in(30) {
            // A transaction that is still open writes: nothing flushes that.
            node.at.lsn += RECORD;
        }
        if node.up && node.flushed < node.at.lsn && chance.one_in(60) {
            node.flushed = node.at.lsn;
        }
    }

    /// A client commits on a node, if that accepts writes.
    pub(crate) fn write(&mut self, index: usize, chance: &mut Chance) -> Option<Pending> {
        let node = &mut self.nodes[index];
        let accepts = node.up && node.kind == Kind::Primary && node.writable;
        if !accepts || node.system != OURS {
            return None;
        }
        node.at.lsn += RECORD * chance.between(1, 40);
        let asynchronous = self.async_commit && chance.below(10) < 8;
        if !asynchronous {
            node.flushed = node.at.lsn;
        }
        self.tickets += 1;
        let longest = if asynchronous { MS } else { 12 * MS };
        let pending = Pending {
            ticket: self.tickets,
            node: index,
            place: node.at,
            epoch: node.epoch,
            ack_at: self.now + 1 + chance.below(longest),
        };
        self.pending.push(pending);
        Some(pending)
    }

    fn acknowledge(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        for commit in pending {
            let node = &self.nodes[commit.node];
            if node.epoch != commit.epoch || !node.up {
                continue;
            }
            if commit.ack_at > self.now {
                self.pending.push(commit);
                continue;
            }
            // A commit can be seen by others at the latest when its client knows of it.
            self.nodes[commit.node].completed += 1;
            self.acked.push(commit);
            self.log(commit.place);
        }
    }

    /// A commit is acknowledged on every timeline that has it.
    fn log(&mut self, place: Place) {
        let at = self.now;
        let lsn = place.lsn;
        let timelines: Vec<u32> = self.branches.keys().copied().collect();
        for timeline in timelines {
            if lsn > self.common(place.timeline, timeline) {
                continue;
            }
            let acks = &mut self.branches.entry(timeline).or_default().acks;
            let highest = acks.last().map_or(lsn, |last| last.highest.max(lsn));
            acks.push(Ack { at, lsn, highest });
        }
    }

    fn replay(&mut self, index: usize, passed: u64) {
        let source = &self.nodes[self.current];
        let node = &self.nodes[index];
        let runs = node.up && node.kind == Kind::Standby && node.system == OURS;
        let fed = source.up && self.now >= node.stalled_until && self.now >= node.paused_until;
        if !runs || !fed || index == self.current || self.is_diverged(index) {
            return;
        }
        let (timeline, flushed) = (source.at.timeline, source.flushed);
        let node = &mut self.nodes[index];
        let most = node.at.lsn + node.speed * passed / MS;
        node.at = Place {
            timeline,
            lsn: most.min(flushed).max(node.at.lsn),
        };
        node.flushed = node.flushed.max(node.at.lsn);
    }

    /// Whether a node of ours has what the current primary's history lacks.
    pub(crate) fn is_diverged(&self, index: usize) -> bool {
        let node = &self.nodes[index];
        let current = self.nodes[self.current].at.timeline;
        node.at.lsn.max(node.flushed) > self.common(node.at.timeline, current)
    }

    /// Whether a node of ours still is the primary that another has succeeded.
    pub(crate) fn is_old_primary(&self, index: usize) -> bool {
        let node = &self.nodes[index];
        index != self.current && node.kind == Kind::Primary && node.system == OURS
    }

    /// Whether an old primary can still be asked.
    pub(crate) fn is_split(&self) -> bool {
        (0..self.nodes.len()).any(|index| self.is_old_primary(index) && self.nodes[index].up)
    }

    /// Whether the history of the present primary lacks a place.
    pub(crate) fn is_lost(&self, place: Place) -> bool {
        place.lsn > self.common(place.timeline, self.current_timeline())
    }

    /// Up to where two timelines are the same log.
    pub(crate) fn common(&self, one: u32, other: u32) -> u64 {
        let mut until = u64::MAX;
        let mut on = one;
        loop {
            if let Some(shared) = self.part_of(on, other) {
                return until.min(shared);
            }
            let Some(parent) = self.branches.get(&on).and_then(|branch| branch.parent) else {
                return 0;
            };
            until = until.min(parent.lsn);
            on = parent.timeline;
        }
    }

    /// Up to where `ancestor` is part of `timeline`.
    fn part_of(&self, ancestor: u32, timeline: u32) -> Option<u64> {
        let mut until = u64::MAX;
        let mut on = timeline;
        while on != ancestor {
            let parent = self.branches.get(&on)?.parent?;
            until = until.min(parent.lsn);
            on = parent.timeline;
        }
        Some(until)
    }

    /// What a node shows of a timeline.
    pub(crate) fn shows(&self, index: usize, timeline: u32) -> u64 {
        let node = &self.nodes[index];
        if node.system != OURS {
            return 0;
        }
        node.at.lsn.min(self.common(node.at.timeline, timeline))
    }

    pub(crate) fn current_timeline(&self) -> u32 {
        self.nodes[self.current].at.timeline
    }

    /// The highest commit of a timeline that was acknowledged before an instant and that the cluster
    /// has not lost.
    pub(crate) fn owed(&self, timeline: u32, before: u64, enough: u64) -> u64 {
        let Some(branch) = self.branches.get(&timeline) else {
            return 0;
        };
        let many = branch.acks.partition_point(|ack| ack.at < before);
        let acks = &branch.acks[..many];
        let highest = acks.last().map_or(0, |last| last.highest);
        if highest <= enough {
            return highest;
        }
        let kept = self.common(timeline, self.current_timeline());
        let lsns = acks.iter().map(|ack| ack.lsn);
        lsns.filter(|lsn| *lsn <= kept).max().unwrap_or(0)
    }

    /// The highest commit of a timeline that was acknowledged before an instant, lost or not.
    pub(crate) fn acknowledged_before(&self, timeline: u32, before: u64) -> u64 {
        let Some(branch) = self.branches.get(&timeline) else {
            return 0;
        };
        let many = branch.acks.partition_point(|ack| ack.at < before);
        branch.acks[..many].last().map_or(0, |last| last.highest)
    }

    /// The highest acknowledged commit of a node's own branch: what a read there has surely seen.
    pub(crate) fn acknowledged(&self, timeline: u32) -> u64 {
        let last = |branch: &Branch| branch.acks.last().map(|last| last.highest);
        self.branches.get(&timeline).and_then(last).unwrap_or(0)
    }

    /// A node is down until then, and no connection to it outlives that.
    pub(crate) fn stop(&mut self, index: usize, back_at: u64) {
        self.epochs += 1;
        let node = &mut self.nodes[index];
        node.up = false;
        node.back_at = back_at;
        node.epoch = self.epochs;
    }

    /// The server that comes back says that it was started then, as no other does.
    pub(crate) fn start_anew(&mut self, index: usize) {
        self.nodes[index].started = 10_000 + i64::try_from(self.epochs).unwrap_or(i64::MAX);
    }

    /// Two servers change places: what was one's address is the other's from now on.
    pub(crate) fn swap(&mut self, one: usize, other: usize) {
        self.nodes.swap(one, other);
        for index in [one, other] {
            self.epochs += 1;
            self.nodes[index].epoch = self.epochs;
        }
        // Whoever waits for a commit over a connection of before never hears of it.
        self.pending
            .retain(|commit| commit.node != one && commit.node != other);
        if self.current == one {
            self.current = other;
        } else if self.current == other {
            self.current = one;
        }
    }

    /// A node goes down, whoever it is, and comes back later as it was.
    pub(crate) fn crash(&mut self, index: usize, back_at: u64, chance: &mut Chance) {
        let diverged = self.is_diverged(index);
        self.stop(index, back_at);
        let node = &mut self.nodes[index];
        if node.kind == Kind::Standby && !diverged && node.system == OURS {
            let back = node.at.lsn.saturating_sub(node.least);
            node.at.lsn -= chance.below(back + 1);
            node.least = node.at.lsn;
        }
        if node.kind == Kind::Primary && node.system == OURS {
            let cut = Place {
                lsn: node.flushed,
                ..node.at
            };
            node.at.lsn = node.flushed + RECORD;
            node.flushed = node.at.lsn;
            node.completed -= chance.below(4).min(node.completed);
            self.lose_after(cut);
        }
    }

    fn lose_after(&mut self, cut: Place) {
        self.cut = Some(cut);
        let lost = |place: Place| place.timeline == cut.timeline && place.lsn > cut.lsn;
        self.pending.retain(|commit| !lost(commit.place));
        let Some(branch) = self.branches.get_mut(&cut.timeline) else {
            return;
        };
        branch.acks.retain(|ack| ack.lsn <= cut.lsn);
        let mut highest = 0;
        for ack in &mut branch.acks {
            highest = highest.max(ack.lsn);
            ack.highest = highest;
        }
    }

    /// A node becomes the primary of a new timeline, which goes on from where the node stands.
    pub(crate) fn promote(&mut self, index: usize) {
        let node = &self.nodes[index];
        let parent = Place {
            lsn: node.at.lsn.max(node.flushed),
            ..node.at
        };
        self.newest += 1;
        let timeline = self.newest;
        let acks = self.branches.get(&parent.timeline).map(|branch| {
            let mut highest = 0;
            let kept = branch.acks.iter().filter(|ack| ack.lsn <= parent.lsn);
            kept.map(|ack| {
                highest = highest.max(ack.lsn);
                Ack { highest, ..*ack }
            })
            .collect()
        });
        let branch = Branch {
            parent: Some(parent),
            acks: acks.unwrap_or_default(),
        };
        self.branches.insert(timeline, branch);
        let lsn = (parent.lsn / RECORD + 2) * RECORD + u64::from(timeline) % 120 * 8;
        let node = &mut self.nodes[index];
        node.kind = Kind::Primary;
        node.at = Place { timeline, lsn };
        node.flushed = lsn;
        node.writable = true;
        node.paused_until = 0;
        self.current = index;
    }

    /// A node is replaced by a copy of the current primary.
    pub(crate) fn rebuild(&mut self, index: usize, back_at: u64) {
        let place = self.nodes[self.current].at;
        let lsn = self.nodes[self.current].flushed.min(place.lsn);
        self.stop(index, back_at);
        self.start_anew(index);
        let node = &mut self.nodes[index];
        node.system = OURS;
        node.kind = Kind::Standby;
        node.at = Place { lsn, ..place };
        node.flushed = lsn;
        node.least = lsn;
        node.writable = true;
    }
}
