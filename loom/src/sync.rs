//! Models of what threads share state by, under the names that the modules of lagwise import.
//!
//! Each keeps the promises that the real one is documented to keep, and none besides: an operation
//! that orders nothing there orders nothing here. They take loom's parts wherever the order of
//! threads matters, and the standard library's where it does not. What is built of them is not
//! this module's business.

use std::cell::RefCell;
use std::convert::Infallible;
use std::fmt;
use std::future::{Future, poll_fn};
use std::ops::Deref;
use std::pin::Pin;
use std::sync::{Arc, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use loom::sync::atomic::AtomicUsize;
pub(crate) use loom::sync::atomic::{AtomicU32, Ordering};
pub(crate) use loom::sync::{Mutex, MutexGuard};

/// A number that is 0 at first. A memory of verdicts has thousands of them, and a law looks at a few:
/// those are taken from a stock when they are first used, since loom insists that a number was made
/// before threads share it. One that begins as another number is made where it is.
#[derive(Debug, Default)]
pub(crate) struct AtomicU64(OnceLock<Number>);

#[derive(Debug)]
struct Number {
    value: loom::sync::atomic::AtomicU64,
    /// Moved before each access. To tell which orders differ, loom compares an access with the last one
    /// alone: a thread that looks at a number before it changes it would hide that another had looked.
    turn: AtomicUsize,
}

impl Number {
    fn new(first: u64) -> Self {
        Self {
            value: loom::sync::atomic::AtomicU64::new(first),
            turn: AtomicUsize::new(0),
        }
    }
}

impl AtomicU64 {
    pub(crate) fn new(first: u64) -> Self {
        Self(OnceLock::from(Number::new(first)))
    }

    fn at_its_turn(&self) -> &loom::sync::atomic::AtomicU64 {
        let number = self.0.get_or_init(|| {
            let stocked = STOCK.with_borrow_mut(Vec::pop);
            stocked.unwrap_or_else(|| Number::new(0))
        });
        // Relaxed: it orders nothing else.
        number.turn.fetch_add(1, Ordering::Relaxed);
        &number.value
    }

    pub(crate) fn load(&self, order: Ordering) -> u64 {
        self.at_its_turn().load(order)
    }

    pub(crate) fn store(&self, value: u64, order: Ordering) {
        self.at_its_turn().store(value, order);
    }

    pub(crate) fn compare_exchange(
        &self,
        current: u64,
        new: u64,
        success: Ordering,
        failure: Ordering,
    ) -> Result<u64, u64> {
        self.at_its_turn()
            .compare_exchange(current, new, success, failure)
    }
}

thread_local! {
    /// All threads of a model are run by one thread.
    static STOCK: RefCell<Vec<Number>> = const { RefCell::new(Vec::new()) };
}

/// Makes that many numbers for the threads of a model, before there are any.
pub(crate) fn stock(numbers: usize) {
    STOCK.set((0..numbers).map(|_| Number::new(0)).collect());
}

/// A pointer that is replaced as a whole. Everything that was ever in it is kept, and what is read and
/// replaced is a number that says which.
pub(crate) struct Pointer<T> {
    at: AtomicUsize,
    /// Not a part of the model: the number alone says what a thread may see of it.
    kept: std::sync::Mutex<Vec<Arc<T>>>,
}

/// What a pointer led to when it was read.
pub(crate) struct Loaded<T>(Arc<T>);

impl<T> Deref for Loaded<T> {
    type Target = Arc<T>;

    fn deref(&self) -> &Arc<T> {
        &self.0
    }
}

impl<T> Pointer<T> {
    pub(crate) fn new(first: Arc<T>) -> Self {
        Self {
            at: AtomicUsize::new(0),
            kept: std::sync::Mutex::new(vec![first]),
        }
    }

    pub(crate) fn from_pointee(first: T) -> Self {
        Self::new(Arc::new(first))
    }

    pub(crate) fn store(&self, next: Arc<T>) {
        let at = {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.push(next);
            kept.len() - 1
        };
        self.at.swap(at, Ordering::AcqRel);
    }

    pub(crate) fn load_full(&self) -> Arc<T> {
        let at = self.at.load(Ordering::Acquire);
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&kept[at])
    }

    pub(crate) fn load(&self) -> Loaded<T> {
        Loaded(self.load_full())
    }
}

impl<T> fmt::Debug for Pointer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pointer").finish_non_exhaustive()
    }
}

/// Those who wait, to be woken all at once.
#[derive(Debug, Default)]
struct Sleepers(Mutex<Vec<Waker>>);

impl Sleepers {
    /// Adds one, unless by now there is nothing to wait for.
    fn join(&self, context: &Context<'_>, is_over: impl FnOnce() -> bool) -> Poll<()> {
        let mut wakers = self.wakers();
        if is_over() {
            return Poll::Ready(());
        }
        wakers.push(context.waker().clone());
        Poll::Pending
    }

    /// Wakes all who have joined before `change`.
    fn wake_after(&self, change: impl FnOnce()) {
        let woken = {
            let mut wakers = self.wakers();
            change();
            std::mem::take(&mut *wakers)
        };
        woken.into_iter().for_each(Waker::wake);
    }

    fn wakers(&self) -> MutexGuard<'_, Vec<Waker>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A channel that holds the last value alone. Its values are not looked at here, so there are none.
#[derive(Debug)]
struct Channel {
    version: AtomicUsize,
    sleepers: Sleepers,
}

/// Changes the version. It outlives those who wait in all models, so it is never seen to close.
#[derive(Debug)]
pub(crate) struct Version<T> {
    /// Nobody reads it.
    value: std::sync::Mutex<T>,
    channel: Arc<Channel>,
}

impl<T> Version<T> {
    pub(crate) fn new(first: T) -> Self {
        Self {
            value: std::sync::Mutex::new(first),
            channel: Arc::new(Channel {
                version: AtomicUsize::new(0),
                sleepers: Sleepers::default(),
            }),
        }
    }

    pub(crate) fn send_modify(&self, modify: impl FnOnce(&mut T)) {
        modify(&mut self.value.lock().unwrap_or_else(PoisonError::into_inner));
        self.channel.version.fetch_add(1, Ordering::Release);
        self.channel.sleepers.wake_after(|| ());
    }

    pub(crate) fn subscribe(&self) -> Versions<T> {
        Versions {
            seen: self.channel.version.load(Ordering::Acquire),
            channel: Arc::clone(&self.channel),
            _values: std::marker::PhantomData,
        }
    }
}

/// Sees the version change.
#[derive(Debug)]
pub(crate) struct Versions<T> {
    seen: usize,
    channel: Arc<Channel>,
    _values: std::marker::PhantomData<T>,
}

impl<T> Versions<T> {
    pub(crate) async fn changed(&mut self) -> Result<(), Infallible> {
        let (seen, channel) = (&mut self.seen, &self.channel);
        poll_fn(|context| {
            let mut is_new = || {
                let version = channel.version.load(Ordering::Acquire);
                let before = std::mem::replace(seen, version);
                version != before
            };
            if is_new() {
                return Poll::Ready(());
            }
            channel.sleepers.join(context, is_new)
        })
        .await;
        Ok(())
    }
}

/// Wakes whoever waits for a change, or the next who will.
#[derive(Debug, Default)]
pub(crate) struct Notify {
    /// How often all were woken.
    calls: AtomicUsize,
    /// One may pass without waiting. Changed with the sleepers locked.
    permit: std::sync::atomic::AtomicBool,
    sleepers: Sleepers,
}

impl Notify {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// From here on, not from its first poll on, what this returns sees all being woken.
    pub(crate) fn notified(&self) -> Notified<'_> {
        Notified {
            notify: self,
            calls: self.calls.load(Ordering::Acquire),
        }
    }

    pub(crate) fn notify_waiters(&self) {
        self.sleepers.wake_after(|| {
            self.calls.fetch_add(1, Ordering::Release);
        });
    }

    pub(crate) fn notify_one(&self) {
        self.sleepers
            .wake_after(|| self.permit.store(true, Ordering::Relaxed));
    }
}

/// A wait that has begun.
pub(crate) struct Notified<'a> {
    notify: &'a Notify,
    calls: usize,
}

impl Notified<'_> {
    /// Registers for a single waking too, which nobody here needs: whether it is over is found when
    /// it is polled.
    #[expect(clippy::unused_self, reason = "the real one has it")]
    pub(crate) fn enable(self: Pin<&mut Self>) -> bool {
        false
    }
}

impl Future for Notified<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Self { notify, calls } = *self;
        notify.sleepers.join(context, || {
            notify.calls.load(Ordering::Acquire) != calls
                || notify.permit.swap(false, Ordering::Relaxed)
        })
    }
}
