//! Carries one connection of a wire.
//!
//! Bytes go through a queue each way, stamped with the time they came, so that a delay shifts them
//! without slowing them down, and a blackhole stops them without losing any. A reset ends both
//! sides at once, whatever is under way. Accepting is `relay`'s business.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{mpsc, watch};

use super::{Fault, Held, Line, Target};
use crate::clock;

/// What one reading takes at most; the servers' own buffers have half that size.
const CHUNK: usize = 16 * 1024;

/// How many chunks may be under way one way; beyond that the sender is held up, as by a full
/// socket. Together 4 MiB, enough that a delay does not throttle what these tests send.
const UNDER_WAY: usize = 256;

/// Carries the connection to its end, or to the next reset of its wire from this call on: also one that
/// comes before the connection is first carried.
pub(super) fn carry(
    mut client: TcpStream,
    mut line: Line,
    turn: usize,
) -> impl Future<Output = ()> + Send {
    let mine = line.borrow().resets;
    async move {
        let mut watched = line.clone();
        let ended = tokio::select! {
            () = reset(&mut watched, mine) => Err(io::ErrorKind::ConnectionReset.into()),
            ended = connect_and_relay(&mut client, &mut line, turn) => ended,
        };
        if ended.is_err() {
            // With no time to linger, closing is a reset, as from a process that was killed. An error
            // means that the connection is gone anyway.
            drop(client.set_zero_linger());
        }
    }
}

async fn reset(line: &mut Line, mine: u64) {
    // An error means that the relay is gone, and the connection with it.
    drop(line.wait_for(|held| held.resets != mine).await);
}

async fn connect_and_relay(client: &mut TcpStream, line: &mut Line, turn: usize) -> io::Result<()> {
    client.set_nodelay(true)?;
    let held = passable(line).await?;
    match connect(&held.condition.targets, turn).await? {
        Server::OnSocket(mut server) => relay(client, server.split(), line).await,
        Server::AtAddress(mut server) => relay(client, server.split(), line).await,
    }
}

/// Connects to the target whose turn it is, else to the next one that does not refuse.
async fn connect(targets: &[Target], turn: usize) -> io::Result<Server> {
    let mut refusal = io::ErrorKind::ConnectionRefused.into();
    let first = turn.checked_rem(targets.len()).unwrap_or_default();
    let (before, from_first) = targets.split_at(first);
    for target in from_first.iter().chain(before) {
        let server = match target {
            Target::Socket(path) => UnixStream::connect(path).await.map(Server::OnSocket),
            Target::Address(address) => dial(*address).await.map(Server::AtAddress),
        };
        match server {
            Ok(server) => return Ok(server),
            Err(error) => refusal = error,
        }
    }
    Err(refusal)
}

async fn dial(address: SocketAddr) -> io::Result<TcpStream> {
    let server = TcpStream::connect(address).await?;
    server.set_nodelay(true)?;
    Ok(server)
}

async fn relay(
    client: &mut TcpStream,
    (from_server, to_server): (impl AsyncRead + Unpin, impl AsyncWrite + Unpin),
    line: &Line,
) -> io::Result<()> {
    let (from_client, to_client) = client.split();
    let asking = pump(from_client, to_server, line.clone());
    let answering = pump(from_server, to_client, line.clone());
    tokio::pin!(answering);
    // A server that has ended its side has nothing more to hear; a client may still be listening.
    tokio::select! {
        answered = &mut answering => answered,
        asked = asking => { asked?; answering.await }
    }
}

/// The other end of a connection.
enum Server {
    OnSocket(UnixStream),
    AtAddress(TcpStream),
}

/// Moves bytes one way to the end of what there is.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut line: Line,
) -> io::Result<()> {
    let (queue, mut queued) = mpsc::channel::<(Instant, Vec<u8>)>(UNDER_WAY);
    let mut reading_line = line.clone();
    let read = async move {
        loop {
            passable(&mut reading_line).await?;
            let mut chunk = Vec::with_capacity(CHUNK);
            if from.read_buf(&mut chunk).await? == 0 {
                return io::Result::Ok(());
            }
            if queue.send((clock::now(), chunk)).await.is_err() {
                return Ok(());
            }
        }
    };
    let write = async {
        while let Some((came, chunk)) = queued.recv().await {
            forward(&mut to, came, &chunk, &mut line).await?;
        }
        passable(&mut line).await?;
        to.shutdown().await
    };
    tokio::try_join!(read, write)?;
    Ok(())
}

/// Writes one chunk as soon as the line allows, and stops in the middle where it ceases to.
async fn forward(
    to: &mut (impl AsyncWrite + Unpin),
    came: Instant,
    mut chunk: &[u8],
    line: &mut Line,
) -> io::Result<()> {
    while !chunk.is_empty() {
        let due = passable(line).await?.due(came);
        tokio::select! {
            biased;
            changed = line.changed() => changed.map_err(gone)?,
            written = write_at(due, to, chunk) => chunk = &chunk[written?..],
        }
    }
    Ok(())
}

async fn write_at(
    due: Duration,
    to: &mut (impl AsyncWrite + Unpin),
    chunk: &[u8],
) -> io::Result<usize> {
    if !due.is_zero() {
        tokio::time::sleep(due).await;
    }
    to.write(chunk).await
}

/// Waits till the line moves bytes, and says how.
async fn passable(line: &mut Line) -> io::Result<Arc<Held>> {
    let held = line
        .wait_for(|held| held.condition.fault != Fault::Blackhole)
        .await;
    held.map(|held| Arc::clone(&held)).map_err(gone)
}

fn gone(_: watch::error::RecvError) -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}

impl Held {
    /// How long from now to wait with what came at `came`.
    fn due(&self, came: Instant) -> Duration {
        match self.condition.fault {
            Fault::Delay(delay) if !delay.is_zero() => {
                delay.saturating_sub(clock::now().saturating_duration_since(came))
            }
            _ => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::net::TcpListener;

    use super::super::{Condition, Listens};
    use super::*;

    #[tokio::test]
    async fn a_connection_that_was_accepted_before_a_reset_ends_with_it() -> io::Result<()> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let target = Target::Address(listener.local_addr()?);
        let client = TcpStream::connect(listener.local_addr()?).await?;
        let condition = Condition {
            fault: Fault::Delay(Duration::ZERO),
            listens: Listens::Yes,
            targets: vec![target],
        };
        let held = |resets| {
            let condition = condition.clone();
            Arc::new(Held { condition, resets })
        };
        let (wire, line) = watch::channel(held(0));
        let carried = carry(client, line, 0);
        wire.send_replace(held(1));
        let ends = tokio::time::timeout(Duration::from_secs(10), carried).await;
        assert!(ends.is_ok(), "it is carried on");
        Ok(())
    }
}
