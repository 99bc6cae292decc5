//! Health checks, for load balancers and for whoever keeps this process running.
//!
//! The verdicts are the monitor's: membership, the primary, the proved bound. An answer is a status and
//! one line that says why. What is not asked for in so many words is refused: a limit with a slip of the
//! pen must not pass for none.

use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use lagwise::status::{Cluster, Node};
use serde::{Deserialize, Deserializer};

use super::Service;
use super::answer::line;
use crate::format::{duration, short};
use crate::printable::Printable;

/// What is asked of a node.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    role: Option<Role>,
    #[serde(default, deserialize_with = "limit")]
    max_lag: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Role {
    Primary,
    Replica,
}

fn limit<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(value)?;
    duration(&text).map(Some).map_err(serde::de::Error::custom)
}

/// `/healthz`: whether this process still looks at the nodes.
pub(super) async fn itself(State(service): State<Service>) -> Response {
    if service.db.is_closed() {
        return line(StatusCode::SERVICE_UNAVAILABLE, "it is ending");
    }
    let age = lagwise::now().since(service.db.snapshot().taken_at);
    if age > OVERDUE {
        let text = format!("the monitor has not looked for {}", short(age));
        return line(StatusCode::SERVICE_UNAVAILABLE, text);
    }
    line(StatusCode::OK, "ok")
}

/// `/node/{name}`: whether it may be used as asked.
pub(super) async fn node(
    State(service): State<Service>,
    Path(name): Path<String>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Response {
    match asked {
        Ok(Query(asked)) => judge(&Cluster::of(&service.db), &name, &asked),
        Err(_) => line(
            StatusCode::BAD_REQUEST,
            "what may be asked is role=primary or role=replica, and max_lag with a unit, such as \
             max_lag=2s",
        ),
    }
}

/// `/primary/{name}`: whether it is the primary, and answers.
pub(super) async fn primary_named(
    State(service): State<Service>,
    Path(name): Path<String>,
) -> Response {
    let asked = Asked {
        role: Some(Role::Primary),
        max_lag: None,
    };
    judge(&Cluster::of(&service.db), &name, &asked)
}

/// `/primary`: who it is.
pub(super) async fn primary(State(service): State<Service>) -> Response {
    let cluster = Cluster::of(&service.db);
    match (&cluster.primary, cluster.primary_lost_seconds) {
        (Some(name), None) => named(name, line(StatusCode::OK, Printable(name))),
        (Some(name), Some(lost)) => {
            let lost = short(Duration::from_secs_f64(lost));
            let text = format!("{} has not answered for {lost}", Printable(name));
            line(StatusCode::SERVICE_UNAVAILABLE, text)
        }
        (None, _) => line(StatusCode::SERVICE_UNAVAILABLE, "no primary is known"),
    }
}

fn judge(cluster: &Cluster, name: &str, asked: &Asked) -> Response {
    let Some(node) = cluster.node(name) else {
        let names: Vec<String> = cluster
            .nodes
            .iter()
            .map(|node| Printable(&node.name).to_string())
            .collect();
        let text = format!(
            "there is no node {}; there are {}",
            Printable(name),
            names.join(", ")
        );
        return line(StatusCode::NOT_FOUND, text);
    };
    let (status, text) = match verdict(cluster, node, asked) {
        Ok(text) => (StatusCode::OK, text),
        Err(text) => (StatusCode::SERVICE_UNAVAILABLE, text),
    };
    let text = format!("{} {text}", Printable(&node.name));
    named(&node.name, line(status, text))
}

/// Why a node may be used as asked, or why not.
fn verdict(cluster: &Cluster, node: &Node, asked: &Asked) -> Result<String, String> {
    if node.is_primary {
        return match (asked.role, cluster.primary_lost_seconds) {
            (Some(Role::Replica), _) => Err("is the primary".to_owned()),
            (_, None) => Ok("is the primary".to_owned()),
            (_, Some(lost)) => Err(format!(
                "is the primary, and has not answered for {}",
                short(Duration::from_secs_f64(lost))
            )),
        };
    }
    if asked.role == Some(Role::Primary) {
        return Err("is not the primary".to_owned());
    }
    if let Some(out) = outside(node) {
        return Err(out);
    }
    let bound = node.staleness_seconds.map(Duration::from_secs_f64);
    let within = |limit: Duration| bound.is_some_and(|bound| bound <= limit);
    let behind = bound.map_or_else(
        || "with nothing proved".to_owned(),
        |bound| format!("at most {} behind", short(bound)),
    );
    match asked.max_lag {
        Some(limit) if !within(limit) => Err(format!(
            "is in rotation, {behind}, and so not proved to be within {}",
            short(limit)
        )),
        _ => Ok(format!("is in rotation, {behind}")),
    }
}

/// What a node that takes no reads is, and why.
fn outside(node: &Node) -> Option<String> {
    let cause = node
        .cause
        .map_or_else(String::new, |cause| format!(": {cause}"));
    match node.membership {
        IN_ROTATION => None,
        "ejected" => Some(format!("is ejected{cause}")),
        other => Some(format!("is in {other}{cause}")),
    }
}

/// Says whom an answer is about, to programs.
fn named(name: &str, response: Response) -> Response {
    let value = HeaderValue::from_str(name).ok();
    let header = value.map(|value| [(NODE, value)]);
    (header, response).into_response()
}

const NODE: HeaderName = HeaderName::from_static("x-lagwise-node");

const IN_ROTATION: &str = "in_rotation";

/// The monitor publishes every second at least.
const OVERDUE: Duration = Duration::from_secs(5);
