//! Sessions at work: reads, and a write for every fifth operation, on a few keys that all share.
//!
//! Each session does one thing at a time, as a person does, and never stops for an error. Now and then
//! it ends and a new one begins, whose first reads have nothing but the bound to protect them. What
//! sessions do follows from the seed; when, from the service.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;

use crate::client::{Field, Session};
use crate::history::Outcome;
use crate::jar::Carrier;

/// What sessions do.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// How many there are.
    pub sessions: usize,
    /// How many keys they share.
    pub keys: u32,
    /// How a session's token travels.
    pub carrier: Carrier,
    /// Whether handlers are asked to fail after some writes.
    pub fails: bool,
    /// What randomness starts from.
    pub seed: u64,
}

/// Writes, in percent of all operations.
const WRITES: u8 = 20;

/// Writes whose handler is to fail, in percent of the writes.
const FAILURES: u8 = 5;

/// Sessions that end after an operation, in percent of all operations.
const ENDINGS: u8 = 2;

/// The longest pause between two operations: sessions share the machine with the servers.
const PAUSE: Duration = Duration::from_millis(24);

/// The pause after an operation that failed.
const AFTER_FAILURE: Duration = Duration::from_millis(50);

/// Sessions at work, until they are told to stop.
#[derive(Debug)]
pub struct Work {
    sessions: JoinSet<()>,
    /// Relaxed: it carries nothing but itself.
    done: Arc<AtomicBool>,
}

impl Work {
    /// Sets all sessions to work.
    #[must_use]
    pub fn begin(field: &Field, load: Load) -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let mut sessions = JoinSet::new();
        for number in 1..=load.sessions {
            sessions.spawn(work(field.clone(), load, number, Arc::clone(&done)));
        }
        Self { sessions, done }
    }

    /// Lets every session finish what it does, and waits for that.
    pub async fn end(mut self) {
        self.done.store(true, Ordering::Relaxed);
        while self.sessions.join_next().await.is_some() {}
    }
}

/// One session after the other; their numbers are those that no other such row has.
async fn work(field: Field, load: Load, first: usize, done: Arc<AtomicBool>) {
    let mut number = first;
    let mut session = session(&field, load, number);
    while !done.load(Ordering::Relaxed) {
        let random = session.random();
        let key = random.u32(1..=load.keys);
        let writes = random.u8(0..100) < WRITES;
        let fails = load.fails && random.u8(0..100) < FAILURES;
        let ends = random.u8(0..100) < ENDINGS;
        let pause = PAUSE.mul_f64(random.f64());
        let entry = match (writes, fails) {
            (true, true) => session.write_and_fail(key).await,
            (true, false) => session.write(key).await,
            (false, _) => session.read(key).await,
        };
        let pause = match entry.outcome {
            Outcome::Ok => pause,
            Outcome::Failed | Outcome::Unknown => AFTER_FAILURE,
        };
        tokio::time::sleep(pause).await;
        if ends {
            number += load.sessions;
            session = self::session(&field, load, number);
        }
    }
}

fn session(field: &Field, load: Load, number: usize) -> Session {
    let seed = load
        .seed
        .wrapping_mul(1_000_003)
        .wrapping_add(number as u64);
    Session::new(field, number, load.carrier, seed)
}
