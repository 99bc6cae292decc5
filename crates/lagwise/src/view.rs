//! All that a reader sees at one instant: what the monitor knows, and the way to each node.
//!
//! Nodes come and go while requests are on their way. So a node's pool and what is known of the node
//! are published together: who looks a node up in the view that it was chosen from finds that node,
//! and not another one that has taken its place since. What is known is a [`Snapshot`], and a view is
//! read as one.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use lagwise_core::{Cause, Instant, NodeId, NodeView, Sight, Snapshot};
use sqlx::Pool;

use crate::backend::Backend;
use crate::node::Node;

/// What is published.
#[derive(Debug)]
pub(crate) struct View<DB: Backend> {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) roster: Roster<DB>,
}

impl<DB: Backend> View<DB> {
    /// Whether the run of a replica goes on, as far as is known. Nothing else ends an answer that is under
    /// way: one that has left the rotation ends in peace what it has begun.
    pub(crate) fn runs_on(&self, sight: Sight) -> bool {
        self.node(sight.node).is_some_and(|node| {
            node.incarnation == sight.incarnation
                && node.membership.cause() != Some(Cause::Unreachable)
        })
    }

    /// Whether a run, or the primary's timeline, has ended since another view.
    pub(crate) fn ends_some_of(&self, before: &Self) -> bool {
        let ended = |node: &NodeView| before.runs_on(node.sight()) && !self.runs_on(node.sight());
        self.timeline != before.timeline || before.nodes.iter().any(ended)
    }

    /// The cost of every node at an instant.
    pub(crate) fn costs(&self, now: Instant) -> impl Fn(NodeId) -> u64 {
        move |id| {
            let node = self.roster.get(id);
            node.map_or(u64::MAX, |node| node.load.cost(now))
        }
    }

    /// The way to the node that accepts writes.
    pub(crate) fn primary_node(&self) -> Option<&Arc<Node<DB>>> {
        self.roster.get(self.snapshot.primary?)
    }
}

impl<DB: Backend> Deref for View<DB> {
    type Target = Snapshot;

    fn deref(&self) -> &Snapshot {
        &self.snapshot
    }
}

/// The nodes of a router.
#[derive(Debug)]
pub(crate) struct Roster<DB: Backend> {
    /// Each in the place of its id.
    here: Arc<[Option<Arc<Node<DB>>>]>,
    /// Those that were removed, and on which something may still be under way.
    leaving: Arc<[Arc<Node<DB>>]>,
}

impl<DB: Backend> Roster<DB> {
    /// Nodes whose ids are their places.
    pub(crate) fn new(nodes: Vec<Arc<Node<DB>>>) -> Self {
        Self {
            here: nodes.into_iter().map(Some).collect(),
            leaving: Arc::default(),
        }
    }

    /// With one more node, in the place of its id.
    pub(crate) fn with(&self, node: Arc<Node<DB>>) -> Self {
        let mut here = self.here.to_vec();
        let place = node.id.index();
        here.resize(here.len().max(place + 1), None);
        here[place] = Some(node);
        Self {
            here: here.into(),
            leaving: Arc::clone(&self.leaving),
        }
    }

    /// With a node among those that leave.
    pub(crate) fn without(&self, node: &Arc<Node<DB>>) -> Self {
        let stays = |place: &Option<Arc<Node<DB>>>| {
            let stays = place.as_ref().filter(|here| !Arc::ptr_eq(here, node));
            stays.map(Arc::clone)
        };
        let leaving = self.leaving.iter().chain([node]).map(Arc::clone);
        Self {
            here: self.here.iter().map(stays).collect(),
            leaving: leaving.collect(),
        }
    }

    /// Without a node that has left.
    pub(crate) fn released(&self, node: &Arc<Node<DB>>) -> Self {
        let others = self
            .leaving
            .iter()
            .filter(|other| !Arc::ptr_eq(other, node));
        Self {
            here: Arc::clone(&self.here),
            leaving: others.map(Arc::clone).collect(),
        }
    }

    pub(crate) fn get(&self, id: NodeId) -> Option<&Arc<Node<DB>>> {
        self.here.get(id.index())?.as_ref()
    }

    pub(crate) fn named(&self, name: &str) -> Option<&Arc<Node<DB>>> {
        self.iter().find(|node| **node.name() == *name)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Node<DB>>> + Clone {
        self.here.iter().flatten()
    }

    /// Also those on which something may still be under way.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Node<DB>>> {
        self.iter().chain(self.leaving.iter())
    }

    /// Whether this very node is one of them: its id may have gone to another one.
    pub(crate) fn holds(&self, node: &Arc<Node<DB>>) -> bool {
        let found = self.get(node.id);
        found.is_some_and(|found| Arc::ptr_eq(found, node))
    }
}

impl<DB: Backend> Clone for Roster<DB> {
    fn clone(&self) -> Self {
        Self {
            here: Arc::clone(&self.here),
            leaving: Arc::clone(&self.leaving),
        }
    }
}

/// The nodes whose pools were handed out by reference: such a reference lives as long as the router,
/// whatever becomes of the node.
#[derive(Debug)]
pub(crate) struct Lent<DB: Backend> {
    node: Arc<Node<DB>>,
    next: OnceLock<Box<Self>>,
}

impl<DB: Backend> Lent<DB> {
    pub(crate) const fn new(node: Arc<Node<DB>>) -> Self {
        Self {
            node,
            next: OnceLock::new(),
        }
    }

    /// The pool of a node. The list grows only with nodes that become the primary.
    pub(crate) fn pool_of(&self, node: &Arc<Node<DB>>) -> &Pool<DB> {
        let mut lent = self;
        while !Arc::ptr_eq(&lent.node, node) {
            lent = lent
                .next
                .get_or_init(|| Box::new(Self::new(Arc::clone(node))));
        }
        &lent.node.pool
    }

    /// The node that was first of all.
    pub(crate) const fn first(&self) -> &Arc<Node<DB>> {
        &self.node
    }
}
