//! A cluster, instances of the service over it, and callers with a router of their own.

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use axum::serve::ListenerExt as _;
use lagwise::tower::{ClientLayer, ClientService, SessionLayer};
use lagwise::{Keys, NodeConfig, PgRouter};
use lagwise_testkit::{Cluster, Node};
use sqlx::Postgres;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server};
use tonic_notes::proto::notes_client::NotesClient;
use tonic_notes::proto::notes_server::{Notes, NotesServer};
use tonic_notes::proto::{GetRequest, Note, PutRequest};
use tower::ServiceBuilder;

pub(crate) type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// A client without sessions.
pub(crate) type Plain = NotesClient<Channel>;

/// A client whose calls are made in sessions.
pub(crate) type Carrying = NotesClient<ClientService<Channel, Postgres>>;

const SECRET: &str = "a-secret-that-all-services-of-a-test-share";

/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(15);

/// A cluster with the table of notes, and what is served over it for as long as the test runs.
pub(crate) struct Stage {
    pub(crate) cluster: Cluster,
    served: JoinSet<Outcome>,
}

impl Stage {
    pub(crate) async fn start(replicas: usize) -> Outcome<Self> {
        let stage = Self {
            cluster: Cluster::builder().replicas(replicas).start().await?,
            served: JoinSet::new(),
        };
        let db = stage.router().await?;
        tonic_notes::make_table(&db).await?;
        db.close().await;
        stage.cluster.wait_caught_up().await?;
        Ok(stage)
    }

    /// A router of one service. It keeps a replica that stands still, and so would serve from it.
    pub(crate) async fn router(&self) -> Outcome<PgRouter> {
        let node = |node: &Node| NodeConfig::url(node.url()).name(node.name());
        let db = PgRouter::builder()
            .primary(node(self.cluster.primary()))
            .replicas(self.cluster.replicas().iter().map(node))
            .poll_interval(Duration::from_millis(40))
            .max_lag(Duration::from_secs(60))
            .policy(|policy| {
                policy.slow_start = Duration::ZERO;
                // A busy machine may well keep a poll waiting.
                policy.unseen_for = Duration::from_secs(5);
            })
            .keys(Keys::new(SECRET)?)
            .connect()
            .await?;
        db.ready(self.cluster.replicas().len(), PATIENCE).await?;
        Ok(db)
    }

    /// Starts an instance of the service, and leads to it.
    pub(crate) async fn instance(&mut self) -> Outcome<Channel> {
        let app = tonic_notes::app(self.router().await?)?;
        self.serve(app).await
    }

    /// An instance, for calls in the sessions of a router.
    pub(crate) async fn carrying(&mut self, db: &PgRouter) -> Outcome<Carrying> {
        Ok(carrying(db, &self.instance().await?))
    }

    /// Serves something on a port of its own, and leads to it.
    pub(crate) async fn serve(&mut self, app: axum::Router) -> Outcome<Channel> {
        channel(&self.serve_at(app).await?)
    }

    /// Serves something on a port of its own, and says where.
    pub(crate) async fn serve_at(&mut self, app: axum::Router) -> Outcome<String> {
        let (socket, url) = listen().await?;
        let socket = socket.tap_io(|stream| drop(stream.set_nodelay(true)));
        self.served.spawn(async {
            axum::serve(socket, app).await?;
            Ok(())
        });
        Ok(url)
    }

    /// Serves one service as `tonic` does it, under a layer, and leads to it.
    pub(crate) async fn serve_by_tonic<S: Notes>(
        &mut self,
        layer: SessionLayer<Postgres>,
        notes: S,
    ) -> Outcome<Channel> {
        let (socket, url) = listen().await?;
        let server = Server::builder()
            .layer(layer)
            .add_service(NotesServer::new(notes));
        self.served.spawn(async {
            server
                .serve_with_incoming(TcpIncoming::from(socket))
                .await?;
            Ok(())
        });
        channel(&url)
    }
}

/// A port of its own, and where that is.
async fn listen() -> Outcome<(TcpListener, String)> {
    let socket = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    let url = format!("http://{}", socket.local_addr()?);
    Ok((socket, url))
}

/// Asks until there is an answer.
pub(crate) async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> Outcome<T> {
    let asked = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    let answer = timeout(PATIENCE, asked).await;
    Ok(answer.map_err(|_| format!("in vain: {what}"))?)
}

pub(crate) fn channel(url: &str) -> Outcome<Channel> {
    Ok(Endpoint::from_shared(url.to_owned())?.connect_lazy())
}

/// A client that carries the sessions of this router.
pub(crate) fn carrying(db: &PgRouter, channel: &Channel) -> Carrying {
    let layered = ServiceBuilder::new()
        .layer(ClientLayer::new(db))
        .service(channel.clone());
    NotesClient::new(layered)
}

pub(crate) fn put(id: i64) -> PutRequest {
    let body = "text".to_owned();
    PutRequest { id, body }
}

/// Reads a note; if there is none, as its version 0, which it never has.
pub(crate) async fn get(client: &mut Carrying, id: i64) -> Outcome<Note> {
    match client.get(GetRequest { id }).await {
        Ok(note) => Ok(note.into_inner()),
        Err(status) if status.code() == tonic::Code::NotFound => Ok(Note::default()),
        Err(status) => Err(status.into()),
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "both are made for the comparison"
)]
pub(crate) fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: T, wanted: T) -> Outcome {
    if found == wanted {
        return Ok(());
    }
    Err(format!("{what}: {found:?} where {wanted:?} is right").into())
}
