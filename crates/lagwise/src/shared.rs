//! What all clones of a router and all its sessions share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use lagwise_core::{Fallback, NodeId, ValidPolicy};
use sqlx::Pool;
use tokio_util::sync::DropGuard;

use crate::backend::{Backend, Fault};
use crate::budget::Purse;
use crate::capture::Captures;
use crate::events::Subscriber;
use crate::hedge::Hedges;
use crate::monitor::{Command, Orders, Tasks};
use crate::node::Node;
use crate::observe;
use crate::publish::Published;
use crate::requests::Requests;
use crate::statements::Statements;
use crate::token::Keys;
use crate::view::{Lent, View};

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
    /// Begins with the node that is the primary as long as no other is known to be.
    pub(crate) lent: Lent<DB>,
    pub(crate) fallback: Fallback,
    /// Whether everything goes to the primary, and what would have been decided is only told.
    pub(crate) dry: bool,
    /// How long a read may take that does not say so itself.
    pub(crate) read_deadline: Option<Duration>,
    /// Reads are hedged by this; without it they are not.
    pub(crate) hedges: Option<Hedges>,
    pub(crate) purse: Purse,
    pub(crate) published: Arc<Published<View<DB>>>,
    pub(crate) statements: Arc<Statements>,
    pub(crate) events: Subscriber,
    pub(crate) orders: Orders<DB>,
    pub(crate) requests: Requests,
    /// Held by whoever changes the nodes or the policy: what is checked must still be so when it is
    /// done.
    pub(crate) changing: tokio::sync::Mutex<()>,
    /// Signs and opens tokens; without them sessions stay in this process.
    pub(crate) keys: Option<Keys>,
    pub(crate) captures: Captures,
    /// How many reads are waiting for a replica.
    pub(crate) waiting: AtomicU32,
    pub(crate) tasks: Tasks,
    /// Ends the tasks with the last handle.
    pub(crate) _ends: DropGuard,
}

impl<DB: Backend> Drop for Shared<DB> {
    fn drop(&mut self) {
        observe::tallied(self.published.load().roster.all());
    }
}

impl<DB: Backend> Shared<DB> {
    pub(crate) fn node(&self, id: NodeId) -> Option<Arc<Node<DB>>> {
        self.published.load().roster.get(id).map(Arc::clone)
    }

    pub(crate) fn named(&self, name: &str) -> Option<Arc<Node<DB>>> {
        self.published.load().roster.named(name).map(Arc::clone)
    }

    /// The policy that holds at present.
    pub(crate) fn policy(&self) -> Arc<ValidPolicy> {
        Arc::clone(&self.published.load().policy)
    }

    /// The pool of the node that accepts writes; of the one that should, while none is known to.
    pub(crate) fn primary_pool(&self) -> &Pool<DB> {
        let view = self.published.load();
        let first = || Some(self.lent.first()).filter(|first| view.roster.holds(first));
        let node = view.primary_node().or_else(first);
        let node = node.or_else(|| view.roster.iter().next());
        self.lent.pool_of(node.unwrap_or_else(|| self.lent.first()))
    }

    /// A request failed on a node as it would if the node had gone.
    pub(crate) fn node_failed(&self, name: &str) {
        if let Some(node) = self.named(name) {
            node.cool();
            self.orders.give(Command::Suspect(node.id));
            observe::node_failed(node.name());
        }
    }

    /// A replica refused a statement as a write. Unless the primary refused it likewise, that is
    /// remembered.
    pub(crate) fn learn_refusal(
        &self,
        node: &Arc<str>,
        sql: &str,
        on_primary: Option<&sqlx::Error>,
    ) {
        let likewise = |error| DB::fault(error) == Fault::ReplicaRefuses;
        if !on_primary.is_some_and(likewise) && self.statements.learn_refusal(sql) {
            observe::refusal_learned(node, sql);
        }
    }
}
