//! Runs the programs that come with a server, such as `initdb`, to their end.
//!
//! They are short, but block; so they run beside the runtime, as the servers' account, and what
//! they wrote to standard error becomes the cause of the error. Servers themselves are `server`'s
//! business.

use std::io;
use std::process::{Command, Stdio};

use crate::error::{Error, Result};

/// Runs the command to its end, beside the runtime.
pub(crate) async fn run(command: Command) -> Result<()> {
    blocking(move || run_here(command)).await
}

/// Does blocking work beside the runtime.
pub(crate) async fn blocking<T, F>(work: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T> + Send + 'static,
{
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Error::because("work beside the runtime ended early", error)))
}

fn run_here(mut command: Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output();
    let output = output.map_err(|error| Error::because(format!("cannot run {name}"), error))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let message = format!("{name} ended with {}", output.status);
    Err(Error::because(message, io::Error::other(said)))
}
