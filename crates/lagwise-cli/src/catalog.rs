//! Reads what a server's catalog says of the names in a statement.
//!
//! Any node of a cluster has it; of several, the primary is asked, and if none is reached, whichever
//! replica is. A message names a server by its host, port and database: a connection string comes with a
//! password in it more often than not, and messages are copied into tickets.

use std::time::Duration;

use lagwise::config::{Config, Node};
use lagwise_core::{Catalog, Overrides};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{Connection as _, Postgres};

use crate::failure::{self, Failure};
use crate::format::short;
use crate::nodes::NodeArgs;
use crate::server;

/// A server that has not answered by then will not; a catalog of many thousand names takes seconds.
const PATIENCE: Duration = Duration::from_secs(60);
/// One that takes longer to be connected to is passed over for the next, if there is one.
const PATIENCE_TO_CONNECT: Duration = Duration::from_secs(5);

/// The nodes of a connection string.
pub(crate) fn named_by(url: &str) -> Result<Config, Failure> {
    let mut config = Config::new();
    let named = config.add_hosts(url);
    named.map_err(|error| Failure::Url {
        fault: failure::faults(&error),
    })?;
    Ok(config)
}

/// The nodes of the environment, as the other commands take them.
pub(crate) fn named_around() -> Result<Config, Failure> {
    Ok(NodeArgs::default().resolve()?.config().clone())
}

/// The catalog of these nodes' cluster.
pub(crate) async fn read(config: &Config, overrides: &Overrides) -> Result<Catalog, Failure> {
    let (server, mut connection) = connect(config.nodes()).await?;
    let failed = |cause: String| Failure::Catalog { server, cause };
    let reads = lagwise::read_catalog::<Postgres>(&mut connection, overrides);
    let catalog = match tokio::time::timeout(PATIENCE, reads).await {
        Ok(Ok(catalog)) => catalog,
        Ok(Err(error)) => return Err(failed(error.to_string())),
        Err(_elapsed) => return Err(failed(format!("no answer in {}", short(PATIENCE)))),
    };
    // The answer is here already.
    tokio::time::timeout(FAREWELL, connection.close())
        .await
        .ok();
    Ok(catalog)
}

/// The primary, or else the first that is there; or why the last was not.
async fn connect(nodes: &[Node]) -> Result<(String, PgConnection), Failure> {
    let (mut replica, mut failure) = (None, Failure::NoNodes);
    for node in nodes {
        let name = name(node.options());
        let greets = server::greet(node.options());
        let asked = match tokio::time::timeout(PATIENCE_TO_CONNECT, greets).await {
            Ok(asked) => asked.map_err(|error| error.to_string()),
            Err(_elapsed) => {
                let patience = short(PATIENCE_TO_CONNECT);
                Err(format!("it could not be connected to within {patience}"))
            }
        };
        match asked {
            Ok((connection, true)) => return Ok((name, connection)),
            Ok((connection, false)) => replica = replica.or(Some((name, connection))),
            Err(cause) => {
                failure = Failure::Catalog {
                    server: name,
                    cause,
                }
            }
        }
    }
    replica.ok_or(failure)
}

/// The server and its database as a person calls them.
fn name(options: &PgConnectOptions) -> String {
    let database = options
        .get_database()
        .map_or_else(String::new, |name| format!("/{name}"));
    format!("{}{database}", server::address(options))
}

/// Nobody waits for a server that does not take leave.
const FAREWELL: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::{name, named_by};

    #[test]
    fn a_server_is_named_without_its_user_and_password() {
        for (url, expected) in [
            ("postgres://app:s3cret@db-1:5433/shop", "db-1:5433/shop"),
            (
                "postgresql://app:s3cret%2Fx@db-1/shop?sslmode=disable",
                "db-1:5432/shop",
            ),
            (
                "postgres://db-1:5433?password=s3cret&dbname=shop",
                "db-1:5433/shop",
            ),
            (
                "host=db-1 port=5433 password='s3 cret' dbname=shop",
                "db-1:5433/shop",
            ),
        ] {
            let config = named_by(url).expect("it is a connection string");
            assert_eq!(name(config.nodes()[0].options()), expected, "{url}");
        }
    }

    #[test]
    fn a_text_that_may_be_taken_apart_wrongly_is_refused_without_being_shown() {
        for url in [
            "postgres://app:12/s3cret@db-1/shop",
            "postgres://app:12?s3cret@db-1/shop",
            "postgres://app:12#s3cret@db-1/shop",
            "postgres://app:s3cret@db-1:port/shop",
            "postgres://app:s3cret@db-1/shop?sslmode=s3cret",
            "mysql://app:s3cret@db-1/shop",
            "s3cret",
            "",
        ] {
            let refusal = named_by(url).expect_err(url).to_string();
            assert!(!refusal.contains("s3cret"), "{refusal}");
            assert!(refusal.contains("postgres://USER@HOST"), "{refusal}");
        }
    }
}
