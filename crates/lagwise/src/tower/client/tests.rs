//! Calls through services that are made by hand, in sessions of a router that no node answers.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Future as _, Ready, poll_fn, ready};
use std::pin::pin;
use std::sync::Mutex;
use std::time::Duration;

use http_body::{Body as _, Frame, SizeHint};
use lagwise_core::{Claim, Lsn, ReadFrom, SystemId, Timeline};
use sqlx::Postgres;

use super::*;
use crate::clock;
use crate::router::Router;
use crate::token::{Keys, Token};

const SECRET: &str = "a-secret-that-both-of-the-services-share";

fn keys() -> Keys {
    Keys::new(SECRET).unwrap()
}

/// A router that has seen no node, and does not wait long for one.
fn router(keys: Option<Keys>) -> Router<Postgres> {
    let builder = Router::builder()
        .primary("postgres://nobody@127.0.0.1:1/none")
        .policy(|policy| policy.capture_timeout = Duration::from_millis(20));
    let builder = match keys {
        Some(keys) => builder.keys(keys),
        None => builder,
    };
    builder.connect_lazy().unwrap()
}

fn claim(lsn: u64) -> Claim {
    let mut claim = Claim::new(SystemId::new(7), Timeline::new(1), clock::wall());
    claim.lsn = Some(Lsn::new(lsn));
    claim
}

fn token(lsn: u64) -> Token {
    keys().sign(&claim(lsn), None)
}

/// A session whose client has brought a position.
fn session_at(db: &Router<Postgres>, lsn: u64) -> Session<Postgres> {
    let session = db.session();
    session.take_up(&token(lsn), None).unwrap();
    session
}

/// Where a session stands, and whether it has written what was never captured.
fn stands(session: &Session<Postgres>) -> (Option<u64>, bool) {
    let claim = session.claim();
    let lsn = claim.as_ref().and_then(|claim| claim.lsn);
    (
        lsn.map(Lsn::as_u64),
        claim.is_some_and(|claim| claim.uncaptured),
    )
}

/// A body of given frames.
#[derive(Default)]
struct Frames(VecDeque<Frame<&'static [u8]>>);

impl http_body::Body for Frames {
    type Data = &'static [u8];
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(11)
    }
}

/// What a service was sent, and what it answers.
#[derive(Default)]
struct Exchange {
    sent: Vec<HeaderMap>,
    answer: HeaderMap,
    trailers: Option<HeaderMap>,
}

/// A service that has to be made ready before each call, and whose clones are not.
#[derive(Default)]
struct Called {
    exchange: Arc<Mutex<Exchange>>,
    is_ready: bool,
}

impl Clone for Called {
    fn clone(&self) -> Self {
        Self {
            exchange: Arc::clone(&self.exchange),
            is_ready: false,
        }
    }
}

impl Service<Request<()>> for Called {
    type Response = Response<Frames>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Frames>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.is_ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        assert!(mem::take(&mut self.is_ready), "it was not made ready");
        let mut exchange = self.exchange.lock().unwrap();
        exchange.sent.push(request.headers().clone());
        let mut frames = VecDeque::from([Frame::data(&b"a message"[..])]);
        frames.extend(exchange.trailers.take().map(Frame::trailers));
        let mut response = Response::new(Frames(frames));
        *response.headers_mut() = mem::take(&mut exchange.answer);
        ready(Ok(response))
    }
}

/// A client with a layer, and what is exchanged through it.
struct Stage {
    client: ClientService<Called, Postgres>,
    exchange: Arc<Mutex<Exchange>>,
}

impl Stage {
    fn new(layer: &ClientLayer<Postgres>) -> Self {
        let called = Called::default();
        let exchange = Arc::clone(&called.exchange);
        let client = layer.layer(called);
        Self { client, exchange }
    }

    async fn call(&mut self, request: Request<()>) -> Response<ClientBody<Frames, Postgres>> {
        poll_fn(|context| self.client.poll_ready(context))
            .await
            .unwrap();
        self.client.call(request).await.unwrap()
    }

    /// The tokens that the last call was sent with.
    fn sent(&self) -> Vec<String> {
        let exchange = self.exchange.lock().unwrap();
        let last = exchange.sent.last().expect("something was sent");
        let values = last.get_all("x-lagwise").iter();
        values
            .map(|value| value.to_str().unwrap().to_owned())
            .collect()
    }

    /// Where the only token that was sent stands.
    fn told(&self, binding: Option<&str>) -> Claim {
        let sent = self.sent();
        assert_eq!(sent.len(), 1, "{} tokens", sent.len());
        keys().open(&sent[0].parse().unwrap(), binding).unwrap()
    }

    fn answers(&self, tokens: &[&str]) {
        self.exchange.lock().unwrap().answer = headers(tokens);
    }

    fn ends_with(&self, tokens: &[&str]) {
        self.exchange.lock().unwrap().trailers = Some(headers(tokens));
    }
}

fn headers(tokens: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for token in tokens {
        headers.append("x-lagwise", token.parse().unwrap());
    }
    headers
}

fn request() -> Request<()> {
    Request::new(())
}

#[tokio::test]
async fn a_call_carries_what_its_session_knows() {
    let db = router(Some(keys()));
    let mut stage = Stage::new(&ClientLayer::new(&db));
    let session = session_at(&db, 500);
    session.scope(stage.call(request())).await;
    assert_eq!(stage.told(None).lsn, Some(Lsn::new(500)));
}

#[tokio::test]
async fn a_call_that_there_is_nothing_to_tell_of_goes_as_it_is() {
    let db = router(Some(keys()));
    let mut stage = Stage::new(&ClientLayer::new(&db));
    stage.call(request()).await;
    assert!(stage.sent().is_empty(), "outside of any session");
    db.session().scope(stage.call(request())).await;
    assert!(stage.sent().is_empty(), "in a session that did nothing");
    let other = router(Some(keys()));
    session_at(&other, 500).scope(stage.call(request())).await;
    assert!(stage.sent().is_empty(), "in a session of another router");

    let keyless = router(None);
    let mut stage = Stage::new(&ClientLayer::new(&keyless));
    let session = keyless.session();
    stage.answers(&[token(500).as_str()]);
    session.scope(stage.call(request())).await;
    assert!(stage.sent().is_empty(), "without keys");
}

#[tokio::test]
async fn a_token_that_the_caller_has_put_there_is_the_only_one() {
    let db = router(Some(keys()));
    let mut stage = Stage::new(&ClientLayer::new(&db));
    let session = session_at(&db, 500);
    let mut own = request();
    own.headers_mut()
        .insert("x-lagwise", "theirs".parse().unwrap());
    stage.answers(&[token(900).as_str()]);
    session.scope(stage.call(own)).await;
    assert_eq!(stage.sent(), ["theirs"]);
    assert_eq!(stands(&session).0, Some(900), "what comes back counts");
}

#[tokio::test]
async fn a_session_in_the_request_comes_before_the_ambient_one() {
    let db = router(Some(keys()));
    let mut stage = Stage::new(&ClientLayer::new(&db));
    let explicit = session_at(&db, 700);
    let mut own = request();
    own.extensions_mut().insert(explicit.clone());
    stage.answers(&[token(900).as_str()]);
    let ambient = session_at(&db, 500);
    ambient.scope(stage.call(own)).await;
    assert_eq!(stage.told(None).lsn, Some(Lsn::new(700)));
    assert_eq!(
        (stands(&explicit).0, stands(&ambient).0),
        (Some(900), Some(500))
    );

    let mut foreign = request();
    let other = router(Some(keys()));
    foreign.extensions_mut().insert(session_at(&other, 900));
    ambient.scope(stage.call(foreign)).await;
    assert_eq!(
        stage.told(None).lsn,
        Some(Lsn::new(500)),
        "another router's is not ours"
    );
}

#[tokio::test]
async fn what_was_written_is_found_out_before_the_call() {
    let db = router(Some(keys()));
    let mut stage = Stage::new(&ClientLayer::new(&db));
    let session = session_at(&db, 500);
    session.state().open_write(None, Duration::ZERO).close();
    session.scope(stage.call(request())).await;
    let told = stage.told(None);
    assert!(told.uncaptured && told.beyond, "nobody could be asked");
    // The one that was made ready was called; its place is ready again after the next poll.
    session.scope(stage.call(request())).await;
}

#[tokio::test]
async fn only_a_call_after_a_write_waits_for_anything_but_its_answer() {
    let db = router(Some(keys()));
    let mut stage = Stage::new(&ClientLayer::new(&db));
    let mut first_poll = async |session: &Session<Postgres>| {
        poll_fn(|context| stage.client.poll_ready(context))
            .await
            .unwrap();
        let mut request = request();
        request.extensions_mut().insert(session.clone());
        let mut call = pin!(stage.client.call(request));
        poll_fn(|context| Poll::Ready(call.as_mut().poll(context).is_ready())).await
    };
    let session = session_at(&db, 500);
    assert!(first_poll(&session).await);
    session.state().open_write(None, Duration::ZERO).close();
    assert!(!first_poll(&session).await, "the primary is asked");
}

#[tokio::test]
async fn a_call_takes_nothing_from_what_the_sessions_own_client_will_be_told() {
    let db = router(Some(keys()));
    let mut stage = Stage::new(&ClientLayer::new(&db));
    let session = session_at(&db, 500);
    assert_eq!(session.renewal(), Renewal::None, "it is its client's own");
    session.state().open_write(None, Duration::ZERO).close();
    assert_eq!(session.renewal(), Renewal::Captured);
    session.scope(stage.call(request())).await;
    assert_eq!(session.renewal(), Renewal::Captured);
}

#[tokio::test]
async fn what_comes_back_is_the_sessions_and_its_client_is_told() {
    let db = router(Some(keys()));
    let mut stage = Stage::new(&ClientLayer::new(&db));
    let session = db.session();
    stage.answers(&[token(900).as_str()]);
    session.scope(stage.call(request())).await;
    assert_eq!(stands(&session), (Some(900), false));
    assert_eq!(session.renewal(), Renewal::Known);
    session.tell();

    stage.answers(&[token(900).as_str()]);
    session.scope(stage.call(request())).await;
    assert_eq!(session.renewal(), Renewal::None, "that is nothing new");

    let mut read = claim(900);
    read.read = Some(ReadFrom::Several);
    stage.answers(&[keys().sign(&read, None).as_str()]);
    session.scope(stage.call(request())).await;
    assert_eq!(session.renewal(), Renewal::Reads);
    session.tell();
    stage.answers(&[keys().sign(&read, None).as_str()]);
    session.scope(stage.call(request())).await;
    assert_eq!(session.renewal(), Renewal::Reads, "it may have been later");
}

#[tokio::test]
async fn its_client_is_told_of_a_write_where_one_came_back_and_else_of_reads() {
    let db = router(Some(keys()));
    let mut stage = Stage::new(&ClientLayer::new(&db));
    let session = session_at(&db, 500);
    let mut read_on_the_primary = claim(500);
    read_on_the_primary.beyond = true;
    let mut written = claim(500);
    (written.beyond, written.uncaptured) = (true, true);
    for (claim, renewal) in [
        (claim(500), Renewal::None),
        (read_on_the_primary, Renewal::Reads),
        (claim(501), Renewal::Known),
        (written, Renewal::Known),
        (written, Renewal::Known),
    ] {
        stage.answers(&[keys().sign(&claim, None).as_str()]);
        session.scope(stage.call(request())).await;
        assert_eq!(session.renewal(), renewal, "{claim:?}");
        session.tell();
    }
}

#[tokio::test]
async fn a_bad_token_that_comes_back_is_none() {
    let db = router(Some(keys()));
    let mut stage = Stage::new(&ClientLayer::new(&db));
    let session = session_at(&db, 500);
    let other = Keys::new("another-secret-of-at-least-32-bytes!").unwrap();
    let forged = other.sign(&claim(900), None).to_string();
    let (good, long) = (token(900).to_string(), "A".repeat(9000));
    for bad in [
        &[&*forged][..],
        &[&good, &good],
        &[&long],
        &["%", ""],
        &[""],
    ] {
        stage.answers(bad);
        stage.ends_with(bad);
        let response = session.scope(stage.call(request())).await;
        read_out(response.into_body()).await;
        assert_eq!(stands(&session).0, Some(500), "{bad:?}");
        assert_eq!(session.renewal(), Renewal::None, "{bad:?}");
    }
}

/// Reads a body to its end, and counts its frames.
async fn read_out(body: ClientBody<Frames, Postgres>) -> usize {
    let mut body = pin!(body);
    let mut frames = 0;
    while let Some(frame) = poll_fn(|context| body.as_mut().poll_frame(context)).await {
        frame.unwrap();
        frames += 1;
    }
    frames
}

#[tokio::test]
async fn the_trailers_of_a_stream_tell_what_was_written_last() {
    let db = router(Some(keys()));
    let mut stage = Stage::new(&ClientLayer::new(&db));
    let session = db.session();
    stage.answers(&[token(600).as_str()]);
    stage.ends_with(&[token(900).as_str()]);
    let response = session.scope(stage.call(request())).await;
    assert_eq!(stands(&session).0, Some(600));
    // Also where it is read outside of the session.
    assert_eq!(read_out(response.into_body()).await, 2);
    assert_eq!(stands(&session).0, Some(900));
}

#[tokio::test]
async fn a_body_is_as_long_as_the_one_in_it() {
    let db = router(Some(keys()));
    let mut stage = Stage::new(&ClientLayer::new(&db));
    let response = db.session().scope(stage.call(request())).await;
    assert_eq!(response.body().size_hint().exact(), Some(11));
    assert!(!response.body().is_end_stream());
    assert!(ClientBody::<Frames, Postgres>::default().is_end_stream());
}

#[tokio::test]
async fn tokens_are_bound_as_the_called_service_binds_them() {
    let db = router(Some(keys()));
    let layer = ClientLayer::new(&db).bind(|parts| {
        let user = parts.headers.get("x-user")?;
        user.to_str().ok().map(str::to_owned)
    });
    let mut stage = Stage::new(&layer);
    let session = session_at(&db, 500);
    let for_ann = || {
        let mut request = request();
        request
            .headers_mut()
            .insert("x-user", "ann".parse().unwrap());
        request
    };
    stage.answers(&[token(900).as_str()]);
    session.scope(stage.call(for_ann())).await;
    assert_eq!(stage.told(Some("ann")).lsn, Some(Lsn::new(500)));
    assert_eq!(stands(&session).0, Some(500), "nobody's is not hers");
    let bound = keys().sign(&claim(900), Some("ann"));
    stage.answers(&[bound.as_str()]);
    session.scope(stage.call(for_ann())).await;
    assert_eq!(stands(&session).0, Some(900));
    session.scope(stage.call(request())).await;
    assert_eq!(stage.told(None).lsn, Some(Lsn::new(900)));
}

#[tokio::test]
async fn a_header_of_another_name_is_used_both_ways() {
    let db = router(Some(keys()));
    let layer = ClientLayer::new(&db).header(HeaderName::from_static("x-notes-session"));
    let mut stage = Stage::new(&layer);
    let session = session_at(&db, 500);
    stage.answers(&[token(900).as_str()]);
    session.scope(stage.call(request())).await;
    assert!(stage.sent().is_empty());
    assert_eq!(stands(&session).0, Some(500));
    let exchange = stage.exchange.lock().unwrap();
    assert!(exchange.sent[0].contains_key("x-notes-session"));
    assert!(exchange.sent[0]["x-notes-session"].is_sensitive());
}
