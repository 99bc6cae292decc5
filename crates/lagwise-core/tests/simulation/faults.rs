//! What goes wrong, and what mends it.

use lagwise_core::{NodeId, Random};

use crate::cluster::{FOREIGN, Kind, MS, OURS, Way};
use crate::world::{Note, World};

impl World {
    /// One fault, of any kind, on any node.
    pub(crate) fn act(&mut self) {
        let node = self.chance.index(self.cluster.nodes.len());
        let kind = self.chance.below(26);
        self.note(Note::Act(kind, node));
        match kind {
            0..=2 => self.load(),
            3 => self.cluster.nodes[node].paused_until = self.later(3000),
            4 => self.cluster.nodes[node].stalled_until = self.later(4000),
            5 => self.slow(node),
            6 | 7 => self.crash(node, 0),
            8 => self.crash(node, 1),
            9 => self.restart(node),
            10 | 11 => self.block(node, Way::Refused),
            12 => self.block(node, Way::Hung),
            13 => self.cluster.nodes[node].delay = self.chance.below(200) * self.chance.below(600),
            14 | 15 => self.fail_over(),
            16 | 24 | 25 => self.return_old(),
            17 => self.make_foreign(node),
            18 => self.drain(node),
            19 => self.undrain(node),
            20 => self.cluster.nodes[node].writable ^= true,
            21 => self.isolate_primary(),
            22 => self.suspect_any(node),
            _ => self.rebuild(node),
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

    /// A backend crash keeps the postmaster's start time; a crash of the server changes it.
    fn crash(&mut self, node: usize, restarts: i64) {
        let back_at = self.later(if restarts == 0 { 40 } else { 600 });
        self.cluster.crash(node, back_at, &mut self.chance);
        self.cluster.nodes[node].started += restarts;
    }

    /// A clean restart loses nothing.
    fn restart(&mut self, node: usize) {
        let back_at = self.later(300);
        let node = &mut self.cluster.nodes[node];
        node.least = node.at.lsn;
        node.flushed = node.flushed.max(node.at.lsn);
        node.epoch += 1;
        node.started += 1;
        node.up = false;
        node.back_at = back_at;
    }

    fn block(&mut self, node: usize, way: Way) {
        let until = self.later(2500);
        let cuts_clients = self.chance.one_in(3);
        let node = &mut self.cluster.nodes[node];
        node.way = way;
        node.way_until = until;
        node.clients = !cuts_clients;
    }

    /// The monitor does not reach the primary, which goes on writing.
    fn isolate_primary(&mut self) {
        let current = self.cluster.current;
        let way = if self.chance.one_in(2) {
            Way::Hung
        } else {
            Way::Refused
        };
        self.block(current, way);
        self.cluster.nodes[current].clients = true;
    }

    /// The primary is cut off for good, or dies, and a replica is promoted: any, not the best.
    ///
    /// Nobody but clients reaches the old primary from then on until it returns: of two primaries
    /// that are asked at once and followed by different nodes, positions cannot tell.
    fn fail_over(&mut self) {
        let old = self.cluster.current;
        let fit: Vec<usize> = (0..self.cluster.nodes.len())
            .filter(|index| {
                let node = &self.cluster.nodes[*index];
                let runs = node.up && node.kind == Kind::Standby && node.system == OURS;
                runs && *index != old && !self.cluster.is_diverged(*index)
            })
            .collect();
        if fit.is_empty() || self.settling_until > self.now {
            return;
        }
        let new = fit[self.chance.index(fit.len())];
        self.settling_until = self.now + 700 * MS;
        let dies = self.chance.one_in(2);
        let node = &mut self.cluster.nodes[old];
        node.way = Way::Refused;
        node.way_until = u64::MAX;
        if dies {
            self.cluster.crash(old, u64::MAX, &mut self.chance);
        }
        self.drop_probes(old);
        for index in 0..self.cluster.nodes.len() {
            self.cluster.nodes[index].stalled_until = self.later(1500);
        }
        self.cluster.promote(new);
        self.tally.failovers += 1;
    }

    /// An old primary comes back: rewound, as a replica with what the cluster lost, or as if it were
    /// a primary still.
    fn return_old(&mut self) {
        let current = self.cluster.current;
        let is_old = |index: &usize| {
            let node = &self.cluster.nodes[*index];
            *index != current && node.kind == Kind::Primary && node.system == OURS
        };
        let aware = self.snapshot.primary == Some(id(current));
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
                old.epoch += 1;
                old.started += 1;
                old.up = false;
                old.back_at = self.now + 20 * MS;
                old.at.lsn = old.flushed;
                old.least = old.flushed;
                self.tally.unrewound += 1;
            }
            _ => {
                old.up = true;
                self.tally.rivals += 1;
            }
        }
    }

    /// Another cluster answers at the node's address.
    fn make_foreign(&mut self, node: usize) {
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
        stranger.up = false;
        stranger.back_at = back_at;
        stranger.epoch += 1;
        stranger.started += 1;
        stranger.way = Way::Open;
        stranger.clients = true;
        self.tally.foreigners += 1;
    }

    fn drain(&mut self, node: usize) {
        self.drained[node] = true;
        self.monitor.handle_drain(self.instant(), id(node));
        self.drain_events();
    }

    fn undrain(&mut self, node: usize) {
        self.drained[node] = false;
        self.monitor.handle_undrain(self.instant(), id(node));
        self.drain_events();
    }

    fn suspect_any(&mut self, node: usize) {
        self.monitor.handle_suspicion(self.instant(), id(node));
        self.drain_events();
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
            self.undrain(index);
        }
        let primary = &mut self.cluster.nodes[current];
        primary.flushed = primary.at.lsn;
    }
}

pub(crate) fn id(index: usize) -> NodeId {
    NodeId::new(u16::try_from(index).unwrap_or(u16::MAX))
}
