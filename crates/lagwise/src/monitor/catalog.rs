//! Keeps what the router knows of the database's objects up to date.
//!
//! Functions that write, unlogged tables and the like cannot be told from a statement's text. They
//! are read when a primary is found, then whenever something about them has changed, and at once
//! when a replica has refused a statement: that shows that something was not known. No statement
//! waits for it: until an object is known, what names it goes to the primary.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use lagwise_core::CatalogObject;
use sqlx::ConnectOptions as _;

use crate::backend::Backend;
use crate::node::Node;
use crate::observe;
use crate::publish::Published;
use crate::statements::Statements;
use crate::view::View;

/// The task that reads the catalog.
pub(crate) struct CatalogReader<DB: Backend> {
    pub(crate) published: Arc<Published<View<DB>>>,
    pub(crate) statements: Arc<Statements>,
    pub(crate) interval: Duration,
    /// What the database said of its objects as a whole when they were last read.
    pub(crate) mark: Option<String>,
}

impl<DB: Backend> CatalogReader<DB> {
    pub(crate) async fn run(mut self) {
        loop {
            let node = self.published.until(source).await;
            let pause = match tokio::time::timeout(TIMEOUT, self.refresh(&node)).await {
                Ok(Ok(())) => self.interval,
                Ok(Err(error)) => {
                    observe::catalog_failed(node.name(), &error);
                    self.interval.min(AFTER_FAILURE)
                }
                Err(_) => {
                    let timeout = io::ErrorKind::TimedOut.into();
                    observe::catalog_failed(node.name(), &sqlx::Error::Io(timeout));
                    self.interval
                }
            };
            tokio::time::sleep(AT_LEAST.min(pause)).await;
            tokio::select! {
                () = self.statements.refusal() => {}
                () = tokio::time::sleep(pause.saturating_sub(AT_LEAST)) => {}
            }
        }
    }

    /// Reads the objects if they have changed.
    async fn refresh(&mut self, node: &Node<DB>) -> Result<(), sqlx::Error> {
        let mut connection = node.monitor_options(TIMEOUT).connect().await?;
        let mark = DB::catalog_mark(&mut connection).await?;
        if self.mark.as_ref() != Some(&mark) {
            let objects: Vec<CatalogObject> = DB::catalog(&mut connection).await?;
            let count = objects.len();
            if self.statements.take_in(objects) {
                observe::catalog_changed(node.name(), count);
            }
            self.mark = Some(mark);
        }
        sqlx::Connection::close(connection).await
    }
}

/// The primary, which knows first; without one, any replica that can be read.
fn source<DB: Backend>(view: &View<DB>) -> Option<Arc<Node<DB>>> {
    // Without a replica it makes no difference what a statement does.
    view.roster.iter().nth(1)?;
    let primary = view.primary.filter(|_| view.primary_lost.is_none());
    let in_rotation = || {
        let mut nodes = view.nodes.iter();
        nodes.find(|node| node.membership.is_in_rotation())
    };
    let id = primary.or_else(|| Some(in_rotation()?.id))?;
    view.roster.get(id).map(Arc::clone)
}

/// The server is told to give up after this long, too.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A failure is not news for long.
const AFTER_FAILURE: Duration = Duration::from_secs(2);

/// However often replicas refuse something, the catalog is not read more often than this.
const AT_LEAST: Duration = Duration::from_millis(500);
