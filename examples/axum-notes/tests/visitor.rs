//! Somebody who sends back what the service sent, to whichever instance.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use axum::body::{Body, HttpBody as _, to_bytes};
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::{HeaderMap, Request};
use hyper_client::client::legacy::Client;
use hyper_client::client::legacy::connect::HttpConnector;
use hyper_client::rt::TokioExecutor;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::instance::{Instance, PATIENCE};

/// Whatever happens, no request may take longer: its deadline, and what the layer adds.
pub(crate) const LONGEST: Duration = Duration::from_secs(4);

/// One visitor: by cookies, unless it keeps the header.
#[derive(Debug)]
pub(crate) struct Visitor {
    http: Client<HttpConnector, Body>,
    by_header: bool,
    cookies: BTreeMap<String, String>,
    header: Option<String>,
}

/// An answer that was read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Default for Visitor {
    fn default() -> Self {
        Self {
            http: Client::builder(TokioExecutor::new()).build_http(),
            by_header: false,
            cookies: BTreeMap::new(),
            header: None,
        }
    }
}

impl Visitor {
    pub(crate) fn with_header() -> Self {
        Self {
            by_header: true,
            ..Self::default()
        }
    }

    pub(crate) async fn get(&mut self, instance: &Instance, path: &str) -> Answer {
        self.send(instance, "GET", path, "").await
    }

    pub(crate) async fn put(&mut self, instance: &Instance, id: i64, text: &str) -> Answer {
        let path = format!("/notes/{id}");
        self.send(instance, "PUT", &path, text.to_owned()).await
    }

    /// Reads a note that is there.
    pub(crate) async fn note(&mut self, instance: &Instance, id: i64) -> Value {
        let answer = self.get(instance, &format!("/notes/{id}")).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    pub(crate) async fn send(
        &mut self,
        instance: &Instance,
        method: &str,
        path: &str,
        body: impl Into<Body>,
    ) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", instance.address));
        if self.by_header {
            if let Some(header) = &self.header {
                request = request.header("x-lagwise", header);
            }
        } else if !self.cookies.is_empty() {
            let pairs = self
                .cookies
                .iter()
                .map(|(name, value)| format!("{name}={value}"));
            request = request.header(COOKIE, pairs.collect::<Vec<_>>().join("; "));
        }
        let asked = self.http.request(request.body(body.into()).unwrap());
        let answer = timeout(LONGEST, asked).await.expect("it ends in time");
        let (parts, body) = answer.unwrap().into_parts();
        let body = to_bytes(Body::new(body), 1 << 20).await.unwrap().to_vec();
        self.keep(&parts.headers);
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body,
        }
    }

    fn keep(&mut self, headers: &HeaderMap) {
        for cookie in headers.get_all(SET_COOKIE) {
            let pair = cookie.to_str().unwrap().split(';').next().unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        if let Some(header) = headers.get("x-lagwise") {
            self.header = Some(header.to_str().unwrap().to_owned());
        }
    }
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        let fail = |error| panic!("{error} in {:?}", self.text());
        serde_json::from_slice(&self.body).unwrap_or_else(fail)
    }

    /// What it says went wrong.
    pub(crate) fn error(&self) -> String {
        self.json()["error"].as_str().unwrap().to_owned()
    }

    /// Whether it tells the visitor's session anything.
    pub(crate) fn has_token(&self) -> bool {
        self.headers.contains_key("x-lagwise") && self.headers.contains_key(SET_COOKIE)
    }
}

impl Visitor {
    /// Begins to read what comes line by line.
    pub(crate) async fn lines(&self, instance: &Instance, path: &str) -> Lines {
        let uri = format!("{}{path}", instance.address);
        let asked = self.http.get(uri.parse().unwrap());
        let answer = timeout(LONGEST, asked).await.expect("it begins in time");
        Lines {
            body: Body::new(answer.unwrap().into_body()),
            held: Vec::new(),
        }
    }

    /// Sends what is no request, and returns what comes back.
    pub(crate) async fn http_garbage(&self, instance: &Instance) -> String {
        let host = instance.address.trim_start_matches("http://");
        let mut socket = TcpStream::connect(host).await.unwrap();
        socket
            .write_all(b"\x16\x03\x01 is no request\r\n\r\n")
            .await
            .unwrap();
        let mut text = String::new();
        let read = timeout(LONGEST, socket.read_to_string(&mut text)).await;
        read.expect("it ends in time").unwrap();
        text
    }
}

/// An answer that comes line by line.
#[derive(Debug)]
pub(crate) struct Lines {
    body: Body,
    held: Vec<u8>,
}

impl Lines {
    pub(crate) async fn next(&mut self) -> String {
        loop {
            if let Some(end) = self.held.iter().position(|byte| *byte == b'\n') {
                let line = self.held.drain(..=end).collect();
                return String::from_utf8(line).unwrap();
            }
            let frame = poll_fn(|cx| Pin::new(&mut self.body).poll_frame(cx));
            let frame = timeout(PATIENCE, frame).await.expect("a line in time");
            let bytes = frame.expect("no end").unwrap().into_data();
            self.held.extend(bytes.unwrap());
        }
    }
}
