//! What happens to the cluster, as a stream for whoever wants to know.

use std::sync::Arc;

use lagwise_core::{Event, Instant};
use tokio::sync::broadcast;

/// An event, and when and to whom it happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Happened {
    /// What.
    pub event: Event,
    /// When the monitor noticed.
    pub at: Instant,
    /// The name of the node that it happened to, if it was one.
    pub node: Option<Arc<str>>,
}

impl std::fmt::Display for Happened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.node {
            Some(node) => write!(f, "{node} {}", self.event),
            None => write!(f, "{}", self.event),
        }
    }
}

/// The events from the moment it was made. See [`Router::events`](crate::Router::events).
#[derive(Debug)]
pub struct Events(broadcast::Receiver<Happened>);

impl Events {
    /// The next event; `None` once the router is closed.
    ///
    /// A receiver that falls more than a thousand events behind loses the oldest, which is logged.
    ///
    /// # Cancel safety
    /// A dropped call loses no event.
    pub async fn next(&mut self) -> Option<Happened> {
        loop {
            match self.0.recv().await {
                Ok(happened) => return Some(happened),
                Err(broadcast::error::RecvError::Lagged(lost)) => {
                    tracing::warn!(lost, "a receiver of events is too slow");
                }
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

/// The sending side. Only the monitor has one.
#[derive(Debug)]
pub(crate) struct Announcer(broadcast::Sender<Happened>);

impl Announcer {
    pub(crate) fn new() -> (Self, Subscriber) {
        let (sender, _) = broadcast::channel(CAPACITY);
        let weak = sender.downgrade();
        (Self(sender), Subscriber(weak))
    }

    pub(crate) fn announce(&self, happened: Happened) {
        if self.0.send(happened).is_err() {
            tracing::trace!("nobody listens to events");
        }
    }
}

/// Makes receivers; does not keep the stream open by itself.
#[derive(Debug)]
pub(crate) struct Subscriber(broadcast::WeakSender<Happened>);

impl Subscriber {
    pub(crate) fn subscribe(&self) -> Events {
        // A closed router has no sender: the stream ends at once.
        let receiver = self
            .0
            .upgrade()
            .map_or_else(|| broadcast::channel(1).1, |sender| sender.subscribe());
        Events(receiver)
    }
}

/// Enough for the worst minute of a large cluster.
const CAPACITY: usize = 1024;
