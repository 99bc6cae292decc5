//! Reads what a server's catalog says of the names in a statement.
//!
//! A URL comes with a password in it more often than not, and a message is copied into tickets.
//! So only the server's name, port and database are ever shown, and not even they are when the text
//! may be one in which a part of the password stands in their place.

use std::time::Duration;

use lagwise_core::{Catalog, Overrides};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, Postgres};

use crate::failure::Failure;

/// A server that has not answered by then will not; a catalog of many thousand names takes seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// The catalog of the server that a URL names.
pub(crate) fn read(url: &str, overrides: &Overrides) -> Result<Catalog, Failure> {
    let options = parse(url)?;
    let server = name(&options);
    let failed = |cause: String| Failure::Catalog {
        server: server.clone(),
        cause,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| failed(error.to_string()))?;
    let answer =
        runtime.block_on(async { tokio::time::timeout(PATIENCE, ask(&options, overrides)).await });
    match answer {
        Ok(Ok(catalog)) => Ok(catalog),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(_elapsed) => Err(failed(format!("no answer in {} s", PATIENCE.as_secs()))),
    }
}

async fn ask(options: &PgConnectOptions, overrides: &Overrides) -> Result<Catalog, sqlx::Error> {
    let mut connection = options.connect().await?;
    let catalog = lagwise::read_catalog::<Postgres>(&mut connection, overrides).await?;
    // The answer is here already.
    connection.close().await.ok();
    Ok(catalog)
}

/// Refuses a text of which it is not certain where its password ends.
fn parse(url: &str) -> Result<PgConnectOptions, Failure> {
    let refuse = |fault| Failure::Url { fault };
    let rest = ["postgres://", "postgresql://"]
        .into_iter()
        .find_map(|scheme| url.strip_prefix(scheme))
        .ok_or_else(|| refuse("it does not begin with postgres://"))?;
    let beyond = rest.find(['/', '?', '#']).map_or("", |at| &rest[at..]);
    if beyond.contains('@') {
        let fault = "a `/`, `?`, `#` or `@` in its user or password is written %2F, %3F, %23, %40";
        return Err(refuse(fault));
    }
    url.parse()
        .map_err(|_unshown: sqlx::Error| refuse("its host, port or a parameter is not valid"))
}

/// The server as a person calls it.
fn name(options: &PgConnectOptions) -> String {
    let database = options
        .get_database()
        .map_or_else(String::new, |name| format!("/{name}"));
    let (host, port) = (options.get_host(), options.get_port());
    match options.get_socket() {
        Some(socket) => format!("{}:{port}{database}", socket.display()),
        None => format!("{host}:{port}{database}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{name, parse};

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
        ] {
            let options = parse(url).expect("it is a URL");
            assert_eq!(name(&options), expected, "{url}");
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
            let refusal = parse(url).expect_err(url).to_string();
            assert!(!refusal.contains("s3cret"), "{refusal}");
            assert!(refusal.contains("postgres://USER@HOST"), "{refusal}");
        }
    }
}
