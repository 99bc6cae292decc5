//! A statement taken apart, so that its text can be looked at and it can be run twice.

use std::fmt;

use sqlx::{Database, Execute, SqlStr};

use crate::backend::Backend;

/// A statement that borrows nothing and can be cloned for little: its arguments are encoded, and its
/// text is shared.
///
/// What another connection knew of it once it was prepared is left behind: that names types by the
/// numbers of the node that said so.
#[expect(unnameable_types, reason = "part of the sealed trait")]
pub struct Statement<DB: Database> {
    pub(crate) sql: SqlStr,
    pub(crate) arguments: Option<DB::Arguments>,
    persistent: bool,
}

impl<DB: Database> Statement<DB> {
    /// Takes a statement apart.
    pub(crate) fn take<'q>(mut query: impl Execute<'q, DB>) -> Result<Self, sqlx::Error> {
        // Asked first: some statements are persistent only as long as they have their arguments.
        let persistent = query.persistent();
        let arguments = query.take_arguments().map_err(sqlx::Error::Encode)?;
        Ok(Self {
            sql: query.sql(),
            arguments,
            persistent,
        })
    }

    /// A text that is asked about, not run.
    pub(crate) fn of_text(sql: SqlStr) -> Self {
        Self {
            sql,
            arguments: None,
            persistent: true,
        }
    }
}

impl<DB: Backend> Statement<DB> {
    /// Whether a server has refused all of the statement because it accepts no writes. Of a text with
    /// several statements, it may have run some.
    pub(crate) fn is_refused_whole<T>(&self, outcome: &Result<T, sqlx::Error>) -> bool {
        let is_one = self.arguments.is_some();
        is_one && outcome.as_ref().is_err_and(DB::is_read_only)
    }
}

impl<DB: Database> fmt::Debug for Statement<DB> {
    /// Leaves out the text and the arguments, which may hold anything.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Statement").finish_non_exhaustive()
    }
}

impl<DB: Database<Arguments: Clone>> Clone for Statement<DB> {
    fn clone(&self) -> Self {
        Self {
            sql: self.sql.clone(),
            arguments: self.arguments.clone(),
            persistent: self.persistent,
        }
    }
}

impl<DB: Database> Execute<'_, DB> for Statement<DB> {
    fn sql(self) -> SqlStr {
        self.sql
    }

    fn statement(&self) -> Option<&DB::Statement> {
        None
    }

    fn take_arguments(&mut self) -> Result<Option<DB::Arguments>, sqlx::error::BoxDynError> {
        Ok(self.arguments.take())
    }

    fn persistent(&self) -> bool {
        self.persistent
    }
}
