//! A simulated cluster under a fake clock, against the real monitor, selection and sessions.
//!
//! Every run follows from its seed. `LAGWISE_SIM_SEEDS=N` tries that many, `LAGWISE_SIM_SEED=S`
//! repeats one, `LAGWISE_SIM_STEPS=N` changes the length of each.

mod chance;
mod clients;
mod cluster;
mod faults;
mod laws;
mod world;

use std::env;

use crate::world::{Tally, World};

/// Seeds that once broke a law: as-of instants that another history had proved, an old primary in
/// rotation, and (10031) a replica that had gone on along the old timeline.
const FALSELY_PROVED: [u64; 4] = [10_001, 10_005, 10_006, 10_031];

/// Another cluster at the primary's address kept the writes, and its positions were believed.
const FOREIGN_PRIMARY: [u64; 2] = [10_106, 10_109];

/// An answer that came after its probe was given up undid what was known since.
const LATE_ANSWER: [u64; 2] = [10_004, 10_043];

/// A replica that had all that could be seen on the primary served a session that had seen more on
/// another replica: a commit is shipped before it can be seen where it was made.
const SHIPPED_BEFORE_SEEN: [u64; 1] = [10_357];

/// A seed in which many reads find nothing but late replicas, which is rare.
const FRESHEST: u64 = 126;

fn number(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}

fn run(seed: u64, steps: u64) -> Tally {
    let mut world = World::new(seed);
    world.run(number("LAGWISE_SIM_STEPS").unwrap_or(steps));
    world.tally
}

fn run_all(seeds: impl IntoIterator<Item = u64>) -> Vec<Tally> {
    seeds.into_iter().map(|seed| run(seed, 15_000)).collect()
}

/// Every seed comes back to a calm cluster as often as it is mended.
fn assert_lawful(seeds: impl IntoIterator<Item = u64>) {
    for tally in run_all(seeds) {
        assert_eq!(tally.calms, 3, "a run mends the cluster three times");
    }
}

#[test]
fn every_law_holds_over_the_first_seeds() {
    let tallies = run_all(0..4);
    let freshest = run(FRESHEST, 15_000);
    let sum = |part: fn(&Tally) -> u64| tallies.iter().map(part).sum::<u64>();
    let parts = [
        ("reads on replicas", sum(|tally| tally.replica_reads)),
        ("reads on fresh connections", sum(|tally| tally.fresh_reads)),
        (
            "reads refused when opened",
            sum(|tally| tally.refused_opens),
        ),
        ("waits", sum(|tally| tally.waits)),
        ("reads of the freshest", freshest.freshest),
        (
            "old primaries that return unrewound",
            sum(|tally| tally.unrewound),
        ),
        ("rivals", sum(|tally| tally.rivals)),
        ("foreign nodes", sum(|tally| tally.foreigners)),
        ("tokens", sum(|tally| tally.tokens)),
        ("carried", sum(|tally| tally.carried)),
        ("voided", sum(|tally| tally.voided)),
        ("failovers", sum(|tally| tally.failovers)),
        ("ejections", sum(|tally| tally.ejections)),
        ("new histories", sum(|tally| tally.histories)),
        ("diverged nodes", sum(|tally| tally.diverged)),
        ("lost writes", sum(|tally| tally.lost_writes)),
        ("calm spells", sum(|tally| tally.calms)),
    ];
    for (part, many) in parts {
        assert!(
            many > 0,
            "a simulation without {part} proves nothing of them"
        );
    }
}

#[test]
fn every_law_holds_over_more_seeds() {
    assert_lawful(1_000..1_003);
}

#[test]
fn every_law_holds_over_still_more_seeds() {
    assert_lawful(2_000..2_003);
}

#[test]
fn no_other_history_proves_a_replica_again() {
    assert_lawful(FALSELY_PROVED);
}

#[test]
fn no_foreign_primary_is_believed_again() {
    assert_lawful(FOREIGN_PRIMARY);
}

#[test]
fn no_session_misses_what_was_shipped_before_it_could_be_seen_again() {
    assert_lawful(SHIPPED_BEFORE_SEEN);
}

#[test]
fn no_late_answer_is_believed_again() {
    assert_lawful(LATE_ANSWER);
}

#[test]
fn the_same_seed_gives_the_same_run() {
    assert_eq!(
        run(42, 3_000),
        run(42, 3_000),
        "a run follows from its seed"
    );
}

/// Runs only what the environment asks for.
#[test]
fn every_law_holds_over_the_seeds_asked_for() {
    if let Some(seed) = number("LAGWISE_SIM_SEED") {
        assert_lawful([seed]);
    }
    if let Some(many) = number("LAGWISE_SIM_SEEDS") {
        let from = number("LAGWISE_SIM_FROM").unwrap_or(10_000);
        let tallies = run_all(from..from + many);
        for (seed, tally) in (from..).zip(&tallies) {
            println!("seed {seed}: {tally:?}");
        }
        let steps: u64 = tallies.iter().map(|tally| tally.steps).sum();
        println!("{many} seeds from {from}, {steps} steps: no law broken");
    }
}
