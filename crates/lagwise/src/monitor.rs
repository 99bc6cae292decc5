//! The one task that owns the truth, and asks the nodes for it.
//!
//! The core's machine decides; this task feeds it. Each node has a prober with a connection of its
//! own, and all questions are under way side by side, so that a node that hangs delays nobody else. Requests never wait for a probe: they give an
//! order and go on, or watch what is published.

mod bell;
mod catalog;
mod departure;
mod driver;
mod prober;
mod questions;
mod tasks;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use lagwise_core::{Instant, Monitor, NodeFault, NodeId, ValidPolicy, Weight};
use tokio::sync::{mpsc, oneshot};

pub(crate) use self::catalog::CatalogReader;
use self::driver::Driver;
use self::questions::Questions;
pub(crate) use self::tasks::Tasks;
use crate::backend::Backend;
use crate::events::Announcer;
use crate::node::Node;
use crate::publish::Published;
use crate::view::View;

/// What the monitor is told by requests and by hand.
#[derive(Debug)]
pub(crate) enum Command<DB: Backend> {
    /// Change what there is, and say when everybody sees it.
    Change(Change<DB>, Done),
    /// A read waits for a replica to reach an as-of instant.
    Demand { needed: Instant, until: Instant },
    /// A request failed on a node as it would if the node had gone.
    Suspect(NodeId),
    /// Nothing is under way any longer on a node that was removed.
    Departed(Arc<Node<DB>>),
    /// Take the node of this name out.
    Drain(Arc<str>),
    /// Let the node of this name prove itself again.
    Undrain(Arc<str>),
    /// Somebody reads again.
    Wake,
}

/// A change of what there is.
#[derive(Debug)]
pub(crate) enum Change<DB: Backend> {
    /// A node has come. It is given its id.
    Add(Box<Node<DB>>),
    /// Another policy holds.
    Policy(Box<ValidPolicy>),
    /// The node of this name goes.
    Remove(Arc<str>),
    /// The node of this name gets another share of the reads.
    Weight(Arc<str>, Weight),
}

/// Where the outcome of a change is told.
pub(crate) type Done = oneshot::Sender<Result<(), NodeFault>>;

/// The way to tell the monitor something.
#[derive(Debug)]
pub(crate) struct Orders<DB: Backend> {
    commands: mpsc::UnboundedSender<Command<DB>>,
    activity: Arc<Activity>,
}

/// When somebody last read, and whether the monitor is slow because nobody does.
#[derive(Debug)]
pub(crate) struct Activity {
    last_read: AtomicU64,
    idle: AtomicBool,
}

impl<DB: Backend> Orders<DB> {
    pub(crate) fn give(&self, command: Command<DB>) {
        if self.commands.send(command).is_err() {
            tracing::trace!("the monitor has ended");
        }
    }

    /// Has something changed. When this returns, everybody sees it. None where the monitor has ended.
    pub(crate) async fn change(&self, change: Change<DB>) -> Option<Result<(), NodeFault>> {
        let (done, outcome) = oneshot::channel();
        self.give(Command::Change(change, done));
        outcome.await.ok()
    }

    /// A read is being routed.
    pub(crate) fn note_read(&self, now: Instant) {
        // Relaxed: a hint about when, ordered against nothing.
        self.activity
            .last_read
            .store(now.as_nanos(), Ordering::Relaxed);
        if self.activity.idle.load(Ordering::Relaxed) {
            self.give(Command::Wake);
        }
    }
}

/// Starts a monitor of the nodes that are published.
pub(crate) fn start<DB: Backend>(
    machine: Monitor,
    published: &Arc<Published<View<DB>>>,
    announcer: Announcer,
    tasks: &Tasks,
    gets_ready: bool,
) -> Orders<DB> {
    let view = published.load();
    let roster = view.roster.clone();
    let (commands, commands_in) = mpsc::unbounded_channel();
    let activity = Arc::new(Activity {
        last_read: AtomicU64::new(crate::clock::now().as_nanos()),
        idle: AtomicBool::new(false),
    });
    let mut driver = Driver {
        probers: Vec::new(),
        questions: Questions::new(),
        commands: commands.downgrade(),
        tasks: tasks.clone(),
        machine,
        roster: roster.clone(),
        published: Arc::clone(published),
        announcer,
        activity: Arc::clone(&activity),
        gets_ready,
        gauged: None,
    };
    for node in roster.iter() {
        driver.begin_to_ask(node);
    }
    tasks.spawn(driver.run(commands_in));
    Orders { commands, activity }
}
