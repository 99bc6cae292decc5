//! The one task that owns the truth, and the tasks that ask the nodes for it.
//!
//! The core's machine decides; this task feeds it. Each node has a prober with a connection of its
//! own, so that a node that hangs delays nobody else. Requests never wait for a probe: they give an
//! order and go on, or watch what is published.

mod catalog;
mod driver;
mod prober;
mod tasks;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use lagwise_core::{Instant, Monitor, NodeId};
use tokio::sync::mpsc;

pub(crate) use self::catalog::CatalogReader;
use self::driver::Driver;
use self::prober::Prober;
pub(crate) use self::tasks::Tasks;
use crate::backend::Backend;
use crate::events::Announcer;
use crate::publish::Published;
use crate::view::View;

/// What the monitor is told by requests and by hand.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Command {
    /// A read waits for a replica to reach an as-of instant.
    Demand { needed: Instant, until: Instant },
    /// A request failed on a node as it would if the node had gone.
    Suspect(NodeId),
    /// Take a node out.
    Drain(NodeId),
    /// Let a node prove itself again.
    Undrain(NodeId),
    /// Somebody reads again.
    Wake,
}

/// The way to tell the monitor something.
#[derive(Debug)]
pub(crate) struct Orders {
    commands: mpsc::UnboundedSender<Command>,
    activity: Arc<Activity>,
}

/// When somebody last read, and whether the monitor is slow because nobody does.
#[derive(Debug)]
pub(crate) struct Activity {
    last_read: AtomicU64,
    idle: AtomicBool,
}

impl Orders {
    pub(crate) fn give(&self, command: Command) {
        if self.commands.send(command).is_err() {
            tracing::trace!(?command, "the monitor has ended");
        }
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
) -> Orders {
    let view = published.load();
    let roster = view.roster.clone();
    let (outcomes, outcomes_in) = mpsc::channel(roster.iter().count().max(1));
    let (commands, commands_in) = mpsc::unbounded_channel();
    let activity = Arc::new(Activity {
        last_read: AtomicU64::new(crate::clock::now().as_nanos()),
        idle: AtomicBool::new(false),
    });
    let timeout = view.policy.probe_timeout;
    let probers = roster.iter().map(|node| {
        let (ask, asked) = mpsc::channel(1);
        tasks.spawn(Prober::new(node, timeout, outcomes.clone()).run(asked));
        ask
    });
    let probers = probers.collect();
    let driver = Driver {
        probers,
        machine,
        roster,
        published: Arc::clone(published),
        announcer,
        activity: Arc::clone(&activity),
    };
    tasks.spawn(driver.run(outcomes_in, commands_in));
    Orders { commands, activity }
}
