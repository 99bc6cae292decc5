//! No password leaves a router: not by `Debug`, not in an error, not in a trace.

use std::error::Error;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lagwise::{NodeConfig, PgRouter};
use lagwise_tests::cluster::{PATIENCE, number, start};
use lagwise_tests::observe::until;
use lagwise_tests::workload::LANES;
use lagwise_tests::{Outcome, cluster};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

const PASSWORD: &str = "s3cr3t-Pa55word";

/// A node's URL with a password in it; the servers of these tests ask for none.
fn secret_url(node: &lagwise_testkit::Node) -> String {
    node.url()
        .replace("postgres@", &format!("postgres:{PASSWORD}@"))
}

/// Fails if a text holds the password, as it is or as it stands in a URL.
fn clean(what: &str, text: &str) {
    assert!(
        !text.contains(PASSWORD),
        "the password is in {what}: {text}"
    );
}

/// An error as it is printed, with all its causes, in every form there is.
fn clean_error(what: &str, error: &lagwise::Error) {
    clean(what, &format!("{error} {error:?} {error:#?}"));
    let mut cause = error.source();
    while let Some(error) = cause {
        clean(what, &format!("{error} {error:?}"));
        cause = error.source();
    }
}

/// Writes down every span and event of the thread that it is set on.
#[derive(Clone, Default)]
struct Ear(Arc<Mutex<String>>);

impl Ear {
    fn heard(&self) -> String {
        let text = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        text.clone()
    }

    fn note(&self, record: impl FnOnce(&mut Notes<'_>), metadata: Option<&Metadata<'_>>) {
        let mut text = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(metadata) = metadata {
            write!(text, "\n{}: {}", metadata.target(), metadata.name()).ok();
        }
        record(&mut Notes(&mut text));
    }
}

struct Notes<'a>(&'a mut String);

impl Visit for Notes<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        write!(self.0, " {field}={value:?}").ok();
    }
}

impl Subscriber for Ear {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        self.note(|notes| span.record(notes), Some(span.metadata()));
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        self.note(|notes| values.record(notes), None);
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        self.note(|notes| event.record(notes), Some(event.metadata()));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[tokio::test]
async fn no_password_is_in_what_is_printed_or_traced_of_a_router_in_trouble() -> Outcome {
    let ear = Ear::default();
    let _listening = tracing::subscriber::set_default(ear.clone());
    let cluster = start(2, LANES).await?;
    let [p, r1, r2] = [cluster.primary(), cluster.replica(0), cluster.replica(1)];
    let options: PgConnectOptions = secret_url(r1).parse()?;
    let short = || PgPoolOptions::new().acquire_timeout(Duration::from_millis(300));
    let pool = short().connect_lazy(&secret_url(r2))?;
    let config = NodeConfig::url(secret_url(p))
        .name("p")
        .pool_options(short());
    clean("Debug of a node", &format!("{config:?}"));
    let builder = cluster::bare()
        .primary(config)
        .replica(
            NodeConfig::options(options)
                .name("r1")
                .pool_options(short()),
        )
        .replica(NodeConfig::pool(pool).name("r2"));
    clean("Debug of a builder", &format!("{builder:#?}"));
    let impatient = |policy: &mut lagwise::Policy| policy.write_wait = Duration::from_millis(200);
    let router = cluster::settle(builder.policy(impatient), 2).await?;
    clean("Debug of a router", &format!("{router:?} {router:#?}"));
    let session = router.session();
    clean("Debug of a session", &format!("{session:?} {session:#?}"));
    clean("Debug of a snapshot", &format!("{:?}", router.snapshot()));

    let mut node = session.read().await?;
    clean(
        "Debug of a connection",
        &format!("{node:?} {}", node.route()),
    );
    number(&mut node, "select 1::int8").await?;
    drop(node);
    let write = session.write().await?;
    clean("Debug of a connection", &format!("{write:?}"));
    drop(write);
    let transaction = session.begin().await?;
    clean("Debug of a transaction", &format!("{transaction:?}"));
    transaction.rollback().await?;
    trouble(&router, &cluster).await?;
    clean("Debug of a router", &format!("{router:?}"));
    router.close().await;

    let heard = ear.heard();
    clean("the traces", &heard);
    assert!(heard.contains("lagwise"), "something was heard: {heard}");
    Ok(())
}

/// Errors of every kind, while nodes fail.
async fn trouble(router: &PgRouter, cluster: &lagwise_testkit::Cluster) -> Outcome {
    for node in cluster.nodes() {
        node.client_wire().cut();
    }
    let mut failures = 0;
    let all_fail = async || {
        let read = router
            .run_read(|node| Box::pin(number(node, "select 1::int8")))
            .await;
        for error in [read.err(), router.drain("x").err()].into_iter().flatten() {
            clean_error("an error", &error);
            failures += 1;
        }
        let timeout = Duration::from_millis(50);
        match router.ready(2, timeout).await {
            Ok(()) => Ok(false),
            Err(error) => {
                clean_error("an error of ready", &error);
                Ok(true)
            }
        }
    };
    until("the nodes are gone", PATIENCE, all_fail).await?;
    assert!(failures > 0, "reads failed");
    if let Err(error) = router.write().await {
        clean_error("an error of a write", &error);
    }
    Ok(())
}

#[tokio::test]
async fn no_password_is_in_the_refusal_of_a_builder() {
    let url = |rest: &str| format!("postgres://app:{PASSWORD}@{rest}");
    let bad = [
        url("db:not-a-port/app"),
        url("[::1/app"),
        url("db/app?sslmode=no-such-mode"),
        format!("postgres://app:{PASSWORD}%zz@db/app"),
        format!("nonsense {PASSWORD}"),
        format!("mysql://app:{PASSWORD}@db/app"),
    ];
    for url in bad {
        let builder = PgRouter::builder()
            .primary("postgres://app@db-1/app")
            .replica(url.clone())
            .replica(url);
        clean("Debug of a builder", &format!("{builder:?}"));
        if let Err(error) = builder.connect_lazy() {
            clean_error("the refusal of a builder", &error);
        }
    }
}
