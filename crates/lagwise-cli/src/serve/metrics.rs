//! `/metrics`: what is known now, in the text that the asker accepts.
//!
//! It is put together when somebody asks: between two scrapes it costs nothing, and a node that has
//! gone leaves no figure behind.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CONTENT_TYPE, VARY};
use axum::response::{IntoResponse, Response};
use lagwise::status::{Cluster, Node};

use super::Service;
use super::counts::Key;
use super::exposition::{Exposition, Grammar};
use super::families::{
    BUILD, CLUSTER, EVENTS, MEMBERSHIP, NODES, SERVER, SERVER_ANSWERED, SERVERS,
};
use crate::vitals::Vitals;

/// `/metrics`
pub(super) async fn report(State(service): State<Service>, headers: HeaderMap) -> Response {
    let accepts: Vec<&str> = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    let grammar = Grammar::accepted(&accepts.join(","));
    let headers = [(CONTENT_TYPE, grammar.media_type()), (VARY, "accept")];
    (headers, Figures::of(&service).text(grammar)).into_response()
}

/// All there is to show.
struct Figures {
    cluster: Cluster,
    servers: Vec<(Arc<str>, Option<Vitals>)>,
    events: Vec<(Key, u64)>,
}

impl Figures {
    fn of(service: &Service) -> Self {
        let cluster = Cluster::of(&service.db);
        let said = |node: &Node| (Arc::clone(&node.name), service.rounds.of(&node.name));
        Self {
            servers: cluster.nodes.iter().map(said).collect(),
            events: service.counts.all(),
            cluster,
        }
    }

    fn text(&self, grammar: Grammar) -> String {
        let mut text = Exposition::new(grammar);
        text.add(
            &BUILD,
            [(vec![("version", env!("CARGO_PKG_VERSION"))], 1.0)],
        );
        for (family, read) in &CLUSTER {
            text.add(family, read(&self.cluster).map(|value| (vec![], value)));
        }
        self.add_nodes(&mut text);
        self.add_servers(&mut text);
        self.add_events(&mut text);
        text.end()
    }

    fn add_nodes(&self, text: &mut Exposition) {
        let nodes = &self.cluster.nodes;
        for (family, read) in &NODES {
            let figures = nodes
                .iter()
                .filter_map(|node| Some((of(&node.name), read(node)?)));
            text.add(family, figures);
        }
        let memberships = nodes.iter().map(|node| {
            let labels = vec![
                ("node", &*node.name),
                ("membership", node.membership),
                ("cause", node.cause.unwrap_or_default()),
            ];
            (labels, 1.0)
        });
        text.add(&MEMBERSHIP, memberships);
    }

    fn add_servers(&self, text: &mut Exposition) {
        let servers = &self.servers;
        for (family, read) in &SERVERS {
            let figures = servers
                .iter()
                .filter_map(|(name, said)| Some((of(name), read(said.as_ref()?)?)));
            text.add(family, figures);
        }
        let answered = self.servers.iter();
        let answered = answered.map(|(name, said)| (of(name), f64::from(u8::from(said.is_some()))));
        text.add(&SERVER_ANSWERED, answered);
        let versions: Vec<(&Arc<str>, String)> = self
            .servers
            .iter()
            .filter_map(|(name, said)| Some((name, version(said.as_ref()?.version))))
            .collect();
        let info = versions
            .iter()
            .map(|(name, version)| (vec![("node", &***name), ("version", version.as_str())], 1.0));
        text.add(&SERVER, info);
    }

    fn add_events(&self, text: &mut Exposition) {
        let events = self.events.iter().map(|(key, count)| {
            let labels = vec![
                ("node", key.node.as_deref().unwrap_or_default()),
                ("event", key.event),
                ("cause", key.cause),
            ];
            (labels, super::families::float(*count))
        });
        text.add(&EVENTS, events);
    }
}

fn of(name: &str) -> Vec<(&'static str, &str)> {
    vec![("node", name)]
}

/// 150018 is 15.18.
fn version(number: i32) -> String {
    format!("{}.{}", number / 10_000, number % 10_000)
}
