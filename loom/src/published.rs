//! Laws of the one published pointer: who waits for something to be published always finds it.

use std::sync::Arc;

use loom::future::block_on;
use loom::thread;

use crate::publish::Published;
use crate::{end_of, in_every_order};

/// Who is woken by a version finds the snapshot that goes with it, or a newer one.
pub fn who_is_woken_finds_what_goes_with_the_version() {
    in_every_order(|| {
        let published = Arc::new(Published::new(0));
        let mut watcher = published.watch();
        let publisher = publisher(&published, 2);
        let mut woken = 0;
        while woken < 2 {
            // Several versions may wake it once, so it counts what it found.
            block_on(watcher.changed());
            let found = *published.load();
            assert!(found > woken, "woken, and found {found} after {woken}");
            woken = found;
        }
        end_of(publisher);
    });
}

/// Who waits for something ends when it is published, whenever it begins to wait: an order in which all
/// threads sleep is reported by loom.
pub fn no_publication_is_slept_through() {
    in_every_order(|| {
        let published = Arc::new(Published::new(0));
        let publisher = publisher(&published, 2);
        let found = block_on(published.until(|at| (*at == 2).then_some(*at)));
        assert_eq!(found, 2);
        end_of(publisher);
    });
}

/// One publication ends the waits of all.
pub fn all_who_wait_are_woken() {
    in_every_order(|| {
        let published = Arc::new(Published::new(0));
        let publisher = publisher(&published, 1);
        let second = Arc::clone(&published);
        let second = thread::spawn(move || block_on(second.until(|at| (*at == 1).then_some(()))));
        block_on(published.until(|at| (*at == 1).then_some(())));
        end_of(second);
        end_of(publisher);
    });
}

/// No end is slept through, whenever somebody begins to wait for it.
pub fn no_end_is_slept_through() {
    in_every_order(|| {
        let published = Arc::new(Published::new(0));
        let publisher = publisher(&published, 2);
        block_on(published.until_end(|at| *at == 2));
        assert_eq!(*published.load(), 2);
        end_of(publisher);
    });
}

/// A wait that has ended, by what was published or by another end, does not spoil the next.
pub fn a_watcher_sees_what_is_published_between_two_waits() {
    in_every_order(|| {
        let published = Arc::new(Published::new(0));
        let mut watcher = published.watch();
        let publisher = publisher(&published, 1);
        let mut changed = Box::pin(watcher.changed());
        let waker = std::task::Waker::noop();
        let polled = changed
            .as_mut()
            .poll(&mut std::task::Context::from_waker(waker));
        drop(changed);
        if polled.is_pending() {
            block_on(watcher.changed());
        }
        assert_eq!(*published.load(), 1);
        end_of(publisher);
    });
}

/// A reader never sees an older snapshot after a newer one, nor does who hears from it.
pub fn nobody_goes_back_to_an_older_snapshot() {
    in_every_order(|| {
        let published = Arc::new(Published::new(0));
        let publisher = publisher(&published, 2);
        let reader = Arc::clone(&published);
        let reader = thread::spawn(move || {
            let (earlier, later) = (*reader.load(), *reader.load());
            assert!(earlier <= later, "{later} after {earlier}");
            later
        });
        let mine = *published.load();
        let heard = end_of(reader);
        let now = *published.load();
        assert!(
            now >= mine && now >= heard,
            "{now} after {mine} and {heard}"
        );
        end_of(publisher);
        assert_eq!(*published.load(), 2, "the last");
    });
}

/// Publishes that many numbers, one after the other.
fn publisher(published: &Arc<Published<u32>>, last: u32) -> thread::JoinHandle<()> {
    let published = Arc::clone(published);
    thread::spawn(move || (1..=last).for_each(|next| published.publish(next, true)))
}
