//! How many reads may fall back to the primary, and in what order they get there.
//!
//! When every replica lags, an unbounded fallback moves the whole read load onto the node that is
//! already in trouble. So such a read takes a place at the [`BudgetGate`], and gives it back at its
//! end; who finds none stands in a short line. The rules kept here: never more places are out than
//! the limit, never more reads begin than the rate allows, and nobody is overtaken: as long as
//! anybody waits, a newcomer stands behind, also for the rate. Who sleeps until its turn, and who
//! wakes whom, is not this module's business.

use alloc::collections::VecDeque;
use core::time::Duration;

use crate::time::Instant;

/// The primary's budget for reads that wanted a replica, as a machine without a clock.
///
/// After [`BudgetGate::release`], [`BudgetGate::give_up`], [`BudgetGate::resize`] and every turn that
/// came, poll the one who is [`BudgetGate::first`] now: nobody else can be next.
///
/// ```
/// use lagwise_core::{Asked, BudgetGate, Instant, Turn};
///
/// let (now, soon) = (Instant::from_nanos(1), Instant::from_nanos(9));
/// let mut gate = BudgetGate::new(now, 1, None, 8);
/// assert_eq!(gate.ask(now, soon), Asked::Granted);
/// let Asked::Queued(ticket) = gate.ask(now, soon) else { panic!("there was one place") };
/// assert_eq!(gate.poll(now, ticket), Turn::Waits(soon));
/// gate.release();
/// assert_eq!(gate.poll(now, ticket), Turn::Granted);
/// ```
#[derive(Clone, Debug)]
pub struct BudgetGate {
    places: u32,
    /// Places that are out; more than there are after a limit was lowered.
    out: u32,
    rate: Option<RateLimit>,
    /// Those who wait, in the order in which they came, and so in that of their tickets.
    line: VecDeque<Waiter>,
    longest: usize,
    tickets: u64,
}

#[derive(Clone, Copy, Debug)]
struct Waiter {
    ticket: Ticket,
    until: Instant,
}

/// A place in the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// What becomes of a read that asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
#[expect(
    clippy::exhaustive_enums,
    reason = "whoever asks must know every answer"
)]
pub enum Asked {
    /// It may begin, and owes a [`BudgetGate::release`].
    Granted,
    /// It stands in the line. Poll it, or give it up.
    Queued(Ticket),
    /// It is refused: the line is full, or it would wait in vain.
    Refused,
}

/// Whether the turn of a read that waits has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
#[expect(clippy::exhaustive_enums, reason = "whoever waits must know every end")]
pub enum Turn {
    /// It may begin, and owes a [`BudgetGate::release`].
    Granted,
    /// Not yet. Poll it again when it has become the first or a place is free, and at this instant at
    /// the latest.
    Waits(Instant),
    /// Its time is up. It has left the line.
    Refused,
}

impl BudgetGate {
    /// A gate for so many reads at once, of which so many may begin in a second, and behind which at
    /// most `longest` wait.
    #[must_use]
    pub fn new(now: Instant, places: u32, per_second: Option<u32>, longest: usize) -> Self {
        Self {
            places,
            out: 0,
            rate: per_second.map(|rate| RateLimit::new(now, rate)),
            line: VecDeque::new(),
            longest,
            tickets: 0,
        }
    }

    /// A read asks for a place, and would wait for it until `until`.
    pub fn ask(&mut self, now: Instant, until: Instant) -> Asked {
        self.drop_late(now);
        let granted = self.line.is_empty() && self.take(now);
        if granted {
            return Asked::Granted;
        }
        // Where it stands at the end of a line, it is at least this long that it waits.
        let soonest = now.after(self.rate_pause(now));
        if self.places == 0 || until <= now || soonest > until {
            return Asked::Refused;
        }
        if self.line.len() >= self.longest {
            self.line.retain(|waiter| waiter.until > now);
        }
        if self.line.len() >= self.longest {
            return Asked::Refused;
        }
        let ticket = Ticket(self.tickets);
        self.tickets += 1;
        self.line.push_back(Waiter { ticket, until });
        Asked::Queued(ticket)
    }

    /// Whether the turn of a read that waits has come. Poll the first of the line again after it.
    pub fn poll(&mut self, now: Instant, ticket: Ticket) -> Turn {
        self.drop_late(now);
        let Some(index) = self.place_of(ticket) else {
            return Turn::Refused;
        };
        let until = self.line[index].until;
        if until <= now {
            self.line.remove(index);
            return Turn::Refused;
        }
        if index > 0 {
            return Turn::Waits(until);
        }
        if self.take(now) {
            self.line.pop_front();
            return Turn::Granted;
        }
        if self.out >= self.places {
            return Turn::Waits(until);
        }
        Turn::Waits(now.after(self.rate_pause(now)).min(until))
    }

    /// A read that waits does so no longer. Nothing happens if its turn has come or its time was up.
    pub fn give_up(&mut self, ticket: Ticket) {
        if let Some(index) = self.place_of(ticket) {
            self.line.remove(index);
        }
    }

    /// A read that was granted a place has ended.
    pub fn release(&mut self) {
        self.out = self.out.saturating_sub(1);
    }

    /// The limits are others from now on. What is out stays out, and who waits keeps its turn.
    pub fn resize(&mut self, now: Instant, places: u32, per_second: Option<u32>) {
        self.places = places;
        self.rate = match (self.rate.take(), per_second) {
            (Some(rate), Some(per_second)) => Some(rate.resized(now, per_second)),
            (_, per_second) => per_second.map(|rate| RateLimit::new(now, rate)),
        };
    }

    /// Who is to be polled when a place is free.
    #[must_use]
    pub fn first(&self) -> Option<Ticket> {
        self.line.front().map(|waiter| waiter.ticket)
    }

    /// How many reads hold a place.
    #[must_use]
    pub const fn out(&self) -> u32 {
        self.out
    }

    /// How many reads wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.line.len()
    }

    /// Takes a place and a share of the rate, or neither.
    fn take(&mut self, now: Instant) -> bool {
        let granted =
            self.out < self.places && self.rate.as_mut().is_none_or(|rate| rate.take(now).is_ok());
        self.out += u32::from(granted);
        granted
    }

    fn rate_pause(&mut self, now: Instant) -> Duration {
        self.rate
            .as_mut()
            .map_or(Duration::ZERO, |rate| rate.pause(now))
    }

    /// Those in front whose time is up hold nobody up.
    fn drop_late(&mut self, now: Instant) {
        while self.line.front().is_some_and(|first| first.until <= now) {
            self.line.pop_front();
        }
    }

    fn place_of(&self, ticket: Ticket) -> Option<usize> {
        self.line
            .binary_search_by_key(&ticket, |waiter| waiter.ticket)
            .ok()
    }
}

/// A token bucket that holds one second's worth.
#[derive(Clone, Debug)]
struct RateLimit {
    per_second: u32,
    /// Parts of a token: a nanosecond adds `per_second` of them, a token is a billion.
    parts: u64,
    filled: Instant,
}

impl RateLimit {
    /// Allows `per_second` on average, and as many at once after a pause.
    fn new(now: Instant, per_second: u32) -> Self {
        Self {
            per_second,
            parts: u64::from(per_second) * TOKEN,
            filled: now,
        }
    }

    /// What was saved at the old rate counts, up to what the new one may save.
    fn resized(mut self, now: Instant, per_second: u32) -> Self {
        self.fill(now);
        self.per_second = per_second;
        self.fill(now);
        self
    }

    /// Takes one, if there is one.
    ///
    /// # Errors
    /// The pause after which there will be one, if nobody else takes it.
    fn take(&mut self, now: Instant) -> Result<(), Duration> {
        match self.pause(now) {
            Duration::ZERO => {
                self.parts -= TOKEN;
                Ok(())
            }
            pause => Err(pause),
        }
    }

    /// How long until there is one; zero where there is.
    fn pause(&mut self, now: Instant) -> Duration {
        self.fill(now);
        match TOKEN.saturating_sub(self.parts) {
            0 => Duration::ZERO,
            _ if self.per_second == 0 => Duration::MAX,
            missing => Duration::from_nanos(missing.div_ceil(u64::from(self.per_second))),
        }
    }

    fn fill(&mut self, now: Instant) {
        let elapsed = now.since(self.filled).min(Duration::from_secs(1));
        let nanos = u64::try_from(elapsed.as_nanos()).unwrap_or(TOKEN);
        let full = u64::from(self.per_second) * TOKEN;
        self.parts = self
            .parts
            .saturating_add(nanos * u64::from(self.per_second))
            .min(full);
        self.filled = self.filled.max(now);
    }
}

const TOKEN: u64 = 1_000_000_000;

#[cfg(test)]
mod tests;
