//! The calls, and what they are answered.
//!
//! A method takes its session from the request and hands it down. That is all it knows of sessions:
//! what it wrote is told by the layer, in the answer's metadata, also if the method fails afterwards.

use std::pin::Pin;

use futures_core::Stream;
use lagwise::PgSession;
use lagwise::tower::grpc_session;
use tonic::{Request, Response, Status, Streaming};

use crate::notes;
use crate::proto::notes_server::Notes;
use crate::proto::{GetRequest, ListRequest, Note, PutRequest, PutResponse};

/// The most bytes that a note may have.
const LONGEST: usize = 64 * 1024;

/// Answers calls. It holds nothing: what it needs comes with each call.
pub(crate) struct Service;

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Notes for Service {
    async fn put(&self, request: Request<PutRequest>) -> Result<Response<PutResponse>, Status> {
        let session = grpc_session(&request)?;
        Ok(Response::new(put(&session, request.into_inner()).await?))
    }

    async fn get(&self, request: Request<GetRequest>) -> Result<Response<Note>, Status> {
        let session = grpc_session(&request)?;
        let note = notes::read(&session, request.into_inner().id).await?;
        let missing = || Status::not_found("there is no such note");
        note.map(Response::new).ok_or_else(missing)
    }

    type ImportStream = Answers<PutResponse>;

    async fn import(
        &self,
        request: Request<Streaming<PutRequest>>,
    ) -> Result<Response<Self::ImportStream>, Status> {
        let session = grpc_session(&request)?;
        let mut arriving = request.into_inner();
        // The headers are long gone when it writes. The trailers tell of it.
        let written = async_stream::try_stream! {
            while let Some(note) = arriving.message().await? {
                yield put(&session, note).await?;
            }
        };
        Ok(Response::new(Box::pin(written)))
    }

    type ListStream = Answers<Note>;

    async fn list(
        &self,
        request: Request<ListRequest>,
    ) -> Result<Response<Self::ListStream>, Status> {
        let session: PgSession = grpc_session(&request)?;
        let read = async_stream::try_stream! {
            let mut node = session.read().await?;
            let route = node.route().clone();
            for await row in sqlx::query(notes::LIST).fetch(&mut *node) {
                let note = row.and_then(|row| notes::note(&row, &route));
                yield note.map_err(lagwise::Error::from)?;
            }
        };
        Ok(Response::new(Box::pin(read)))
    }
}

async fn put(session: &PgSession, note: PutRequest) -> Result<PutResponse, Status> {
    let PutRequest { id, body } = note;
    if body.len() > LONGEST {
        return Err(Status::invalid_argument("a note has at most 65536 bytes"));
    }
    // PostgreSQL's text takes every character but this one.
    if body.contains('\0') {
        return Err(Status::invalid_argument(
            "a note is text without the character NUL",
        ));
    }
    let version = notes::write(session, id, &body).await?;
    Ok(PutResponse { id, version })
}
