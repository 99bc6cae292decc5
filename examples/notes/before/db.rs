//! The database of the service, and how it is opened.

use crate::failure::Failure;
use crate::nodes::Nodes;

/// What every handler holds.
pub type Db = sqlx::PgPool;

/// Opens it.
///
/// # Errors
/// If it cannot be reached.
pub async fn open(nodes: &Nodes) -> Result<Db, Failure> {
    Ok(Db::connect(&nodes.primary).await?)
}
