//! What all clones of a router and all its sessions share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lagwise_core::{Fallback, Instant, NodeId, ValidPolicy};
use sqlx::Pool;
use tokio::sync::Notify;
use tokio_util::sync::DropGuard;

use crate::backend::Backend;
use crate::budget::Purse;
use crate::events::Subscriber;
use crate::monitor::{Command, Orders, Tasks};
use crate::node::Node;
use crate::observe;
use crate::publish::Published;
use crate::statements::Statements;

/// Tells routers apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RouterId(u64);

impl RouterId {
    pub(crate) fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        // Relaxed: the numbers need only differ.
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// What all clones of a router and all its sessions share.
pub(crate) struct Shared<DB: Backend> {
    pub(crate) id: RouterId,
    pub(crate) nodes: Vec<Arc<Node<DB>>>,
    /// The first of them, which is the primary as long as no other is known to be.
    pub(crate) first: Arc<Node<DB>>,
    pub(crate) policy: Arc<ValidPolicy>,
    pub(crate) fallback: Fallback,
    pub(crate) purse: Purse,
    pub(crate) published: Arc<Published>,
    pub(crate) statements: Arc<Statements>,
    /// Rung when a replica has refused a statement.
    pub(crate) refused: Arc<Notify>,
    pub(crate) events: Subscriber,
    pub(crate) orders: Orders,
    pub(crate) tasks: Tasks,
    /// Ends the tasks with the last handle.
    pub(crate) _ends: DropGuard,
}

impl<DB: Backend> Shared<DB> {
    pub(crate) fn node(&self, id: NodeId) -> Option<&Arc<Node<DB>>> {
        self.nodes.get(id.index())
    }

    /// The pool of the node that accepts writes; of the one that should, while none is known to.
    pub(crate) fn primary_pool(&self) -> &Pool<DB> {
        let snapshot = self.published.load();
        let primary = snapshot.primary.and_then(|id| self.nodes.get(id.index()));
        &primary.unwrap_or(&self.first).pool
    }

    /// A request failed on a node as it would if the node had gone.
    pub(crate) fn node_failed(&self, name: &str) {
        if let Some(node) = self.nodes.iter().find(|node| **node.name() == *name) {
            self.orders.give(Command::Suspect(node.id));
            observe::node_failed(node.name());
        }
    }

    /// A replica refused a statement as a write that the primary did not refuse likewise.
    pub(crate) fn learn_refusal(&self, node: &Arc<str>, sql: &str) {
        if self.statements.learn_refusal(sql) {
            observe::refusal_learned(node, sql);
        }
        self.refused.notify_one();
    }

    /// The cost of every node at an instant.
    pub(crate) fn costs(&self, now: Instant) -> impl Fn(NodeId) -> u64 {
        move |id: NodeId| self.node(id).map_or(u64::MAX, |node| node.load.cost(now))
    }
}
