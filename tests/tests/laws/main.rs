//! The laws of lagwise, each on a real cluster of its own.
//!
//! A test is named as the law that it checks. None passes where PostgreSQL is missing: the cluster's
//! start fails then, and the test with it.

mod acquire;
mod ahead;
mod attempts;
mod balanced;
mod bound;
mod bypass;
mod catalog;
mod configured;
mod conflicts;
mod counted;
mod crash;
mod deadlines;
mod divergence;
mod dry;
mod executor;
mod failover;
mod fallback;
mod healing;
mod hedged;
mod hung;
mod jobs;
mod layer;
mod lifecycle;
mod monotonic;
mod operations;
mod own_statements;
mod own_writes;
mod panic;
mod redis_store;
mod refusals;
mod repointed;
mod retry;
mod roles;
mod rotation;
mod scope;
mod secrets;
mod slots;
mod split_brain;
mod statements;
mod status;
mod stores;
mod streamed;
mod tokens;
mod tokens_attacked;
mod tokens_lost;
mod transactions;
mod unproved;
mod warm;
mod warm_lost;
