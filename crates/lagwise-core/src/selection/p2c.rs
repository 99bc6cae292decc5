//! The cheaper of two candidates drawn at random.
//!
//! Comparing all candidates would send every router of a fleet to the same idle replica at once; the
//! better of two random ones spreads almost as well and has no such herd (Mitzenmacher, "The Power
//! of Two Choices in Randomized Load Balancing", 2001). Weights and slow start decide how often a
//! node is drawn; the cost decides between the two.

use super::Loads;
use crate::node::Weight;
use crate::policy::Policy;
use crate::random::Random;
use crate::snapshot::{NodeView, Snapshot};
use crate::time::Instant;

/// Draws two of the nodes that `eligible` admits, and takes the cheaper one.
pub(super) fn draw<'a>(
    snapshot: &'a Snapshot,
    eligible: impl Fn(&NodeView) -> bool,
    now: Instant,
    loads: &impl Loads,
    random: &mut impl Random,
) -> Option<&'a NodeView> {
    let tickets = |node: &NodeView| {
        if eligible(node) {
            tickets(node, now, &snapshot.policy)
        } else {
            0
        }
    };
    let total: u64 = snapshot.nodes.iter().map(tickets).sum();
    if total == 0 {
        // Nodes of weight zero serve only while nobody else may.
        return snapshot.nodes.iter().find(|node| eligible(node));
    }
    let one = holder(snapshot, tickets, random.below(total), None)?;
    let rest = total - tickets(one);
    if rest == 0 {
        return Some(one);
    }
    // One number for two draws: the low bits are left over from the first.
    let drawn = random.below(rest << SPARE);
    let other = holder(snapshot, tickets, drawn >> SPARE, Some(one))?;
    // Of two there is no choice but both, so one that starts slowly has to pass once more: it is idle,
    // and would be the cheaper one nearly always.
    let (held, full) = (tickets(other), full_tickets(other));
    if held << SPARE <= (drawn & ((1 << SPARE) - 1)) * full {
        return Some(one);
    }
    let cheaper = loads.cost(other.id) < loads.cost(one.id);
    Some(if cheaper { other } else { one })
}

/// The node that holds the ticket of this number, counted without those of `but`.
fn holder<'a>(
    snapshot: &'a Snapshot,
    tickets: impl Fn(&NodeView) -> u64,
    number: u64,
    but: Option<&NodeView>,
) -> Option<&'a NodeView> {
    let mut left = number;
    snapshot
        .nodes
        .iter()
        .filter(|node| but.is_none_or(|but| but.id != node.id))
        .find(|node| {
            let held = tickets(node);
            let found = left < held;
            left = left.saturating_sub(held);
            found
        })
}

/// A node's tickets: its weight, less while it starts slowly. It begins with a tenth.
fn tickets(node: &NodeView, now: Instant, policy: &Policy) -> u64 {
    let full = full_tickets(node);
    let started = now.since(node.membership.since());
    let settled = started >= policy.slow_start || !node.membership.is_in_rotation();
    if node.spec.weight == Weight::ZERO || settled {
        return full;
    }
    let ramped = u128::from(full) * started.as_nanos() / policy.slow_start.as_nanos().max(1);
    (full / 10)
        .max(u64::try_from(ramped).unwrap_or(full))
        .max(1)
}

fn full_tickets(node: &NodeView) -> u64 {
    u64::from(node.spec.weight.as_u16()) * FINENESS
}

/// How many bits of a number choose whether a node that starts slowly passes once more. Tickets have
/// far fewer than the other 48: 16 of a weight and 6 of its fineness, for each of 1,024 nodes.
const SPARE: u32 = 16;

/// Tickets of one unit of weight, so that a tenth of a small weight is still something.
const FINENESS: u64 = 64;
