//! What is written while a body is sent is told in its trailers, or kept where the session is kept.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::http::{HeaderMap, HeaderValue, Request, Response};
use futures_core::future::BoxFuture;
use http_body::{Body, Frame};
use lagwise::tower::SessionLayer;
use lagwise::{MemoryStore, PgRouter, PgSession, Token};
use lagwise_tests::cluster::{router, settle, start};
use lagwise_tests::service::{NOTES, keyed};
use lagwise_tests::{Outcome, fail};
use sqlx::Postgres;
use tower::{Layer as _, ServiceExt as _, service_fn};

/// A body that writes before it ends.
struct Writing(Option<BoxFuture<'static, Result<i64, sqlx::Error>>>);

impl Body for Writing {
    type Data = &'static [u8];
    type Error = sqlx::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, sqlx::Error>>> {
        let Some(work) = &mut self.0 else {
            return Poll::Ready(None);
        };
        let wrote = ready!(work.as_mut().poll(context));
        self.0 = None;
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        Poll::Ready(Some(wrote.map(|_| Frame::trailers(trailers))))
    }
}

/// The trailers of a response that writes a note while it is sent.
async fn trailers(db: &PgRouter, layer: SessionLayer<Postgres>) -> Outcome<HeaderMap> {
    let db = db.clone();
    let service = layer.layer(service_fn(move |_: Request<()>| {
        let db = db.clone();
        let work = async move {
            let insert = "insert into notes values (1, 1, 'late') returning version";
            sqlx::query_scalar(insert).fetch_one(&db).await
        };
        let response = Response::builder().header("content-type", "application/grpc");
        let response = response.body(Writing(Some(Box::pin(work))));
        async move { Ok::<_, Infallible>(response.expect("it is a response")) }
    }));
    let response = service.oneshot(Request::new(())).await?;
    if response.headers().contains_key("x-lagwise") {
        return fail("nothing was written when the headers went");
    }
    let mut body = pin!(response.into_body());
    let frame = std::future::poll_fn(|context| body.as_mut().poll_frame(context)).await;
    match frame.transpose()?.map(Frame::into_trailers) {
        Some(Ok(trailers)) => Ok(trailers),
        _ => fail("it ends without trailers"),
    }
}

async fn sees_it(session: &PgSession) -> Outcome {
    let notes: i64 = sqlx::query_scalar("select count(*) from notes")
        .fetch_one(session)
        .await?;
    if notes == 1 {
        return Ok(());
    }
    fail("what was written while the body was sent is not seen")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trailers_tell_what_was_written_while_the_body_was_sent() -> Outcome {
    let cluster = start(1, NOTES).await?;
    let db = settle(keyed(router(&cluster)), 1).await?;
    let other = settle(keyed(router(&cluster)), 1).await?;
    cluster.replica(0).freeze_replay()?;
    let told = trailers(&db, SessionLayer::new(db.clone())?).await?;
    let Some(token) = told.get("x-lagwise") else {
        return fail("nothing is told");
    };
    let token: Token = token.to_str()?.parse()?;
    sees_it(&other.resume(&token)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_keeps_what_was_written_while_the_body_was_sent() -> Outcome {
    let cluster = start(1, NOTES).await?;
    let db = settle(keyed(router(&cluster)), 1).await?;
    cluster.replica(0).freeze_replay()?;
    let store = Arc::new(MemoryStore::new(10));
    let layer = SessionLayer::new(db.clone())?;
    let layer = layer.store(Arc::clone(&store) as _, |_| Some("user:7".to_owned()));
    let told = trailers(&db, layer).await?;
    if told.contains_key("x-lagwise") {
        return fail("who has a key is given no token");
    }
    sees_it(&db.session_of(&*store, "user:7").await).await
}
