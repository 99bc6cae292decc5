//! Sees a node off that was removed.
//!
//! It gets no new reads. What was under way on it ends in peace, its pool is closed after that, and
//! only then may its id go to another node. Nobody announces the end of a loan, which would cost every
//! read; it is looked for.

use std::sync::Arc;
use std::time::Duration;

use lagwise_core::Instant;
use tokio::sync::mpsc::WeakUnboundedSender;

use super::Command;
use crate::backend::Backend;
use crate::node::Node;

/// The way of one node out.
pub(super) struct Departure<DB: Backend> {
    pub(super) node: Arc<Node<DB>>,
    pub(super) commands: WeakUnboundedSender<Command<DB>>,
}

impl<DB: Backend> Departure<DB> {
    pub(super) async fn run(self) {
        while self.node.on_loan() > 0 {
            tokio::time::sleep(PAUSE).await;
        }
        self.node.close(Instant::NEVER).await;
        if let Some(commands) = self.commands.upgrade() {
            // A monitor that has ended keeps no ids.
            commands.send(Command::Departed(self.node)).ok();
        }
    }
}

/// Between two looks. Nobody waits for it.
const PAUSE: Duration = Duration::from_millis(20);
