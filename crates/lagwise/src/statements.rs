//! What the router knows of statements: the verdicts on texts, the catalog they rest on, and the
//! texts that a replica has refused.
//!
//! A text is looked through once for each catalog. A new catalog comes with an empty memory, so that
//! no verdict outlives what it rested on: a table that was unlogged may have become an ordinary one.
//! Nothing here grows with the number of texts.

use std::fmt;
use std::sync::Arc;

use lagwise_core::{Catalog, CatalogObject, Classification, Overrides, Verdict, Verdicts};

use crate::backend::Backend;
use crate::error::Error;
use crate::observe;
use crate::sync::{Notify, Pointer};

/// Where a statement goes that is run on a [`Router`](crate::Router) outside of any session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OutsideSession {
    /// To the primary: nothing is known of what the caller has written or seen.
    #[default]
    Primary,
    /// By the statement: reads go to any replica in rotation, and may not see what the caller has
    /// just written.
    ByStatement,
}

/// What happens to a statement that is bound to a connection, such as `SET` or `LISTEN`, and is run
/// on a [`Router`](crate::Router) or a [`Session`](crate::Session), where the next statement may
/// meet another connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum BoundStatements {
    /// It runs on some connection to the primary, as it would on a pool. Each text is warned of once.
    #[default]
    Allow,
    /// It is refused.
    Refuse,
}

/// What a router knows of statements.
pub(crate) struct Statements {
    knowledge: Pointer<Knowledge>,
    /// Texts that have been warned of.
    warned: Verdicts,
    refusals: Notify,
    settings: Settings,
}

/// What the application decides about statements.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    pub(crate) outside: OutsideSession,
    pub(crate) bound: BoundStatements,
    pub(crate) overrides: Overrides,
}

/// A catalog, and what rests on it.
#[derive(Debug)]
struct Knowledge {
    catalog: Catalog,
    verdicts: Verdicts,
    /// Texts that a replica has refused as writes. A flood of other texts cannot evict them.
    refused: Verdicts,
}

impl Knowledge {
    fn of(catalog: Catalog) -> Self {
        Self {
            catalog,
            verdicts: memory(),
            refused: memory(),
        }
    }
}

impl Statements {
    pub(crate) fn new(settings: Settings) -> Self {
        let catalog = Catalog::new([], &settings.overrides);
        Self {
            knowledge: Pointer::from_pointee(Knowledge::of(catalog)),
            warned: memory(),
            refusals: Notify::new(),
            settings,
        }
    }

    pub(crate) const fn outside(&self) -> OutsideSession {
        self.settings.outside
    }

    /// Where a text may run.
    pub(crate) fn verdict<DB: Backend>(&self, sql: &str) -> Verdict {
        let knowledge = self.knowledge.load();
        if let Some(verdict) = knowledge.verdicts.get(sql) {
            return verdict;
        }
        let verdict = knowledge.refused.get(sql).unwrap_or_else(|| {
            let classification = DB::classify(sql, &knowledge.catalog);
            if classification.leaves_transaction_open {
                // Whatever else it does, it must not run where nobody ends the transaction.
                Verdict::Session
            } else {
                classification.verdict
            }
        });
        knowledge.verdicts.put(sql, verdict);
        verdict
    }

    /// Where a text may run, and what in it says so.
    pub(crate) fn classify<'a, DB: Backend>(&self, sql: &'a str) -> Classification<'a> {
        DB::classify(sql, &self.knowledge.load().catalog)
    }

    /// Lets a statement pass that is bound to a connection, or says what to do instead.
    pub(crate) fn admit_bound<DB: Backend>(&self, sql: &str) -> Result<(), Error> {
        let classification = self.classify::<DB>(sql);
        if classification.leaves_transaction_open {
            return Err(Error::statement(
                "the statement begins a transaction that no other statement would be part of: use \
                 begin() or begin_with(..)"
                    .to_owned(),
            ));
        }
        let because = &classification.because;
        match self.settings.bound {
            BoundStatements::Refuse => Err(Error::statement(format!(
                "the statement is bound to a connection ({because}): run it on one from write() or \
                 begin()"
            ))),
            BoundStatements::Allow => {
                if self.warned.insert(sql, Verdict::Session) {
                    observe::bound_statement(because);
                }
                Ok(())
            }
        }
    }

    /// Remembers that a replica has refused a text. Returns whether that is worth a warning.
    pub(crate) fn learn_refusal(&self, sql: &str) -> bool {
        let knowledge = self.knowledge.load();
        knowledge.refused.put(sql, Verdict::Write);
        knowledge.verdicts.put(sql, Verdict::Write);
        self.refusals.notify_one();
        self.warned.insert(sql, Verdict::Write)
    }

    /// Waits until a replica has refused a text, since the last call returned.
    pub(crate) async fn refusal(&self) {
        self.refusals.notified().await;
    }

    /// Takes in what the database holds now. Returns whether that has changed.
    pub(crate) fn take_in(&self, objects: Vec<CatalogObject>) -> bool {
        let catalog = Catalog::new(objects, &self.settings.overrides);
        if catalog == self.knowledge.load().catalog {
            return false;
        }
        self.knowledge.store(Arc::new(Knowledge::of(catalog)));
        true
    }
}

impl fmt::Debug for Statements {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Statements")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

fn memory() -> Verdicts {
    Verdicts::new(fastrand::u64(..))
}
