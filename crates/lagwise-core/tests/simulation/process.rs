//! A process that routes: the real monitor, and its probes on their way to the nodes.
//!
//! Several of them watch one cluster. Each has clocks of its own, connections of its own and a way to
//! each node of its own, so that they know different things at the same time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use lagwise_core::{
    BudgetGate, Completed, Instant, Lsn, Monitor, NodeSpec, Observation, Policy, PrimaryLoss,
    ProbeFailure, Random, Role, ServerStart, Snapshot, Standing, SystemId, Ticket, Timeline,
    ValidPolicy, WallTime, Weight,
};

use crate::chance::Chance;
use crate::cluster::{Cluster, Kind, MS, OURS, Way};
use crate::faults::id;
use crate::laws::claim;
use crate::world::{Note, World};

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

/// A pooled connection: when it was opened, and to which run of its node.
pub(crate) type Pooled = (u64, u64);

/// How a process reaches a node, until when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reach {
    pub(crate) way: Way,
    pub(crate) until: u64,
}

/// The fallback budget of a process, and what was granted under it.
#[derive(Debug)]
pub(crate) struct Budget {
    pub(crate) gate: BudgetGate,
    pub(crate) places: u32,
    pub(crate) rate: Option<u32>,
    /// Reads that are known to be on the primary for want of a replica.
    pub(crate) out: u32,
    pub(crate) granted: u64,
    pub(crate) since: u64,
    pub(crate) line: VecDeque<(Ticket, u64)>,
}

/// What a node was last proved to show of a timeline.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Proved {
    pub(crate) timeline: Timeline,
    pub(crate) as_of: Instant,
    /// By this run of it.
    pub(crate) epoch: u64,
}

#[derive(Debug)]
pub(crate) struct Process {
    /// Its monotonic clock is ahead by so much, and its wall clock by so many milliseconds.
    pub(crate) origin: u64,
    wall: u64,
    pub(crate) policy: ValidPolicy,
    pub(crate) monitor: Monitor,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) known: Vec<Known>,
    /// The same, when the snapshot was published.
    pub(crate) published: Vec<Known>,
    /// The newest timeline on which a node of ours was ever heard to accept writes.
    pub(crate) newest: u32,
    /// The same, when the snapshot was published.
    pub(crate) published_newest: u32,
    /// Whether it has heard of a server of ours at each address.
    pub(crate) introduced: Vec<bool>,
    pub(crate) drained: Vec<bool>,
    pub(crate) pools: Vec<Vec<Pooled>>,
    pub(crate) reach: Vec<Reach>,
    pub(crate) budget: Budget,
    pub(crate) last_read: u64,
    pub(crate) good: Vec<u32>,
    pub(crate) proved: Vec<Option<Proved>>,
    pub(crate) switches: usize,
    pub(crate) changed: bool,
    /// What stands between the monitor and these nodes hides from it that their server was replaced.
    pub(crate) proxied: Vec<bool>,
    probes: Vec<Probe>,
    late: Vec<(u64, usize, Observation)>,
    monitored: Vec<Option<(u64, u64)>>,
    connections: u64,
    /// When each node was last asked, a few times back.
    asked: Vec<VecDeque<u64>>,
    last_done: Vec<u64>,
    next_activity: u64,
}

impl Process {
    pub(crate) fn new(now: u64, nodes: usize, chance: &mut Chance) -> Self {
        let policy = policy(chance);
        let specs: Vec<NodeSpec> = (0..nodes).map(|index| spec(index, chance)).collect();
        let origin = chance.below(5_000) * MS + chance.below(MS);
        let at = Instant::from_nanos(now + origin);
        let monitor = Monitor::new(at, policy.clone(), specs);
        let open = Reach {
            way: Way::Open,
            until: 0,
        };
        Self {
            origin,
            // Clocks that differ by more than two seconds are another law's business.
            wall: 10_000 + chance.below(1_900),
            snapshot: Arc::new(monitor.snapshot(at)),
            monitor,
            policy,
            known: vec![Known::Nothing; nodes],
            published: vec![Known::Nothing; nodes],
            newest: 0,
            published_newest: 0,
            introduced: vec![false; nodes],
            drained: vec![false; nodes],
            pools: vec![Vec::new(); nodes],
            reach: vec![open; nodes],
            budget: Budget::new(at, now, chance),
            last_read: now,
            good: vec![0; nodes],
            proved: vec![None; nodes],
            switches: 0,
            changed: true,
            proxied: (0..nodes).map(|_| chance.one_in(4)).collect(),
            probes: Vec::new(),
            late: Vec::new(),
            monitored: vec![None; nodes],
            connections: 0,
            asked: vec![VecDeque::new(); nodes],
            last_done: vec![now; nodes],
            next_activity: now,
        }
    }

    /// Whether its clients reach a node.
    pub(crate) fn reaches(&self, cluster: &Cluster, node: usize) -> bool {
        let target = &cluster.nodes[node];
        let way_is_open = cluster.now >= self.reach[node].until;
        target.up && target.clients && way_is_open
    }

    /// How its probes fare on their way to a node.
    fn way(&self, cluster: &Cluster, node: usize) -> Way {
        let reach = self.reach[node];
        if cluster.now < reach.until {
            reach.way
        } else {
            cluster.nodes[node].way
        }
    }
}

impl Budget {
    fn new(at: Instant, now: u64, chance: &mut Chance) -> Self {
        let places = u32::try_from(chance.between(1, 4)).unwrap_or(1);
        let rate = chance.one_in(3).then_some(20);
        Self {
            gate: BudgetGate::new(at, places, rate, 3),
            places,
            rate,
            out: 0,
            granted: 0,
            since: now,
            line: VecDeque::new(),
        }
    }
}

impl World {
    /// The present on a process's own clock.
    pub(crate) fn instant(&self, process: usize) -> Instant {
        Instant::from_nanos(self.now + self.processes[process].origin)
    }

    pub(crate) fn wall(&self, process: usize) -> WallTime {
        WallTime::from_millis(self.now / MS + self.processes[process].wall)
    }

    /// Something was handed to the monitor: takes out what it has to say.
    pub(crate) fn drain_events(&mut self, process: usize) {
        self.processes[process].changed = true;
        while let Some(event) = self.processes[process].monitor.poll_event() {
            self.note(Note::Event(process, event));
            self.check_event(process, event);
        }
    }

    pub(crate) fn suspect(&mut self, process: usize, node: usize) {
        let now = self.instant(process);
        let monitor = &mut self.processes[process].monitor;
        monitor.handle_suspicion(now, id(node));
        self.drain_events(process);
    }

    pub(crate) fn turn_monitor(&mut self, process: usize) {
        let now = self.instant(process);
        let this = &mut self.processes[process];
        if self.now >= this.next_activity {
            this.next_activity = self.now + 100 * MS;
            let last_read = Instant::from_nanos(this.last_read + this.origin);
            this.monitor.handle_activity(now, last_read);
        }
        if this.monitor.next_timeout().is_some_and(|due| due <= now) {
            this.monitor.handle_timeout(now);
            self.drain_events(process);
        }
        while let Some(node) = self.processes[process].monitor.poll_probe(now) {
            self.send_probe(process, node.index());
        }
        let next = self.processes[process].monitor.next_timeout();
        self.check(
            next.is_none_or(|due| due > now),
            "after a timeout and all probes there is nothing left to do at once",
        );
    }

    fn send_probe(&mut self, process: usize, node: usize) {
        let outstanding = |probe: &Probe| probe.node == node;
        let outstanding = self.processes[process].probes.iter().any(outstanding);
        self.check(!outstanding, "a node is asked one question at a time");
        self.check_storm(process, node);
        let this = &mut self.processes[process];
        let delay = self.cluster.nodes[node].delay * 1000;
        let asked_at = self.now + 1 + self.chance.below(MS + delay);
        let lost = self.chance.one_in(500) && !self.mended;
        let timeout = this.policy.probe_timeout;
        this.probes.push(Probe {
            node,
            sent: self.now,
            asked_at: if lost { u64::MAX } else { asked_at },
            answered_at: asked_at + self.chance.below(MS + delay),
            deadline: Instant::from_nanos(self.now).after(timeout).as_nanos(),
            outcome: None,
        });
    }

    fn check_storm(&mut self, process: usize, node: usize) {
        let this = &mut self.processes[process];
        let asked = &mut this.asked[node];
        asked.push_back(self.now);
        if asked.len() > FEW {
            let since = self.now - asked.pop_front().unwrap_or(0);
            let least = this.policy.demand_interval * 9;
            self.check(
                Duration::from_nanos(since) >= least,
                "a few probes may follow each other closely, many may not",
            );
        }
    }

    /// What is under way to a node that was cut off does not arrive.
    pub(crate) fn drop_probes(&mut self, node: usize) {
        let probes = self.processes.iter_mut().flat_map(|this| &mut this.probes);
        for probe in probes.filter(|probe| probe.node == node) {
            if probe.outcome.is_none() {
                probe.asked_at = u64::MAX;
            }
        }
    }

    pub(crate) fn carry_probes(&mut self, process: usize) {
        let mut index = 0;
        while index < self.processes[process].probes.len() {
            let probe = &self.processes[process].probes[index];
            if probe.outcome.is_none() && probe.asked_at <= self.now {
                let (node, sent) = (probe.node, probe.sent);
                let outcome = self.ask(process, node, sent);
                self.processes[process].probes[index].outcome = outcome;
            }
            let probe = &self.processes[process].probes[index];
            let answered = probe.answered_at <= self.now && probe.outcome.is_some();
            if self.now < probe.deadline && !answered {
                index += 1;
                continue;
            }
            let probe = self.processes[process].probes.remove(index);
            if self.now >= probe.deadline {
                self.time_out(process, &probe);
            } else {
                self.deliver(process, &probe);
            }
        }
        self.deliver_late(process);
    }

    fn deliver_late(&mut self, process: usize) {
        let now = self.instant(process);
        loop {
            let this = &mut self.processes[process];
            let Some(place) = this.late.iter().position(|(at, ..)| *at <= self.now) else {
                return;
            };
            let (_, node, mut observed) = this.late.swap_remove(place);
            observed.received_at = now;
            this.monitor
                .handle_observation(now, id(node), observed, &mut self.chance);
            self.drain_events(process);
        }
    }

    /// Asks a node, over the connection there is or a new one.
    fn ask(
        &mut self,
        process: usize,
        index: usize,
        sent: u64,
    ) -> Option<Result<Answer, ProbeFailure>> {
        let this = &mut self.processes[process];
        let node = &self.cluster.nodes[index];
        let connection = this.monitored[index];
        let way = this.way(&self.cluster, index);
        if way == Way::Hung {
            return None;
        }
        if !node.up || way == Way::Refused {
            this.monitored[index] = None;
            let lost = connection.is_some();
            return Some(Err(if lost {
                ProbeFailure::Lost
            } else {
                ProbeFailure::Connect
            }));
        }
        let hidden = this.proxied[index];
        let alive = connection.filter(|(_, epoch)| hidden || *epoch == node.epoch);
        if alive.is_none() && connection.is_some() && self.chance.one_in(2) {
            this.monitored[index] = None;
            return Some(Err(ProbeFailure::Lost));
        }
        let number = alive.map_or(this.connections + 1, |(number, _)| number);
        this.connections = this.connections.max(number);
        let epoch = node.epoch;
        this.monitored[index] = Some((number, epoch));
        let observed = self.observe(process, index, sent, number);
        Some(Ok(Answer { observed, epoch }))
    }

    fn observe(&self, process: usize, index: usize, sent: u64, connection: u64) -> Observation {
        let node = &self.cluster.nodes[index];
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
                // Some processes have a role that may see it.
                follows: (process % 2 == 1).then(|| Timeline::new(node.at.timeline)),
            },
        };
        let sent_at = Instant::from_nanos(sent + self.processes[process].origin);
        Observation {
            sent_at,
            received_at: sent_at,
            connection,
            system: SystemId::new(node.system),
            started: ServerStart::new(node.started),
            standing,
        }
    }

    fn time_out(&mut self, process: usize, probe: &Probe) {
        let this = &mut self.processes[process];
        this.monitored[probe.node] = None;
        // Its answer may come all the same, after everything was given up.
        if let Some(Ok(answer)) = probe.outcome {
            let at = self.now + self.chance.below(300 * MS);
            this.late.push((at, probe.node, answer.observed));
        }
        self.fail(process, probe.node, ProbeFailure::Timeout);
    }

    fn deliver(&mut self, process: usize, probe: &Probe) {
        match probe.outcome {
            Some(Ok(mut answer)) => {
                answer.observed.received_at = self.instant(process);
                self.tell(process, probe.node, answer);
            }
            Some(Err(failure)) => self.fail(process, probe.node, failure),
            None => {}
        }
    }

    fn tell(&mut self, process: usize, node: usize, answer: Answer) {
        self.note(Note::Told(process, node, answer.observed));
        let now = self.instant(process);
        let this = &mut self.processes[process];
        if let Known::Seen(before) = this.known[node]
            && before.observed.connection != answer.observed.connection
        {
            this.good[node] = 0;
        }
        this.known[node] = Known::Seen(answer);
        this.newest = this.newest.max(claim(&this.known[node]).unwrap_or(0));
        this.introduced[node] |= answer.observed.system == SystemId::new(OURS);
        this.good[node] += 1;
        this.last_done[node] = self.now;
        let many = if self.chance.one_in(200) { 2 } else { 1 };
        for _ in 0..many {
            this.monitor
                .handle_observation(now, id(node), answer.observed, &mut self.chance);
        }
        self.drain_events(process);
    }

    fn fail(&mut self, process: usize, node: usize, failure: ProbeFailure) {
        self.note(Note::Failed(process, node, failure));
        let now = self.instant(process);
        let this = &mut self.processes[process];
        this.known[node] = Known::Failed;
        this.good[node] = 0;
        this.last_done[node] = self.now;
        this.monitor
            .handle_failure(now, id(node), failure, &mut self.chance);
        self.drain_events(process);
    }

    /// Nothing starves: every node is asked again within its longest pause.
    pub(crate) fn check_pace(&self, process: usize) {
        let this = &self.processes[process];
        let policy = &this.policy;
        let longest = policy.max_backoff.max(policy.idle_poll_interval) + Duration::from_millis(10);
        for (node, done) in this.last_done.iter().enumerate() {
            let since = Duration::from_nanos(self.now - done);
            self.check(
                since <= longest || this.probes.iter().any(|probe| probe.node == node),
                "every node is asked again before long",
            );
        }
    }

    /// What everybody else sees of what has changed.
    pub(crate) fn publish(&mut self, process: usize) {
        let now = self.instant(process);
        let this = &mut self.processes[process];
        if std::mem::take(&mut this.changed) {
            this.snapshot = Arc::new(this.monitor.snapshot(now));
            this.published.clone_from(&this.known);
            this.published_newest = this.newest;
            self.check_snapshot(process);
        }
    }
}

fn spec(index: usize, chance: &mut Chance) -> NodeSpec {
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
        policy.primary_loss = PrimaryLoss::HonorBound;
    }
    if chance.one_in(2) {
        policy.zone = Some("east".into());
    }
    policy
        .validate()
        .expect("every policy tried can be honored")
}
