//! The cheaper of two candidates, found by judging little more than the two.
//!
//! A snapshot has tickets ready for all nodes in rotation. Here a ticket is drawn, and who holds it is
//! judged: one that may not serve, or that starts slowly and has not kept its share of tickets, is as
//! if it had not been drawn. That leaves the others with the very chances that they would have if
//! they alone had tickets. After a few such draws everybody is looked at instead ([`p2c`](super::p2c)), with
//! the same chances again, so that how long this is tried decides nothing but how long it takes.

use super::eligible::judge;
use super::p2c::Draw;
use super::{Loads, Request};
use crate::node::Weight;
use crate::random::Random;
use crate::snapshot::{Drawn, NodeView};

impl<'a, L: Loads> Draw<'a, L> {
    /// A node for the request, if one is found soon. None says nothing.
    pub(super) fn soon(
        &self,
        request: &Request<'_>,
        random: &mut impl Random,
    ) -> Option<&'a NodeView> {
        let nodes = &self.snapshot.nodes;
        let judged = |node: &NodeView| judge(self.snapshot, node, request, self.now).is_ok();
        let floor = request.requirement.floor_ref();
        let asks = floor.asks_for().is_some();
        if asks && nodes.lacking(floor).is_some() {
            // Who is proved to meet it can only be one, so that there is nothing to draw.
            let seen = self.snapshot.node(floor.seen?.node)?;
            return Some(seen).filter(|seen| !seen.balanced && judged(seen));
        }
        let (lots, among) = nodes.first_lots(asks)?;
        let tries = lots.len().min(TRIES);
        let serves = |drawn: Drawn, random: &mut _| {
            let node = &nodes[drawn.node];
            (judged(node) && self.keeps_ticket(node, random)).then_some((drawn, node))
        };
        let (drawn, one) = (0..tries).find_map(|_| serves(lots.draw(&among, random)?, random))?;
        for _ in 0..tries {
            let Some(other) = lots.draw_other(&among, drawn, random) else {
                return Some(one);
            };
            if let Some((_, other)) = serves(other, random) {
                return Some(self.cheaper(one, other, random));
            }
        }
        let alike = |node: &NodeView| {
            let alike = node.near == one.near && (!asks || node.balanced == one.balanced);
            alike && node.weight != Weight::ZERO && judged(node)
        };
        Some(self.beside(one, alike, random))
    }
}

/// So many draws are tried. Where most nodes may not serve, looking at all of them costs no more.
const TRIES: usize = 8;
