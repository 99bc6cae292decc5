//! What is watched, as it comes in: looks when asked for, events and accounts when there are some.
//!
//! Every node is asked for its account in a task of its own, so that one that hangs holds up nothing.
//! What is made of it all is the scene's business.

use std::time::Duration;

use lagwise::status::Cluster;
use lagwise::{Events, PgRouter};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::clock::WallClock;
use super::log::Entry;
use super::look::Look;
use super::state::{Scene, Wish};
use crate::failure::Failure;
use crate::nodes::Nodes;
use crate::vitals::{Unwell, Vitals, VitalsProbe};

/// A router that serves nobody, and what the nodes say of themselves.
#[derive(Debug)]
pub(crate) struct Watcher {
    router: PgRouter,
    events: Events,
    accounts: mpsc::Receiver<Account>,
    /// Ends with the watcher.
    askers: JoinSet<()>,
    clock: WallClock,
}

/// What one node said, or why it did not.
type Account = (String, Result<Vitals, String>);

/// Something new.
#[derive(Debug)]
pub(crate) enum News {
    Happened(Entry),
    Told(Box<Account>),
}

impl Watcher {
    /// Begins to watch. Within a runtime.
    pub(crate) fn start(nodes: &Nodes) -> Result<Self, Failure> {
        let router = nodes.watcher().connect_lazy().map_err(Failure::Nodes)?;
        let events = router.events();
        let (tell, accounts) = mpsc::channel(64);
        let mut askers = JoinSet::new();
        for node in nodes.config().nodes() {
            let probe = VitalsProbe::new(node.options(), TIMEOUT);
            askers.spawn(ask(node.name().to_owned(), probe, tell.clone()));
        }
        Ok(Self {
            router,
            events,
            accounts,
            askers,
            clock: WallClock::read(),
        })
    }

    /// What the router knows now.
    pub(crate) fn cluster(&self) -> Cluster {
        Cluster::of(&self.router)
    }

    pub(crate) fn look(&self) -> Look {
        Look::of(&self.cluster(), lagwise::now())
    }

    pub(crate) fn scene(&self) -> Scene {
        Scene::new(self.look(), self.clock)
    }

    /// The next news.
    ///
    /// # Cancel safety
    /// A dropped call loses none.
    pub(crate) async fn news(&mut self) -> News {
        tokio::select! {
            Some(happened) = self.events.next() => {
                News::Happened(Entry::new(&happened, &self.clock))
            }
            Some(account) = self.accounts.recv() => News::Told(Box::new(account)),
            else => std::future::pending().await,
        }
    }

    /// Does what was wished for, in this process's router alone.
    pub(crate) fn grant(&self, wish: &Wish) {
        let granted = match wish {
            Wish::Drain(node) => self.router.drain(node),
            Wish::Undrain(node) => self.router.undrain(node),
            Wish::GoOn | Wish::Quit => Ok(()),
        };
        // It is not there any longer, and the next look shows that.
        granted.ok();
    }

    /// Takes leave of the nodes, for as long as that takes a healthy one.
    pub(crate) async fn close(mut self) {
        self.askers.abort_all();
        tokio::time::timeout(FAREWELL, self.router.close())
            .await
            .ok();
    }
}

impl News {
    pub(crate) fn tell(self, scene: &mut Scene) {
        match self {
            Self::Happened(entry) => scene.happened(entry),
            Self::Told(account) => {
                let (node, told) = *account;
                scene.told(&node, told);
            }
        }
    }
}

/// Asks one node again and again.
async fn ask(node: String, mut probe: VitalsProbe, tell: mpsc::Sender<Account>) {
    loop {
        let told = probe.ask(TIMEOUT).await.map_err(|unwell| words(&unwell));
        if tell.send((node.clone(), told)).await.is_err() {
            return;
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// Why a node said nothing, without what says no more than that.
fn words(unwell: &Unwell) -> String {
    match unwell {
        Unwell::Connect(sqlx::Error::Io(cause)) => format!("cannot be connected to: {cause}"),
        unwell => unwell.to_string(),
    }
}

/// Between two accounts of a node.
const EVERY: Duration = Duration::from_secs(1);
/// One that takes longer is none.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Nobody who has pressed `q` waits for longer.
const FAREWELL: Duration = Duration::from_secs(1);
