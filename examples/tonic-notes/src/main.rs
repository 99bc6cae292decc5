//! Serves notes over gRPC on a primary and its replicas, as one of several instances.
//!
//! ```text
//! cargo run -p tonic-notes        # a cluster of its own, and 127.0.0.1:3000 to call
//! ```
//!
//! The methods are in `proto/notes.proto`. A caller sends back the metadata key `x-lagwise` that it was
//! sent, and may come to any instance. On servers of your own:
//!
//! ```text
//! export LAGWISE_KEY="$(openssl rand -base64 32)"
//! export LAGWISE_PRIMARY=postgres://app@db-1/app
//! export LAGWISE_REPLICA=postgres://app@db-2/app,postgres://app@db-3/app
//! for port in 3001 3002 3003; do tonic-notes --listen 127.0.0.1:$port & done
//!
//! alias call='grpcurl -plaintext -v -import-path proto -proto notes.proto'
//! call -d '{"id": 1, "body": "hello"}' 127.0.0.1:3001 lagwise.notes.v1.Notes/Put   # x-lagwise: ...
//! call -H 'x-lagwise: ...' -d '{"id": 1}' 127.0.0.1:3002 lagwise.notes.v1.Notes/Get
//! curl http://127.0.0.1:3001/healthz
//! curl http://127.0.0.1:3001/metrics
//! ```

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser;
use tonic_notes::{Config, Failure};

/// Serves notes over gRPC on a primary and its replicas, as one of several instances.
#[derive(Parser)]
#[command(version)]
struct Command {
    #[command(flatten)]
    config: Config,
}

#[tokio::main]
async fn main() -> ExitCode {
    match tonic_notes::run(Command::parse().config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // There is nobody to tell if not here.
            writeln!(io::stderr(), "tonic-notes: {}", chain(&failure)).ok();
            ExitCode::FAILURE
        }
    }
}

/// An error with all that caused it.
fn chain(failure: &Failure) -> String {
    let mut text = failure.to_string();
    let mut cause = failure.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
