//! A simulated cluster under a fake clock, against the real monitors, selection, sessions and budget.
//!
//! Several processes route to one cluster, each with clocks and connections of its own, while sessions
//! hop from one to another by what their tokens say, and everything goes wrong that can. Every run
//! follows from its seed. A run that breaks a law is shortened to what the break takes, and told.
//!
//! `cargo xtask simulate` runs for as long as it is told. Of the tests, `LAGWISE_SIM_SEEDS=N` has them
//! try that many from `LAGWISE_SIM_FROM`, `LAGWISE_SIM_SEED=S` repeats one, `LAGWISE_SIM_STEPS=N`
//! changes the length of each, `LAGWISE_SIM_SECONDS=N` goes on for that long.
//!
//! # Which law is checked where
//!
//! | law (see the design) | checked |
//! |---|---|
//! | 1 writes are not answered by replicas | `check_write`: routed writes. Which statement writes is the classifier's, with tests of its own |
//! | 2 own writes; lost ones are reported | `check_read`, `check_reported`, `check_switch` (what is called kept was kept, and what was proved is) |
//! | 3 replica reads do not go back | `check_read`. While two primaries write, what a process cannot know of is not held against it (`see`) |
//! | 4 bounds | `check_read`; `check_shown` for every as-of instant that is published |
//! | 5 unknown is stale | `check_snapshot`, `check_proved`, `check_candidate`, `check_event`, `check_elected` |
//! | 6 nobody waits for ever or probes in a storm | `check_storm`, `check_pace`, `route`, `check_waits`. That no request awaits a probe is the router's |
//! | 7 at most one retry | `check_candidate`: a failed node is not chosen again. That a read is tried twice at most is the router's |
//! | 8 the fallback budget | `check_granted`, `check_waits`: places, rate, order, deadlines, nobody left behind |
//! | 9 nothing a client sends pins traffic | the router's: signatures, and the bound on waiting reads; the budget is law 8 |
//! | 10 every route has a reason | `check_rejections` (and each holds), `check_reason`. That it is in the metrics is the router's |
//! | an older timeline gets no write | `check_write`, `check_elected`: older than any that the process ever heard of |
//! | all comes back | `check_healed`, and in calm `check_rejections` and `check_event` |

mod chance;
mod clients;
mod clock;
mod cluster;
mod faults;
mod laws;
mod process;
mod shrink;
mod world;

use std::env;
use std::fmt::Write as _;

use crate::clock::Started;
use crate::faults::FAULTS;
use crate::shrink::{attempt, shrink};
use crate::world::{Broken, Tally, World};

/// Seeds that once broke a law.
const KEPT: &str = include_str!("seeds.txt");

/// With faults; as many again pass while everything comes back.
const STEPS: u64 = 9_000;

/// By this seed a read has found nothing but late replicas, which is rare.
const RARE: u64 = 60;

fn number(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}

fn steps() -> u64 {
    number("LAGWISE_SIM_STEPS").unwrap_or(STEPS)
}

/// Runs a seed, or tells of the law that it breaks.
fn run(seed: u64, steps: u64) -> Tally {
    match attempt(World::new(seed), steps) {
        Ok(tally) => {
            assert_eq!(tally.calms, 3, "a run mends the cluster three times");
            tally
        }
        Err(broken) => panic!("{}", account(seed, steps, *broken)),
    }
}

fn account(seed: u64, steps: u64, broken: Broken) -> String {
    let (law, step, items) = (broken.law, broken.step, broken.ran.len());
    let least = if number("LAGWISE_SIM_SHRINK") == Some(0) {
        broken
    } else {
        shrink(seed, steps, broken)
    };
    format!(
        "BROKEN {law}\nLAGWISE_SIM_SEED={seed} LAGWISE_SIM_STEPS={steps}, at step {step}\n\
         {}\nof {items} things that were done it takes {}:\n{}\n",
        least.detail,
        least.ran.len(),
        least.trace.join("\n")
    )
}

fn run_all(seeds: impl IntoIterator<Item = u64>) -> Vec<Tally> {
    seeds.into_iter().map(|seed| run(seed, steps())).collect()
}

fn kept() -> impl Iterator<Item = u64> {
    let seed = |line: &str| line.split('#').next()?.trim().parse().ok();
    KEPT.lines().filter_map(seed)
}

#[test]
fn every_law_holds_and_everything_that_can_happen_does() {
    let mut tallies = run_all(0..8);
    for seed in 8..RARE {
        if tallies.iter().any(|tally| tally.freshest > 0) {
            break;
        }
        tallies.push(run(seed, steps()));
    }
    let sum = |part: fn(&Tally) -> u64| tallies.iter().map(part).sum::<u64>();
    let parts = [
        ("reads on replicas", sum(|tally| tally.replica_reads)),
        ("reads on fresh connections", sum(|tally| tally.fresh_reads)),
        ("reads on the primary", sum(|tally| tally.fallback_reads)),
        ("reads in the queue", sum(|tally| tally.queued)),
        ("reads refused by the budget", sum(|tally| tally.refused)),
        (
            "reads refused when opened",
            sum(|tally| tally.refused_opens),
        ),
        ("retries", sum(|tally| tally.retries)),
        ("waits", sum(|tally| tally.waits)),
        ("reads of the freshest", sum(|tally| tally.freshest)),
        (
            "old primaries that return unrewound",
            sum(|tally| tally.unrewound),
        ),
        ("rivals", sum(|tally| tally.rivals)),
        ("tokens", sum(|tally| tally.tokens)),
        ("carried", sum(|tally| tally.carried)),
        ("voided", sum(|tally| tally.voided)),
        ("ejections", sum(|tally| tally.ejections)),
        ("new histories", sum(|tally| tally.histories)),
        ("diverged nodes", sum(|tally| tally.diverged)),
        ("lost writes", sum(|tally| tally.lost_writes)),
        ("reported writes", sum(|tally| tally.reported)),
        ("writes to an old primary", sum(|tally| tally.split_writes)),
        ("calm spells", sum(|tally| tally.calms)),
    ];
    let faults = (0..FAULTS.len()).map(|kind| {
        let many = tallies.iter().map(|tally| tally.faults[kind]).sum::<u64>();
        (FAULTS[kind].0, many)
    });
    for (part, many) in parts.into_iter().chain(faults) {
        assert!(
            many > 0,
            "a simulation without {part} proves nothing of them"
        );
    }
}

#[test]
fn every_law_holds_over_more_seeds() {
    run_all(1_000..1_008);
}

#[test]
fn no_law_breaks_again_where_it_once_did() {
    run_all(kept().step_by(2));
}

#[test]
fn no_law_breaks_again_where_it_once_did_either() {
    run_all(kept().skip(1).step_by(2));
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| attempt(World::new(seed), 600).map_err(|broken| broken.law);
    assert_eq!(run(42), run(42), "a run follows from its seed");
    assert_ne!(run(42), run(43));
}

/// A law that breaks at some point for nothing but faults that are in the list.
#[test]
fn what_is_left_out_of_a_run_leaves_the_rest_as_it_was() {
    let mut whole = World::new(7);
    whole.run(600);
    let items = whole.ran().to_vec();
    let mut again = World::with_only(7, &items);
    again.run(600);
    assert_eq!(again.ran(), items, "all items make the whole run");
    assert_eq!(again.tally, whole.tally);
    let some: Vec<u64> = items.iter().copied().step_by(3).collect();
    let mut less = World::with_only(7, &some);
    less.run(600);
    assert_eq!(less.ran(), some, "each keeps its place");
    assert_eq!(less.now, whole.now, "and time its pace");
}

/// Runs only what the environment asks for.
#[test]
fn every_law_holds_over_the_seeds_asked_for() {
    if let Some(seed) = number("LAGWISE_SIM_SEED") {
        println!("seed {seed}: {:?}", run(seed, steps()));
    }
    if let Some(many) = number("LAGWISE_SIM_SEEDS") {
        let from = number("LAGWISE_SIM_FROM").unwrap_or(10_000);
        let mut all = Totals::default();
        for seed in from..from + many {
            all.run(seed);
        }
        println!("{}", all.report(from));
    }
}

/// Runs until the time is up, if the environment says when.
#[test]
fn every_law_holds_until_the_time_is_up() {
    let Some(seconds) = number("LAGWISE_SIM_SECONDS") else {
        return;
    };
    let from = number("LAGWISE_SIM_FROM").unwrap_or(10_000);
    let (began, mut all) = (Started::now(), Totals::default());
    for seed in kept().chain(from..) {
        if began.seconds() >= seconds {
            break;
        }
        all.run(seed);
    }
    println!("{}", all.report(from));
    let pace = all.steps * 60 / began.seconds().max(1);
    println!("{:>14} steps a minute", grouped(pace));
}

/// What many runs come to.
#[derive(Default)]
struct Totals {
    seeds: u64,
    steps: u64,
    checks: u64,
    reads: u64,
    hops: u64,
    faults: [u64; FAULTS.len()],
}

impl Totals {
    fn run(&mut self, seed: u64) {
        let outcome = attempt(World::new(seed), steps());
        let tally = match outcome {
            Ok(tally) => tally,
            Err(broken) => {
                let (seeds, steps) = (self.seeds + 1, self.steps + broken.step);
                let account = account(seed, crate::steps(), *broken);
                panic!("FOUND after {steps} steps in {seeds} seeds\n{account}");
            }
        };
        self.seeds += 1;
        self.steps += tally.steps;
        self.checks += tally.checks.get();
        self.reads += tally.replica_reads + tally.fallback_reads;
        self.hops += tally.carried;
        for (sum, many) in self.faults.iter_mut().zip(tally.faults) {
            *sum += many;
        }
    }

    fn report(&self, from: u64) -> String {
        let mut report = format!("no law broken over {} seeds, from {from}\n", self.seeds);
        let parts = [
            (self.steps, "steps"),
            (self.checks, "laws checked"),
            (self.reads, "reads"),
            (self.hops, "sessions taken up from tokens"),
            (self.faults.iter().sum(), "faults, of which"),
        ];
        let faults = FAULTS.iter().zip(self.faults);
        let faults = faults.map(|((name, _), many)| (many, *name));
        for (many, name) in parts.into_iter().chain(faults) {
            // Writing to a string cannot fail.
            let _written = writeln!(report, "{:>14} {name}", grouped(many));
        }
        report
    }
}

/// A number that can be read.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(' ');
        }
        grouped.push(digit);
    }
    grouped
}
