//! The binary as people and programs use it: arguments in, answers and exit codes out.
//!
//! What a verdict ought to be is the business of the core's tests; here only texts are judged of
//! which no version of the rules can think differently.

mod assess;
mod binary;
mod catalog;
mod explain;
mod refusals;
mod sandbox;
mod terminal;

/// What a test and all its parts return: the first thing that went wrong.
type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;
