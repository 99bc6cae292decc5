//! Serves notes on a primary and its replicas, as one of several instances.
//!
//! ```text
//! cargo run -p axum-notes        # a cluster of its own, and http://127.0.0.1:3000 to look at
//! ```
//!
//! | request | answer |
//! |---|---|
//! | `PUT /notes/{id}`, with the text as its body | `{"id", "version"}`; the version counts the note's writes |
//! | `GET /notes/{id}` | `{"id", "version", "body", "served_by", "reason", "staleness_ms"}`, or 404 |
//! | `GET /` | a page that writes a note and reads it back |
//! | `GET /healthz` | 200, or 503 with what is missing |
//! | `GET /nodes` | what this instance knows of each node: role, membership and why, staleness |
//! | `GET /events` | the same in a line of JSON, then one for each event, for a minute |
//! | `GET /status` | a page with live charts of lag, membership, routes and events |
//! | `GET /metrics` | what the router and the session layer count, for Prometheus |
//!
//! A visitor carries the cookies or the header `x-lagwise` that it was sent, and may come to any
//! instance. As three of them, on servers of your own:
//!
//! ```text
//! export LAGWISE_KEY="$(openssl rand -base64 32)"
//! export LAGWISE_PRIMARY=postgres://app@db-1/app
//! export LAGWISE_REPLICA=postgres://app@db-2/app,postgres://app@db-3/app
//! for port in 3001 3002 3003; do axum-notes --listen 127.0.0.1:$port & done
//!
//! curl -c jar -b jar -X PUT -d 'hello' http://127.0.0.1:3001/notes/1    # {"id":1,"version":1}
//! curl -D- -X PUT -d 'again' http://127.0.0.1:3001/notes/1              # x-lagwise: ...
//! curl -H 'x-lagwise: ...' http://127.0.0.1:3002/notes/1                # {..,"served_by":"replica-1",..}
//! ```
//!
//! (The cookie is `Secure`: browsers send it to localhost as well, but curl wants TLS for it.)
//!
//! It begins to listen before any node answers, and prints `listening on http://ADDRESS` first.
//! Whatever happens to the nodes, a request is answered within four seconds: 503 where nothing was
//! done, 500 or 504 where it is not known what became of a write. `--log` says what is logged.

use std::io::{self, Write as _};
use std::process::ExitCode;

use axum_notes::Config;
use clap::Parser;
use tracing::Level;

/// Serves notes on a primary and its replicas, as one of several instances.
#[derive(Parser)]
#[command(version)]
struct Command {
    #[command(flatten)]
    config: Config,
    /// What is logged on standard error: error, warn, info, debug or trace.
    #[arg(
        long,
        env = "LAGWISE_LOG",
        value_name = "LEVEL",
        default_value = "warn"
    )]
    log: Level,
}

#[tokio::main]
async fn main() -> ExitCode {
    let command = Command::parse();
    tracing_subscriber::fmt()
        .with_max_level(command.log)
        .with_writer(io::stderr)
        .init();
    match axum_notes::run(command.config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // There is nobody to tell if not here.
            writeln!(io::stderr(), "axum-notes: {failure}").ok();
            ExitCode::FAILURE
        }
    }
}
