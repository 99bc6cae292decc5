//! The cheaper of two candidates drawn at random.
//!
//! Comparing all candidates would send every router of a fleet to the same idle replica at once; the
//! better of two random ones spreads almost as well and has no such herd (Mitzenmacher, "The Power
//! of Two Choices in Randomized Load Balancing", 2001). Weights and slow start decide how often a
//! node is drawn; the cost decides between the two.

use core::time::Duration;

use super::Loads;
use crate::membership::Membership;
use crate::node::Weight;
use crate::random::Random;
use crate::snapshot::{NodeView, Snapshot};
use crate::time::Instant;

/// What everybody is drawn from, and compared by.
pub(super) struct Draw<'a, L> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) now: Instant,
    pub(super) loads: &'a L,
}

impl<'a, L: Loads> Draw<'a, L> {
    /// Draws two of the nodes that `eligible` admits, and takes the cheaper one. Judges everybody, and
    /// most of them several times.
    pub(super) fn among(
        &self,
        eligible: impl Fn(&NodeView) -> bool,
        random: &mut impl Random,
    ) -> Option<&'a NodeView> {
        let tickets = |node: &NodeView| self.tickets_if(&eligible, node);
        let nodes = &self.snapshot.nodes;
        let total: u64 = nodes.iter().map(tickets).sum();
        if total == 0 {
            // Nodes of weight zero serve only while nobody else may.
            return nodes.iter().find(|node| eligible(node));
        }
        let one = holder(self.snapshot, tickets, random.below(total))?;
        Some(self.beside(one, eligible, random))
    }

    /// The cheaper of a node that was drawn and another one of those that `eligible` admits.
    pub(super) fn beside(
        &self,
        one: &'a NodeView,
        eligible: impl Fn(&NodeView) -> bool,
        random: &mut impl Random,
    ) -> &'a NodeView {
        let tickets = |node: &NodeView| {
            if node.id == one.id {
                0
            } else {
                self.tickets_if(&eligible, node)
            }
        };
        let rest = self.snapshot.nodes.iter().map(tickets).sum();
        let other = holder(self.snapshot, tickets, random.below(rest));
        other.map_or(one, |other| self.cheaper(one, other, random))
    }

    /// The cheaper of two that were drawn, the second one as the second.
    pub(super) fn cheaper(
        &self,
        one: &'a NodeView,
        other: &'a NodeView,
        random: &mut impl Random,
    ) -> &'a NodeView {
        // Of two there is no choice but both, so one that starts slowly has to pass once more: it is idle,
        // and would be the cheaper one nearly always.
        let passes = self.keeps_ticket(other, random);
        if passes && self.loads.cost(other.id) < self.loads.cost(one.id) {
            other
        } else {
            one
        }
    }

    /// Whether a node keeps one of its full tickets, with the share that its slow start leaves it.
    #[inline]
    pub(super) fn keeps_ticket(&self, node: &NodeView, random: &mut impl Random) -> bool {
        self.is_settled(node) || random.below(full_tickets(node)) < self.tickets(node)
    }

    /// Whether a node holds all of its tickets. One out of rotation does not start slowly.
    #[inline]
    fn is_settled(&self, node: &NodeView) -> bool {
        let slow_start = self.snapshot.policy.slow_start;
        let Membership::InRotation { since, .. } = node.membership else {
            return true;
        };
        since.after(slow_start) <= self.now
    }

    fn tickets_if(&self, eligible: impl Fn(&NodeView) -> bool, node: &NodeView) -> u64 {
        if eligible(node) {
            self.tickets(node)
        } else {
            0
        }
    }

    /// A node's tickets: its weight, less while it starts slowly. It begins with a tenth.
    fn tickets(&self, node: &NodeView) -> u64 {
        let full = full_tickets(node);
        if node.weight == Weight::ZERO || self.is_settled(node) {
            return full;
        }
        let slow_start = self.snapshot.policy.slow_start;
        let started = self.now.since(node.membership.since());
        ramped(full, started, slow_start).max(full / 10).max(1)
    }
}

/// The node that holds the ticket of this number.
fn holder(
    snapshot: &Snapshot,
    tickets: impl Fn(&NodeView) -> u64,
    number: u64,
) -> Option<&NodeView> {
    let mut left = number;
    snapshot.nodes.iter().find(|node| {
        let held = tickets(node);
        let found = left < held;
        left = left.saturating_sub(held);
        found
    })
}

/// So much of `full` as `started` is of `whole`, which is longer.
fn ramped(full: u64, started: Duration, whole: Duration) -> u64 {
    let (started, whole) = (started.as_nanos(), whole.as_nanos().max(1));
    let product = u128::from(full) * started;
    // To divide wide numbers takes as long as all of the rest, and hours of a slow start are narrow.
    match (u64::try_from(product), u64::try_from(whole)) {
        (Ok(product), Ok(whole)) => product / whole,
        _ => u64::try_from(product / whole).unwrap_or(full),
    }
}

fn full_tickets(node: &NodeView) -> u64 {
    u64::from(node.weight.as_u16()) * FINENESS
}

/// Tickets of one unit of weight, so that a tenth of a small weight is still something.
const FINENESS: u64 = 64;
