//! Which way a statement goes: by its session, and by its verdict.

use std::sync::Arc;

use lagwise_core::{Reason, Verdict};

use crate::ambient;
use crate::backend::Backend;
use crate::error::Error;
use crate::router::Router;
use crate::routing::Caller;
use crate::rules::Rules;
use crate::session::{Session, SessionState};
use crate::shared::Shared;
use crate::statements::OutsideSession;

/// Where a statement comes from. It borrows nothing, so that what runs it does not either.
pub(crate) struct Origin<DB: Backend> {
    pub(super) shared: Arc<Shared<DB>>,
    pub(super) session: Option<Arc<SessionState>>,
    rules: Rules,
}

/// Where a statement goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// To a replica that has what the session needs, or as the router falls back.
    Read,
    /// To the primary, as what may write.
    Primary(Reason),
}

impl<DB: Backend> Origin<DB> {
    /// A statement on a router, in the ambient session if there is one.
    pub(crate) fn ambient(router: &Router<DB>) -> Self {
        let (session, rules) = ambient::session(router.id()).unzip();
        Self {
            shared: Arc::clone(router.shared()),
            session,
            rules: rules.unwrap_or_default(),
        }
    }

    /// A statement on a session.
    pub(super) fn of_session(session: &Session<DB>) -> Self {
        Self {
            shared: Arc::clone(session.router().shared()),
            session: Some(Arc::clone(session.state())),
            rules: session.rules(),
        }
    }

    pub(crate) fn caller(&self) -> Caller<'_, DB> {
        Caller::new(&self.shared, self.session.as_ref(), &self.rules)
    }

    /// Decides where a text goes.
    pub(super) fn way(&self, sql: &str) -> Result<Way, Error> {
        let statements = &self.shared.statements;
        let verdict = statements.verdict::<DB>(sql);
        let routed = self.session.is_some() || statements.outside() == OutsideSession::ByStatement;
        match verdict {
            Verdict::Read if routed => Ok(Way::Read),
            Verdict::Read => Ok(Way::Primary(Reason::OutsideSession)),
            Verdict::Write => Ok(Way::Primary(Reason::Write)),
            Verdict::Session => {
                statements.admit_bound::<DB>(sql)?;
                Ok(Way::Primary(Reason::Write))
            }
        }
    }
}
