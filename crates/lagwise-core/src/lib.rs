//! Decides where a read may go, and cannot do anything else.
//!
//! lagwise routes statements over a primary and its replicas. Every decision it takes is taken
//! here: how stale a replica can be ([`History`]), whether it serves reads ([`Membership`]), which
//! node a read goes to ([`select`]), and what a session's next read must be able to see
//! ([`Session`]). The rule this crate keeps is that it does no I/O: there is no clock, socket,
//! task, lock, log or source of randomness in it. Time and randomness are arguments, so hours of
//! failover replay in milliseconds, and the same inputs give the same decision.
//!
//! Pools, probes and tasks are the business of the `lagwise` crate, which feeds this one.
//!
//! # The one number
//!
//! The monitor asks the primary for its insert LSN and remembers when it asked. Every commit
//! acknowledged before that instant lies below that LSN. A replica that has replayed up to the LSN
//! therefore shows every commit acknowledged before the instant: its *as-of* instant. It is proved,
//! not guessed, and needs no clock but the monitor's own.
//!
//! ```
//! use lagwise_core::{History, Instant, Lsn, SystemId, Timeline};
//!
//! let asked = Instant::from_nanos(1_000);
//! let mut history = History::new(SystemId::new(7), Timeline::new(1));
//! history.record(asked, Lsn::new(0x5000));
//!
//! assert_eq!(history.as_of(Lsn::new(0x5000)), Some(asked), "replayed all of it");
//! assert_eq!(history.as_of(Lsn::new(0x4FFF)), None, "not proved to have any of it");
//! ```
#![no_std]
#![warn(clippy::exhaustive_enums, clippy::exhaustive_structs)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod backoff;
mod budget;
mod claim;
mod event;
mod ewma;
mod floor;
mod hedge;
mod history;
mod lsn;
mod membership;
mod monitor;
mod node;
mod observation;
mod policy;
mod position;
mod random;
mod requirement;
mod rotation;
mod selection;
mod session;
mod snapshot;
mod statement;
mod sync;
mod time;

pub use backoff::Backoff;
pub use budget::{Asked, BudgetGate, Ticket, Turn};
pub use claim::{Claim, ReadFrom};
pub use event::Event;
pub use ewma::PeakEwma;
pub use floor::{Floor, Reached, Sight};
pub use hedge::{HedgeLimits, Hedging};
pub use history::{History, Recorded, Sample};
pub use lsn::{Lsn, ParseLsnError, WalGeometry, WalGeometryError};
pub use membership::{Cause, Membership};
pub use monitor::{Monitor, NodeFault};
pub use node::{Incarnation, NodeId, NodeSpec, Role, SystemId, Timeline, Weight};
pub use observation::{Completed, Observation, ProbeFailure, ServerStart, Standing};
pub use policy::{Policy, PolicyError, PolicyFault, PrimaryLoss, ValidPolicy};
pub use position::{Place, Position, Switch, Written};
pub use random::Random;
pub use requirement::{Fallback, Requirement};
pub use selection::{
    Candidate, Loads, Reason, Rejection, Rejections, Request, Selection, Step, next_step, recheck,
    recheck_assumed, recheck_fresh, select, without_primary,
};
pub use session::{Session, Voided};
pub use snapshot::{NodeView, Nodes, Snapshot};
pub use statement::{
    Because, Catalog, CatalogObject, Classification, NameError, Overrides, Redacted, RelationKind,
    Verdict, Verdicts, classify,
};
pub use time::{Instant, WallTime};
