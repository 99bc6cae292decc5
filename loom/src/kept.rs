//! Laws of what is kept at hand beside a pool: each connection has one holder, and nobody who waits within
//! the pool is passed over.

use std::sync::Arc;
use std::sync::Mutex as Quiet;
use std::sync::PoisonError;

use lagwise_core::Instant;
use loom::thread;

use crate::warm::{Kept, Warm};
use crate::{clock, end_of, in_every_order};

/// Whoever takes and puts meanwhile, each connection is in one place: in somebody's hands, at hand, or
/// back in the pool.
pub fn no_connection_is_lost_or_handed_to_two() {
    in_every_order(|| {
        let warm = with(&['a', 'b']);
        let users = [(); 2].map(|()| {
            let warm = Arc::clone(&warm);
            thread::spawn(move || warm.take().and_then(|kept| warm.put(kept)))
        });
        let waits = warm.wait();
        let mine = warm.take();
        drop(waits);
        let back = users.into_iter().filter_map(end_of).chain(mine);
        let mut found: Vec<char> = back.map(|kept| kept.connection).collect();
        found.extend(std::iter::from_fn(|| warm.take()).map(|kept| kept.connection));
        found.sort_unstable();
        assert_eq!(found, ['a', 'b']);
    });
}

/// Who has said that it waits and has then found nothing is not passed over: whatever is put from then
/// on goes to the pool.
pub fn nothing_is_kept_from_one_who_waits() {
    in_every_order(|| {
        let warm = with(&[]);
        let pool = Arc::new(Quiet::new(0));
        let users = ['a', 'b'].map(|name| {
            let (warm, pool) = (Arc::clone(&warm), Arc::clone(&pool));
            thread::spawn(move || {
                let returned = usize::from(warm.put(kept(name)).is_some());
                *pool.lock().unwrap_or_else(PoisonError::into_inner) += returned;
            })
        });
        let waits = warm.wait();
        let found = usize::from(warm.take().is_some());
        users.into_iter().for_each(end_of);
        let returned = *pool.lock().unwrap_or_else(PoisonError::into_inner);
        // It goes on waiting only where it has found nothing.
        if found == 0 {
            assert_eq!(warm.len(), 0, "kept from one who waits");
            assert_eq!(returned, 2);
        }
        assert_eq!(found + returned + warm.len(), 2);
        drop(waits);
    });
}

/// Also where another one takes what is at hand meanwhile and gives it back.
pub fn nothing_that_was_taken_before_is_kept_from_one_who_waits() {
    in_every_order(|| {
        let warm = with(&['a']);
        let user = Arc::clone(&warm);
        let user = thread::spawn(move || {
            let kept = user.take();
            kept.and_then(|kept| user.put(kept))
        });
        let waits = warm.wait();
        let found = warm.take();
        let returned = end_of(user);
        assert!(found.is_some() || returned.is_some(), "it waits in vain");
        assert_eq!(warm.len(), 0);
        drop(waits);
    });
}

/// Nothing stays behind in one that is closed.
pub fn nothing_stays_behind_in_a_closed_one() {
    in_every_order(|| {
        let warm = with(&['a']);
        let user = Arc::clone(&warm);
        let user = thread::spawn(move || {
            let returned = user.put(kept('b'));
            let taken = user.take().and_then(|kept| user.put(kept));
            usize::from(returned.is_some()) + usize::from(taken.is_some())
        });
        let sweeper = Arc::clone(&warm);
        let sweeper = thread::spawn(move || sweeper.clear().len());
        let closed = warm.close().len();
        let returned = end_of(user);
        assert_eq!(closed + returned + end_of(sweeper), 2);
        assert_eq!(warm.len(), 0, "nobody would take it");
        assert!(warm.is_closed());
    });
}

fn with(names: &[char]) -> Arc<Warm<char>> {
    let warm = Warm::new();
    for name in names {
        assert!(warm.put(kept(*name)).is_none());
    }
    Arc::new(warm)
}

fn kept(connection: char) -> Kept<char> {
    let now: Instant = clock::now();
    Kept {
        connection,
        left: now,
        connected_by: now,
        heard: now,
    }
}
