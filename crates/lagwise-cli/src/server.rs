//! A server that a command asks on a connection of its own: what it is called, and whether it is the
//! primary.
//!
//! Its name holds neither a user nor a password. How long it may take is for the caller to say.

use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgConnection};

/// The server as a person calls it: its host, or the folder of its socket, and its port.
pub(crate) fn address(options: &PgConnectOptions) -> String {
    let port = options.get_port();
    match options.get_socket() {
        Some(socket) => format!("{}:{port}", socket.display()),
        None => format!("{}:{port}", options.get_host()),
    }
}

/// A connection, and whether it leads to a primary.
pub(crate) async fn greet(options: &PgConnectOptions) -> Result<(PgConnection, bool), sqlx::Error> {
    let mut connection = options.connect().await?;
    let asks = sqlx::query_scalar("select /* lagwise */ not pg_is_in_recovery()");
    let is_primary = asks.fetch_one(&mut connection).await?;
    Ok((connection, is_primary))
}
