//! What each instance knows of the nodes at every moment, by its own account.
//!
//! An instance tells its events as they happen (`GET /events`), each with its age, so that a moment is
//! exact to what a message takes. Nothing here judges guarantees: it dates what an instance noticed,
//! and a service that tells nothing is run all the same.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::http::{Request, StatusCode};
use hyper_client::client::legacy::Client;
use hyper_client::client::legacy::connect::HttpConnector;
use hyper_client::rt::TokioExecutor;
use serde::Deserialize;
use tokio::task::JoinSet;

use crate::clock;
use crate::instances::Addresses;

/// The pause before an instance that does not answer is asked again.
const PAUSE: Duration = Duration::from_millis(20);

/// What an instance knew from a moment on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// When it noticed.
    pub at: Duration,
    /// The primary, while it can be asked.
    pub primary: Option<String>,
    /// The highest timeline that it has seen a primary on.
    pub timeline: u32,
    /// The replicas that take reads.
    pub serving: BTreeSet<String>,
}

/// The views of all instances, each's in the order of time.
#[derive(Clone, Debug, Default)]
pub struct Views(pub Vec<Vec<View>>);

impl Views {
    /// What an instance knew at a moment.
    #[must_use]
    pub fn at(&self, instance: usize, at: Duration) -> Option<&View> {
        let views = self.0.get(instance)?;
        views.iter().rev().find(|view| view.at <= at)
    }

    /// The first moment from `from` on at which an instance's view is such; `from` if it was before.
    #[must_use]
    pub fn first(
        &self,
        instance: usize,
        from: Duration,
        is_such: impl Fn(&View) -> bool,
    ) -> Option<Duration> {
        if self.at(instance, from).is_some_and(&is_such) {
            return Some(from);
        }
        let views = self.0.get(instance)?;
        let mut later = views.iter().filter(|view| view.at >= from);
        later.find(|view| is_such(view)).map(|view| view.at)
    }
}

/// Listens to all instances until it is dropped.
#[derive(Debug)]
pub struct Watch {
    views: Arc<Mutex<Views>>,
    /// How many instances have said that they tell nothing. Relaxed: it carries nothing but itself.
    silent: Arc<AtomicUsize>,
    _listeners: JoinSet<()>,
}

impl Watch {
    /// Begins to listen.
    #[must_use]
    pub fn begin(addresses: &Arc<Addresses>, instances: usize) -> Self {
        let views = Arc::new(Mutex::new(Views(vec![Vec::new(); instances])));
        let silent = Arc::default();
        let mut listeners = JoinSet::new();
        for number in 0..instances {
            let listener = Listener {
                number,
                addresses: Arc::clone(addresses),
                views: Arc::clone(&views),
                silent: Arc::clone(&silent),
                http: Client::builder(TokioExecutor::new()).build_http(),
            };
            listeners.spawn(listener.listen());
        }
        Self {
            views,
            silent,
            _listeners: listeners,
        }
    }

    /// All that was heard so far.
    #[must_use]
    pub fn views(&self) -> Views {
        let views = self.views.lock().unwrap_or_else(PoisonError::into_inner);
        views.clone()
    }

    /// Whether every instance has these replicas in rotation, and a primary, or tells nothing.
    #[must_use]
    pub fn all_serve(&self, replicas: &[String]) -> bool {
        let views = self.views.lock().unwrap_or_else(PoisonError::into_inner);
        let serves = |view: &&View| {
            view.primary.is_some() && replicas.iter().all(|name| view.serving.contains(name))
        };
        let last = views.0.iter().filter_map(|views| views.last());
        last.filter(serves).count() + self.silent.load(Ordering::Relaxed) >= views.0.len()
    }
}

/// Listens to one instance, wherever it is.
struct Listener {
    number: usize,
    addresses: Arc<Addresses>,
    views: Arc<Mutex<Views>>,
    silent: Arc<AtomicUsize>,
    http: Client<HttpConnector, Body>,
}

/// A line of what an instance tells: all nodes, or one event.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Line {
    Nodes {
        primary: Option<String>,
        primary_lost_ms: Option<f64>,
        timeline: Option<u32>,
        nodes: Vec<Node>,
    },
    Event {
        event: String,
        node: Option<String>,
        timeline: Option<u32>,
        age_ms: f64,
    },
}

#[derive(Debug, Deserialize)]
struct Node {
    name: String,
    membership: String,
}

impl Listener {
    async fn listen(self) {
        loop {
            let address = self.addresses.of(self.number);
            match self.hear(&address).await {
                // A service without it has nothing to say later, either.
                Some(StatusCode::NOT_FOUND) => {
                    self.silent.fetch_add(1, Ordering::Relaxed);
                    return;
                }
                _ => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    /// Hears an instance out; says what it answered, if it did.
    async fn hear(&self, address: &str) -> Option<StatusCode> {
        let request = Request::get(format!("{address}/events")).body(Body::empty());
        let response = self.http.request(request.ok()?).await.ok()?;
        let status = response.status();
        if !status.is_success() {
            return Some(status);
        }
        let mut body = Body::new(response.into_body());
        let mut held: Vec<u8> = Vec::new();
        while let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            held.extend(frame.into_data().ok().unwrap_or_default());
            while let Some(end) = held.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = held.drain(..=end).collect();
                serde_json::from_slice(&line)
                    .into_iter()
                    .for_each(|line| self.note(line));
            }
        }
        Some(status)
    }

    fn note(&self, line: Line) {
        let now = clock::now();
        let mut views = self.views.lock().unwrap_or_else(PoisonError::into_inner);
        let views = &mut views.0[self.number];
        let view = views.last().cloned().unwrap_or_default().after(now, line);
        // An event that was already told with all nodes is no news.
        views.extend(view);
    }
}

impl View {
    /// The next view, if a line changes anything.
    fn after(self, now: Duration, line: Line) -> Option<Self> {
        let mut next = self.clone();
        match line {
            Line::Nodes {
                primary,
                primary_lost_ms,
                timeline,
                nodes,
            } => {
                let serves = |node: &Node| node.membership == "in_rotation";
                next.serving = nodes
                    .into_iter()
                    .filter(serves)
                    .map(|node| node.name)
                    .collect();
                next.primary = primary.filter(|_| primary_lost_ms.is_none());
                next.timeline = next.timeline.max(timeline.unwrap_or(0));
                next.at = now;
            }
            Line::Event {
                event,
                node,
                timeline,
                age_ms,
            } => {
                next.happen(&event, node?);
                next.timeline = next.timeline.max(timeline.unwrap_or(0));
                let age = Duration::try_from_secs_f64(age_ms / 1e3).unwrap_or_default();
                // The order of lines is that of events, whatever ages are rounded to.
                next.at = now.saturating_sub(age).max(self.at);
            }
        }
        let news = (&next.primary, next.timeline, &next.serving)
            != (&self.primary, self.timeline, &self.serving);
        news.then_some(next)
    }

    fn happen(&mut self, event: &str, node: String) {
        match event {
            "ejected" => {
                self.serving.remove(&node);
            }
            "readmitted" => {
                self.serving.insert(node);
            }
            "primary_found" => self.primary = Some(node),
            "primary_lost" => self.primary = None,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn follow(lines: &[(u32, &str)]) -> Views {
        let mut views: Vec<View> = Vec::new();
        for (at, line) in lines {
            let line = serde_json::from_str(line).unwrap();
            let last = views.last().cloned().unwrap_or_default();
            views.extend(last.after(MS * *at, line));
        }
        Views(vec![views])
    }

    const NODES: &str = r#"{"primary":"primary","primary_lost_ms":null,"timeline":1,"nodes":[
        {"name":"primary","membership":"ejected"},{"name":"replica-1","membership":"in_rotation"}]}"#;

    #[test]
    fn what_is_noticed_is_dated_by_its_age() {
        let ejected = r#"{"event":"ejected","node":"replica-1","cause":"paused","age_ms":3.0}"#;
        let found = r#"{"event":"primary_found","node":"replica-2","timeline":2,"age_ms":0}"#;
        let views = follow(&[(10, NODES), (53, ejected), (80, found)]);
        let out = |view: &View| !view.serving.contains("replica-1");
        assert_eq!(views.first(0, MS * 20, out), Some(MS * 50), "out");
        assert_eq!(views.first(0, MS * 60, out), Some(MS * 60), "it is already");
        let changed = |view: &View| view.primary.as_deref() == Some("replica-2");
        assert_eq!(views.first(0, MS * 20, changed), Some(MS * 80), "changed");
        assert_eq!(views.at(0, MS * 79).unwrap().timeline, 1, "the old one");
        assert_eq!(views.at(0, MS * 80).unwrap().timeline, 2, "the new one");
        assert_eq!(views.at(0, MS * 9), None, "nothing was heard");
    }

    #[test]
    fn an_event_that_was_told_before_changes_nothing() {
        let readmitted = r#"{"event":"readmitted","node":"replica-1","cause":"paused","age_ms":9}"#;
        let views = follow(&[(10, NODES), (11, readmitted)]);
        assert_eq!(views.0[0].len(), 1, "{views:?}");
    }
}
