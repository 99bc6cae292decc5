//! One session of the service's clients: each operation on another instance, with nothing but the jar.
//!
//! It knows what an answer proves. A version in it proves a write, whatever the status says; a refused
//! connection proves that there was none; anything else proves nothing. Judging is the checker's.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use hyper_client::client::legacy::Client;
use hyper_client::client::legacy::connect::HttpConnector;
use hyper_client::rt::TokioExecutor;
use serde::Deserialize;

use crate::clock;
use crate::history::{Entry, History, Op, Outcome};
use crate::instances::Addresses;
use crate::jar::{Carrier, Jar};

/// Says that a part of what the session saw may be lost.
const LOST: &str = "x-lagwise-lost";

/// The most bytes of an answer; notes are short.
const LONGEST: usize = 1 << 20;

/// What all sessions of a run share.
#[derive(Clone, Debug)]
pub struct Field {
    /// Where the instances are.
    pub addresses: Arc<Addresses>,
    /// Where operations are entered.
    pub history: Arc<History>,
    /// The longest that an operation may take.
    pub deadline: Duration,
    /// Connections, kept for the next request.
    http: Client<HttpConnector, Body>,
}

/// One session.
#[derive(Debug)]
pub struct Session {
    field: Field,
    number: usize,
    order: usize,
    jar: Jar,
    random: fastrand::Rng,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Note {
    version: Option<u64>,
    body: Option<String>,
    served_by: Option<String>,
    staleness_ms: Option<f64>,
}

/// A response, or why there was none.
enum Answer {
    Came(StatusCode, HeaderMap, Note),
    Refused,
    Broken,
}

impl Field {
    /// No operations yet.
    #[must_use]
    pub fn new(addresses: Arc<Addresses>, deadline: Duration) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(deadline));
        connector.set_nodelay(true);
        Self {
            addresses,
            history: Arc::default(),
            deadline,
            http: Client::builder(TokioExecutor::new()).build(connector),
        }
    }

    async fn ask(&self, request: Request<Body>) -> Answer {
        let response = match self.http.request(request).await {
            Ok(response) => response,
            Err(error) if error.is_connect() => return Answer::Refused,
            Err(_) => return Answer::Broken,
        };
        let (parts, body) = response.into_parts();
        let Ok(body) = to_bytes(Body::new(body), LONGEST).await else {
            return Answer::Broken;
        };
        let note = serde_json::from_slice(&body).unwrap_or_default();
        Answer::Came(parts.status, parts.headers, note)
    }
}

impl Session {
    /// A session that carries nothing yet.
    #[must_use]
    pub fn new(field: &Field, number: usize, carrier: Carrier, seed: u64) -> Self {
        Self {
            field: field.clone(),
            number,
            order: 0,
            jar: Jar::new(carrier),
            random: fastrand::Rng::with_seed(seed),
        }
    }

    /// Writes a body that nobody else writes.
    pub async fn write(&mut self, key: u32) -> Entry {
        self.put(key, "").await
    }

    /// The same, by a handler that fails after its write.
    pub async fn write_and_fail(&mut self, key: u32) -> Entry {
        self.put(key, "?fail=1").await
    }

    /// Reads a note.
    pub async fn read(&mut self, key: u32) -> Entry {
        self.run((Op::Read, key), Method::GET, "", String::new())
            .await
    }

    /// The session's own source of randomness.
    pub fn random(&mut self) -> &mut fastrand::Rng {
        &mut self.random
    }

    async fn put(&mut self, key: u32, query: &str) -> Entry {
        let nonce = format!("{}-{}", self.number, self.order + 1);
        self.run((Op::Write, key), Method::PUT, query, nonce).await
    }

    /// Sends one request to some instance, and enters what became of it.
    async fn run(&mut self, what: (Op, u32), method: Method, query: &str, nonce: String) -> Entry {
        self.order += 1;
        let (instance, address) = self.field.addresses.any(&mut self.random);
        let (op, key) = what;
        let mut entry = Entry {
            session: self.number,
            order: self.order,
            op,
            key,
            version: 0,
            nonce,
            began: clock::now(),
            ended: Duration::ZERO,
            outcome: Outcome::Failed,
            node: String::new(),
            instance,
            staleness: None,
            lost: false,
        };
        let answer = match self.request(method, &format!("{address}/notes/{key}{query}"), &entry) {
            Some(request) => {
                let asked = self.field.ask(request);
                let answer = tokio::time::timeout(self.field.deadline, asked).await;
                answer.unwrap_or(Answer::Broken)
            }
            None => Answer::Refused,
        };
        entry.ended = clock::now();
        self.settle(&mut entry, answer);
        self.field.history.enter(entry.clone());
        entry
    }

    fn request(&self, method: Method, url: &str, entry: &Entry) -> Option<Request<Body>> {
        let body = Body::from(entry.nonce.clone());
        let request = Request::builder().method(method).uri(url);
        let mut request = request.body(body).ok()?;
        self.jar.give(entry.began, request.headers_mut());
        Some(request)
    }

    /// Enters an answer, and takes in what it sets.
    fn settle(&mut self, entry: &mut Entry, answer: Answer) {
        let (status, headers, note) = match answer {
            Answer::Came(status, headers, note) => (status, headers, note),
            Answer::Broken if entry.op == Op::Write => {
                entry.outcome = Outcome::Unknown;
                return;
            }
            Answer::Broken | Answer::Refused => return,
        };
        self.jar.take(entry.ended, &headers);
        entry.lost = headers.get(LOST).is_some_and(|said| said == "1");
        entry.node = note.served_by.unwrap_or_default();
        let age = note.staleness_ms.map(|millis| millis / 1e3);
        entry.staleness = age.and_then(|age| Duration::try_from_secs_f64(age).ok());
        entry.outcome = match (entry.op, note.version) {
            (Op::Read, _) if status == StatusCode::NOT_FOUND => Outcome::Ok,
            (Op::Read, Some(version)) if status.is_success() => {
                entry.version = version;
                entry.nonce = note.body.unwrap_or_default();
                Outcome::Ok
            }
            (Op::Write, Some(version)) => {
                entry.version = version;
                Outcome::Ok
            }
            (Op::Write, None) if !status.is_client_error() => Outcome::Unknown,
            (Op::Read | Op::Write, _) => Outcome::Failed,
        };
    }
}
