//! Feeds the core's machine with outcomes, orders and time, and carries out what it asks for.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use lagwise_core::{Instant, Monitor, NodeFault, NodeId, Observation, ProbeFailure};
use tokio::sync::mpsc;

use super::departure::Departure;
use super::prober::{Outcome, Prober};
use super::questions::Questions;
use super::{Activity, Change, Command, Tasks};
use crate::ahead;
use crate::backend::Backend;
use crate::clock;
use crate::events::{Announcer, Happened};
use crate::node::Node;
use crate::observe;
use crate::publish::Published;
use crate::view::{Roster, View};

/// The task that owns the truth.
#[derive(Debug)]
pub(crate) struct Driver<DB: Backend> {
    pub(super) machine: Monitor,
    /// Those that are not out asking, each in the place of its node.
    pub(super) probers: Vec<Option<Prober<DB>>>,
    pub(super) questions: Questions<Outcome<DB>>,
    pub(super) commands: mpsc::WeakUnboundedSender<Command<DB>>,
    pub(super) tasks: Tasks,
    pub(super) roster: Roster<DB>,
    pub(super) published: Arc<Published<View<DB>>>,
    pub(super) announcer: Announcer,
    pub(super) activity: Arc<Activity>,
    /// Whether reads go to replicas, so that connections are opened for those that come back.
    pub(super) gets_ready: bool,
    /// When the gauges were last set.
    pub(super) gauged: Option<Instant>,
}

impl<DB: Backend> Driver<DB> {
    pub(super) async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command<DB>>) {
        let mut come = Vec::new();
        loop {
            let now = clock::now();
            self.carry_out(now);
            self.questions.end_overdue(now);
            let timeout = self.next_timeout().map_or(LONGEST_SLEEP, clock::until);
            tokio::select! {
                // Answers first: one that is there has come in time.
                biased;
                () = self.questions.answers(&mut come) => self.take_in(&mut come),
                () = tokio::time::sleep(timeout.min(LONGEST_SLEEP)) => self.pass_time(),
                command = commands.recv() => match command {
                    Some(command) => self.obey(command),
                    // Nobody holds the router any longer.
                    None => break,
                },
            }
        }
        for prober in self.probers.into_iter().flatten() {
            prober.leave();
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        let timeouts = [self.machine.next_timeout(), self.questions.next_deadline()];
        timeouts.into_iter().flatten().min()
    }

    /// Takes in what has come together, and publishes it at once.
    fn take_in(&mut self, come: &mut Vec<Outcome<DB>>) {
        for Outcome { prober, result } in come.drain(..) {
            if self.roster.holds(&prober.node) {
                self.hear(&prober.node, result);
                self.rest(prober);
            } else {
                // The node has gone while it was asked.
                prober.leave();
            }
        }
        self.publish();
    }

    fn hear(&mut self, node: &Node<DB>, result: Result<Observation, ProbeFailure>) {
        let now = clock::now();
        let random = &mut || fastrand::u64(..);
        match result {
            Ok(observed) => {
                // First of all: what follows may send reads there.
                node.tenure.observe(now, observed.started);
                self.machine
                    .handle_observation(now, node.id, observed, random);
            }
            Err(failure) => self.machine.handle_failure(now, node.id, failure, random),
        }
    }

    /// Keeps a prober until its node is to be asked.
    fn rest(&mut self, prober: Prober<DB>) {
        let place = prober.node.id.index();
        let places = self.probers.len().max(place + 1);
        self.probers.resize_with(places, || None);
        self.probers[place] = Some(prober);
    }

    /// Time alone proves nothing: unless it took something away, there is nothing new to see but that
    /// somebody still looks.
    fn pass_time(&mut self) {
        let now = clock::now();
        self.machine.handle_timeout(now);
        let happened = self.announce(now);
        let age = now.since(self.published.load().taken_at);
        if happened || age >= LONGEST_SLEEP {
            self.show(now, happened);
        }
    }

    fn obey(&mut self, command: Command<DB>) {
        let now = clock::now();
        match command {
            Command::Demand { needed, until } => self.machine.handle_demand(now, needed, until),
            Command::Suspect(node) => {
                if self.machine.handle_suspicion(now, node) {
                    self.publish();
                }
            }
            Command::Drain(name) => {
                if let Some(node) = self.roster.named(&name) {
                    self.machine.handle_drain(now, node.id);
                    self.publish();
                }
            }
            Command::Undrain(name) => {
                if let Some(node) = self.roster.named(&name) {
                    self.machine.handle_undrain(now, node.id);
                    self.publish();
                }
            }
            Command::Change(change, done) => {
                let outcome = self.change(now, change);
                self.publish();
                // Who asked for it may have gone.
                done.send(outcome).ok();
            }
            Command::Departed(node) => {
                self.machine.release(node.id);
                self.roster = self.roster.released(&node);
            }
            Command::Wake => {}
        }
    }

    fn change(&mut self, now: Instant, change: Change<DB>) -> Result<(), NodeFault> {
        match change {
            Change::Add(mut node) => {
                node.id = self.machine.add(now, node.spec.clone())?;
                let node = Arc::new(*node);
                self.roster = self.roster.with(Arc::clone(&node));
                self.begin_to_ask(&node);
            }
            Change::Policy(policy) => self.machine.set_policy(now, *policy),
            Change::Remove(name) => {
                let node = self.roster.named(&name).map(Arc::clone);
                let node = node.ok_or(NodeFault::Unknown)?;
                self.machine.remove(now, node.id)?;
                // While its name is known.
                self.announce(now);
                self.see_off(node);
            }
            Change::Weight(name, weight) => {
                let node = self.roster.named(&name).ok_or(NodeFault::Unknown)?;
                self.machine.set_weight(node.id, weight);
            }
        }
        Ok(())
    }

    /// Gives a node a prober.
    pub(super) fn begin_to_ask(&mut self, node: &Arc<Node<DB>>) {
        self.rest(Prober::new(node, &self.tasks));
        self.tasks.spawn(Arc::clone(node).keep_terms());
    }

    /// Asks a node no longer, and lets what is under way on it end.
    fn see_off(&mut self, node: Arc<Node<DB>>) {
        self.roster = self.roster.without(&node);
        if let Some(prober) = self.take_prober(node.id) {
            prober.leave();
        }
        let departure = Departure {
            node,
            commands: self.commands.clone(),
        };
        self.tasks.spawn(departure.run());
    }

    /// Sends out the probes that are due.
    fn carry_out(&mut self, now: Instant) {
        let last_read = Instant::from_nanos(self.activity.last_read.load(Ordering::Relaxed));
        self.machine.handle_activity(now, last_read);
        self.activity
            .idle
            .store(self.machine.is_idle(), Ordering::Relaxed);
        while let Some(node) = self.machine.poll_probe(now) {
            self.ask(now, node);
        }
    }

    fn ask(&mut self, now: Instant, node: NodeId) {
        let Some(prober) = self.take_prober(node) else {
            tracing::trace!(?node, "the node is still being asked");
            return;
        };
        let timeout = self.published.peek().policy.probe_timeout;
        self.questions
            .ask(now.after(timeout), |limit| prober.probe(timeout, limit));
    }

    fn take_prober(&mut self, node: NodeId) -> Option<Prober<DB>> {
        self.probers.get_mut(node.index())?.take()
    }

    /// Announces what has happened, and then publishes it: who sees a change in a snapshot and
    /// subscribes to events hears only of later ones.
    fn publish(&mut self) {
        let now = clock::now();
        let happened = self.announce(now);
        self.show(now, happened);
    }

    fn show(&mut self, now: Instant, happened: bool) {
        let snapshot = self.machine.snapshot(now);
        // Each sets those of all nodes, and each node has an outcome of its own in every interval.
        let interval = snapshot.policy.poll_interval;
        if happened || self.gauged.is_none_or(|then| now.since(then) >= interval) {
            observe::published(&snapshot, now);
            observe::tallied(self.roster.all());
            self.gauged = Some(now);
        }
        if self.gets_ready {
            let seen = (&snapshot, now);
            ahead::get_ready(&self.published, &self.tasks, &self.roster, seen);
        }
        let view = View {
            snapshot: Arc::new(snapshot),
            roster: self.roster.clone(),
        };
        let ends = view.ends_some_of(&self.published.peek());
        self.published.publish(view, ends);
    }

    /// Whether anything has happened.
    fn announce(&mut self, now: Instant) -> bool {
        let mut any = false;
        while let Some(event) = self.machine.poll_event() {
            any = true;
            let node = event.node().and_then(|node| self.roster.get(node));
            let node = node.map(|node| Arc::clone(node.name()));
            let happened = Happened {
                event,
                at: now,
                node,
            };
            observe::happened(&happened);
            self.announcer.announce(happened);
        }
        any
    }
}

/// Something is published as often as this, however seldom the nodes are asked.
const LONGEST_SLEEP: std::time::Duration = std::time::Duration::from_secs(1);

#[cfg(test)]
#[cfg(feature = "postgres")]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU64};

    use lagwise_core::{
        Lsn, NodeSpec, Policy, Role, ServerStart, Standing, SystemId, Timeline, ValidPolicy,
    };
    use sqlx::Postgres;
    use sqlx::postgres::PgPoolOptions;
    use tokio::runtime::Handle;
    use tokio_util::sync::DropGuard;

    use super::*;
    use crate::node::{Address, Keeps, Way};

    fn node(id: u16, name: &str) -> Node<Postgres> {
        let way = Way {
            pool: PgPoolOptions::new()
                .connect_lazy("postgres://127.0.0.1:1/nobody")
                .unwrap(),
            owned: true,
            address: Address::new(None),
            tenure: Arc::default(),
            keeps: Keeps::Nothing,
        };
        let role = if id == 0 {
            Role::Primary
        } else {
            Role::Replica
        };
        Node::new(NodeId::new(id), NodeSpec::new(name, role), way)
    }

    /// A driver that nobody runs, of a primary and a replica.
    fn driver() -> (Driver<Postgres>, DropGuard) {
        let policy: ValidPolicy = Policy::default().validate().unwrap();
        let nodes = vec![Arc::new(node(0, "p")), Arc::new(node(1, "r"))];
        let specs = nodes.iter().map(|node| node.spec.clone());
        let machine = Monitor::new(clock::now(), policy, specs);
        let roster = Roster::new(nodes);
        let (commands, _) = mpsc::unbounded_channel();
        let (tasks, ends) = Tasks::new(Handle::current());
        let mut driver = Driver {
            probers: Vec::new(),
            questions: Questions::new(),
            commands: commands.downgrade(),
            tasks,
            published: Arc::new(Published::new(View {
                snapshot: Arc::new(machine.snapshot(clock::now())),
                roster: roster.clone(),
            })),
            machine,
            roster: roster.clone(),
            announcer: Announcer::new().0,
            activity: Arc::new(Activity {
                last_read: AtomicU64::new(0),
                idle: AtomicBool::new(false),
            }),
            gets_ready: false,
            gauged: None,
        };
        for node in roster.iter() {
            driver.begin_to_ask(node);
        }
        (driver, ends)
    }

    fn observation() -> Observation {
        Observation {
            sent_at: clock::now(),
            received_at: clock::now(),
            connection: 1,
            system: SystemId::new(1),
            started: ServerStart::new(7),
            standing: Standing::Replica {
                replay: Some(Lsn::new(1)),
                paused: false,
                follows: Some(Timeline::new(1)),
            },
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_removed_node_says_later_is_not_taken_for_who_has_its_place() {
        let (mut driver, _ends) = driver();
        let id = NodeId::new(1);
        let asking = driver.take_prober(id).unwrap();
        let removed = Arc::clone(&asking.node);
        let now = clock::now();
        driver.change(now, Change::Remove("r".into())).unwrap();
        assert!(driver.take_prober(id).is_none(), "nobody is asked there");
        driver.obey(Command::Departed(removed));
        let added = Change::Add(Box::new(node(9, "r")));
        driver.change(now, added).unwrap();
        let result = Ok(observation());
        driver.take_in(&mut vec![Outcome {
            prober: asking,
            result,
        }]);
        let here = driver.roster.get(id).unwrap();
        let prober = driver.probers[1].as_ref().unwrap();
        assert!(Arc::ptr_eq(here, &prober.node), "its own prober");
        let view = driver.published.load();
        assert_eq!(view.node(id).unwrap().started, None, "nobody heard it");
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_is_asked_one_question_at_a_time() {
        let (mut driver, _ends) = driver();
        let id = NodeId::new(1);
        let now = clock::now();
        driver.ask(now, id);
        let deadline = driver.questions.next_deadline();
        assert_eq!(deadline, Some(now.after(Policy::default().probe_timeout)));
        driver.ask(
            now.before(driver.machine.snapshot(now).policy.probe_timeout),
            id,
        );
        assert_eq!(driver.questions.next_deadline(), deadline, "a second one");
    }
}
