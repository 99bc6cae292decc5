//! What goes wrong, and what mends it.

use lagwise_core::{NodeId, Random};

use crate::chance::Chance;
use crate::cluster::{FOREIGN, Kind, MS, OURS, Way};
use crate::process::{Process, Reach};
use crate::world::{Note, World};

/// Every kind of fault, and how many of a hundred are of it.
pub(crate) const FAULTS: [(&str, u64); KINDS] = [
    ("load", 10),
    ("replay paused", 4),
    ("stream stalled", 4),
    ("replay slowed", 4),
    ("crash of a backend", 7),
    ("crash of the server", 5),
    ("clean restart", 4),
    ("cut off, refused", 5),
    ("cut off, hung", 4),
    ("slow network", 4),
    ("one process cut off", 8),
    ("failover", 7),
    ("switchover", 3),
    ("promoted again", 2),
    ("return of an old primary", 8),
    ("another cluster at its address", 3),
    ("two nodes change places", 2),
    ("drained", 3),
    ("undrained", 3),
    ("writes refused", 3),
    ("suspicion", 3),
    ("rebuilt", 2),
    ("budget changed", 2),
];

pub(crate) const KINDS: usize = 23;

fn draw_kind(chance: &mut Chance) -> usize {
    let mut left = chance.below(FAULTS.iter().map(|(_, share)| share).sum());
    for (kind, (_, share)) in FAULTS.iter().enumerate() {
        if left < *share {
            return kind;
        }
        left -= share;
    }
    0
}

impl World {
    /// One fault, of any kind, on any node.
    pub(crate) fn act(&mut self) {
        let node = self.chance.index(self.cluster.nodes.len());
        let process = self.chance.index(self.processes.len());
        let kind = draw_kind(&mut self.chance);
        self.tally.faults[kind] += 1;
        self.note(Note::Fault(FAULTS[kind].0, node));
        match kind {
            0 => self.load(),
            1 => self.cluster.nodes[node].paused_until = self.later(3000),
            2 => self.cluster.nodes[node].stalled_until = self.later(4000),
            3 => self.slow(node),
            4 => self.crash(node, 0),
            5 => self.crash(node, 1),
            6 => self.restart(node),
            7 => self.block(node, Way::Refused),
            8 => self.block(node, Way::Hung),
            9 => self.cluster.nodes[node].delay = self.chance.below(200) * self.chance.below(600),
            10 => self.cut_off(process, node),
            11 => self.fail_over(),
            12 => self.switch_over(),
            13 => self.promote_again(),
            14 => self.return_old(),
            15 => self.make_foreign(node),
            16 => self.change_places(node),
            17 => self.drain(process, node),
            18 => self.undrain(process, node),
            19 => self.cluster.nodes[node].writable ^= true,
            20 => self.suspect(process, node),
            21 => self.rebuild(node),
            _ => self.change_budget(process),
        }
        let nodes = &mut self.cluster.nodes;
        nodes[node].writable |= self.chance.one_in(2);
    }

    fn later(&mut self, most_ms: u64) -> u64 {
        self.now + self.chance.between(1, most_ms) * MS
    }

    fn load(&mut self) {
        let rates = [0, 1, 20, 200, 800];
        self.cluster.writes_per_second = rates[self.chance.index(rates.len())];
        self.cluster.async_commit = self.chance.one_in(3);
    }

    fn slow(&mut self, node: usize) {
        let until = self.later(5000);
        let node = &mut self.cluster.nodes[node];
        node.speed = self.chance.between(1, 3000);
        node.slow_until = until;
    }

    /// A backend crash keeps the postmaster's start time; a crash of the server changes it. Where
    /// something stands between that keeps connections over a crash, nothing else tells of it.
    fn crash(&mut self, node: usize, restarts: i64) {
        let hidden = self.processes.iter().any(|process| process.proxied[node]);
        let restarts = if hidden { 1 } else { restarts };
        let back_at = self.later(if restarts == 0 { 40 } else { 600 });
        self.cluster.crash(node, back_at, &mut self.chance);
        if restarts > 0 {
            self.cluster.start_anew(node);
        }
    }

    /// A clean restart loses nothing.
    fn restart(&mut self, node: usize) {
        let back_at = self.later(300);
        self.cluster.stop(node, back_at);
        self.cluster.start_anew(node);
        let node = &mut self.cluster.nodes[node];
        node.least = node.at.lsn;
        node.flushed = node.flushed.max(node.at.lsn);
    }

    fn block(&mut self, node: usize, way: Way) {
        let until = self.later(2500);
        let cuts_clients = self.chance.one_in(3);
        let node = &mut self.cluster.nodes[node];
        node.way = way;
        node.way_until = until;
        node.clients = !cuts_clients;
    }

    /// One process reaches a node no longer, neither its monitor nor its clients.
    fn cut_off(&mut self, process: usize, node: usize) {
        let until = self.later(2500);
        let way = if self.chance.one_in(2) {
            Way::Hung
        } else {
            Way::Refused
        };
        self.processes[process].reach[node] = Reach { way, until };
    }

    /// A replica that runs, and that has nothing that the primary lacks.
    fn fit(&mut self) -> Option<usize> {
        let old = self.cluster.current;
        let fit: Vec<usize> = (0..self.cluster.nodes.len())
            .filter(|index| {
                let node = &self.cluster.nodes[*index];
                let runs = node.up && node.kind == Kind::Standby && node.system == OURS;
                runs && *index != old && !self.cluster.is_diverged(*index)
            })
            .collect();
        if fit.is_empty() || self.settling_until > self.now {
            return None;
        }
        self.settling_until = self.now + 400 * MS;
        Some(fit[self.chance.index(fit.len())])
    }

    /// A replica is promoted: any, not the best. The old primary dies, or no monitor reaches it any
    /// longer, or it lives on, and everybody who has not heard of the other still writes to it.
    fn fail_over(&mut self) {
        let Some(new) = self.fit() else { return };
        let old = self.cluster.current;
        let fate = self.chance.below(4);
        if fate < 2 {
            let node = &mut self.cluster.nodes[old];
            node.way = Way::Refused;
            node.way_until = u64::MAX;
            self.drop_probes(old);
        }
        if fate == 0 {
            self.cluster.crash(old, u64::MAX, &mut self.chance);
        }
        for index in 0..self.cluster.nodes.len() {
            self.cluster.nodes[index].stalled_until = self.later(1500);
        }
        self.cluster.promote(new);
    }

    /// The primary is shut down cleanly, the next one has all of it, and the old one follows that.
    fn switch_over(&mut self) {
        let old = self.cluster.current;
        if !self.cluster.nodes[old].up {
            return;
        }
        let Some(new) = self.fit() else { return };
        let back_at = self.later(400);
        self.cluster.stop(old, back_at);
        self.cluster.start_anew(old);
        let node = &mut self.cluster.nodes[old];
        let end = node.at;
        node.kind = Kind::Standby;
        node.flushed = end.lsn;
        node.least = end.lsn;
        self.cluster.nodes[new].at = end;
        self.cluster.promote(new);
    }

    /// The primary is restarted as a replica of nobody, and promoted: the same node, another timeline.
    fn promote_again(&mut self) {
        let node = self.cluster.current;
        if !self.cluster.nodes[node].up || self.settling_until > self.now {
            return;
        }
        self.settling_until = self.now + 400 * MS;
        let back_at = self.later(100);
        self.cluster.stop(node, back_at);
        self.cluster.start_anew(node);
        self.cluster.promote(node);
    }

    /// What was reached at one address is reached at the other's.
    fn change_places(&mut self, one: usize) {
        let other = self.chance.index(self.cluster.nodes.len());
        let started = |index: usize| self.cluster.nodes[index].started;
        let comes = |from: usize, to: usize| {
            self.cluster.nodes[from].system == OURS || self.can_be_told_from_ours(to)
        };
        if started(one) != started(other) && comes(one, other) && comes(other, one) {
            self.cluster.swap(one, other);
        }
    }

    fn change_budget(&mut self, process: usize) {
        let places = u32::try_from(self.chance.below(5)).unwrap_or(1);
        let rate = self.chance.one_in(3).then_some(20);
        let now = self.instant(process);
        let budget = &mut self.processes[process].budget;
        budget.gate.resize(now, places, rate);
        (budget.places, budget.rate) = (places, rate);
        (budget.granted, budget.since) = (0, self.now);
    }

    /// An old primary comes back: rewound, as a replica with what the cluster lost, or as if it were
    /// a primary still.
    fn return_old(&mut self) {
        let current = self.cluster.current;
        let is_old = |index: &usize| self.cluster.is_old_primary(*index);
        let mut snapshots = self.processes.iter().map(|process| &process.snapshot);
        let aware = snapshots.all(|snapshot| snapshot.primary == Some(id(current)));
        let old = (0..self.cluster.nodes.len()).find(is_old);
        let Some(node) = old.filter(|_| aware && self.settling_until <= self.now) else {
            return;
        };
        let old = &mut self.cluster.nodes[node];
        old.way = Way::Open;
        old.clients = true;
        match self.chance.below(3) {
            0 => self.rebuild(node),
            1 => {
                old.kind = Kind::Standby;
                old.at.lsn = old.flushed;
                old.least = old.flushed;
                self.cluster.stop(node, self.now + 20 * MS);
                self.cluster.start_anew(node);
                self.tally.unrewound += 1;
            }
            _ => {
                old.up = true;
                self.tally.rivals += 1;
            }
        }
    }

    /// Whether every process can know that a stranger at this address is none of ours: the first word of
    /// the node configured as primary says so, or while it has never answered, what was at the address
    /// before. Where a stranger is the first to be heard at all, it is what its process was told to use.
    fn can_be_told_from_ours(&self, node: usize) -> bool {
        let knows = |process: &Process| process.introduced[0] || process.introduced[node];
        self.processes.iter().all(knows)
    }

    /// Another cluster answers at the node's address.
    fn make_foreign(&mut self, node: usize) {
        if !self.can_be_told_from_ours(node) {
            return;
        }
        if node == self.cluster.current && !self.chance.one_in(3) {
            return;
        }
        if node == self.cluster.current {
            self.fail_over();
            if node == self.cluster.current {
                return;
            }
        }
        let near = self.cluster.nodes[self.cluster.current].at.lsn;
        let primary = self.chance.one_in(2);
        let back_at = self.now + 2500 * MS;
        let timeline = u32::try_from(self.chance.between(1, 9)).unwrap_or(1);
        self.cluster.stop(node, back_at);
        self.cluster.start_anew(node);
        let stranger = &mut self.cluster.nodes[node];
        stranger.system = FOREIGN;
        stranger.kind = if primary {
            Kind::Primary
        } else {
            Kind::Standby
        };
        stranger.at.timeline = timeline;
        stranger.at.lsn = near / 1024 * 1024 + 4 + self.chance.below(4) * 512 * 1024;
        stranger.flushed = stranger.at.lsn;
        stranger.way = Way::Open;
        stranger.clients = true;
    }

    fn drain(&mut self, process: usize, node: usize) {
        let now = self.instant(process);
        self.processes[process].drained[node] = true;
        self.processes[process].monitor.handle_drain(now, id(node));
        self.drain_events(process);
    }

    fn undrain(&mut self, process: usize, node: usize) {
        let now = self.instant(process);
        self.processes[process].drained[node] = false;
        let monitor = &mut self.processes[process].monitor;
        monitor.handle_undrain(now, id(node));
        self.drain_events(process);
    }

    /// Copying takes longer than the monitor takes to notice that the node is gone.
    fn rebuild(&mut self, node: usize) {
        let current = &self.cluster.nodes[self.cluster.current];
        if node == self.cluster.current || !current.up {
            return;
        }
        self.cluster.rebuild(node, self.now + 2500 * MS);
        self.cluster.nodes[node].way = Way::Open;
        self.cluster.nodes[node].clients = true;
    }

    /// Everything is mended: from here on the law is that all come back, and stay.
    pub(crate) fn heal(&mut self) {
        self.cluster.async_commit = false;
        self.cluster.writes_per_second = 100;
        // A primary that writes nothing is where a position is met exactly or not at all.
        self.cluster.quiet = (self.seed + self.tally.calms).is_multiple_of(2);
        let current = self.cluster.current;
        for index in 0..self.cluster.nodes.len() {
            let diverged = self.cluster.is_diverged(index);
            let node = &mut self.cluster.nodes[index];
            node.way = Way::Open;
            node.clients = true;
            node.paused_until = 0;
            node.stalled_until = 0;
            node.slow_until = 0;
            node.speed = 4_000_000;
            node.delay = 0;
            node.writable = true;
            node.back_at = node.back_at.min(self.now);
            let lost = node.system != OURS || node.kind == Kind::Primary || diverged;
            if index != current && lost {
                self.cluster.rebuild(index, self.now + 1);
            }
            for process in 0..self.processes.len() {
                self.processes[process].reach[index].until = 0;
                self.undrain(process, index);
            }
        }
        let primary = &mut self.cluster.nodes[current];
        primary.flushed = primary.at.lsn;
    }
}

pub(crate) fn id(index: usize) -> NodeId {
    NodeId::new(u16::try_from(index).unwrap_or(u16::MAX))
}
