//! Server-sent events: what happens, as frames that all clients share.
//!
//! A frame is written once, however many listen. A client that is too slow loses frames and is then
//! told the whole state anew; it costs no memory of its own. The sample of every second is the sign
//! of life.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Bytes;
use futures_core::Stream;
use lagwise_core::{Event, Instant};
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::board::Board;
use super::history::Peaks;
use super::report::Cluster;
use crate::backend::Backend;
use crate::clock;
use crate::events::Happened;

/// One event as it is sent.
pub(super) type Frame = Bytes;

/// The state of everything, in this run.
#[derive(Serialize)]
pub(super) struct Standing<'a> {
    run: &'a str,
    /// Seconds of the run.
    at: f64,
    cluster: &'a Cluster,
    /// The greatest bound of each node since the last sample.
    peaks: &'a Peaks,
}

/// One change.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Change {
    /// Seconds of the run.
    pub(super) at: f64,
    event: &'static str,
    node: Option<Arc<str>>,
    cause: Option<&'static str>,
    /// The same for people.
    text: String,
}

impl Change {
    pub(super) fn new(happened: &Happened, at: f64) -> Self {
        let cause = match happened.event {
            Event::Ejected { cause, .. } | Event::Readmitted { after: cause, .. } => Some(cause),
            _ => None,
        };
        Self {
            at,
            event: happened.event.as_str(),
            node: happened.node.clone(),
            cause: cause.map(lagwise_core::Cause::as_str),
            text: happened.event.to_string().replace('_', " "),
        }
    }

    pub(super) fn frame(&self) -> Frame {
        frame("event", self)
    }
}

impl<'a> Standing<'a> {
    /// What is seen at a moment.
    pub(super) fn new<DB: Backend>(
        board: &'a Board<DB>,
        now: Instant,
        cluster: &'a Cluster,
        peaks: &'a Peaks,
    ) -> Self {
        Self {
            run: &board.run,
            at: board.seconds(now),
            cluster,
            peaks,
        }
    }

    pub(super) fn frame(&self) -> Frame {
        frame("sample", self)
    }
}

/// JSON has no line breaks of its own.
fn frame(name: &str, value: &impl Serialize) -> Frame {
    // Only maps with strange keys and failing writers are no JSON, and there are none here.
    let json = serde_json::to_string(value).unwrap_or_default();
    format!("event: {name}\ndata: {json}\n\n").into()
}

/// All that there is, and then whatever happens, until the router is closed.
pub(super) fn stream<DB: Backend>(
    board: &Arc<Board<DB>>,
    mut frames: Receiver<Frame>,
    place: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<Frame, Infallible>> + use<DB> {
    // Whoever listens keeps neither the service nor the router alive.
    let board = Arc::downgrade(board);
    async_stream::stream! {
        let _place = place;
        yield Ok(Frame::from_static(RETRY));
        let mut whole = true;
        loop {
            if whole {
                let Some(board) = board.upgrade() else { break };
                let now = clock::now();
                let (cluster, peaks) = (board.cluster(), Peaks::default());
                yield Ok(frame("cluster", &Standing::new(&board, now, &cluster, &peaks)));
            }
            let next = frames.recv().await;
            whole = matches!(next, Err(RecvError::Lagged(_)));
            match next {
                Ok(frame) => yield Ok(frame),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => break,
            }
        }
    }
}

/// Whoever is cut off comes back soon.
const RETRY: &[u8] = b"retry: 1000\n\n";
