//! The database of the service, and how it is opened.

use crate::failure::Failure;
use crate::nodes::Nodes;
use crate::sessions;

/// What every handler holds.
pub type Db = lagwise::PgRouter;

/// Opens it.
///
/// # Errors
/// If it cannot be reached.
pub async fn open(nodes: &Nodes) -> Result<Db, Failure> {
    let db = Db::builder()
        .primary(&nodes.primary)
        .replicas(&nodes.replicas)
        .keys(sessions::keys()?);
    // It tells of one server, and `/count` asks whichever answers.
    Ok(db.reads("pg_is_in_recovery").connect().await?)
}
