//! One pointer to what everybody sees at present, and a way to wait for the next.
//!
//! The monitor publishes; everybody else reads. There is exactly one pointer, so no two parts of
//! what a reader sees can disagree. A waiter registers before it looks, so it cannot miss what it
//! waits for. Whoever only wants to know when something has ended is not woken for all else: that is every
//! statement under way. What is published, and what ends by it, is not this module's business.

use std::future::{Future as _, poll_fn};
use std::ops::Deref;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use crate::sync::{Notify, Pointer, Version, Versions};

/// What is published at present.
#[derive(Debug)]
pub(crate) struct Published<T> {
    present: Pointer<T>,
    version: Version<u64>,
    /// Told when something has ended.
    ended: Notify,
}

/// Sees everything that is published after it was made.
#[derive(Debug)]
pub(crate) struct Watcher(Versions<u64>);

impl<T> Published<T> {
    pub(crate) fn new(first: T) -> Self {
        Self {
            present: Pointer::new(Arc::new(first)),
            version: Version::new(0),
            ended: Notify::new(),
        }
    }

    /// Replaces what is published and wakes whoever waits; if something `ends` by it, also who waits for
    /// that alone. Only the monitor calls this.
    pub(crate) fn publish(&self, next: T, ends: bool) {
        self.present.store(Arc::new(next));
        // After the store: who is woken by the version finds what goes with it.
        self.version
            .send_modify(|version| *version = version.wrapping_add(1));
        if ends {
            self.ended.notify_waiters();
        }
    }

    /// What is published at present, for a look that nothing is awaited in.
    pub(crate) fn peek(&self) -> impl Deref<Target = Arc<T>> {
        self.present.load()
    }

    /// What is published at present.
    pub(crate) fn load(&self) -> Arc<T> {
        self.present.load_full()
    }

    /// Waits until what is published is as `look` wants it, and returns what that found.
    pub(crate) async fn until<R>(&self, mut look: impl FnMut(&T) -> Option<R>) -> R {
        let mut watcher = self.watch();
        loop {
            if let Some(found) = look(&self.peek()) {
                return found;
            }
            watcher.changed().await;
        }
    }

    /// Waits until what is published is as `look` wants it, where it gets so only when something ends.
    pub(crate) async fn until_end(&self, mut look: impl FnMut(&T) -> bool) {
        let mut ended = pin!(self.ended.notified());
        poll_fn(|context| {
            loop {
                // Registered before looking, so that no end is missed between the two.
                let told = ended.as_mut().poll(context).is_ready();
                match (look(&self.peek()), told) {
                    (true, _) => return Poll::Ready(()),
                    (false, true) => ended.set(self.ended.notified()),
                    (false, false) => return Poll::Pending,
                }
            }
        })
        .await;
    }

    /// A watcher of what is published from now on.
    pub(crate) fn watch(&self) -> Watcher {
        Watcher(self.version.subscribe())
    }
}

impl Watcher {
    /// Waits for something published since the watcher was made, or since the last call.
    pub(crate) async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            // The monitor is gone: nothing will ever be published. The caller has a deadline.
            std::future::pending::<()>().await;
        }
    }
}
