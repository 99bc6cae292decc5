//! One run: the cluster, the processes that watch it, and the sessions that go from one to another.
//!
//! What is done to them is a list of items, each with its place in time and its own randomness: a
//! fault, or what a client begins. A run can be repeated without some of its items, which is how
//! [`crate::shrink`] finds those that a broken law needs.

use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt;
use std::panic::resume_unwind;

use lagwise_core::{Claim, Event, Observation, ProbeFailure};

use crate::chance::{Chance, Stream};
use crate::clients::Client;
use crate::cluster::{Cluster, MS, Place};
use crate::faults::{KINDS, id};
use crate::process::Process;

const TRACE: usize = 60;

/// What a step may begin: a fault, and something that a client does, twice.
pub(crate) const SLOTS: u64 = 3;

#[derive(Clone, Debug)]
pub(crate) enum Note {
    Fault(&'static str, usize),
    Client(usize, usize, &'static str),
    Told(usize, usize, Observation),
    Failed(usize, usize, ProbeFailure),
    Event(usize, Event),
    Read(usize, usize, u64, &'static str),
    Left(usize, Claim),
    Came(usize, usize),
    Acknowledged(usize, Place),
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fault(what, node) => write!(f, "FAULT {what}, node {node}"),
            Self::Client(client, process, what) => {
                write!(f, "CLIENT {client} at process {process} {what}")
            }
            Self::Told(process, node, observed) => write!(
                f,
                "process {process} hears of node {node} over {}, asked at {:?}, of cluster {}, \
                 {:?}: {:?}",
                observed.connection,
                observed.sent_at,
                observed.system.as_u64(),
                observed.started,
                observed.standing
            ),
            Self::Failed(process, node, failure) => {
                write!(
                    f,
                    "process {process} has no answer of node {node}: {failure}"
                )
            }
            Self::Left(client, claim) => write!(f, "client {client} takes along {claim:?}"),
            Self::Came(client, process) => {
                write!(f, "client {client} is taken up by process {process}")
            }
            Self::Acknowledged(client, place) => {
                write!(f, "client {client} has written {place:?}")
            }
            Self::Event(process, event) => write!(f, "process {process}: {event:?}"),
            Self::Read(client, node, lsn, how) => {
                write!(
                    f,
                    "client {client} reads ({how}) on node {node}, which is at {lsn}"
                )
            }
        }
    }
}

/// What happened in a run, so that a run in which nothing does is noticed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) steps: u64,
    pub(crate) checks: Cell<u64>,
    pub(crate) faults: [u64; KINDS],
    pub(crate) replica_reads: u64,
    pub(crate) fresh_reads: u64,
    pub(crate) fallback_reads: u64,
    pub(crate) queued: u64,
    pub(crate) refused: u64,
    pub(crate) refused_opens: u64,
    pub(crate) retries: u64,
    pub(crate) waits: u64,
    pub(crate) tokens: u64,
    pub(crate) carried: u64,
    pub(crate) voided: u64,
    pub(crate) freshest: u64,
    pub(crate) lost_writes: u64,
    pub(crate) reported: u64,
    pub(crate) split_writes: u64,
    pub(crate) unrewound: u64,
    pub(crate) rivals: u64,
    pub(crate) diverged: u64,
    pub(crate) ejections: u64,
    pub(crate) histories: u64,
    pub(crate) calms: u64,
}

/// A broken law, and what led to it.
#[derive(Debug)]
pub(crate) struct Broken {
    pub(crate) law: &'static str,
    pub(crate) detail: String,
    pub(crate) step: u64,
    pub(crate) ran: Vec<u64>,
    pub(crate) trace: Vec<String>,
}

pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) now: u64,
    pub(crate) chance: Chance,
    pub(crate) cluster: Cluster,
    pub(crate) processes: Vec<Process>,
    pub(crate) clients: Vec<Client>,
    pub(crate) settling_until: u64,
    pub(crate) calm_since: Option<u64>,
    /// No fault happens, and no probe is lost.
    pub(crate) mended: bool,
    pub(crate) tally: Tally,
    /// The items of this run, in their order, if not all of them are to happen.
    only: Option<VecDeque<u64>>,
    ran: Vec<u64>,
    tracing: bool,
    acts: Vec<String>,
    trace: VecDeque<(u64, u64, Note)>,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut chance = Chance::of(seed, 0, Stream::Setup);
        let now = 1000 * MS;
        let nodes = usize::try_from(chance.between(2, 5)).unwrap_or(2);
        let processes = chance.between(2, 3);
        let processes = (0..processes).map(|_| Process::new(now, nodes, &mut chance));
        let processes: Vec<Process> = processes.collect();
        let clients = (0..chance.between(3, 12)).map(|_| Client::new(&mut chance, processes.len()));
        Self {
            seed,
            now,
            cluster: Cluster::new(now, nodes),
            clients: clients.collect(),
            processes,
            settling_until: now + 1000 * MS,
            calm_since: None,
            mended: true,
            tally: Tally::default(),
            only: None,
            ran: Vec::new(),
            tracing: false,
            acts: Vec::new(),
            trace: VecDeque::new(),
            chance,
        }
    }

    /// The same run with these items alone, and with an account of it.
    pub(crate) fn with_only(seed: u64, items: &[u64]) -> Self {
        Self {
            only: Some(items.iter().copied().collect()),
            ..Self::new(seed)
        }
    }

    pub(crate) fn traced(mut self) -> Self {
        self.tracing = true;
        self
    }

    pub(crate) fn note(&mut self, note: Note) {
        if !self.tracing {
            return;
        }
        let entry = (self.now, self.tally.steps, note);
        let act = matches!(entry.2, Note::Fault(..) | Note::Client(..));
        let sequel = matches!(
            entry.2,
            Note::Left(..) | Note::Came(..) | Note::Acknowledged(..)
        );
        if act || sequel {
            self.acts.push(line(&entry));
        }
        if self.trace.len() == TRACE {
            self.trace.pop_front();
        }
        self.trace.push_back(entry);
    }

    /// A law is broken: what led to it. It ends the run, without a word of its own.
    pub(crate) fn broken(&self, law: &'static str, detail: String) -> ! {
        let mut trace = self.acts.clone();
        if self.tracing {
            trace.push("the end of it:".to_owned());
            trace.extend(self.trace.iter().map(line));
            for (index, process) in self.processes.iter().enumerate() {
                trace.push(format!(
                    "process {index}: clock ahead by {} ns, {:?}",
                    process.origin, *process.policy
                ));
            }
            for (index, node) in self.cluster.nodes.iter().enumerate() {
                trace.push(format!("node {index}: {node:?}"));
            }
        }
        resume_unwind(Box::new(Broken {
            law,
            detail,
            step: self.tally.steps,
            ran: self.ran.clone(),
            trace,
        }))
    }

    /// The items that were part of the run so far.
    pub(crate) fn ran(&self) -> &[u64] {
        &self.ran
    }

    /// The code itself gave up.
    pub(crate) fn panicked(&self) -> Broken {
        Broken {
            law: "nothing panics",
            detail: String::new(),
            step: self.tally.steps,
            ran: self.ran.clone(),
            trace: self.acts.clone(),
        }
    }

    pub(crate) fn check(&self, holds: bool, law: &'static str) {
        self.tally.checks.set(self.tally.checks.get() + 1);
        if !holds {
            self.broken(law, String::new());
        }
    }

    /// Runs for a while with faults, mends everything, and sees all come back; three times.
    pub(crate) fn run(&mut self, steps: u64) {
        for _ in 0..3 {
            self.mended = false;
            for _ in 0..steps / 3 {
                self.step();
            }
            self.see_all_come_back();
        }
    }

    fn see_all_come_back(&mut self) {
        self.mended = true;
        self.heal();
        let patience = self.processes.iter().map(|process| {
            let policy = &process.policy;
            let polls = policy.idle_poll_interval * (policy.return_after + 8);
            policy.max_backoff + policy.probe_timeout * 3 + polls
        });
        let patience = patience.max().unwrap_or_default();
        let until = self.now + u64::try_from(patience.as_nanos()).unwrap_or(0);
        while self.now < until {
            self.step();
        }
        for process in 0..self.processes.len() {
            self.check_healed(process);
        }
        self.calm_since = Some(self.now);
        let until = self.now + 2500 * MS;
        while self.now < until {
            self.step();
        }
        self.calm_since = None;
        self.cluster.quiet = false;
        self.tally.calms += 1;
    }

    fn check_healed(&self, process: usize) {
        let snapshot = &self.processes[process].snapshot;
        self.check(
            snapshot.primary == Some(id(self.cluster.current)),
            "the primary is found again",
        );
        let timeline = snapshot.timeline.map(|timeline| timeline.as_u32());
        self.check(
            timeline == Some(self.cluster.current_timeline()),
            "the timeline that is known is the one that the primary writes",
        );
        for node in snapshot.replicas() {
            if !node.membership.is_in_rotation() {
                self.broken(
                    "every healed replica returns",
                    format!("process {process} keeps out {node:?}"),
                );
            }
        }
    }

    fn draw(&mut self, stream: Stream) {
        self.chance = Chance::of(self.seed, self.tally.steps, stream);
    }

    fn step(&mut self) {
        self.tally.steps += 1;
        self.draw(Stream::Time);
        let stride = if self.chance.one_in(4) { 8 * MS } else { MS };
        self.now += 1 + self.chance.between(0, stride - 1);
        self.draw(Stream::Cluster);
        self.cluster.advance(self.now, &mut self.chance);
        self.begin_fault();
        for process in 0..self.processes.len() {
            self.draw(Stream::Process(process));
            self.carry_probes(process);
            self.turn_monitor(process);
        }
        if let Some(cut) = self.cluster.cut {
            self.forget_lost(cut);
        }
        for client in 0..self.clients.len() {
            self.draw(Stream::Client(client));
            self.go_on(client);
        }
        self.begin_actions();
        for process in 0..self.processes.len() {
            self.check_pace(process);
            self.publish(process);
        }
    }

    /// Whether an item of this step is part of the run.
    fn happens(&mut self, slot: u64) -> bool {
        let item = self.tally.steps * SLOTS + slot;
        let happens = match &mut self.only {
            None => true,
            Some(items) => {
                let next = items.front() == Some(&item);
                if next {
                    items.pop_front();
                }
                next
            }
        };
        if happens {
            self.ran.push(item);
        }
        happens
    }

    /// Faults come in bad times and in better ones.
    fn begin_fault(&mut self) {
        if self.mended {
            return;
        }
        let era = Chance::of(self.seed, self.tally.steps / 400, Stream::Era).index(6);
        let pause = [12, 25, 40, 60, 120, 500][era];
        self.draw(Stream::Fault);
        if self.chance.one_in(pause) && self.happens(0) {
            self.act();
        }
    }

    fn begin_actions(&mut self) {
        for slot in 1..SLOTS {
            self.draw(Stream::Action(slot));
            let client = self.chance.index(self.clients.len());
            let kind = self.chance.between(0, 29);
            if kind <= 8 && self.happens(slot) {
                self.begin(client, kind);
            }
        }
    }
}

fn line((now, step, note): &(u64, u64, Note)) -> String {
    let (whole, part) = (now / MS, now % MS / 1000);
    format!("step {step:>6} {whole:>7}.{part:03} ms  {note}")
}
