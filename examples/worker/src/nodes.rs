//! Which servers the program runs on, and the router over them.

use std::env;
use std::time::Duration;

use lagwise::{Keys, NodeConfig, PgRouter};
use lagwise_testkit::Cluster;

use crate::failure::Failure;

/// The addresses of the servers, and what tokens are signed with.
#[derive(Clone, Debug)]
pub struct Nodes {
    primary: String,
    replicas: Vec<String>,
    keys: Keys,
}

impl Nodes {
    /// What `DATABASE_URL` and `REPLICA_URL` say, if the first of them is set. The second may hold
    /// several addresses with commas between them. Tokens are signed with `LAGWISE_KEY` then.
    ///
    /// # Errors
    /// If there is no key, or it is too short.
    pub fn from_env() -> Result<Option<Self>, Failure> {
        let Ok(primary) = env::var("DATABASE_URL") else {
            return Ok(None);
        };
        let replicas = env::var("REPLICA_URL").unwrap_or_default();
        let replicas = replicas.split(',').map(str::trim);
        Ok(Some(Self {
            primary,
            replicas: replicas
                .filter(|url| !url.is_empty())
                .map(str::to_owned)
                .collect(),
            keys: Keys::from_env("LAGWISE_KEY")?,
        }))
    }

    /// Those of a cluster that ends with the program, and whose key therefore protects nothing.
    ///
    /// # Errors
    /// Never: the key is long enough.
    pub fn of(cluster: &Cluster) -> Result<Self, Failure> {
        let replicas = cluster.replicas().iter();
        Ok(Self {
            primary: cluster.primary().url(),
            replicas: replicas.map(|node| node.url()).collect(),
            keys: Keys::new("the key of a cluster that nobody else can reach")?,
        })
    }

    /// Connects to them, and waits until the replicas take reads.
    ///
    /// # Errors
    /// If one of them cannot be reached in time.
    pub async fn open(&self) -> Result<PgRouter, Failure> {
        let primary = NodeConfig::url(&self.primary).name("primary");
        let builder = PgRouter::builder().keys(self.keys.clone());
        let builder = (1..)
            .zip(&self.replicas)
            .map(|(number, url)| NodeConfig::url(url).name(format!("replica-{number}")))
            .fold(builder.primary(primary), lagwise::RouterBuilder::replica);
        let db = builder.connect().await?;
        db.ready(self.replicas.len(), Duration::from_secs(20))
            .await?;
        Ok(db)
    }
}
