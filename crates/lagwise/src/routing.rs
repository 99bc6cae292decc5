//! The way from a request to a connection: select, wait, connect, confirm, fall back.
//!
//! Decisions are the core's; here they meet the pools. Three rules hold on every path: nothing waits
//! without a deadline, a node that fails costs a read at most one retry, and a connection that was
//! opened after its node was last observed is confirmed before it serves.

mod at_once;
mod authority;
mod confirm;
mod deadline;
mod decide;
mod dry;
mod hedge;
mod outlook;
mod reach;
mod read;
mod run;
mod waiting;
mod write;

use std::sync::Arc;

use lagwise_core::Instant;

pub(crate) use self::confirm::{Confirmed, Shows};
pub(crate) use self::deadline::{passed, timed_out};
pub(crate) use self::outlook::{Outlook, look_out};
pub(crate) use self::read::{Search, begin_read_only, read};
pub(crate) use self::run::{
    Failed, Ran, Run, end_of, fallen_silent, is_silence, run_later, run_read, settle,
};
pub(crate) use self::write::{begin, begin_unseen, deposed, is_deposed, write, write_because};
use crate::backend::Backend;
use crate::options::ReadOptions;
use crate::requests::Begun;
use crate::rules::Rules;
use crate::session::SessionState;
use crate::shared::Shared;

/// On whose behalf a request is routed.
pub(crate) struct Caller<'a, DB: Backend> {
    pub(crate) shared: &'a Arc<Shared<DB>>,
    pub(crate) session: Option<&'a Arc<SessionState>>,
    pub(crate) rules: &'a Rules,
    pub(crate) begun: Begun<'a>,
}

impl<'a, DB: Backend> Caller<'a, DB> {
    pub(crate) fn new(
        shared: &'a Arc<Shared<DB>>,
        session: Option<&'a Arc<SessionState>>,
        rules: &'a Rules,
    ) -> Self {
        Self {
            shared,
            session,
            rules,
            begun: shared.requests.begin(),
        }
    }

    /// When a read that began then fails for having taken too long.
    pub(crate) fn deadline(&self, options: &ReadOptions, began: Instant) -> Instant {
        let limit = options.deadline.or(self.rules.reads.deadline);
        let limit = limit.or(self.shared.read_deadline);
        let deadline = limit.map_or(Instant::NEVER, |limit| began.after(limit));
        deadline.min(self.rules.deadline.unwrap_or(Instant::NEVER))
    }
}
