//! Whoever is drawn by tickets is drawn with the very chances that looking at everybody gives.
//!
//! The reference is worked out here, from the words of the rule alone: the chances of each node as
//! fractions, without any draw.

use alloc::vec::Vec;
use std::format;

use proptest::prelude::*;

use super::*;
use crate::floor::{Floor, Sight};
use crate::lsn::Lsn;
use crate::membership::{Cause, Membership};
use crate::monitor::Monitor;
use crate::node::{Incarnation, NodeSpec, Role};
use crate::policy::Policy;
use crate::snapshot::Nodes;

/// A replica as a test wants it.
#[derive(Clone, Copy, Debug)]
struct Replica {
    weight: u16,
    near: bool,
    balanced: bool,
    in_rotation: bool,
    /// Seconds before now, at which it came into rotation and which it shows.
    since: u64,
    shows: u64,
    cost: u64,
}

const NOW: Instant = Instant::from_nanos(1_000_000_000_000);

fn ago(seconds: u64) -> Instant {
    NOW.before(Duration::from_secs(seconds))
}

/// A primary, and these replicas.
fn snapshot(replicas: &[Replica]) -> Snapshot {
    let policy = Policy::default().validate().unwrap();
    let primary = NodeSpec::new("p", Role::Primary);
    let others = replicas.iter().enumerate().map(|(number, replica)| {
        let mut spec = NodeSpec::new(format!("r{number}"), Role::Replica);
        (spec.weight, spec.balanced) = (Weight::new(replica.weight), replica.balanced);
        spec
    });
    let monitor = Monitor::new(ago(900), policy, [primary].into_iter().chain(others));
    let mut snapshot = monitor.snapshot(NOW);
    snapshot.primary = Some(NodeId::new(0));
    snapshot.nodes = snapshot.nodes.changed(|(number, node)| {
        let Some(replica) = number.checked_sub(1).map(|number| replicas[number]) else {
            return;
        };
        let since = ago(replica.since);
        node.near = replica.near;
        node.membership = if replica.in_rotation {
            Membership::InRotation { since, late: 0 }
        } else {
            let cause = Cause::Lagging;
            Membership::Ejected { cause, since }
        };
        let proved = (!replica.balanced).then(|| ago(replica.shows));
        (node.as_of, node.passed) = (proved, proved);
        node.lsn = Some(Lsn::new(1));
    });
    snapshot
}

/// The share of its tickets that a node holds: all of them after the slow start, of 10 s.
fn tickets(view: &NodeView, replica: &Replica) -> f64 {
    let full = f64::from(view.spec.weight.as_u16()) * 64.0;
    if replica.since >= 10 {
        return full;
    }
    #[expect(clippy::cast_precision_loss, reason = "seconds")]
    let ramped = (full * replica.since as f64 / 10.0).floor();
    ramped.max((full / 10.0).floor()).max(1.0)
}

/// The chances of each node, by its id.
fn expected(snapshot: &Snapshot, replicas: &[Replica], request: &Request<'_>) -> Vec<f64> {
    let eligible = |view: &NodeView| judge(snapshot, view, request, NOW).is_ok();
    let asks = request.requirement.floor().asks_for().is_some();
    let mut chances = alloc::vec![0.0; snapshot.nodes.len()];
    let guesses: &[&[bool]] = if asks {
        &[&[false], &[true]]
    } else {
        &[&[false, true]]
    };
    for guesses in guesses {
        for (near, weighted) in [(true, true), (false, true), (true, false), (false, false)] {
            let class: Vec<&NodeView> = snapshot
                .nodes
                .iter()
                .filter(|view| {
                    view.near == near
                        && (view.spec.weight != Weight::ZERO) == weighted
                        && guesses.contains(&view.spec.balanced)
                        && eligible(view)
                })
                .collect();
            let Some(first) = class.first() else { continue };
            if !weighted {
                chances[first.id.index()] = 1.0;
                return chances;
            }
            chances_in(&class, replicas, &mut chances);
            return chances;
        }
    }
    chances
}

/// Two are drawn, one after the other; the second one passes once more; the cheaper one serves.
fn chances_in(class: &[&NodeView], replicas: &[Replica], chances: &mut [f64]) {
    let replica = |view: &NodeView| &replicas[view.id.index() - 1];
    let held = |view: &NodeView| tickets(view, replica(view));
    let total: f64 = class.iter().map(|view| held(view)).sum();
    for one in class {
        let first = held(one) / total;
        let rest = total - held(one);
        if class.len() == 1 {
            chances[one.id.index()] += first;
        }
        for other in class.iter().filter(|other| other.id != one.id) {
            let both = first * held(other) / rest;
            let passes = held(other) / (f64::from(other.spec.weight.as_u16()) * 64.0);
            let cheaper = if replica(other).cost < replica(one).cost {
                passes
            } else {
                0.0
            };
            chances[other.id.index()] += both * cheaper;
            chances[one.id.index()] += both * (1.0 - cheaper);
        }
    }
}

fn generator(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed;
    move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

fn request(floor: Floor, failed: &[NodeId]) -> Request<'_> {
    Request {
        requirement: Requirement::at_least(floor),
        fallback: Fallback::Primary,
        wait_until: NOW,
        failed,
    }
}

/// How often each node is selected of so many times.
fn counted(
    snapshot: &Snapshot,
    replicas: &[Replica],
    request: Request<'_>,
    times: u32,
) -> Vec<u32> {
    let costs = |node: NodeId| replicas[node.index() - 1].cost;
    let mut random = generator(0xC0FFEE);
    let mut counts = alloc::vec![0; snapshot.nodes.len()];
    for _ in 0..times {
        match select(snapshot, request, NOW, &costs, &mut random) {
            Selection::Replica(candidate) => counts[candidate.node.index()] += 1,
            Selection::None(rejections) => assert_eq!(rejections.iter().count(), replicas.len()),
        }
    }
    counts
}

/// Whether counts are what chances make of so many draws: within six standard deviations, and some more
/// where there are few, which chance alone exceeds in none of millions.
fn agree(counts: &[u32], chances: &[f64], times: u32) -> bool {
    counts.iter().zip(chances).all(|(count, chance)| {
        let mean = chance * f64::from(times);
        let deviation = (mean * (1.0 - chance)).max(0.0).sqrt();
        let impossible = *chance == 0.0 && *count > 0;
        !impossible && (f64::from(*count) - mean).abs() <= 6.0 * deviation + 8.0
    })
}

fn replica() -> impl Strategy<Value = Replica> {
    let weight = prop_oneof![3 => Just(100_u16), 2 => 1_u16..400, 1 => Just(0_u16)];
    let since = prop_oneof![2 => Just(60_u64), 1 => 0_u64..10];
    (
        weight,
        prop::bool::weighted(0.7),
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.8),
        since,
        0_u64..4,
        0_u64..3,
    )
        .prop_map(
            |(weight, near, balanced, in_rotation, since, shows, cost)| Replica {
                weight,
                near,
                balanced,
                in_rotation,
                since,
                shows,
                cost,
            },
        )
}

/// Nothing; a write; a read on a replica; a write and then a read.
fn floor() -> impl Strategy<Value = Floor> {
    let seen = (0_u16..9).prop_map(|node| Sight {
        node: NodeId::new(node),
        incarnation: Incarnation::default(),
    });
    (0_u8..4, 0_u64..5, 0_u64..5, seen).prop_map(|(kind, wrote, read, seen)| {
        let written = Floor::as_of(ago(wrote));
        let read = Floor::read(ago(read), Some(seen));
        match kind {
            0 => Floor::default(),
            1 => written,
            2 => read,
            _ => written.merge(read),
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn everybody_is_drawn_as_often_as_if_all_were_looked_at(
        replicas in prop::collection::vec(replica(), 0..9),
        floor in floor(),
        failed in prop::collection::vec(0_u16..9, 0..2),
    ) {
        let snapshot = snapshot(&replicas);
        let failed: Vec<NodeId> = failed.into_iter().map(NodeId::new).collect();
        let request = request(floor, &failed);
        let chances = expected(&snapshot, &replicas, &request);
        let counts = counted(&snapshot, &replicas, request, 3_000);
        prop_assert!(agree(&counts, &chances, 3_000), "{counts:?} for {chances:?}");
    }

    #[test]
    fn whoever_may_serve_has_tickets(
        replicas in prop::collection::vec(replica(), 0..40),
        floor in floor(),
    ) {
        let snapshot = snapshot(&replicas);
        let request = request(floor, &[]);
        for view in &snapshot.nodes {
            prop_assert!(view.serves() || judge(&snapshot, view, &request, NOW).is_err());
        }
    }
}

#[test]
fn of_many_nodes_each_is_drawn_as_often_as_if_all_were_looked_at() {
    for (fresh, step) in [(60, 0), (3, 0), (60, 7)] {
        let replicas: Vec<Replica> = (0..100_u16)
            .map(|number| Replica {
                weight: 100 + number * step,
                near: true,
                balanced: false,
                in_rotation: number % 5 != 0,
                since: if number % 2 == 0 { 60 } else { fresh },
                shows: u64::from(number % 3),
                cost: u64::from(number % 4),
            })
            .collect();
        let snapshot = snapshot(&replicas);
        for floor in [Floor::default(), Floor::as_of(ago(1)), Floor::as_of(ago(0))] {
            let request = request(floor, &[]);
            let chances = expected(&snapshot, &replicas, &request);
            let counts = counted(&snapshot, &replicas, request, 200_000);
            assert!(agree(&counts, &chances, 200_000), "{counts:?} {chances:?}");
        }
    }
}

#[test]
fn a_pick_among_many_asks_for_two_costs_and_two_numbers() {
    let one = Replica {
        weight: 100,
        near: true,
        balanced: false,
        in_rotation: true,
        since: 60,
        shows: 1,
        cost: 0,
    };
    let snapshot = snapshot(&alloc::vec![one; 1000]);
    let asked = core::cell::Cell::new(0);
    let costs = |_: NodeId| {
        asked.set(asked.get() + 1);
        0
    };
    let mut numbers = 0;
    let mut generator = generator(3);
    let mut random = || {
        numbers += 1;
        generator()
    };
    let chosen = select(
        &snapshot,
        request(Floor::default(), &[]),
        NOW,
        &costs,
        &mut random,
    );
    assert!(matches!(chosen, Selection::Replica(_)));
    assert_eq!((asked.get(), numbers), (2, 2));
}

#[test]
fn nobody_has_tickets_where_nobody_is_in_rotation() {
    let nodes: &Nodes = &snapshot(&[]).nodes;
    assert_eq!(nodes.len(), 1, "the primary");
    assert!(nodes.first_lots(false).is_none());
}
