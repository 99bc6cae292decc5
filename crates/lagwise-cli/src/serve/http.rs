//! Connections of clients, each with limits: nobody may hold up the others, or the end.
//!
//! A client has so long to send the head of a request, and so long to take what it was sent; the head
//! may be so large, and there may be so many clients. The fewer places are left, the less time the next
//! one has: who sends nothing keeps nobody waiting who does. What is answered is not this module's
//! business.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_server::rt::{TokioIo, TokioTimer};
use hyper_server::server::graceful::GracefulShutdown;
use hyper_server::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutStream;

/// Serves until `end` is there; what is under way then may end in peace, for a moment.
pub(super) async fn serve(listener: TcpListener, app: Router, end: impl Future<Output = ()>) {
    let places = Arc::new(Semaphore::new(MOST_CLIENTS));
    let graceful = GracefulShutdown::new();
    let mut clients = JoinSet::new();
    let mut end = pin!(end);
    loop {
        tokio::select! {
            () = &mut end => break,
            (stream, place) = accept(&listener, &places) => {
                let patience = patience(places.available_permits());
                let connection = graceful.watch(connection(stream, app.clone(), patience));
                clients.spawn(async move {
                    // Clients that break off, or send what is no request, are nobody's concern.
                    connection.await.ok();
                    drop(place);
                });
            }
            Some(_) = clients.join_next() => {}
        }
    }
    drop(listener);
    timeout(FAREWELL, graceful.shutdown()).await.ok();
}

/// The next client, once there is a place for it.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> (TcpStream, OwnedSemaphorePermit) {
    loop {
        let place = Arc::clone(places).acquire_owned().await;
        match (listener.accept().await, place) {
            (Ok((stream, _)), Ok(place)) => return (stream, place),
            // The client has gone, or the process has no room for it: others may have ended soon.
            _ => sleep(PAUSE).await,
        }
    }
}

type Connection =
    http1::Connection<TokioIo<Pin<Box<TimeoutStream<TcpStream>>>>, TowerToHyperService<Router>>;

/// How long the head of a request may take, while so many more clients could come.
fn patience(left: usize) -> Duration {
    let left = u32::try_from(left).unwrap_or(u32::MAX);
    let all = u32::try_from(MOST_CLIENTS).unwrap_or(u32::MAX);
    (ASKS * left / all).max(ASKS_AT_LEAST)
}

fn connection(stream: TcpStream, app: Router, patience: Duration) -> Connection {
    // Small answers are not held back.
    stream.set_nodelay(true).ok();
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(TAKES));
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience)
        .max_buf_size(LONGEST_HEAD)
        .serve_connection(
            TokioIo::new(Box::pin(stream)),
            TowerToHyperService::new(app),
        )
}

const MOST_CLIENTS: usize = 256;

/// How long the head of a request may take, also the next one of a connection that is kept.
const ASKS: Duration = Duration::from_secs(10);

/// What a client has also where there are as many as may be: more than a round trip.
const ASKS_AT_LEAST: Duration = Duration::from_millis(250);

/// How long a client may take nothing of what is sent to it.
const TAKES: Duration = Duration::from_secs(20);

/// In bytes.
const LONGEST_HEAD: usize = 16 << 10;

/// After a connection that could not be had.
const PAUSE: Duration = Duration::from_millis(50);

/// How long answers may still take at the end.
const FAREWELL: Duration = Duration::from_secs(2);
