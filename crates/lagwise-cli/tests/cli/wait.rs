//! Waits till a server shows what a test has made of it.

use std::time::Duration;

use lagwise_testkit::{Error, Node};

use crate::Outcome;

/// Returns once the query is true on the node, and fails if that takes too long.
pub(crate) async fn until(node: &Node, query: &str) -> Outcome {
    let asks = async {
        while !node.query_scalar::<bool>(query).await? {
            tokio::time::sleep(PAUSE).await;
        }
        Ok::<_, Error>(())
    };
    let waited = tokio::time::timeout(PATIENCE, Box::pin(asks)).await;
    Ok(waited.map_err(|_late| format!("{} never: {query}", node.name()))??)
}

const PATIENCE: Duration = Duration::from_secs(30);

const PAUSE: Duration = Duration::from_millis(5);
