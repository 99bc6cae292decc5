//! Who may fall back to the primary, when, and in what order, on a clock of the test's own.

use std::collections::VecDeque;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;

fn at(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}

fn queued(asked: Asked) -> Ticket {
    match asked {
        Asked::Queued(ticket) => ticket,
        other => panic!("{other:?} is no place in the line"),
    }
}

#[test]
fn no_more_than_the_rate_passes_in_any_second_but_the_first() {
    let mut now = Instant::from_nanos(5);
    let mut limit = RateLimit::new(now, 100);
    let mut passed = 0;
    for _ in 0..10_000 {
        now = now.after(Duration::from_millis(1));
        passed += u32::from(limit.take(now).is_ok());
    }
    assert!(
        (1_095..=1_101).contains(&passed),
        "{passed} in ten seconds at 100 a second"
    );
}

#[test]
fn the_pause_it_names_is_enough() {
    let mut now = Instant::from_nanos(0);
    let mut limit = RateLimit::new(now, 3);
    while limit.take(now).is_ok() {}
    let pause = limit.take(now).unwrap_err();
    now = now.after(pause);
    assert_eq!(limit.take(now), Ok(()));
    assert!(limit.take(now).is_err());
}

#[test]
fn a_rate_or_a_limit_of_zero_refuses_at_once() {
    let mut gate = BudgetGate::new(at(0), 4, Some(0), 8);
    assert_eq!(gate.ask(at(1), Instant::NEVER.before(TICK)), Asked::Refused);
    let mut gate = BudgetGate::new(at(0), 0, None, 8);
    assert_eq!(gate.ask(at(1), Instant::NEVER), Asked::Refused);
}

const TICK: Duration = Duration::from_millis(1);

#[test]
fn a_newcomer_does_not_overtake_who_waits_for_the_rate() {
    let mut gate = BudgetGate::new(at(0), 4, Some(1), 8);
    assert_eq!(gate.ask(at(0), at(5_000)), Asked::Granted);
    let first = queued(gate.ask(at(0), at(5_000)));
    let newcomer = queued(gate.ask(at(1_500), at(5_000)));
    assert_eq!(gate.poll(at(1_500), newcomer), Turn::Waits(at(5_000)));
    assert_eq!(gate.poll(at(1_500), first), Turn::Granted);
    assert_eq!(
        gate.poll(at(1_500), newcomer),
        Turn::Waits(at(2_500)),
        "it is told when the rate allows the next"
    );
}

#[test]
fn who_gives_up_or_comes_too_late_holds_nobody_up() {
    let mut gate = BudgetGate::new(at(0), 1, None, 8);
    assert_eq!(gate.ask(at(0), at(100)), Asked::Granted);
    let dropped = queued(gate.ask(at(0), at(100)));
    let late = queued(gate.ask(at(0), at(10)));
    let last = queued(gate.ask(at(0), at(100)));
    gate.give_up(dropped);
    gate.release();
    assert_eq!(gate.poll(at(20), last), Turn::Granted);
    assert_eq!(gate.poll(at(20), late), Turn::Refused);
    assert_eq!((gate.out(), gate.waiting()), (1, 0));
}

#[test]
fn a_line_that_is_full_refuses_but_those_whose_time_is_up_do_not_count() {
    let mut gate = BudgetGate::new(at(0), 1, None, 2);
    assert_eq!(gate.ask(at(0), at(100)), Asked::Granted);
    let first = queued(gate.ask(at(0), at(100)));
    let _ = queued(gate.ask(at(0), at(10)));
    assert_eq!(gate.ask(at(9), at(100)), Asked::Refused);
    let third = queued(gate.ask(at(11), at(100)));
    assert!(first < third);
}

#[test]
fn who_would_wait_for_the_rate_in_vain_is_refused_at_once() {
    let mut gate = BudgetGate::new(at(0), 4, Some(1), 8);
    assert_eq!(gate.ask(at(0), at(1)), Asked::Granted);
    assert_eq!(gate.ask(at(0), at(999)), Asked::Refused);
    let _ = queued(gate.ask(at(0), at(1_000)));
}

#[test]
fn a_lower_limit_lets_the_next_in_only_when_enough_have_ended() {
    let mut gate = BudgetGate::new(at(0), 3, None, 8);
    for _ in 0..3 {
        assert_eq!(gate.ask(at(0), at(9)), Asked::Granted);
    }
    let next = queued(gate.ask(at(0), at(9)));
    gate.resize(at(1), 1, None);
    for _ in 0..2 {
        gate.release();
        assert_eq!(gate.poll(at(1), next), Turn::Waits(at(9)));
    }
    gate.release();
    assert_eq!(gate.poll(at(1), next), Turn::Granted);
    gate.resize(at(1), 2, None);
    assert_eq!(gate.ask(at(1), at(9)), Asked::Granted);
}

#[test]
fn a_rate_that_is_set_again_and_again_saves_nothing_up() {
    let mut gate = BudgetGate::new(at(0), 100, Some(2), 8);
    let mut granted = 0;
    for step in 0..100 {
        gate.resize(at(step), 100, Some(2 + u32::from(step % 2 == 0)));
        granted += u32::from(gate.ask(at(step), at(step)) == Asked::Granted);
    }
    assert_eq!(granted, 2, "a tenth of a second adds less than one");
}

/// What happens at a gate.
#[derive(Clone, Debug)]
enum Act {
    Ask { patience: u64 },
    Poll { which: usize },
    GiveUp { which: usize },
    Release,
    Pass { millis: u64 },
    Resize { places: u32, rate: Option<u32> },
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => (0_u64..300).prop_map(|patience| Act::Ask { patience }),
        4 => (0_usize..8).prop_map(|which| Act::Poll { which }),
        1 => (0_usize..8).prop_map(|which| Act::GiveUp { which }),
        3 => Just(Act::Release),
        3 => (0_u64..120).prop_map(|millis| Act::Pass { millis }),
        1 => (0_u32..4, prop::option::of(0_u32..30))
            .prop_map(|(places, rate)| Act::Resize { places, rate }),
    ];
    prop::collection::vec(act, 1..200)
}

/// A gate beside what is known of it.
struct Watched {
    gate: BudgetGate,
    now: u64,
    places: u32,
    rate: Option<u32>,
    out: u32,
    line: VecDeque<(Ticket, u64)>,
    /// Grants under the present rate, and since when it holds.
    granted: Vec<u64>,
    since: u64,
}

impl Watched {
    fn grant(&mut self) {
        self.out += 1;
        assert!(
            self.out <= self.places,
            "more places are out than there are"
        );
        self.granted.push(self.now);
        if let Some(rate) = self.rate {
            let saved = 30;
            let most = saved + u64::from(rate) * (self.now - self.since) / 1000;
            assert!(self.granted.len() as u64 <= most.max(1), "beyond the rate");
            let lately = self.granted.iter().filter(|at| **at + 1000 > self.now);
            let in_a_second = 2 * u64::from(rate).max(saved);
            assert!(lately.count() as u64 <= in_a_second, "beyond the rate");
        }
    }

    fn act(&mut self, act: &Act) {
        let now = at(self.now);
        match *act {
            Act::Ask { patience } => self.ask(patience),
            Act::Poll { which } => {
                if let Some((ticket, _)) = self.line.get(which).copied() {
                    self.poll(ticket);
                }
            }
            Act::GiveUp { which } => {
                if let Some((ticket, _)) = self.line.remove(which) {
                    self.gate.give_up(ticket);
                }
            }
            Act::Release if self.out > 0 => {
                self.out -= 1;
                self.gate.release();
            }
            Act::Release => {}
            Act::Pass { millis } => self.now += millis,
            Act::Resize { places, rate } => {
                (self.places, self.rate) = (places, rate);
                self.granted.clear();
                self.since = self.now;
                self.gate.resize(now, places, rate);
            }
        }
    }

    fn ask(&mut self, patience: u64) {
        let until = self.now + patience;
        let live = self.line.iter().filter(|(_, until)| *until > self.now);
        let live = live.count();
        match self.gate.ask(at(self.now), at(until)) {
            Asked::Granted => {
                assert_eq!(live, 0, "a newcomer overtakes who waits");
                self.grant();
            }
            Asked::Queued(ticket) => {
                assert!(live < LONGEST, "the line is longer than it may be");
                self.line.push_back((ticket, until));
            }
            Asked::Refused => {}
        }
    }

    fn poll(&mut self, ticket: Ticket) {
        let index = self.line.iter().position(|(held, _)| *held == ticket);
        let index = index.expect("it waits");
        let until = self.line[index].1;
        let mut ahead = self.line.iter().take(index);
        let overtakes = ahead.any(|(_, until)| *until > self.now);
        let probe = self.gate.clone();
        match self.gate.poll(at(self.now), ticket) {
            Turn::Granted => {
                assert!(!overtakes, "it overtakes who came before it");
                assert!(until > self.now, "its time is up");
                self.line.remove(index);
                self.grant();
            }
            Turn::Refused => {
                assert!(until <= self.now, "it was refused before its time was up");
                self.line.remove(index);
            }
            Turn::Waits(again) => {
                assert!(until > self.now, "it waits beyond its time");
                assert!(again > at(self.now) && again <= at(until));
                let free = self.out < self.places;
                if free && !overtakes {
                    assert!(self.rate.is_some(), "a place is free for the first");
                    self.is_told_when(probe, ticket, again, until);
                }
            }
        }
    }

    /// Who waits for the rate alone has its turn at the instant that it was told.
    fn is_told_when(&self, mut gate: BudgetGate, ticket: Ticket, again: Instant, until: u64) {
        if again < at(until) {
            assert_eq!(gate.poll(again, ticket), Turn::Granted, "at {again:?}");
        }
    }
}

const LONGEST: usize = 5;

proptest! {
    /// Places, the rate, the order and the deadlines hold whatever happens, and nobody who could go
    /// is left waiting.
    #[test]
    fn nobody_overtakes_waits_in_vain_or_goes_beyond_the_limits(
        acts in acts(),
        places in 0_u32..4,
        rate in prop::option::of(0_u32..30),
    ) {
        let mut watched = Watched {
            gate: BudgetGate::new(at(0), places, rate, LONGEST),
            now: 0,
            places,
            rate,
            out: 0,
            line: VecDeque::new(),
            granted: Vec::new(),
            since: 0,
        };
        for act in &acts {
            watched.act(act);
            prop_assert_eq!(watched.gate.out(), watched.out);
            prop_assert!(watched.gate.waiting() <= LONGEST);
            // The first of those whose time is not up can always go when the gate lets anybody go.
            if let Some(first) = watched.gate.first()
                && watched.line.iter().any(|(held, _)| *held == first)
            {
                watched.poll(first);
            }
        }
    }
}
