//! A client as users of lagwise write it: a session, and reads that survive a node.

use lagwise::{PgRouter, PgSession};

use crate::failure::Failure;
use crate::workload::{Answer, Client, READ, WRITE, Writing};

/// A client that reads and writes through a session.
#[derive(Debug)]
pub(crate) struct Routed {
    session: PgSession,
}

impl Routed {
    pub(crate) fn new(router: &PgRouter) -> Self {
        Self {
            session: router.session(),
        }
    }
}

impl Client for Routed {
    fn begin_session(&mut self) {
        self.session = self.session.router().session();
    }

    async fn read(&mut self, row: i64) -> Result<Answer, Failure> {
        let found = self
            .session
            .run_read(|node| Box::pin(sqlx::query_as(READ).bind(row).fetch_one(node)))
            .await?;
        Answer::from_row(found)
    }

    async fn write(&mut self, how: Writing, row: i64, value: i64) -> Result<(), Failure> {
        let write = sqlx::query(WRITE).bind(row).bind(value);
        match how {
            Writing::Alone => {
                let mut primary = self.session.write().await?;
                write.execute(&mut *primary).await?;
            }
            Writing::InTransaction => {
                let mut transaction = self.session.begin().await?;
                write.execute(&mut *transaction).await?;
                transaction.commit().await?;
            }
        }
        Ok(())
    }
}
