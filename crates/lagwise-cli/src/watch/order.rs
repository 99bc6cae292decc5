//! In which order nodes are shown.
//!
//! What is unknown counts as the worst. Nodes that are equal stay in the order in which they were
//! given, so that nothing jumps about for nothing.

use std::cmp::Ordering;

use super::cells::Facts;
use super::look::NodeLook;
use super::state::Scene;

/// What nodes are sorted by, and from which end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) by: By,
    pub(crate) reversed: bool,
}

/// What nodes are sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum By {
    /// As they were given.
    #[default]
    Given,
    Name,
    /// Those that take no reads first.
    State,
    /// The greatest bound first.
    Bound,
    /// The most bytes behind first.
    Behind,
    /// The last to have caught up first.
    CatchUp,
    /// The slowest to answer first.
    Latency,
}

impl Order {
    pub(crate) fn next(&mut self) {
        self.by = match self.by {
            By::Given => By::Name,
            By::Name => By::State,
            By::State => By::Bound,
            By::Bound => By::Behind,
            By::Behind => By::CatchUp,
            By::CatchUp => By::Latency,
            By::Latency => By::Given,
        };
    }

    pub(crate) fn reverse(&mut self) {
        self.reversed = !self.reversed;
    }

    pub(crate) fn sorted(self, scene: &Scene) -> Vec<&NodeLook> {
        let mut nodes: Vec<&NodeLook> = scene.look.nodes.iter().collect();
        nodes.sort_by(|one, other| self.by.compare(&scene.facts(one), &scene.facts(other)));
        if self.reversed {
            nodes.reverse();
        }
        nodes
    }

    /// In words.
    pub(crate) fn describe(self) -> &'static str {
        self.by.as_str()
    }
}

impl By {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Given => "as given",
            Self::Name => "name",
            Self::State => "state",
            Self::Bound => "bound",
            Self::Behind => "behind",
            Self::CatchUp => "catch-up",
            Self::Latency => "latency",
        }
    }

    fn compare(self, one: &Facts<'_>, other: &Facts<'_>) -> Ordering {
        let (left, right) = (one.node, other.node);
        match self {
            Self::Given => Ordering::Equal,
            Self::Name => left.name.cmp(&right.name),
            Self::State => badness(one).cmp(&badness(other)).reverse(),
            Self::Bound => worst_first(one, other, left.bound, right.bound),
            Self::Behind => worst_first(one, other, left.bytes_behind, right.bytes_behind),
            Self::CatchUp => {
                let of = |facts: &Facts<'_>| (!facts.node.is_primary).then(|| facts.catches_up());
                of(one).cmp(&of(other)).reverse()
            }
            Self::Latency => worst(left.latency).cmp(&worst(right.latency)).reverse(),
        }
    }
}

/// The primary is behind nobody; of the others, the unknown is behind the most.
fn worst_first<T: Ord>(
    one: &Facts<'_>,
    other: &Facts<'_>,
    left: Option<T>,
    right: Option<T>,
) -> Ordering {
    let key = |facts: &Facts<'_>, value| (!facts.node.is_primary).then(|| worst(value));
    key(one, left).cmp(&key(other, right)).reverse()
}

/// Orders the unknown behind everything that is known.
fn worst<T: Ord>(value: Option<T>) -> (bool, Option<T>) {
    (value.is_none(), value)
}

fn badness(facts: &Facts<'_>) -> u8 {
    match (facts.node.is_primary, facts.node.membership) {
        _ if facts.is_bad() => 3,
        (_, "probation") => 2,
        (false, "ejected") => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::scenes;
    use super::*;

    fn names(by: By, reversed: bool) -> Vec<String> {
        let mut scene = scenes::many(5);
        let mut look = scene.look.clone();
        for (at, node) in look.nodes.iter_mut().enumerate().skip(1) {
            let millis = [0, 20, 900, 100, 20][at];
            node.bound = Some(Duration::from_millis(millis));
        }
        look.nodes[3].bound = None;
        look.nodes[2].membership = "ejected";
        look.nodes[2].cause = Some("lagging");
        scene.take(look);
        let sorted = Order { by, reversed }.sorted(&scene);
        sorted.iter().map(|node| node.name.to_string()).collect()
    }

    #[test]
    fn the_unknown_is_the_worst_and_equals_keep_their_order() {
        let by_bound = [
            "replica-3",
            "replica-2",
            "replica-1",
            "replica-4",
            "primary",
        ];
        assert_eq!(names(By::Bound, false), by_bound);
        let mut reversed = by_bound;
        reversed.reverse();
        assert_eq!(names(By::Bound, true), reversed);
        assert_eq!(names(By::State, false)[0], "replica-2");
        assert_eq!(names(By::Given, false)[0], "primary");
    }

    #[test]
    fn the_key_comes_round() {
        let mut order = Order::default();
        let mut seen = Vec::new();
        loop {
            seen.push(order.describe());
            order.next();
            if order == Order::default() {
                break;
            }
        }
        assert_eq!(seen.len(), 7, "{seen:?}");
    }
}
