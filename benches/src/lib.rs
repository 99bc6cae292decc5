//! What the benches and their tests have in common.
//!
//! Measuring is the business of `benches/`; laws about cost that hold on every machine, such as that
//! nothing is allocated, are tests.

pub mod statements;
