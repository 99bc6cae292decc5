//! Sessions that write and read through the real selection, on pooled connections.

use std::sync::Arc;
use std::time::Duration;

use lagwise_core::{
    Candidate, Claim, Fallback, Floor, Instant, Lsn, NodeId, Position, Random, Request,
    Requirement, Selection, Session, Snapshot, Step, SystemId, Timeline, Voided, WallTime,
    next_step, recheck, recheck_fresh, select,
};

use crate::cluster::{Kind, MS, OURS, Place};
use crate::faults::id;
use crate::world::{Note, World};

/// One session, and what it is known to have written and seen.
#[derive(Debug, Default)]
pub(crate) struct Client {
    pub(crate) session: Session,
    pub(crate) wrote: Vec<Place>,
    pub(crate) seen: Option<Place>,
    open: Vec<Open>,
}

/// Something that a session has begun.
#[derive(Clone, Debug)]
enum Open {
    Write {
        ticket: u64,
        node: usize,
        epoch: u64,
    },
    Routed(Routed),
    Waiting {
        asked: Asked,
        until: u64,
    },
    Reading {
        node: usize,
        epoch: u64,
        until: u64,
    },
    ReadingPrimary {
        node: usize,
        epoch: u64,
        until: u64,
    },
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) bound: Option<Duration>,
    fallback: Fallback,
}

/// A read that was routed, and is on its way to its connection.
#[derive(Clone, Debug)]
pub(crate) struct Routed {
    snapshot: Arc<Snapshot>,
    node: usize,
    pub(crate) bound: Option<Duration>,
    open_at: u64,
}

impl World {
    pub(crate) fn serve_clients(&mut self) {
        if let Some(cut) = self.cluster.cut {
            self.forget_lost(cut);
        }
        for index in 0..self.clients.len() {
            self.go_on(index);
        }
        for _ in 0..2 {
            let client = self.chance.index(self.clients.len());
            match self.chance.below(30) {
                0 | 1 => self.begin_write(client),
                2..=7 => self.begin_read(client),
                8 => self.hand_over(client),
                _ => {}
            }
        }
    }

    /// What a primary's crash took away was lost by the cluster, not by the router.
    fn forget_lost(&mut self, cut: Place) {
        for client in &mut self.clients {
            let lost = |place: &Place| place.timeline == cut.timeline && place.lsn > cut.lsn;
            let before = client.wrote.len();
            client.wrote.retain(|place| !lost(place));
            self.tally.lost_writes += (before - client.wrote.len()) as u64;
            if let Some(seen) = client.seen.as_mut().filter(|seen| lost(seen)) {
                seen.lsn = cut.lsn;
            }
        }
    }

    fn begin_write(&mut self, client: usize) {
        let Some(node) = self.snapshot.primary.map(NodeId::index) else {
            return;
        };
        self.check_write(node);
        self.clients[client].session.open_write(None);
        let written = if self.cluster.nodes[node].clients {
            self.cluster.write(node, &mut self.chance)
        } else {
            None
        };
        if let Some(pending) = written {
            self.clients[client].open.push(Open::Write {
                ticket: pending.ticket,
                node,
                epoch: self.cluster.nodes[node].epoch,
            });
        } else {
            let now = self.instant();
            self.clients[client].session.close_write(now);
            if self.chance.one_in(3) {
                self.monitor.handle_suspicion(now, id(node));
                self.drain_events();
            }
        }
    }

    fn begin_read(&mut self, client: usize) {
        if self.clients[client].open.len() > 5 {
            return;
        }
        let bound = Duration::from_millis(self.chance.between(5, 3000));
        let asked = Asked {
            bound: self.chance.one_in(3).then_some(bound),
            fallback: match self.chance.below(4) {
                0 => Fallback::Refuse,
                1 => Fallback::Freshest,
                _ => Fallback::Primary,
            },
        };
        self.last_read = self.now;
        let until = self.instant().after(self.policy.wait).as_nanos();
        self.route(client, asked, until);
    }

    /// Another process goes on with the session, which has a floor or a token and nothing else.
    fn hand_over(&mut self, client: usize) {
        if !self.clients[client].open.is_empty() {
            return;
        }
        let floor = self.clients[client].session.floor();
        let next = match self.chance.below(6) {
            0 => Session::resume(floor),
            1 => {
                let mut merged = Session::resume(Floor::default());
                merged.merge(floor);
                merged
            }
            // Somebody new.
            2 => {
                self.clients[client] = Client::default();
                return;
            }
            3 => match self.token() {
                Some(token) => Session::resume(Floor::position(token, self.instant())),
                None => return,
            },
            captured => {
                let position = if captured == 4 { self.token() } else { None };
                let now = self.instant();
                if let Some(position) = position {
                    self.clients[client].session.cover(position, now);
                }
                match self.carry(client) {
                    Some(session) => session,
                    None => return,
                }
            }
        };
        self.clients[client].session = next;
    }

    /// What a token of the session says, taken up again: with a position if one was captured, and
    /// without if not.
    fn carry(&mut self, client: usize) -> Option<Session> {
        let (now, wall) = (self.instant(), self.wall());
        let session = &self.clients[client].session;
        let claim = session.claim(&self.snapshot, (now, wall), self.policy.sticky_window)?;
        let claim = Claim::decode(&claim.encode()).expect("what was written can be read");
        let mut carried = Session::default();
        carried.take_up(&claim, &self.snapshot, now, wall);
        self.tally.carried += 1;
        Some(carried)
    }

    /// A wall clock that runs with the other.
    fn wall(&self) -> WallTime {
        WallTime::from_millis(self.now / MS)
    }

    /// Where the primary stands, asked now: a token covers all that was written and seen before.
    ///
    /// One that was deposed without anybody knowing cannot say what replicas of its successor have
    /// shown: no token is taken from it here.
    fn token(&mut self) -> Option<Position> {
        let primary = self.snapshot.primary?.index();
        let node = &self.cluster.nodes[primary];
        let reigns = primary == self.cluster.current && node.kind == Kind::Primary;
        let answers = reigns && node.up && node.clients && node.system == OURS;
        self.tally.tokens += u64::from(answers);
        answers.then(|| Position {
            system: SystemId::new(node.system),
            timeline: Timeline::new(node.at.timeline),
            lsn: Lsn::new(node.at.lsn),
        })
    }

    fn route(&mut self, client: usize, asked: Asked, until: u64) {
        let now = self.instant();
        if let Some(voided) = self.clients[client].session.settle_position(&self.snapshot) {
            self.tally.voided += 1;
            assert_ne!(voided, Voided::Foreign, "there is one cluster");
        }
        let request = Request {
            requirement: self.requirement(client, asked.bound),
            fallback: asked.fallback,
            wait_until: Instant::from_nanos(until),
            failed: &[],
        };
        let snapshot = Arc::clone(&self.snapshot);
        let cost = |node: NodeId| node.index() as u64;
        match select(&snapshot, request, now, &cost, &mut self.chance) {
            Selection::Replica(candidate) => {
                self.check_candidate(candidate.node.index());
                self.send(client, snapshot, candidate, asked.bound);
            }
            Selection::None(rejections) => match next_step(&snapshot, request, &rejections, now) {
                Step::Wait => {
                    let needed = request.requirement.floor().needed().unwrap_or(now);
                    self.monitor.handle_demand(now, needed, request.wait_until);
                    self.clients[client]
                        .open
                        .push(Open::Waiting { asked, until });
                    self.tally.waits += 1;
                }
                Step::Primary(_) => self.read_primary(client),
                Step::Freshest(candidate) => {
                    self.tally.freshest += 1;
                    self.check_proved(candidate.node.index());
                    self.send(client, snapshot, candidate, asked.bound);
                }
                Step::Refuse => {}
            },
        }
    }

    fn send(
        &mut self,
        client: usize,
        snapshot: Arc<Snapshot>,
        candidate: Candidate,
        bound: Option<Duration>,
    ) {
        let delay = if self.chance.one_in(3) { 60 * MS } else { 1 };
        let routed = Routed {
            snapshot,
            node: candidate.node.index(),
            bound,
            open_at: self.now + self.chance.below(delay),
        };
        self.clients[client].open.push(Open::Routed(routed));
    }

    fn read_primary(&mut self, client: usize) {
        let Some(node) = self.snapshot.primary.map(NodeId::index) else {
            return;
        };
        let until = self.now + self.chance.below(20 * MS);
        let primary = &self.cluster.nodes[node];
        if primary.up && primary.clients && primary.kind == Kind::Primary {
            let epoch = primary.epoch;
            let client = &mut self.clients[client];
            client.session.open_primary_read();
            client
                .open
                .push(Open::ReadingPrimary { node, epoch, until });
        }
    }

    fn go_on(&mut self, client: usize) {
        for open in std::mem::take(&mut self.clients[client].open) {
            match open {
                Open::Write {
                    ticket,
                    node,
                    epoch,
                } => self.go_on_writing(client, open, ticket, (node, epoch)),
                Open::Routed(routed) if routed.open_at <= self.now => self.open(client, &routed),
                Open::Waiting { asked, until } => self.route(client, asked, until),
                Open::Reading { node, epoch, until } if until <= self.now => {
                    self.look(client, node, epoch);
                    let now = self.instant();
                    self.clients[client].session.close_read(now);
                }
                Open::ReadingPrimary { node, epoch, until } if until <= self.now => {
                    self.look(client, node, epoch);
                    let now = self.instant();
                    self.clients[client].session.close_primary_read(now);
                }
                Open::Routed(_) | Open::Reading { .. } | Open::ReadingPrimary { .. } => {
                    self.clients[client].open.push(open);
                }
            }
        }
    }

    fn go_on_writing(&mut self, client: usize, open: Open, ticket: u64, run: (usize, u64)) {
        let now = self.instant();
        let acked = self.cluster.acked.iter().find(|one| one.ticket == ticket);
        let place = acked.map(|one| one.place);
        // Acknowledged and lost within one step.
        let lost = |cut: Place| {
            place.is_some_and(|place| place.timeline == cut.timeline && place.lsn > cut.lsn)
        };
        let lost = self.cluster.cut.is_some_and(lost);
        let dropped = self.chance.one_in(300);
        let window = self.policy.sticky_window;
        let client = &mut self.clients[client];
        if let Some(place) = place {
            client.wrote.extend((!lost).then_some(place));
            client.session.close_write(now);
            if client.wrote.len() > 24 {
                client.wrote.remove(0);
            }
        } else if self.cluster.nodes[run.0].epoch != run.1 {
            client.session.lose_write(now, window);
            self.monitor.handle_suspicion(now, id(run.0));
            self.drain_events();
        } else if dropped {
            client.session.lose_write(now, window);
        } else {
            client.open.push(open);
        }
    }

    /// A connection for a routed read: one from the pool, or a new one.
    fn open(&mut self, client: usize, routed: &Routed) {
        let index = routed.node;
        let node = &self.cluster.nodes[index];
        let run = node.epoch;
        if !node.up || !node.clients {
            if self.chance.one_in(2) {
                self.monitor.handle_suspicion(self.instant(), id(index));
                self.drain_events();
            }
            return;
        }
        if self.pools[index].len() < 3 && self.chance.one_in(3) || self.pools[index].is_empty() {
            self.pools[index].push((self.now, run));
        }
        let place = self.chance.index(self.pools[index].len());
        let (opened, epoch) = self.pools[index][place];
        if epoch != run {
            self.pools[index].remove(place);
            self.monitor.handle_suspicion(self.instant(), id(index));
            self.drain_events();
            return;
        }
        if self.chance.one_in(50) {
            self.pools[index].remove(place);
        }
        let observed = routed.snapshot.nodes[index].observed_at;
        if observed.is_some_and(|observed| Instant::from_nanos(opened) <= observed) {
            self.open_proved(client, routed);
        } else {
            self.open_fresh(client, routed);
        }
    }

    fn open_proved(&mut self, client: usize, routed: &Routed) {
        let snapshot = &routed.snapshot;
        let sight = snapshot.nodes[routed.node].sight();
        // Whether the session still admits the node, either of the two says.
        let requirement = if self.chance.one_in(2) {
            self.requirement(client, routed.bound)
        } else {
            routed
                .bound
                .map_or_else(Requirement::any, Requirement::within)
        };
        let rechecked = recheck(snapshot, id(routed.node), &requirement, self.instant());
        let session = &mut self.clients[client].session;
        let opened = rechecked.is_ok_and(|reached| session.open_read(sight, reached).is_ok());
        if !opened {
            self.tally.refused_opens += 1;
            return;
        }
        self.read(client, routed, "replica");
    }

    fn requirement(&self, client: usize, bound: Option<Duration>) -> Requirement {
        let floor = Requirement::at_least(self.clients[client].session.floor());
        bound.map_or(floor, |bound| Requirement::within(bound).and(floor))
    }

    /// The connection is younger than what is known of its node: it is asked what it shows.
    fn open_fresh(&mut self, client: usize, routed: &Routed) {
        let snapshot = Arc::clone(&self.snapshot);
        let view = &snapshot.nodes[routed.node];
        let node = &self.cluster.nodes[routed.node];
        if node.kind == Kind::Primary || !Self::is_in(view.membership) {
            return;
        }
        let requirement = self.requirement(client, routed.bound);
        let replay = Lsn::new(node.at.lsn);
        let now = self.instant();
        let recheck = recheck_fresh(&snapshot, id(routed.node), &requirement, replay, now);
        let Ok(reached) = recheck else {
            return;
        };
        let session = &mut self.clients[client].session;
        let opened = session.open_fresh_read(view.sight(), reached);
        self.check(opened.is_ok(), "what was rechecked can be opened");
        self.tally.fresh_reads += 1;
        self.read(client, routed, "fresh");
    }

    fn read(&mut self, client: usize, routed: &Routed, how: &'static str) {
        let node = &self.cluster.nodes[routed.node];
        let (epoch, lsn) = (node.epoch, node.at.lsn);
        self.note(Note::Read(routed.node, lsn, how));
        self.check_read(client, routed.node, routed.bound);
        self.see(client, routed.node);
        self.tally.replica_reads += 1;
        let until = self.now + self.chance.below(30 * MS);
        let node = routed.node;
        let open = Open::Reading { node, epoch, until };
        self.clients[client].open.push(open);
    }

    /// A read ends, and has seen what the node shows by then if that still runs.
    fn look(&mut self, client: usize, node: usize, epoch: u64) {
        if self.cluster.nodes[node].epoch == epoch && self.cluster.nodes[node].up {
            self.see(client, node);
        }
    }

    /// The session has seen what the node shows now.
    fn see(&mut self, client: usize, index: usize) {
        let node = &self.cluster.nodes[index];
        let mut place = node.at;
        if node.kind == Kind::Primary {
            place.lsn = self.cluster.acknowledged(place.timeline).min(place.lsn);
        }
        let current = self.cluster.current_timeline();
        let seen = self.clients[client].seen;
        let worth = |place: Place| {
            let kept = self.cluster.common(place.timeline, current);
            place.lsn.min(kept)
        };
        if seen.is_none_or(|seen| worth(place) >= worth(seen)) {
            self.clients[client].seen = Some(place);
        }
    }
}
