//! Drives the real monitor over the simulated cluster, under a clock of its own.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use lagwise_core::{
    Completed, Event, Instant, Lsn, Membership, Monitor, NodeSpec, Observation, Policy,
    ProbeFailure, Random, Role, ServerStart, Snapshot, Standing, SystemId, Timeline, ValidPolicy,
    Weight,
};

use crate::chance::Chance;
use crate::clients::Client;
use crate::cluster::{Cluster, Kind, MS, Way};
use crate::faults::id;

const TRACE: usize = 40;

/// So many probes of a node span at least nine of the fastest pauses.
const FEW: usize = 14;

/// A probe on its way.
#[derive(Debug)]
struct Probe {
    node: usize,
    sent: u64,
    asked_at: u64,
    answered_at: u64,
    deadline: u64,
    outcome: Option<Result<Answer, ProbeFailure>>,
}

/// What a node said, and the run of it that said so.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    pub(crate) observed: Observation,
    pub(crate) epoch: u64,
}

/// What the monitor was last told of a node.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Known {
    Nothing,
    Failed,
    Seen(Answer),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Note {
    Act(u64, usize),
    Told(usize, Observation),
    Failed(usize, ProbeFailure),
    Event(Event),
    Read(usize, u64, &'static str),
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Act(kind, node) => write!(f, "fault {kind} befalls node {node}"),
            Self::Told(node, observed) => write!(
                f,
                "node {node} said over {}, asked at {:?}, of cluster {}, {:?}: {:?}",
                observed.connection,
                observed.sent_at,
                observed.system.as_u64(),
                observed.started,
                observed.standing
            ),
            Self::Failed(node, failure) => write!(f, "node {node} did not answer: {failure}"),
            Self::Event(event) => write!(f, "event {event:?}"),
            Self::Read(node, lsn, how) => write!(f, "{how} read on node {node} at {lsn}"),
        }
    }
}

/// What happened in a run, so that a run in which nothing does is noticed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) steps: u64,
    pub(crate) replica_reads: u64,
    pub(crate) fresh_reads: u64,
    pub(crate) refused_opens: u64,
    pub(crate) waits: u64,
    pub(crate) tokens: u64,
    pub(crate) carried: u64,
    pub(crate) voided: u64,
    pub(crate) freshest: u64,
    pub(crate) lost_writes: u64,
    pub(crate) failovers: u64,
    pub(crate) unrewound: u64,
    pub(crate) rivals: u64,
    pub(crate) foreigners: u64,
    pub(crate) diverged: u64,
    pub(crate) ejections: u64,
    pub(crate) histories: u64,
    pub(crate) calms: u64,
}

pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) now: u64,
    pub(crate) chance: Chance,
    pub(crate) cluster: Cluster,
    pub(crate) policy: ValidPolicy,
    pub(crate) monitor: Monitor,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) known: Vec<Known>,
    /// The same, when the snapshot was published.
    pub(crate) published: Vec<Known>,
    pub(crate) drained: Vec<bool>,
    pub(crate) clients: Vec<Client>,
    /// Open pooled connections of each node: when they were opened, and to which run.
    pub(crate) pools: Vec<Vec<(u64, u64)>>,
    pub(crate) settling_until: u64,
    pub(crate) calm: bool,
    pub(crate) tally: Tally,
    pub(crate) last_read: u64,
    pub(crate) good: Vec<u32>,
    probes: Vec<Probe>,
    late: Vec<(u64, usize, Observation)>,
    monitored: Vec<Option<(u64, u64)>>,
    connections: u64,
    /// When each node was last asked, a few times back.
    asked: Vec<VecDeque<u64>>,
    last_done: Vec<u64>,
    next_act: u64,
    next_activity: u64,
    changed: bool,
    trace: VecDeque<(u64, Note)>,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let now = 1000 * MS;
        let replicas = chance.between(1, 4);
        let policy = policy(&mut chance);
        let specs: Vec<NodeSpec> = (0..=replicas)
            .map(|index| spec(index, &mut chance))
            .collect();
        let many = specs.len();
        let at = Instant::from_nanos(now);
        let monitor = Monitor::new(at, policy.clone(), specs);
        let clients = (0..chance.between(2, 10)).map(|_| Client::default());
        Self {
            seed,
            now,
            cluster: Cluster::new(now, many),
            snapshot: Arc::new(monitor.snapshot(at)),
            monitor,
            policy,
            known: vec![Known::Nothing; many],
            published: vec![Known::Nothing; many],
            drained: vec![false; many],
            clients: clients.collect(),
            pools: vec![Vec::new(); many],
            settling_until: now + 1000 * MS,
            calm: false,
            tally: Tally::default(),
            last_read: now,
            good: vec![0; many],
            probes: Vec::new(),
            late: Vec::new(),
            monitored: vec![None; many],
            connections: 0,
            asked: vec![VecDeque::new(); many],
            last_done: vec![now; many],
            next_act: now + 1500 * MS,
            next_activity: now,
            changed: true,
            trace: VecDeque::new(),
            chance,
        }
    }

    pub(crate) const fn instant(&self) -> Instant {
        Instant::from_nanos(self.now)
    }

    pub(crate) fn note(&mut self, note: Note) {
        if self.trace.len() == TRACE {
            self.trace.pop_front();
        }
        self.trace.push_back((self.now, note));
    }

    /// A law is broken: the seed, and what led to it.
    pub(crate) fn broken(&self, law: &str) -> ! {
        let lines: Vec<String> = self
            .trace
            .iter()
            .map(|(at, note)| format!("{:>10.3} ms  {note}", *at as f64 / MS as f64))
            .collect();
        panic!(
            "LAGWISE_SIM_SEED={}: {law}\nat {:.3} ms, step {}\n{}\npolicy {:?}\nnodes {:#?}",
            self.seed,
            self.now as f64 / MS as f64,
            self.tally.steps,
            lines.join("\n"),
            *self.policy,
            self.cluster.nodes,
        );
    }

    pub(crate) fn check(&self, holds: bool, law: &str) {
        if !holds {
            self.broken(law);
        }
    }

    /// Runs for a while with faults, mends everything, and sees all come back; three times.
    pub(crate) fn run(&mut self, steps: u64) {
        for _ in 0..3 {
            self.calm = false;
            for _ in 0..steps / 3 {
                self.step();
            }
            self.see_all_come_back();
        }
    }

    fn see_all_come_back(&mut self) {
        self.next_act = u64::MAX;
        self.heal();
        let policy = &self.policy;
        let polls = policy.idle_poll_interval * (policy.return_after + 8);
        let patience = policy.max_backoff + policy.probe_timeout * 3 + polls;
        let until = self.instant().after(patience).as_nanos();
        while self.now < until {
            self.step();
        }
        let current = id(self.cluster.current);
        self.check(
            self.snapshot.primary == Some(current),
            "the primary is found again",
        );
        for node in self.snapshot.replicas() {
            if !node.membership.is_in_rotation() {
                self.broken(&format!("every healed replica returns, not {node:?}"));
            }
        }
        self.calm = true;
        let until = self.now + 1500 * MS;
        while self.now < until {
            self.step();
        }
        self.calm = false;
        self.tally.calms += 1;
        self.next_act = self.now + 200 * MS;
    }

    pub(crate) fn step(&mut self) {
        self.tally.steps += 1;
        let stride = if self.chance.one_in(4) { 8 * MS } else { MS };
        self.now += 1 + self.chance.below(stride);
        self.cluster.advance(self.now, &mut self.chance);
        if self.now >= self.next_act {
            self.act();
            let pause = if self.chance.one_in(6) { 1500 } else { 150 };
            self.next_act = self.now + self.chance.between(1, pause) * MS;
        }
        self.carry_probes();
        self.turn_monitor();
        self.serve_clients();
        self.check_pace();
        if std::mem::take(&mut self.changed) {
            self.snapshot = Arc::new(self.monitor.snapshot(self.instant()));
            self.published.clone_from(&self.known);
            self.check_snapshot();
        }
    }

    /// Something was handed to the monitor: takes out what it has to say.
    pub(crate) fn drain_events(&mut self) {
        self.changed = true;
        while let Some(event) = self.monitor.poll_event() {
            self.note(Note::Event(event));
            self.check_event(event);
        }
    }

    fn turn_monitor(&mut self) {
        let now = self.instant();
        if self.now >= self.next_activity {
            self.next_activity = self.now + 100 * MS;
            self.monitor
                .handle_activity(now, Instant::from_nanos(self.last_read));
        }
        if self.monitor.next_timeout().is_some_and(|due| due <= now) {
            self.monitor.handle_timeout(now);
            self.drain_events();
        }
        while let Some(node) = self.monitor.poll_probe(now) {
            self.send_probe(node.index());
        }
        self.check(
            self.monitor.next_timeout().is_none_or(|due| due > now),
            "after a timeout and all probes there is nothing left to do at once",
        );
    }

    fn send_probe(&mut self, node: usize) {
        let outstanding = self.probes.iter().any(|probe| probe.node == node);
        self.check(!outstanding, "a node is asked one question at a time");
        let asked = &mut self.asked[node];
        asked.push_back(self.now);
        if asked.len() > FEW {
            let since = self.now - asked.pop_front().unwrap_or(0);
            let least = self.policy.demand_interval * 9;
            self.check(
                Duration::from_nanos(since) >= least,
                "a few probes may follow each other closely, many may not",
            );
        }
        let delay = self.cluster.nodes[node].delay * 1000;
        let asked_at = self.now + 1 + self.chance.below(MS + delay);
        let lost = self.next_act != u64::MAX && self.chance.one_in(500);
        self.probes.push(Probe {
            node,
            sent: self.now,
            asked_at: if lost { u64::MAX } else { asked_at },
            answered_at: asked_at + self.chance.below(MS + delay),
            deadline: self.instant().after(self.policy.probe_timeout).as_nanos(),
            outcome: None,
        });
    }

    /// What is under way to a node that was cut off does not arrive.
    pub(crate) fn drop_probes(&mut self, node: usize) {
        for probe in self.probes.iter_mut().filter(|probe| probe.node == node) {
            if probe.outcome.is_none() {
                probe.asked_at = u64::MAX;
            }
        }
    }

    fn carry_probes(&mut self) {
        for mut probe in std::mem::take(&mut self.probes) {
            if probe.outcome.is_none() && probe.asked_at <= self.now {
                probe.outcome = self.ask(&probe);
            }
            if self.now >= probe.deadline {
                self.time_out(&probe);
            } else if probe.answered_at <= self.now && probe.outcome.is_some() {
                self.deliver(&probe);
            } else {
                self.probes.push(probe);
            }
        }
        while let Some(place) = self.late.iter().position(|(at, ..)| *at <= self.now) {
            let (_, node, mut observed) = self.late.swap_remove(place);
            observed.received_at = self.instant();
            self.monitor
                .handle_observation(self.instant(), id(node), observed, &mut self.chance);
            self.drain_events();
        }
    }

    /// Asks a node, over the connection there is or a new one.
    fn ask(&mut self, probe: &Probe) -> Option<Result<Answer, ProbeFailure>> {
        let index = probe.node;
        let node = &self.cluster.nodes[index];
        let connection = self.monitored[index];
        if node.way == Way::Hung {
            return None;
        }
        if !node.up || node.way == Way::Refused {
            self.monitored[index] = None;
            let lost = connection.is_some();
            return Some(Err(if lost {
                ProbeFailure::Lost
            } else {
                ProbeFailure::Connect
            }));
        }
        let alive = connection.filter(|(_, epoch)| *epoch == node.epoch);
        if alive.is_none() && connection.is_some() && self.chance.one_in(2) {
            self.monitored[index] = None;
            return Some(Err(ProbeFailure::Lost));
        }
        let (number, epoch) = alive.unwrap_or_else(|| {
            self.connections += 1;
            (self.connections, node.epoch)
        });
        self.monitored[index] = Some((number, epoch));
        let observed = self.observe(probe, number);
        Some(Ok(Answer { observed, epoch }))
    }

    fn observe(&self, probe: &Probe, connection: u64) -> Observation {
        let node = &self.cluster.nodes[probe.node];
        let standing = match node.kind {
            Kind::Primary => Standing::Primary {
                insert: Lsn::new(node.at.lsn),
                timeline: Timeline::new(node.at.timeline),
                writable: node.writable,
                completed: Some(Completed::new(node.completed, 0)),
            },
            Kind::Standby => Standing::Replica {
                replay: Some(Lsn::new(node.at.lsn)),
                paused: node.paused_until > self.now,
                follows: None,
            },
        };
        Observation {
            sent_at: Instant::from_nanos(probe.sent),
            received_at: Instant::from_nanos(probe.sent),
            connection,
            system: SystemId::new(node.system),
            // Some nodes are started in the same microsecond as another.
            started: ServerStart::new(node.started + [0, 0, 1_000, 2_000, 3_000][probe.node % 5]),
            standing,
        }
    }

    fn time_out(&mut self, probe: &Probe) {
        self.monitored[probe.node] = None;
        // Its answer may come all the same, after everything was given up.
        if let Some(Ok(answer)) = probe.outcome {
            let at = self.now + self.chance.below(300 * MS);
            self.late.push((at, probe.node, answer.observed));
        }
        self.fail(probe.node, ProbeFailure::Timeout);
    }

    fn deliver(&mut self, probe: &Probe) {
        match probe.outcome {
            Some(Ok(mut answer)) => {
                answer.observed.received_at = self.instant();
                self.tell(probe.node, answer);
            }
            Some(Err(failure)) => self.fail(probe.node, failure),
            None => {}
        }
    }

    fn tell(&mut self, node: usize, answer: Answer) {
        self.note(Note::Told(node, answer.observed));
        if let Known::Seen(before) = self.known[node]
            && before.observed.connection != answer.observed.connection
        {
            self.good[node] = 0;
        }
        self.known[node] = Known::Seen(answer);
        self.good[node] += 1;
        self.last_done[node] = self.now;
        let now = self.instant();
        self.monitor
            .handle_observation(now, id(node), answer.observed, &mut self.chance);
        if self.chance.one_in(200) {
            self.monitor
                .handle_observation(now, id(node), answer.observed, &mut self.chance);
        }
        self.drain_events();
    }

    fn fail(&mut self, node: usize, failure: ProbeFailure) {
        self.note(Note::Failed(node, failure));
        self.known[node] = Known::Failed;
        self.good[node] = 0;
        self.last_done[node] = self.now;
        self.monitor
            .handle_failure(self.instant(), id(node), failure, &mut self.chance);
        self.drain_events();
    }

    /// Nothing starves: every node is asked again within its longest pause.
    fn check_pace(&self) {
        let policy = &self.policy;
        let longest = policy.max_backoff.max(policy.idle_poll_interval) + Duration::from_millis(10);
        for (node, done) in self.last_done.iter().enumerate() {
            let outstanding = self.probes.iter().any(|probe| probe.node == node);
            let since = Duration::from_nanos(self.now - done);
            self.check(
                outstanding || since <= longest,
                "every node is asked again before long",
            );
        }
    }

    /// Whether the monitor counts a node in.
    pub(crate) fn is_in(membership: Membership) -> bool {
        membership.is_in_rotation()
    }
}

fn spec(index: u64, chance: &mut Chance) -> NodeSpec {
    let role = if index == 0 {
        Role::Primary
    } else {
        Role::Replica
    };
    let mut spec = NodeSpec::new(format!("db-{index}"), role);
    let weights = [0, 1, 100, 100, 300];
    spec.weight = Weight::new(weights[chance.index(weights.len())]);
    spec.zone = Some(if chance.one_in(2) { "east" } else { "west" }.into());
    spec
}

fn policy(chance: &mut Chance) -> ValidPolicy {
    let ms = Duration::from_millis;
    let mut policy = match chance.below(4) {
        0 => Policy::default(),
        1 => Policy::default()
            .with_poll_interval(ms(20))
            .with_max_lag(ms(200)),
        2 => Policy::default()
            .with_poll_interval(ms(50))
            .with_max_lag(ms(500)),
        _ => Policy::default().with_max_lag(ms(3000)),
    };
    policy.leave_after = u32::try_from(chance.between(1, 3)).unwrap_or(1);
    policy.return_after = u32::try_from(chance.between(1, 4)).unwrap_or(1);
    policy.min_in_rotation = u16::try_from(chance.below(3)).unwrap_or(0);
    policy.lag_ceiling = ms(chance.between(3000, 60_000));
    policy.probe_timeout = ms(chance.between(50, 500));
    policy.demand_interval = ms(chance.between(1, 5));
    policy.idle_after = ms(chance.between(100, 3000));
    if chance.one_in(2) {
        policy.primary_loss = lagwise_core::PrimaryLoss::HonorBound;
    }
    if chance.one_in(2) {
        policy.zone = Some("east".into());
    }
    policy
        .validate()
        .expect("every policy tried can be honored")
}
