//! A TCP connection to a server that can be cut, blacked out and delayed.
//!
//! Faults of the network are what a service meets most and what no server can be asked to produce.
//! So nothing reaches a server by TCP but through a relay of ours. It keeps its address whatever
//! becomes of the server behind it, and a fault holds when the call that asked for it returns. It
//! runs on a thread of its own, which no test can hold up. What a node does about a fault is its own
//! business, and who connects to whom is `node`'s.

mod line;
mod relay;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc as std_mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::TcpSocket;
use tokio::sync::{mpsc, oneshot, watch};

use crate::error::{Error, Result};

/// How long the relay may take to put a fault in force; it takes well under a millisecond.
const PATIENCE: Duration = Duration::from_secs(5);

/// A relay between one client side and a server: `127.0.0.1:port` to the server's Unix socket, or
/// behind a [`Balancer`](crate::Balancer) to the address of one node in turn.
///
/// Every change is in force when the call returns. Faults replace each other; [`heal`](Self::heal)
/// removes whatever is in force. They outlast restarts of the server and changes of the target.
///
/// ```no_run
/// # async fn example() -> Result<(), lagwise_testkit::Error> {
/// use std::time::Duration;
///
/// let cluster = lagwise_testkit::Cluster::builder().replicas(1).start().await?;
/// let wire = cluster.replica(0).upstream_wire();
/// wire.blackhole(); // the replica hears nothing more, and does not know why
/// wire.delay(Duration::from_millis(20)); // now it does again, 20 ms late
/// wire.cut(); // now it cannot connect any more
/// wire.heal();
/// # cluster.shutdown().await
/// # }
/// ```
#[derive(Debug)]
pub struct Wire {
    address: SocketAddr,
    condition: Mutex<Condition>,
    orders: mpsc::UnboundedSender<Order>,
    open: watch::Receiver<usize>,
}

impl Wire {
    /// Resets the open connections, and refuses new ones: the process behind the address is gone.
    pub fn cut(&self) {
        self.change(|condition| condition.fault = Fault::Cut);
    }

    /// Keeps the connections open but moves nothing, either way: the network lost the packets.
    ///
    /// What was under way is kept and arrives after [`heal`](Self::heal), as TCP would have it. New
    /// connections are accepted and then hear nothing.
    pub fn blackhole(&self) {
        self.change(|condition| condition.fault = Fault::Blackhole);
    }

    /// Has everything arrive later by `each_way`, so an answer by twice that; order is kept.
    pub fn delay(&self, each_way: Duration) {
        self.change(|condition| condition.fault = Fault::Delay(each_way));
    }

    /// Ends whatever fault is in force.
    ///
    /// Connections that were cut stay so; those held back or delayed go on.
    pub fn heal(&self) {
        self.change(|condition| condition.fault = Fault::Delay(Duration::ZERO));
    }

    /// Resets the open connections, but accepts new ones: a fault too short to see.
    pub fn reset(&self) {
        self.order(OrderKind::Reset);
    }

    /// Whether it is cut now.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        let condition = self
            .condition
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        condition.fault == Fault::Cut
    }

    /// How many connections are open now.
    #[must_use]
    pub fn connections(&self) -> usize {
        *self.open.borrow()
    }

    /// The address of the client side; it stays the same for the life of the wire's owner.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether there is a server to accept connections; while there is none, they are refused.
    pub(crate) fn listen(&self, listens: Listens) {
        self.change(|condition| condition.listens = listens);
    }

    /// Leads to another server from now on; open connections are reset.
    pub(crate) fn lead_to(&self, target: &Path) {
        let target = Target::Socket(target.to_owned());
        self.change(|condition| condition.targets = vec![target]);
        self.reset();
    }

    /// Leads to each of these addresses in turn from now on; open connections are reset.
    pub(crate) fn lead_to_each(&self, addresses: impl IntoIterator<Item = SocketAddr>) {
        let targets = addresses.into_iter().map(Target::Address).collect();
        self.change(|condition| condition.targets = targets);
        self.reset();
    }

    fn change(&self, change: impl FnOnce(&mut Condition)) {
        let mut condition = self
            .condition
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        change(&mut condition);
        self.order_in_turn(OrderKind::Become(condition.clone()), condition);
    }

    fn order(&self, kind: OrderKind) {
        let turn = self
            .condition
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        self.order_in_turn(kind, turn);
    }

    /// Sends an order and waits till it is carried out; `turn` keeps orders in the callers' order.
    fn order_in_turn(&self, kind: OrderKind, turn: MutexGuard<'_, Condition>) {
        let (done, obeyed) = std_mpsc::sync_channel(1);
        let sent = self.orders.send(Order { kind, done });
        drop(turn);
        if sent.is_ok() {
            // An error means that the relay has ended with its cluster: nothing moves any more.
            obeyed.recv_timeout(PATIENCE).ok();
        }
    }
}

/// The thread that carries all wires of a cluster; they end with it.
#[derive(Debug)]
pub(crate) struct Relays {
    relays: mpsc::UnboundedSender<relay::Relay>,
    /// What to drop to have the thread end, and the thread.
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Relays {
    pub(crate) fn start() -> Result<Self> {
        let (relays, mut new) = mpsc::unbounded_channel::<relay::Relay>();
        let (life, mut death) = oneshot::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Error::because("cannot start a runtime for the wires", error))?;
        let work = async move {
            let mut tasks = tokio::task::JoinSet::new();
            loop {
                tokio::select! {
                    Some(relay) = new.recv() => { tasks.spawn(relay.run()); }
                    _ = &mut death => return,
                }
            }
        };
        let thread = std::thread::Builder::new()
            .name("lagwise-wires".into())
            .spawn(move || runtime.block_on(work))
            .map_err(|error| Error::because("cannot start a thread for the wires", error))?;
        Ok(Self {
            relays,
            running: Some((life, thread)),
        })
    }

    /// Takes a free port and begins to serve it; nothing is accepted before there is a target.
    pub(crate) fn wire(&self, listens: Listens) -> Result<Wire> {
        self.wire_at(listens, None)
    }

    /// The same with a port that was asked for.
    pub(crate) fn wire_at(&self, listens: Listens, port: Option<u16>) -> Result<Wire> {
        let unusable = |error| match port {
            Some(port) => Error::because(
                format!("cannot take port {port} of 127.0.0.1, choose another"),
                error,
            ),
            None => Error::because("cannot take a port of 127.0.0.1", error),
        };
        let holder = TcpSocket::new_v4().map_err(unusable)?;
        relay::share_port(&holder).map_err(unusable)?;
        holder
            .bind((Ipv4Addr::LOCALHOST, port.unwrap_or_default()).into())
            .map_err(unusable)?;
        let address = holder.local_addr().map_err(unusable)?;
        let condition = Condition {
            fault: Fault::Delay(Duration::ZERO),
            listens,
            targets: Vec::new(),
        };
        let (orders, obey) = mpsc::unbounded_channel();
        let (count, open) = watch::channel(0);
        let relay = relay::Relay::new(holder, address, condition.clone(), obey, count);
        drop(self.relays.send(relay));
        let wire = Wire {
            address,
            condition: Mutex::new(condition),
            orders,
            open,
        };
        wire.heal();
        Ok(wire)
    }
}

impl Drop for Relays {
    /// Waits for the end, which is a matter of microseconds: from then on, the ports are free.
    fn drop(&mut self) {
        if let Some((life, thread)) = self.running.take() {
            drop(life);
            thread.join().ok();
        }
    }
}

/// Whether the address answers while no fault is in force.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Listens {
    No,
    Yes,
}

/// What a wire does with what it is given.
#[derive(Clone, Debug)]
struct Condition {
    fault: Fault,
    listens: Listens,
    /// Connections go to them in turn.
    targets: Vec<Target>,
}

impl Condition {
    fn accepts(&self) -> bool {
        self.listens == Listens::Yes && self.fault != Fault::Cut
    }
}

/// Where a connection may lead.
#[derive(Clone, Debug)]
enum Target {
    /// A server of ours.
    Socket(PathBuf),
    /// The client side of another wire.
    Address(SocketAddr),
}

/// A fault in force; no fault is a delay of zero.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fault {
    Blackhole,
    Cut,
    Delay(Duration),
}

#[derive(Debug)]
struct Order {
    kind: OrderKind,
    done: std_mpsc::SyncSender<()>,
}

#[derive(Debug)]
enum OrderKind {
    Become(Condition),
    Reset,
}

/// What the connections of a wire look at.
type Line = watch::Receiver<Arc<Held>>;

/// The condition, and the number of resets so far: a connection ends when it is not its own.
#[derive(Debug)]
struct Held {
    condition: Condition,
    resets: u64,
}
