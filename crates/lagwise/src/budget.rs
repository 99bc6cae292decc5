//! How much of the read load may fall on the primary.
//!
//! When every replica lags, an unbounded fallback moves all reads onto the node that is already in
//! trouble. So each fallback read spends a [`Permit`] while it holds its connection; who finds none
//! waits in turn, for a short while, and is then refused. Who gets one, and in which order, is decided
//! by the core's [`BudgetGate`]; here is who sleeps and who is woken.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lagwise_core::{Asked, BudgetGate, Instant, Ticket, Turn};
use tokio::sync::Notify;

use crate::{clock, observe};

/// The primary's budget for reads that wanted a replica.
///
/// ```
/// use std::time::Duration;
/// use lagwise::Budget;
///
/// let budget = Budget::new().concurrent(8).per_second(500).queue_for(Duration::from_millis(200));
/// # drop(budget);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    pub(crate) concurrent: Option<u32>,
    pub(crate) per_second: Option<u32>,
    pub(crate) queue: usize,
    pub(crate) queue_for: Duration,
}

impl Budget {
    /// Half of the primary's pool at once, no limit on the rate, and for 64 reads more a second in the
    /// queue.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            concurrent: None,
            per_second: None,
            queue: QUEUE,
            queue_for: Duration::from_secs(1),
        }
    }

    /// At most this many such reads at once. Half of the primary's pool unless set.
    #[must_use]
    pub const fn concurrent(mut self, reads: u32) -> Self {
        self.concurrent = Some(reads);
        self
    }

    /// At most this many such reads begun in a second. Unlimited unless set.
    #[must_use]
    pub const fn per_second(mut self, reads: u32) -> Self {
        self.per_second = Some(reads);
        self
    }

    /// At most this many reads wait for their turn; one more is refused at once. 64 unless set, and with
    /// 0 none waits.
    #[must_use]
    pub const fn queue(mut self, reads: usize) -> Self {
        self.queue = reads;
        self
    }

    /// How long a read waits for its turn before it is refused. 1 s unless set.
    #[must_use]
    pub const fn queue_for(mut self, wait: Duration) -> Self {
        self.queue_for = wait;
        self
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::new()
    }
}

/// With five places and reads of ten milliseconds, the last of so many waits an eighth of a second: a
/// longer line would mostly hold reads that nobody waits for any longer when their turn comes.
const QUEUE: usize = 64;

/// The budget at work.
#[derive(Debug)]
pub(crate) struct Purse {
    line: Arc<Mutex<Line>>,
    queue_for: Duration,
}

/// The gate, and whom to wake.
#[derive(Debug)]
struct Line {
    gate: BudgetGate,
    waiting: BTreeMap<Ticket, Arc<Notify>>,
}

/// Permission for one fallback read; its place is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Permit(Arc<Mutex<Line>>);

/// The budget allows no read now.
#[derive(Debug)]
pub(crate) struct Exhausted;

impl Purse {
    pub(crate) fn new(now: Instant, budget: Budget, primary_connections: u32) -> Self {
        let places = places(budget, primary_connections);
        let gate = BudgetGate::new(now, places, budget.per_second, budget.queue);
        let waiting = BTreeMap::new();
        Self {
            line: Arc::new(Mutex::new(Line { gate, waiting })),
            queue_for: budget.queue_for,
        }
    }

    /// Waits for a place, first come, first served, and not beyond `until`.
    ///
    /// # Cancel safety
    /// A future that is dropped leaves the line, and holds nobody up.
    pub(crate) async fn spend(&self, until: Instant) -> Result<Permit, Exhausted> {
        if let Ok(permit) = self.try_spend() {
            return Ok(permit);
        }
        let now = clock::now();
        let until = now.after(self.queue_for).min(until);
        let (ticket, turn) = {
            let mut line = lock(&self.line);
            match line.gate.ask(now, until) {
                Asked::Granted => return Ok(line.permit(&self.line)),
                Asked::Refused => return Err(Exhausted),
                Asked::Queued(ticket) => (ticket, line.stand(ticket)),
            }
        };
        Place {
            line: &self.line,
            ticket,
        }
        .wait(&turn, until)
        .await
    }

    /// Takes a place if there is one and nobody waits for it.
    pub(crate) fn try_spend(&self) -> Result<Permit, Exhausted> {
        let now = clock::now();
        let mut line = lock(&self.line);
        match line.gate.ask(now, now) {
            Asked::Granted => Ok(line.permit(&self.line)),
            Asked::Queued(_) | Asked::Refused => Err(Exhausted),
        }
    }
}

fn places(budget: Budget, primary_connections: u32) -> u32 {
    budget
        .concurrent
        .unwrap_or_else(|| (primary_connections / 2).max(1))
}

/// It is held for a few instructions, and nothing in them panics.
fn lock(line: &Mutex<Line>) -> MutexGuard<'_, Line> {
    line.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Line {
    fn permit(&self, line: &Arc<Mutex<Self>>) -> Permit {
        self.show();
        Permit(Arc::clone(line))
    }

    fn stand(&mut self, ticket: Ticket) -> Arc<Notify> {
        let turn = Arc::new(Notify::new());
        self.waiting.insert(ticket, Arc::clone(&turn));
        self.show();
        turn
    }

    /// Whoever is first now looks whether its turn has come, or when that is.
    fn wake_first(&self) {
        let first = self.gate.first();
        if let Some(turn) = first.and_then(|ticket| self.waiting.get(&ticket)) {
            turn.notify_one();
        }
        self.show();
    }

    fn show(&self) {
        observe::budget(self.gate.out(), self.gate.waiting());
    }
}

/// A place in the line, which is left when this is dropped.
struct Place<'a> {
    line: &'a Arc<Mutex<Line>>,
    ticket: Ticket,
}

impl Place<'_> {
    async fn wait(self, turn: &Notify, until: Instant) -> Result<Permit, Exhausted> {
        loop {
            // What is granted is taken along at once: nothing is awaited in between.
            let again = match lock(self.line).gate.poll(clock::now(), self.ticket) {
                Turn::Granted => return Ok(Permit(Arc::clone(self.line))),
                Turn::Refused => return Err(Exhausted),
                Turn::Waits(again) => again,
            };
            let woken = tokio::time::timeout(clock::until(again), turn.notified()).await;
            if woken.is_err() && again >= until {
                return Err(Exhausted);
            }
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut line = lock(self.line);
        line.gate.give_up(self.ticket);
        line.waiting.remove(&self.ticket);
        line.wake_first();
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut line = lock(&self.0);
        line.gate.release();
        line.wake_first();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn no_more_reads_at_once_than_the_budget_has_places() {
        let purse = Purse::new(
            clock::now(),
            Budget::new().queue_for(Duration::from_millis(5)),
            4,
        );
        let held = [
            purse.spend(Instant::NEVER).await.unwrap(),
            purse.spend(Instant::NEVER).await.unwrap(),
        ];
        assert!(
            purse.spend(Instant::NEVER).await.is_err(),
            "half of four places are two"
        );
        drop(held);
        assert!(purse.spend(Instant::NEVER).await.is_ok());
    }

    fn crowd(places: u32) -> Purse {
        let budget = Budget::new().concurrent(places);
        Purse::new(clock::now(), budget.queue_for(Duration::from_secs(60)), 4)
    }

    /// Begins a read that has not looked for its turn again since.
    fn stand<'a>(
        purse: &'a Purse,
    ) -> std::pin::Pin<Box<impl Future<Output = Result<Permit, Exhausted>> + 'a>> {
        let mut read = Box::pin(purse.spend(Instant::NEVER));
        assert!(turn_of(&mut read).is_none(), "every place is out");
        read
    }

    fn turn_of<T>(read: &mut std::pin::Pin<Box<impl Future<Output = T>>>) -> Option<T> {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match read.as_mut().poll(&mut context) {
            std::task::Poll::Ready(turn) => Some(turn),
            std::task::Poll::Pending => None,
        }
    }

    #[tokio::test]
    async fn reads_have_their_turn_in_the_order_in_which_they_came() {
        let purse = crowd(1);
        let mut held = purse.try_spend().unwrap();
        let mut waiting: Vec<_> = (0..20).map(|_| stand(&purse)).collect();
        for turn in 0..20 {
            drop(held);
            // The last ones ask first.
            let mut later = waiting.iter_mut().skip(turn + 1).rev();
            assert!(
                later.all(|read| turn_of(read).is_none()),
                "one of them overtakes number {turn}"
            );
            held = turn_of(&mut waiting[turn]).unwrap().unwrap();
        }
        drop((held, waiting));
        assert_eq!(lock(&purse.line).gate.out(), 0);
    }

    #[tokio::test]
    async fn a_place_that_is_given_back_wakes_who_is_next() {
        let purse = Arc::new(crowd(1));
        let held = purse.try_spend().unwrap();
        let next = Arc::clone(&purse);
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(async move { next.spend(Instant::NEVER).await.is_ok() });
        while lock(&purse.line).gate.waiting() == 0 {
            tokio::task::yield_now().await;
        }
        drop(held);
        let woken = tokio::time::timeout(Duration::from_secs(20), tasks.join_next()).await;
        assert!(
            woken.unwrap().unwrap().unwrap(),
            "long before its time is up"
        );
    }

    #[tokio::test]
    async fn a_read_that_is_dropped_while_it_waits_holds_nobody_up() {
        let purse = crowd(1);
        let held = purse.try_spend().unwrap();
        let (first, second) = (stand(&purse), stand(&purse));
        assert!(purse.try_spend().is_err(), "nobody overtakes");
        // Its turn has come, and it is dropped before it has looked.
        drop(held);
        drop(first);
        assert!(second.await.is_ok(), "it is woken by who has left");
        assert_eq!(lock(&purse.line).waiting.len(), 0);
        assert!(purse.try_spend().is_ok(), "no place was lost");
    }

    #[tokio::test]
    async fn beyond_the_longest_queue_a_read_is_refused_at_once() {
        let budget = Budget::new().concurrent(1).queue(0);
        let purse = Purse::new(clock::now(), budget.queue_for(Duration::from_secs(3600)), 4);
        let _held = purse.spend(Instant::NEVER).await.unwrap();
        assert!(purse.spend(Instant::NEVER).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_of_zero_refuses_at_once() {
        let purse = Purse::new(clock::now(), Budget::new().per_second(0), 4);
        assert!(purse.spend(Instant::NEVER).await.is_err());
    }
}
