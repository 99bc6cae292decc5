//! Runs what threads share in every order that there is: `cargo xtask loom`.
//!
//! A test with threads sees a few of the orders in which they may run, and a processor that keeps
//! more order than it has to hides the rest. Here the very files that ship are compiled once more, with
//! models of pointers, counts and locks in the place of the real ones ([`sync`]), and each law is put
//! to every order of its threads and to every value that a load may see. Nothing is copied: an
//! order that breaks a law breaks it in the code that ships.
//!
//! What these modules import besides is in [`surroundings`], as small as it can be. The laws have a
//! module for each thing that they are about, and `tests/laws.rs` names them all.

extern crate alloc;
// What the files of `lagwise` import by these names is found below.
extern crate self as fastrand;
extern crate self as lagwise_core;

#[path = "../../crates/lagwise-core/src/statement/cache.rs"]
mod cache;
#[cfg_attr(
    not(test),
    expect(
        dead_code,
        reason = "laws are about a part of it, its own tests about the rest"
    )
)]
#[path = "../../crates/lagwise/src/load.rs"]
mod load;
#[path = "../../crates/lagwise/src/publish.rs"]
mod publish;
#[expect(dead_code, reason = "laws are about a part of it")]
#[path = "../../crates/lagwise/src/session/state.rs"]
mod state;
#[expect(
    dead_code,
    unreachable_pub,
    reason = "laws are about a part of it, and nobody outside is"
)]
#[path = "../../crates/lagwise/src/statements.rs"]
mod statements;
#[path = "../../crates/lagwise/src/routing/waiting.rs"]
mod waiting;
#[expect(dead_code, reason = "laws are about a part of it")]
#[path = "../../crates/lagwise/src/warm.rs"]
mod warm;

pub mod counts;
pub mod kept;
pub mod published;
pub mod sessions;
mod surroundings;
mod sync;
pub mod texts;
pub mod verdicts;

/// In place of the core: all of it, with the memory of verdicts compiled here.
#[doc(no_inline)]
pub use real_core::*;

pub use self::cache::Verdicts;
use self::surroundings::{backend, clock, error, observe, routing, shadow};

/// In place of chance: all memories of verdicts have one seed, so a law knows which texts share a line.
#[must_use]
pub const fn u64(_: std::ops::RangeFull) -> u64 {
    SEED
}

const SEED: u64 = 5;

/// Puts a law to every order of its threads.
///
/// Orders in which a thread is interrupted more often than a few times at will are left out, unless
/// `LOOM_MAX_PREEMPTIONS` says otherwise: they are most of all orders, and bugs are seldom found there
/// alone. A thread that waits is not interrupted.
fn in_every_order(law: impl Fn() + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound.get_or_insert(INTERRUPTIONS);
    model.check(law);
}

/// With one more, the whole takes ten times as long.
const INTERRUPTIONS: usize = 2;

/// What a thread returns; its panic is ours.
fn end_of<T>(thread: loom::thread::JoinHandle<T>) -> T {
    match thread.join() {
        Ok(returned) => returned,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}
