//! The binary as people and programs use it: arguments in, answers and exit codes out.
//!
//! What a verdict ought to be is the business of the core's tests; here only texts are judged of
//! which no version of the rules can think differently.

mod assess;
mod binary;
mod catalog;
mod check;
mod check_faults;
mod check_usage;
mod doctor;
mod doctor_faults;
mod ends;
mod explain;
mod manual;
mod pooler;
mod refusals;
mod sandbox;
mod screen;
mod serve;
mod sources;
mod terminal;
mod wait;
mod watch;

/// What a test and all its parts return: the first thing that went wrong.
type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;
