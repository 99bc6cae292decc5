//! Connections of a node that are kept at hand beside its pool.
//!
//! A pool tests a connection when it hands it out and again when it gets it back: two round trips and a
//! task for each statement. One whose last statement ran to its end needs neither, as long as its node
//! is known to be well. So it is kept here, and the next statement takes the one that was used last.
//!
//! The pool is still everybody's, and nobody starves by what is kept here. A connection is out of its
//! pool for at most [`TERM`], used or not, so that whoever else waits there gets its turn, and the
//! pool's own rules of age and idleness are followed. While one of ours waits in vain within the pool, nothing
//! is kept from it: who waits there says so before it looks here for the last time, and who puts
//! something here looks afterwards whether anybody waits. That a connection may be kept at all is
//! [`lease`](crate::lease)'s business.

use std::sync::PoisonError;
use std::time::Duration;

use lagwise_core::Instant;

use crate::sync::{AtomicU32, Mutex, MutexGuard, Ordering};

/// What is kept of one node.
#[derive(Debug)]
pub(crate) struct Warm<T> {
    kept: Mutex<Stack<T>>,
    /// How many of ours wait within the pool.
    waiting: AtomicU32,
}

#[derive(Debug)]
struct Stack<T> {
    /// The one that was used last is on top: the others grow cold and leave.
    connections: Vec<Kept<T>>,
    closed: bool,
}

/// A connection that is out of its pool.
#[derive(Debug)]
pub(crate) struct Kept<T> {
    pub(crate) connection: T,
    /// When it left its pool.
    pub(crate) left: Instant,
    /// Since when it is known to be one and the same connection.
    pub(crate) connected_by: Instant,
    /// When the server is known to have last said something on it; of a connection that is never tested
    /// for that, when it left its pool.
    pub(crate) heard: Instant,
}

impl<T> Kept<T> {
    /// Whether its time out of the pool is over.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        now.since(self.left) >= TERM
    }
}

impl<T> Warm<T> {
    pub(crate) fn new() -> Self {
        let stack = Stack {
            connections: Vec::new(),
            closed: false,
        };
        Self {
            kept: Mutex::new(stack),
            waiting: AtomicU32::new(0),
        }
    }

    /// The connection that was used last.
    pub(crate) fn take(&self) -> Option<Kept<T>> {
        self.kept().connections.pop()
    }

    /// The connection that was used last, if it is as wanted.
    pub(crate) fn take_if(&self, wanted: impl FnOnce(&mut Kept<T>) -> bool) -> Option<Kept<T>> {
        self.kept().connections.pop_if(wanted)
    }

    /// Keeps a connection, unless it has to go back to its pool: then it is returned.
    pub(crate) fn put(&self, kept: Kept<T>) -> Option<Kept<T>> {
        if self.is_awaited() {
            return Some(kept);
        }
        let mut stack = self.kept();
        if stack.closed {
            return Some(kept);
        }
        stack.connections.push(kept);
        drop(stack);
        // Whoever has begun to wait since the first look may not have seen it.
        if self.is_awaited() { self.take() } else { None }
    }

    /// Whether one of ours waits within the pool.
    fn is_awaited(&self) -> bool {
        // In one order with those who begin to wait: see `wait`.
        self.waiting.load(Ordering::SeqCst) > 0
    }

    /// One of ours is about to wait within the pool. It has to look here once more before.
    pub(crate) fn wait(&self) -> Waiting<'_> {
        // In one order with those who put something here: either they see this, or what they have put
        // is seen by the look that follows.
        self.waiting.fetch_add(1, Ordering::SeqCst);
        Waiting(&self.waiting)
    }

    /// Those whose time is over.
    pub(crate) fn overdue(&self, now: Instant) -> Vec<Kept<T>> {
        let mut stack = self.kept();
        let over = |kept: &mut Kept<T>| kept.is_over(now);
        stack.connections.extract_if(.., over).collect()
    }

    /// All of them: what has failed on one may have happened to the others.
    pub(crate) fn clear(&self) -> Vec<Kept<T>> {
        std::mem::take(&mut self.kept().connections)
    }

    /// All of them, and from now on nothing is kept.
    pub(crate) fn close(&self) -> Vec<Kept<T>> {
        self.kept().closed = true;
        self.clear()
    }

    /// Whether nothing is kept any longer.
    pub(crate) fn is_closed(&self) -> bool {
        self.kept().closed
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.kept().connections.len()
    }

    /// It is held for a few instructions, and nothing in them panics.
    fn kept(&self) -> MutexGuard<'_, Stack<T>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of ours that waits within the pool, until this is dropped.
#[derive(Debug)]
pub(crate) struct Waiting<'a>(&'a AtomicU32);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// How long a connection may be out of its pool. Four round trips in a second for each are nothing,
/// and nobody who waits in a pool minds a quarter of a second.
pub(crate) const TERM: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    fn kept(name: char, left: u64) -> Kept<char> {
        Kept {
            connection: name,
            left: at(left),
            connected_by: at(0),
            heard: at(left),
        }
    }

    fn names(kept: impl IntoIterator<Item = Kept<char>>) -> String {
        kept.into_iter().map(|kept| kept.connection).collect()
    }

    #[test]
    fn the_one_that_was_used_last_is_taken_first() {
        let warm = Warm::new();
        for name in ['a', 'b', 'c'] {
            assert!(warm.put(kept(name, 0)).is_none());
        }
        assert_eq!(names(std::iter::from_fn(|| warm.take())), "cba");
    }

    #[test]
    fn a_connection_is_out_of_its_pool_for_a_term_and_no_longer() {
        let warm = Warm::new();
        let over = at(100).after(TERM);
        assert!(kept('a', 100).is_over(over), "used or not");
        assert!(warm.put(kept('b', 101)).is_none());
        assert!(warm.put(kept('c', 200)).is_none());
        assert_eq!(names(warm.overdue(over)), "", "nobody's time is over");
        let later = over.after(Duration::from_millis(1));
        assert_eq!(names(warm.overdue(later)), "b");
        assert_eq!(names(warm.take()), "c");
    }

    #[test]
    fn nothing_is_kept_from_one_who_waits_in_the_pool() {
        let warm = Warm::new();
        let waits = warm.wait();
        assert_eq!(names(warm.put(kept('a', 0))), "a");
        assert_eq!(warm.len(), 0);
        drop(waits);
        assert!(warm.put(kept('a', 0)).is_none());
    }

    #[test]
    fn once_it_is_closed_nothing_is_kept() {
        let warm = Warm::new();
        assert!(warm.put(kept('a', 0)).is_none());
        assert_eq!(names(warm.close()), "a");
        assert_eq!(names(warm.put(kept('b', 0))), "b");
    }
}
