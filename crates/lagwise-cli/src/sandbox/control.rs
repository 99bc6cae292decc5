//! How other terminals reach the sandbox that runs: one line of JSON each way, over a socket in its
//! folder.
//!
//! Orders are carried out one after the other, so that none meets a change half made. Whoever goes
//! away while waiting does not undo what was asked for. Nobody but the owner of the folder gets at the
//! socket. What an order does is `obey`'s business.

use std::io::{self, BufRead as _, Read as _, Write as _};
use std::os::unix::net::UnixStream as Caller;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};

use crate::failure::Failure;

use super::answer::Answer;
use super::order::Order;
use super::place;
use super::stage::Stage;

/// Longer than the longest order: a switchover of ten nodes, each of which is rewound.
const PATIENCE: Duration = Duration::from_secs(300);

/// A caller has written its line before it waits.
const READING: Duration = Duration::from_secs(5);

/// No order is longer.
const LONGEST: u64 = 1 << 16;

/// The sandbox's end.
pub(super) fn listen(dir: &Path) -> Result<UnixListener, Failure> {
    UnixListener::bind(place::socket(dir)).map_err(|error| {
        let dir = dir.display();
        Failure::Sandbox(format!(
            "cannot listen in {dir}: {error}; name a shorter --dir"
        ))
    })
}

/// Carries out orders until it is dropped.
pub(super) async fn serve(listener: &UnixListener, stage: &mut Stage) -> io::Error {
    loop {
        let caller = match listener.accept().await {
            Ok((caller, _)) => caller,
            Err(error) => return error,
        };
        // A caller that has gone has nobody to be told that.
        answer(caller, stage).await.ok();
    }
}

async fn answer(mut caller: UnixStream, stage: &mut Stage) -> io::Result<()> {
    let mut line = String::new();
    let (reader, mut writer) = caller.split();
    let mut reader = BufReader::new(reader.take(LONGEST));
    let read = reader.read_line(&mut line);
    let read = tokio::time::timeout(READING, read).await;
    read.map_err(|_elapsed| io::Error::from(io::ErrorKind::TimedOut))??;
    let answer = match serde_json::from_str(&line) {
        Ok(order) => stage.answer(&order).await,
        Err(error) => stage.refuse(format!("that is no order: {error}")),
    };
    writer.write_all(answer.as_json().as_bytes()).await?;
    writer.shutdown().await
}

/// Has the sandbox in that folder carry out an order.
pub(super) fn ask(dir: &Path, order: &Order) -> Result<Answer, Failure> {
    let caller = Caller::connect(place::socket(dir)).map_err(|_refusal| {
        Failure::Sandbox(format!(
            "no sandbox runs in {0}; start one with `lagwise sandbox --dir {0}`, or name its folder with --dir",
            dir.display(),
        ))
    })?;
    let ended = |error: &dyn std::fmt::Display| {
        let dir = dir.display();
        Failure::Sandbox(format!("the sandbox in {dir} did not answer: {error}"))
    };
    let line = converse(caller, order).map_err(|error| ended(&error))?;
    if line.is_empty() {
        return Err(ended(&"it has ended"));
    }
    serde_json::from_str(&line).map_err(|error| ended(&error))
}

fn converse(mut caller: Caller, order: &Order) -> io::Result<String> {
    caller.set_read_timeout(Some(PATIENCE))?;
    caller.set_write_timeout(Some(READING))?;
    let mut line = serde_json::to_string(order)?;
    line.push('\n');
    caller.write_all(line.as_bytes())?;
    let mut answer = String::new();
    io::BufReader::new(caller.take(1 << 24)).read_line(&mut answer)?;
    Ok(answer)
}
