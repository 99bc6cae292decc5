//! Which servers the service runs on: those that the environment names, or a cluster of its own.

use std::env;

use lagwise_testkit::Cluster;

use crate::failure::Failure;

/// The addresses of the servers.
#[derive(Clone, Debug)]
pub struct Nodes {
    /// The one that takes writes.
    pub primary: String,
    /// Those that follow it.
    pub replicas: Vec<String>,
}

impl Nodes {
    /// What `DATABASE_URL` and `REPLICA_URL` say, if the first of them is set. The second may hold
    /// several addresses with commas between them.
    #[must_use]
    pub fn from_env() -> Option<Self> {
        let primary = env::var("DATABASE_URL").ok()?;
        let replicas = env::var("REPLICA_URL").unwrap_or_default();
        let replicas = replicas.split(',').map(str::trim);
        Some(Self {
            primary,
            replicas: replicas
                .filter(|url| !url.is_empty())
                .map(str::to_owned)
                .collect(),
        })
    }

    /// Starts a primary and a replica in a temporary folder; they end with the cluster.
    ///
    /// # Errors
    /// If PostgreSQL is not installed, or does not start.
    pub async fn start() -> Result<(Self, Cluster), Failure> {
        let cluster = Cluster::builder().replicas(1).start().await?;
        Ok((Self::of(&cluster), cluster))
    }

    /// Those of a cluster.
    #[must_use]
    pub fn of(cluster: &Cluster) -> Self {
        let replicas = cluster.replicas().iter();
        Self {
            primary: cluster.primary().url(),
            replicas: replicas.map(|node| node.url()).collect(),
        }
    }
}
