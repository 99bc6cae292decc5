//! A caller goes from instance to instance, and its session with it.

use lagwise::PgSession;
use lagwise::tower::{SessionLayer, grpc_session};
use sqlx::Postgres;
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_notes::proto::notes_server::Notes;
use tonic_notes::proto::{GetRequest, ListRequest, Note, PutRequest, PutResponse};

use crate::stage::{Carrying, Outcome, Stage, carrying, get, put, same};

/// The sessions of these tests are of a router that its caller has for itself.
type Session = lagwise::Session<Postgres>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_reads_its_writes_on_every_instance_and_nothing_older_after_newer() -> Outcome {
    let mut stage = Stage::start(2).await?;
    let db = stage.router().await?;
    let mut clients: Vec<Carrying> = Vec::new();
    for _ in 0..3 {
        clients.push(stage.carrying(&db).await?);
    }
    let session = db.session();
    stage.cluster.replica(0).freeze_replay()?;
    let mut on_replicas = 0;
    let mut thawed = false;
    for round in 1..=40 {
        let version = session
            .scope(clients[round % 3].put(put(7)))
            .await?
            .into_inner()
            .version;
        for hop in 1..3 {
            let note = session
                .scope(get(&mut clients[(round + hop) % 3], 7))
                .await?;
            same("the version", note.version, version)?;
            on_replicas += usize::from(note.served_by != "p");
        }
        if round >= 20 && !thawed {
            stage.cluster.replica(0).thaw_replay()?;
            stage.cluster.wait_caught_up().await?;
            stage.cluster.replica(1).freeze_replay()?;
            thawed = true;
        }
    }
    // Else nothing was tried.
    if on_replicas < 10 {
        return Err(format!("{on_replicas} of 80 reads went to replicas").into());
    }
    // What was written elsewhere, the caller's own router reads as well.
    let version: i64 = sqlx::query_scalar("select version from notes where id = 7")
        .fetch_one(&session)
        .await?;
    same("by its own router", version, 40)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_never_go_back_from_instance_to_instance() -> Outcome {
    let mut stage = Stage::start(2).await?;
    let db = stage.router().await?;
    let mut clients: Vec<Carrying> = Vec::new();
    for _ in 0..2 {
        clients.push(stage.carrying(&db).await?);
    }
    stage.cluster.replica(0).freeze_replay()?;
    let (writer, reader) = (db.session(), db.session());
    let mut seen = 0;
    for round in 0..60 {
        writer.scope(clients[0].put(put(7))).await?;
        let note = reader.scope(get(&mut clients[round % 2], 7)).await?;
        if note.version < seen {
            return Err(format!("version {} after {seen}", note.version).into());
        }
        seen = note.version;
    }
    same("anything was read", seen > 0, true)
}

/// Writes by a stream, and returns the versions that it was told of. The headers came before them.
async fn import(
    session: &Session,
    client: &mut Carrying,
    id: i64,
    many: usize,
) -> Outcome<Vec<i64>> {
    session
        .scope(async {
            let notes = async_stream::stream! {
                for _ in 0..many {
                    yield put(id);
                }
            };
            let response = client.import(notes).await?;
            let told = response.metadata().get("x-lagwise");
            same("a token in the headers", told.is_some(), false)?;
            let mut written = response.into_inner();
            let mut versions = Vec::new();
            while let Some(note) = written.message().await? {
                versions.push(note.version);
            }
            Ok(versions)
        })
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_written_by_a_stream_is_told_in_its_trailers() -> Outcome {
    let mut stage = Stage::start(1).await?;
    let db = stage.router().await?;
    let mut first = stage.carrying(&db).await?;
    let mut second = stage.carrying(&db).await?;
    stage.cluster.replica(0).freeze_replay()?;
    let session = db.session();
    let versions = import(&session, &mut first, 7, 5).await?;
    same("versions", versions, vec![1, 2, 3, 4, 5])?;
    let note = session.scope(get(&mut second, 7)).await?;
    same("the version", note.version, 5)?;
    let stranger = db.session().scope(get(&mut second, 7)).await?;
    same("without the session", stranger.version, 0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_of_notes_is_read_in_the_session_of_its_call() -> Outcome {
    let mut stage = Stage::start(1).await?;
    let db = stage.router().await?;
    let mut first = stage.carrying(&db).await?;
    let mut second = stage.carrying(&db).await?;
    stage.cluster.replica(0).freeze_replay()?;
    let session = db.session();
    for id in 1..=3 {
        session.scope(first.put(put(id))).await?;
    }
    let mut listed = session
        .scope(second.list(ListRequest {}))
        .await?
        .into_inner();
    let mut ids = Vec::new();
    while let Some(note) = listed.message().await? {
        ids.push(note.id);
    }
    same("the notes", ids, vec![1, 2, 3])
}

/// A service whose writes all fail when they are done.
struct Failing;

async fn write_and_fail(session: &PgSession, id: i64) -> Status {
    let written = sqlx::query("insert into notes values ($1, 1, 'written')")
        .bind(id)
        .execute(session)
        .await;
    match written {
        Ok(_) => Status::aborted("after its write"),
        Err(error) => lagwise::Error::from(error).into(),
    }
}

#[tonic::async_trait]
impl Notes for Failing {
    async fn put(&self, request: Request<PutRequest>) -> Result<Response<PutResponse>, Status> {
        let session = grpc_session(&request)?;
        Err(write_and_fail(&session, request.into_inner().id).await)
    }

    async fn get(&self, _: Request<GetRequest>) -> Result<Response<Note>, Status> {
        Err(Status::unimplemented(""))
    }

    type ImportStream =
        std::pin::Pin<Box<dyn futures_core::Stream<Item = Result<PutResponse, Status>> + Send>>;

    async fn import(
        &self,
        request: Request<Streaming<PutRequest>>,
    ) -> Result<Response<Self::ImportStream>, Status> {
        let session = grpc_session(&request)?;
        let mut arriving = request.into_inner();
        let failing = async_stream::try_stream! {
            if let Some(note) = arriving.message().await? {
                let failure = write_and_fail(&session, note.id).await;
                yield Err(failure)?;
            }
        };
        Ok(Response::new(Box::pin(failing)))
    }

    type ListStream =
        std::pin::Pin<Box<dyn futures_core::Stream<Item = Result<Note, Status>> + Send>>;

    async fn list(&self, _: Request<ListRequest>) -> Result<Response<Self::ListStream>, Status> {
        Err(Status::unimplemented(""))
    }
}

async fn failing(stage: &mut Stage) -> Outcome<Channel> {
    let layer = SessionLayer::new(stage.router().await?)?;
    stage.serve_by_tonic(layer, Failing).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_fails_after_its_write_tells_of_it() -> Outcome {
    let mut stage = Stage::start(1).await?;
    let db = stage.router().await?;
    let mut broken = carrying(&db, &failing(&mut stage).await?);
    let mut second = stage.carrying(&db).await?;
    stage.cluster.replica(0).freeze_replay()?;

    let session = db.session();
    let status = session.scope(broken.put(put(1))).await.unwrap_err();
    same("the code", status.code(), Code::Aborted)?;
    let note = session.scope(get(&mut second, 1)).await?;
    same("the version", note.version, 1)?;

    let session = db.session();
    let failed = import(&session, &mut broken, 2, 1).await;
    same("it failed", failed.is_err(), true)?;
    let note = session.scope(get(&mut second, 2)).await?;
    same("the version, by a stream", note.version, 1)
}
