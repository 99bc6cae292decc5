//! What the benches, their tests and the yardstick have in common.
//!
//! Measuring is the business of `benches/`; laws about cost that hold on every machine, such as that
//! nothing is allocated, are tests. What is private to the router and belongs to a decision is
//! compiled here once more, from the files that ship.

pub mod decision;
#[cfg_attr(
    not(test),
    expect(
        dead_code,
        reason = "a decision takes a part of it, its own tests the rest"
    )
)]
#[path = "../../crates/lagwise/src/load.rs"]
mod load;
pub mod publication;
#[expect(dead_code, reason = "nobody waits here")]
#[path = "../../crates/lagwise/src/publish.rs"]
mod publish;
pub mod statements;
mod sync;
