//! What a seed makes of the faults: each alone, then pairs.
//!
//! Every pair that can be is in the order once, so that a run goes as far as its time allows, and
//! two runs with other seeds see other pairs.

use super::{Fault, Kind, Victim};

/// How many replicas there are at any time.
const REPLICAS: usize = 2;

/// Each of these kinds alone, in random order, then every pair of them that may be.
#[must_use]
pub fn order(seed: u64, instances: usize, kinds: &[Kind]) -> Vec<Vec<Fault>> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut singles: Vec<Kind> = kinds.to_vec();
    random.shuffle(&mut singles);
    let mut pairs: Vec<(Kind, Kind)> = Vec::new();
    for first in kinds {
        let others = kinds.iter().filter(|other| other.goes_with(*first));
        pairs.extend(others.map(|other| (*first, *other)));
    }
    // Two faults of replicas go with each other both ways; which comes first says nothing.
    pairs.retain(|(first, second)| {
        !second.goes_with(*first) || !first.goes_with(*second) || first <= second
    });
    random.shuffle(&mut pairs);
    let mut draw = |kind: Kind| Fault {
        kind,
        whose: match kind.victim() {
            Victim::Instance => random.usize(0..instances),
            _ => random.usize(0..REPLICAS),
        },
    };
    let mut phases: Vec<Vec<Fault>> = singles.into_iter().map(|kind| vec![draw(kind)]).collect();
    for (first, second) in pairs {
        let first = draw(first);
        let mut second = draw(second);
        // Two faults of one node may undo each other; two nodes' never do.
        if second.kind.victim() == Victim::Replica && first.kind.victim() == Victim::Replica {
            second.whose = (first.whose + 1) % REPLICAS;
        }
        phases.push(vec![first, second]);
    }
    phases
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_one_order_and_every_fault_comes_alone_first() {
        let phases = order(7, 3, &Kind::ALL);
        assert_eq!(phases, order(7, 3, &Kind::ALL), "the same again");
        assert_ne!(phases, order(8, 3, &Kind::ALL), "another for another seed");
        let (alone, pairs) = phases.split_at(Kind::ALL.len());
        let mut kinds: Vec<Kind> = alone.iter().map(|faults| faults[0].kind).collect();
        kinds.sort_unstable();
        assert_eq!(kinds, Kind::ALL, "each alone, once");
        assert!(pairs.iter().all(|faults| faults.len() == 2), "then pairs");
        assert!(pairs.len() > 100, "many of them: {}", pairs.len());
    }

    #[test]
    fn no_two_faults_of_a_pair_befall_one_node() {
        for faults in order(3, 3, &Kind::ALL) {
            let [first, second] = faults[..] else {
                continue;
            };
            let (one, other) = (first.kind.victim(), second.kind.victim());
            let both = (one, other) == (Victim::Replica, Victim::Replica);
            assert!(!both || first.whose != second.whose, "{first}+{second}");
            assert!(both || one != other, "{first}+{second}");
        }
    }

    #[test]
    fn a_run_of_some_faults_has_no_others() {
        let only = [Kind::SplitBrain, Kind::CutClients];
        let phases = order(1, 3, &only);
        assert_eq!(
            phases.len(),
            4,
            "each alone, one on both replicas, and both"
        );
        let known = |fault: &Fault| only.contains(&fault.kind);
        assert!(phases.iter().flatten().all(known), "{phases:?}");
    }
}
