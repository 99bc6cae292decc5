//! Every node of a snapshot, with what a draw among them would otherwise look for each time.
//!
//! What is prepared here says nothing that the nodes do not say, and nobody can change the one without
//! the other: both are made at once, here, and never written again.

use alloc::vec::Vec;
use core::ops::{Deref, Range};
use core::slice;

use super::NodeView;
use super::lots::Lots;
use crate::floor::{Floor, Reached};
use crate::node::Weight;
use crate::time::Instant;

/// Every node, by its [`NodeId`](crate::NodeId); in the place of one that was removed, what is left of it.
///
/// It is read as a slice, and cannot be changed.
#[derive(Clone, Debug, Default)]
pub struct Nodes {
    views: Vec<NodeView>,
    /// Those in rotation that have a weight, near and far.
    near: Lots,
    far: Lots,
    /// Whether one in rotation that has none, and is not balanced, comes after all of these.
    has_last_resort: bool,
    /// The farthest that any of those in rotation has reached, each way; not what one of them has.
    farthest: Option<Reached>,
}

impl Nodes {
    pub(crate) fn new(views: Vec<NodeView>) -> Self {
        let mut nodes = Self {
            near: Lots::new(&views, |view| view.near && view.serves()),
            far: Lots::new(&views, |view| !view.near && view.serves()),
            ..Self::default()
        };
        for view in views.iter().filter(|view| view.serves() && !view.balanced) {
            nodes.has_last_resort |= view.weight == Weight::ZERO;
            nodes.farthest = view.reached().map(|reached| match nodes.farthest {
                Some(farthest) => Reached {
                    as_of: farthest.as_of.max(reached.as_of),
                    passed: farthest.passed.max(reached.passed),
                },
                None => reached,
            });
        }
        nodes.views = views;
        nodes
    }

    /// The first lots that anybody who is drawn for such a read is drawn from, if those hold anybody: near
    /// before far, and what is proved before what is assumed where the read asks for anything. None
    /// where others come first.
    #[inline]
    pub(crate) fn first_lots(&self, asks: bool) -> Option<(&Lots, Range<u32>)> {
        if !asks {
            return self.nearest(Lots::all);
        }
        let assumed = || {
            self.nearest(Lots::assumed)
                .filter(|_| !self.has_last_resort)
        };
        self.nearest(Lots::proved).or_else(assumed)
    }

    #[inline]
    fn nearest(&self, tickets: impl Fn(&Lots) -> Range<u32>) -> Option<(&Lots, Range<u32>)> {
        let held = |lots| Some((lots, tickets(lots))).filter(|(_, tickets)| !tickets.is_empty());
        held(&self.near).or_else(|| held(&self.far))
    }

    /// The instant that is needed and that not one of those of which anything is proved has reached: nobody
    /// meets the floor, but perhaps the replica that the session has just read from.
    #[inline]
    pub(crate) fn lacking(&self, floor: &Floor) -> Option<Instant> {
        floor.lacking_unseen(self.farthest?)
    }

    /// The same nodes, each after a change.
    #[cfg(test)]
    pub(crate) fn changed(&self, change: impl FnMut((usize, &mut NodeView))) -> Self {
        let mut views = self.views.clone();
        views.iter_mut().enumerate().for_each(change);
        Self::new(views)
    }
}

impl Deref for Nodes {
    type Target = [NodeView];

    fn deref(&self) -> &[NodeView] {
        &self.views
    }
}

impl<'a> IntoIterator for &'a Nodes {
    type Item = &'a NodeView;
    type IntoIter = slice::Iter<'a, NodeView>;

    fn into_iter(self) -> slice::Iter<'a, NodeView> {
        self.views.iter()
    }
}
