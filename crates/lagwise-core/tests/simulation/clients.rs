//! Sessions that write and read through the real selection, on pooled connections, within the real
//! budget, and that hop from one process to another by what a token says.

use std::sync::Arc;
use std::time::Duration;

use lagwise_core::{
    Asked as Answered, Candidate, Claim, Fallback, Floor, Instant, Lsn, NodeId, Position, Random,
    Reason, Request, Requirement, Selection, ServerStart, Session, Snapshot, Step, SystemId,
    Ticket, Timeline, Turn, Voided, next_step, recheck, recheck_fresh, select,
};

use crate::chance::Chance;
use crate::cluster::{Kind, MS, OURS, Place};
use crate::faults::id;
use crate::process::Process;
use crate::world::{Note, World};

/// How long a read waits for its turn on the primary.
const QUEUE_FOR: u64 = 40 * MS;

/// One session, and what it is known to have written and seen.
#[derive(Debug, Default)]
pub(crate) struct Client {
    /// Where its requests go.
    pub(crate) process: usize,
    pub(crate) session: Session,
    pub(crate) wrote: Vec<Written>,
    pub(crate) seen: Option<Place>,
    open: Vec<Open>,
    /// What it brings along, and when it arrives.
    travelling: Option<(Claim, u64)>,
}

/// A write that was acknowledged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written {
    pub(crate) place: Place,
    /// Should the cluster lose it, the session says so.
    pub(crate) followed: bool,
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
    Queued {
        ticket: Ticket,
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
        falls_back: bool,
    },
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) bound: Option<Duration>,
    fallback: Fallback,
    failed: Option<NodeId>,
}

/// A read that was routed, and is on its way to its connection.
#[derive(Clone, Debug)]
pub(crate) struct Routed {
    snapshot: Arc<Snapshot>,
    node: usize,
    asked: Asked,
    open_at: u64,
}

impl Client {
    pub(crate) fn new(chance: &mut Chance, processes: usize) -> Self {
        Self {
            process: chance.index(processes),
            ..Self::default()
        }
    }

    /// Whether nothing is under way.
    pub(crate) fn rests(&self) -> bool {
        self.open.is_empty() && self.travelling.is_none()
    }
}

impl World {
    /// What a primary's crash took away was lost by the cluster, not by the router.
    pub(crate) fn forget_lost(&mut self, cut: Place) {
        for client in &mut self.clients {
            let lost = |place: &Place| place.timeline == cut.timeline && place.lsn > cut.lsn;
            let before = client.wrote.len();
            client.wrote.retain(|write| !lost(&write.place));
            self.tally.lost_writes += (before - client.wrote.len()) as u64;
            if let Some(seen) = client.seen.as_mut().filter(|seen| lost(seen)) {
                seen.lsn = cut.lsn;
            }
        }
    }

    pub(crate) fn begin(&mut self, client: usize, kind: u64) {
        if self.clients[client].travelling.is_some() {
            return;
        }
        let what = match kind {
            0 | 1 => "writes",
            2..=6 => "reads",
            _ => "goes on elsewhere",
        };
        self.note(Note::Client(client, self.clients[client].process, what));
        match kind {
            0 | 1 => self.begin_write(client),
            2..=6 => self.begin_read(client),
            _ => self.hand_over(client),
        }
    }

    fn at(&self, client: usize) -> (usize, &Process) {
        let process = self.clients[client].process;
        (process, &self.processes[process])
    }

    fn begin_write(&mut self, client: usize) {
        let (process, this) = self.at(client);
        let Some(node) = this.snapshot.primary.map(NodeId::index) else {
            return;
        };
        if self.cluster.quiet {
            return;
        }
        self.settle(client);
        let session = &self.clients[client].session;
        let snapshot = &self.processes[process].snapshot;
        let position = session.floor().needed_position();
        if position
            .is_some_and(|at| snapshot.place(at, Instant::NEVER) == lagwise_core::Place::Ahead)
        {
            return;
        }
        self.check_write(process, node);
        let on = self.processes[process].snapshot.timeline;
        // A connection that is younger than what is known of its node is asked whom it leads to.
        let leads_to = self.cluster.nodes[node].at.timeline;
        if on.is_some_and(|on| on.as_u32() != leads_to) {
            self.suspect(process, node);
            return;
        }
        self.clients[client].session.open_write(on);
        let written = if self.processes[process].reaches(&self.cluster, node) {
            self.cluster.write(node, &mut self.chance)
        } else {
            None
        };
        if let Some(pending) = written {
            self.tally.split_writes += u64::from(node != self.cluster.current);
            self.clients[client].open.push(Open::Write {
                ticket: pending.ticket,
                node,
                epoch: self.cluster.nodes[node].epoch,
            });
        } else {
            let now = self.instant(process);
            self.clients[client].session.close_write(now);
            if self.chance.one_in(3) {
                self.suspect(process, node);
            }
        }
    }

    fn begin_read(&mut self, client: usize) {
        if self.clients[client].open.len() > 5 {
            return;
        }
        // Somebody new accepts what is late.
        if self.clients[client].open.is_empty() && self.chance.one_in(15) {
            let process = self.clients[client].process;
            self.clients[client] = Client::new(&mut self.chance, self.processes.len());
            self.clients[client].process = process;
        }
        let bound = Duration::from_millis(self.chance.between(5, 3000));
        let asked = Asked {
            bound: self.chance.one_in(3).then_some(bound),
            fallback: match self.chance.below(4) {
                0 => Fallback::Refuse,
                1 => Fallback::Freshest,
                _ => Fallback::Primary,
            },
            failed: None,
        };
        let process = self.clients[client].process;
        self.processes[process].last_read = self.now;
        let wait = self.processes[process].policy.wait;
        let until = Instant::from_nanos(self.now).after(wait).as_nanos();
        self.route(client, asked, until);
    }

    /// Another process goes on with the session, or this one with what is left of it.
    fn hand_over(&mut self, client: usize) {
        if !self.clients[client].open.is_empty() {
            return;
        }
        let process = self.clients[client].process;
        let now = self.instant(process);
        let floor = self.clients[client].session.floor();
        let next = match self.chance.below(9) {
            0 => Session::resume(floor),
            1 => {
                let mut merged = Session::resume(Floor::default());
                merged.merge(floor);
                merged
            }
            // Somebody new.
            2 => {
                self.clients[client] = Client::new(&mut self.chance, self.processes.len());
                return;
            }
            captured => {
                if captured.is_multiple_of(2)
                    && let Some(position) = self.token(process)
                {
                    self.clients[client].session.cover(position, now);
                }
                self.depart(client);
                return;
            }
        };
        // A floor is all that it takes along, which says nothing of what may be lost.
        for write in &mut self.clients[client].wrote {
            write.followed = false;
        }
        self.clients[client].session = next;
    }

    /// Takes along what a token of the session says: with a position if one was captured, and without
    /// if not.
    fn depart(&mut self, client: usize) {
        self.settle(client);
        let (process, this) = self.at(client);
        let now = (self.instant(process), self.wall(process));
        let session = &self.clients[client].session;
        let Some(claim) = session.claim(&this.snapshot, now, this.policy.sticky_window) else {
            return;
        };
        let claim = Claim::decode(&claim.encode());
        let claim = claim.unwrap_or_else(|| {
            self.broken("what was written can be read", String::new());
        });
        // Whoever has heard here that its writes may be lost is not told again by what it takes along.
        let told = session.may_have_lost_writes(&this.snapshot);
        let longest = if self.chance.one_in(8) { 4000 } else { 60 };
        let arrives = self.now + self.chance.below(longest * MS);
        let next = self.chance.index(self.processes.len());
        self.note(Note::Left(client, claim));
        let client = &mut self.clients[client];
        client.process = next;
        client.travelling = Some((claim, arrives));
        for write in client.wrote.iter_mut().filter(|_| told) {
            write.followed = false;
        }
    }

    fn arrive(&mut self, client: usize) {
        let Some((claim, _)) = self.clients[client]
            .travelling
            .take_if(|(_, at)| *at <= self.now)
        else {
            return;
        };
        let (process, this) = self.at(client);
        let (now, wall) = (self.instant(process), self.wall(process));
        let mut session = Session::default();
        session.take_up(&claim, &this.snapshot, now, wall);
        self.clients[client].session = session;
        self.note(Note::Came(client, process));
        self.tally.carried += 1;
    }

    /// Where the primary stands, asked now: a token covers all that was written and seen before.
    ///
    /// One that was deposed without anybody knowing cannot say what replicas of its successor have
    /// shown: no token is taken from it here. Nor from one on a timeline that its process has not heard
    /// of: the token would hide what was lost on the way there, and that is not reported yet.
    fn token(&mut self, process: usize) -> Option<Position> {
        let primary = self.processes[process].snapshot.primary?.index();
        let node = &self.cluster.nodes[primary];
        let reigns = primary == self.cluster.current && node.kind == Kind::Primary;
        let reached = self.processes[process].reaches(&self.cluster, primary);
        let known = self.processes[process].snapshot.timeline;
        let is_known = known == Some(Timeline::new(node.at.timeline));
        let answers = reigns && is_known && reached && node.system == OURS;
        self.tally.tokens += u64::from(answers);
        answers.then(|| Position {
            system: SystemId::new(node.system),
            timeline: Timeline::new(node.at.timeline),
            lsn: Lsn::new(node.at.lsn),
        })
    }

    /// What the session brought along is looked at before each read and write.
    fn settle(&mut self, client: usize) {
        let process = self.clients[client].process;
        let snapshot = Arc::clone(&self.processes[process].snapshot);
        if let Some(voided) = self.clients[client].session.settle_position(&snapshot) {
            self.tally.voided += 1;
            self.check(voided != Voided::Foreign, "there is one cluster");
        }
        self.check_reported(client, &snapshot);
    }

    fn route(&mut self, client: usize, asked: Asked, until: u64) {
        self.settle(client);
        let process = self.clients[client].process;
        let now = self.instant(process);
        let origin = self.processes[process].origin;
        let failed: &[NodeId] = asked.failed.as_slice();
        let request = Request {
            requirement: self.requirement(client, asked.bound),
            fallback: asked.fallback,
            wait_until: Instant::from_nanos(until + origin),
            failed,
        };
        let snapshot = Arc::clone(&self.processes[process].snapshot);
        let cost = |node: NodeId| node.index() as u64;
        let selection = select(&snapshot, request, now, &cost, &mut self.chance);
        let rejections = match selection {
            Selection::Replica(candidate) => {
                self.check_candidate(process, candidate.node, failed);
                self.send(client, snapshot, candidate, asked);
                return;
            }
            Selection::None(rejections) => rejections,
        };
        self.check_rejections(client, &snapshot, &request, &rejections);
        match next_step(&snapshot, request, &rejections, now) {
            Step::Wait => {
                self.check(self.now < until, "no read waits beyond its deadline");
                let needed = request.requirement.floor().needed().unwrap_or(now);
                let monitor = &mut self.processes[process].monitor;
                monitor.handle_demand(now, needed, request.wait_until);
                let waiting = Open::Waiting { asked, until };
                self.clients[client].open.push(waiting);
                self.tally.waits += 1;
            }
            Step::Primary(reason) => {
                self.check_reason(&snapshot, asked.fallback, reason);
                self.fall_back(client, reason);
            }
            Step::Freshest(candidate) => {
                self.tally.freshest += 1;
                self.check_proved(process, candidate.node.index());
                self.send(client, snapshot, candidate, asked);
            }
            Step::Refuse => {}
        }
    }

    fn send(&mut self, client: usize, snapshot: Arc<Snapshot>, candidate: Candidate, asked: Asked) {
        let delay = if self.chance.one_in(3) { 60 * MS } else { 1 };
        let routed = Routed {
            snapshot,
            node: candidate.node.index(),
            asked,
            open_at: self.now + self.chance.below(delay),
        };
        self.clients[client].open.push(Open::Routed(routed));
    }

    /// A read that wanted a replica goes to the primary when the budget allows it.
    fn fall_back(&mut self, client: usize, reason: Reason) {
        if reason == Reason::NoReplica {
            self.read_primary(client, false);
            return;
        }
        let process = self.clients[client].process;
        let (now, until) = (self.instant(process), self.now + QUEUE_FOR);
        let origin = self.processes[process].origin;
        let budget = &mut self.processes[process].budget;
        match budget.gate.ask(now, Instant::from_nanos(until + origin)) {
            Answered::Granted => {
                self.check_granted(process, None);
                self.read_primary(client, true);
            }
            Answered::Queued(ticket) => {
                self.tally.queued += 1;
                budget.line.push_back((ticket, until));
                self.clients[client]
                    .open
                    .push(Open::Queued { ticket, until });
            }
            Answered::Refused => self.tally.refused += 1,
        }
    }

    /// A read waits for its turn, or does so no longer.
    fn go_on_queueing(&mut self, client: usize, ticket: Ticket, until: u64) {
        let process = self.clients[client].process;
        let now = self.instant(process);
        let gives_up = self.chance.one_in(40);
        let budget = &mut self.processes[process].budget;
        let leaves = |line: &mut std::collections::VecDeque<(Ticket, u64)>| {
            line.retain(|(other, _)| *other != ticket);
        };
        if gives_up {
            budget.gate.give_up(ticket);
            leaves(&mut budget.line);
            return;
        }
        match budget.gate.poll(now, ticket) {
            Turn::Granted => {
                self.check_granted(process, Some(ticket));
                leaves(&mut self.processes[process].budget.line);
                self.read_primary(client, true);
            }
            Turn::Refused => {
                leaves(&mut budget.line);
                self.tally.refused += 1;
                self.check(until <= self.now, "nobody is sent away before its time");
            }
            Turn::Waits(_) => {
                self.check_waits(process, ticket, until);
                self.clients[client]
                    .open
                    .push(Open::Queued { ticket, until });
            }
        }
    }

    fn give_back(&mut self, process: usize, falls_back: bool) {
        if falls_back {
            let budget = &mut self.processes[process].budget;
            budget.gate.release();
            budget.out -= 1;
        }
    }

    fn read_primary(&mut self, client: usize, falls_back: bool) {
        let (process, this) = self.at(client);
        let node = this.snapshot.primary.map(NodeId::index);
        let serves = |node: &usize| {
            let primary = &self.cluster.nodes[*node];
            this.reaches(&self.cluster, *node) && primary.kind == Kind::Primary
        };
        let Some(node) = node.filter(serves) else {
            self.give_back(process, falls_back);
            return;
        };
        self.tally.fallback_reads += u64::from(falls_back);
        let epoch = self.cluster.nodes[node].epoch;
        let until = self.now + self.chance.below(20 * MS);
        let client = &mut self.clients[client];
        client.session.open_primary_read();
        if falls_back {
            client.session.fall_back();
        }
        client.open.push(Open::ReadingPrimary {
            node,
            epoch,
            until,
            falls_back,
        });
    }

    pub(crate) fn go_on(&mut self, client: usize) {
        self.arrive(client);
        if self.clients[client].open.is_empty() {
            return;
        }
        let process = self.clients[client].process;
        let now = self.instant(process);
        for open in std::mem::take(&mut self.clients[client].open) {
            match open {
                Open::Write {
                    ticket,
                    node,
                    epoch,
                } => self.go_on_writing(client, open, ticket, (node, epoch)),
                Open::Routed(routed) if routed.open_at <= self.now => self.open(client, &routed),
                Open::Waiting { asked, until } => self.route(client, asked, until),
                Open::Queued { ticket, until } => self.go_on_queueing(client, ticket, until),
                Open::Reading { node, epoch, until } if until <= self.now => {
                    self.look(client, node, epoch);
                    self.clients[client].session.close_read(now);
                }
                Open::ReadingPrimary {
                    node,
                    epoch,
                    until,
                    falls_back,
                } if until <= self.now => {
                    self.look(client, node, epoch);
                    self.clients[client].session.close_primary_read(now);
                    self.give_back(process, falls_back);
                }
                Open::Routed(_) | Open::Reading { .. } | Open::ReadingPrimary { .. } => {
                    self.clients[client].open.push(open);
                }
            }
        }
    }

    fn go_on_writing(&mut self, client: usize, open: Open, ticket: u64, run: (usize, u64)) {
        let process = self.clients[client].process;
        let now = self.instant(process);
        let acked = self.cluster.acked.iter().find(|one| one.ticket == ticket);
        let place = acked.map(|one| one.place);
        // Acknowledged and lost within one step.
        let lost = |cut: Place| {
            place.is_some_and(|place| place.timeline == cut.timeline && place.lsn > cut.lsn)
        };
        let lost = self.cluster.cut.is_some_and(lost);
        let dropped = self.chance.one_in(300);
        let window = self.processes[process].policy.sticky_window;
        if let Some(place) = place {
            self.note(Note::Acknowledged(client, place));
        }
        let client = &mut self.clients[client];
        if let Some(place) = place {
            let write = Written {
                place,
                followed: true,
            };
            client.wrote.extend((!lost).then_some(write));
            client.session.close_write(now);
            if client.wrote.len() > 24 {
                client.wrote.remove(0);
            }
        } else if self.cluster.nodes[run.0].epoch != run.1 {
            client.session.lose_write(now, window);
            self.suspect(process, run.0);
        } else if dropped {
            client.session.lose_write(now, window);
        } else {
            client.open.push(open);
        }
    }

    /// A read failed on a node: it is tried once more, on another.
    fn retry(&mut self, client: usize, routed: &Routed) {
        if routed.asked.failed.is_some() {
            return;
        }
        self.tally.retries += 1;
        let asked = Asked {
            failed: Some(id(routed.node)),
            ..routed.asked
        };
        self.route(client, asked, self.now);
    }

    /// A connection for a routed read: one from the pool, or a new one.
    fn open(&mut self, client: usize, routed: &Routed) {
        let (process, index) = (self.clients[client].process, routed.node);
        let run = self.cluster.nodes[index].epoch;
        if !self.processes[process].reaches(&self.cluster, index) {
            if self.chance.one_in(2) {
                self.suspect(process, index);
            }
            self.retry(client, routed);
            return;
        }
        let pool = &mut self.processes[process].pools[index];
        if pool.len() < 3 && self.chance.one_in(3) || pool.is_empty() {
            pool.push((self.now, run));
        }
        let place = self.chance.index(pool.len());
        let (opened, epoch) = pool[place];
        if epoch != run {
            pool.remove(place);
            self.suspect(process, index);
            self.retry(client, routed);
            return;
        }
        if self.chance.one_in(50) {
            pool.remove(place);
        }
        let opened = Instant::from_nanos(opened + self.processes[process].origin);
        let observed = routed.snapshot.nodes[index].observed_at;
        if observed.is_some_and(|observed| opened <= observed) {
            self.open_proved(client, routed);
        } else {
            self.open_fresh(client, routed);
        }
    }

    fn open_proved(&mut self, client: usize, routed: &Routed) {
        let snapshot = &routed.snapshot;
        let sight = snapshot.nodes[routed.node].sight();
        let bound = routed.asked.bound;
        // Whether the session still admits the node, either of the two says.
        let requirement = if self.chance.one_in(2) {
            self.requirement(client, bound)
        } else {
            bound.map_or_else(Requirement::any, Requirement::within)
        };
        let now = self.instant(self.clients[client].process);
        let rechecked = recheck(snapshot, id(routed.node), &requirement, now);
        let session = &mut self.clients[client].session;
        let opened = rechecked.is_ok_and(|reached| session.open_read(sight, reached).is_ok());
        if !opened {
            self.tally.refused_opens += 1;
            return;
        }
        self.read(client, routed, "proved");
    }

    fn requirement(&self, client: usize, bound: Option<Duration>) -> Requirement {
        let floor = Requirement::at_least(self.clients[client].session.floor());
        bound.map_or(floor, |bound| Requirement::within(bound).and(floor))
    }

    /// The connection is younger than what is known of its node: it is asked what it shows, and which
    /// server it leads to, for another may have come to this address.
    fn open_fresh(&mut self, client: usize, routed: &Routed) {
        let (process, this) = self.at(client);
        let snapshot = Arc::clone(&this.snapshot);
        let view = &snapshot.nodes[routed.node];
        let node = &self.cluster.nodes[routed.node];
        let started = ServerStart::new(node.started);
        let same_server =
            snapshot.system == Some(SystemId::new(node.system)) && view.started == Some(started);
        if node.kind == Kind::Primary || !same_server || !Self::is_in(view.membership) {
            return;
        }
        let requirement = self.requirement(client, routed.asked.bound);
        let replay = Lsn::new(node.at.lsn);
        let now = self.instant(process);
        let recheck = recheck_fresh(&snapshot, id(routed.node), &requirement, replay, now);
        let Ok(reached) = recheck else {
            return;
        };
        let session = &mut self.clients[client].session;
        let opened = session.open_fresh_read(view.sight(), reached);
        self.check(opened.is_ok(), "what was rechecked can be opened");
        self.tally.fresh_reads += 1;
        self.read(client, routed, "asked");
    }

    fn read(&mut self, client: usize, routed: &Routed, how: &'static str) {
        let node = &self.cluster.nodes[routed.node];
        let (epoch, lsn) = (node.epoch, node.at.lsn);
        self.note(Note::Read(client, routed.node, lsn, how));
        self.check_read(client, routed.node, routed.asked.bound);
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
    ///
    /// While two primaries write and its process knows of the older one alone, what replicas show of
    /// the newer timeline is compared with nothing that the process can ask: only what both have
    /// counts.
    fn see(&mut self, client: usize, index: usize) {
        let node = &self.cluster.nodes[index];
        let mut place = node.at;
        if node.kind == Kind::Primary {
            place.lsn = self.cluster.acknowledged(place.timeline).min(place.lsn);
        }
        let (_, this) = self.at(client);
        let known = this.snapshot.timeline.map_or(0, Timeline::as_u32);
        if known < place.timeline && self.cluster.is_split() {
            place.lsn = place.lsn.min(self.cluster.common(place.timeline, known));
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
