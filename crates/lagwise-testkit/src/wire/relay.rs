//! Accepts the connections of one wire and obeys its orders.
//!
//! A port that no one listens on must refuse, yet must not go to anyone else: so one socket holds
//! the port and never listens, and another is opened and closed beside it. An order is reported
//! done only when it holds for every connection. What moves on a connection is `line`'s business.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::{Condition, Fault, Held, Order, OrderKind, line};

/// Connections that may wait to be accepted; more than any pool opens at once.
const BACKLOG: u32 = 1024;

/// The pause after a connection could not be accepted.
const RESPITE: Duration = Duration::from_millis(10);

/// One wire's accepting side.
#[derive(Debug)]
pub(super) struct Relay {
    /// Keeps the port ours while nothing listens on it.
    _holder: TcpSocket,
    address: SocketAddr,
    held: watch::Sender<Arc<Held>>,
    orders: mpsc::UnboundedReceiver<Order>,
    count: watch::Sender<usize>,
    lines: JoinSet<()>,
    /// Which of several targets the next connection goes to, counted on past their number.
    turn: usize,
}

impl Relay {
    pub(super) fn new(
        holder: TcpSocket,
        address: SocketAddr,
        condition: Condition,
        orders: mpsc::UnboundedReceiver<Order>,
        count: watch::Sender<usize>,
    ) -> Self {
        let held = watch::Sender::new(Arc::new(Held {
            condition,
            resets: 0,
        }));
        Self {
            _holder: holder,
            address,
            held,
            orders,
            count,
            lines: JoinSet::new(),
            turn: 0,
        }
    }

    /// Runs until the wire is gone.
    pub(super) async fn run(mut self) {
        let mut listener = None;
        loop {
            tokio::select! {
                order = self.orders.recv() => match order {
                    Some(order) => self.obey(order, &mut listener).await,
                    None => return,
                },
                accepted = accept(listener.as_ref()) => match accepted {
                    Ok(client) => {
                        let line = self.held.subscribe();
                        self.lines.spawn(line::carry(client, line, self.turn));
                        self.turn = self.turn.wrapping_add(1);
                    }
                    // Out of file descriptors: asking again at once would only burn the processor.
                    Err(_) => tokio::time::sleep(RESPITE).await,
                },
                Some(_) = self.lines.join_next(), if !self.lines.is_empty() => {}
            }
            self.count.send_replace(self.lines.len());
        }
    }

    async fn obey(&mut self, order: Order, listener: &mut Option<TcpListener>) {
        let was = Arc::clone(&self.held.borrow());
        let (condition, ends_all) = match order.kind {
            OrderKind::Become(condition) => {
                let cut = condition.fault == Fault::Cut;
                (condition, cut)
            }
            OrderKind::Reset => (was.condition.clone(), true),
        };
        if !condition.accepts() {
            listener.take().into_iter().for_each(close);
        } else if listener.is_none() {
            // The port is held, so this fails only for want of file descriptors; whoever connects
            // then is refused, and the next order tries again.
            *listener = listen(self.address).ok();
        }
        let resets = was.resets + u64::from(ends_all);
        self.held.send_replace(Arc::new(Held { condition, resets }));
        while ends_all && self.lines.join_next().await.is_some() {}
        self.count.send_replace(self.lines.len());
        // An error means that the caller has stopped waiting.
        order.done.send(()).ok();
    }
}

/// Allows a socket that does not listen and one that does on one port, but no second listener.
pub(super) fn share_port(socket: &TcpSocket) -> io::Result<()> {
    socket.set_reuseaddr(true)?;
    // Linux alone takes the first to mean what we want.
    if !cfg!(target_os = "linux") {
        socket.set_reuseport(true)?;
    }
    Ok(())
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    share_port(&socket)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Closes a listener for certain: while another thread starts a process, that process has a copy of
/// every descriptor for a moment, and a copy would go on listening.
fn close(listener: TcpListener) {
    if let Ok(listener) = listener.into_std() {
        let socket = std::net::TcpStream::from(OwnedFd::from(listener));
        // Systems that do not shut listeners down say so; closing has to do there.
        socket.shutdown(Shutdown::Both).ok();
    }
}

async fn accept(listener: Option<&TcpListener>) -> io::Result<TcpStream> {
    match listener {
        Some(listener) => Ok(listener.accept().await?.0),
        None => std::future::pending().await,
    }
}
