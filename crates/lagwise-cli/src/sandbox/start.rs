//! The process that holds a sandbox: starts it, says where it is, obeys, and removes everything.
//!
//! It ends by a signal and never leaves anything: what it cannot do itself, since it was killed, the
//! test kit's watchdog does. A start that is interrupted has started nothing.

use std::fmt::Write as _;
use std::path::Path;

use lagwise_testkit::{Cluster, Installation};
use tokio::net::UnixListener;

use crate::console::{Findings, Wanted, progress};
use crate::failure::Failure;
use crate::format::Format;
use crate::signal::{self, Interrupt};

use super::answer::Answer;
use super::control;
use super::order::Order;
use super::place::{self, Place};
use super::shape::{COUNTS, Shape};
use super::stage::{Stage, told};
use super::standing::APP;

/// Stays until it is told to end.
pub(super) fn run(dir: &Path, shape: &Shape, format: Format) -> Result<(), Failure> {
    signal::runtime()?.block_on(hold(dir, shape, format))
}

async fn hold(dir: &Path, shape: &Shape, format: Format) -> Result<(), Failure> {
    let mut interrupt = Interrupt::listen()?;
    let place = Place::take(dir).await?;
    let started = tokio::select! {
        started = start(&place, shape) => started,
        () = interrupt.come() => {
            // Dropped, the start has removed what there was of it.
            return place.give_back().await;
        }
    };
    let (mut stage, listener) = match started {
        Ok(started) => started,
        Err(failure) => {
            // The failure is what matters; what could not be removed is removed by the next start.
            place.give_back().await.ok();
            return Err(failure);
        }
    };
    let outcome = tokio::select! {
        outcome = stay(&mut stage, &listener, format) => outcome,
        () = interrupt.come() => Ok(()),
    };
    progress("removing everything");
    let removed = stage.end().await;
    let given_back = place.give_back().await;
    outcome.and(removed).and(given_back)
}

async fn start(place: &Place, shape: &Shape) -> Result<(Stage, UnixListener), Failure> {
    let replicas = usize::from(shape.replicas());
    let dir = place.dir().display();
    progress(&match replicas {
        0 => format!("starting a primary in {dir}"),
        1 => format!("starting a primary and a replica in {dir}"),
        _ => format!("starting a primary and {replicas} replicas in {dir}"),
    });
    let names = (0..=replicas).map(|number| match number {
        0 => "primary".to_owned(),
        _ => format!("replica-{number}"),
    });
    let mut builder = Cluster::builder()
        .replicas(replicas)
        .names(names)
        .folder(place.nodes())
        // A replica of another sandbox is foreign here, as it would be anywhere else.
        .own_system_identifier()
        .hba(format!("local all {APP} scram-sha-256"))
        // It may live for days, with statistics that plans depend on.
        .setting("autovacuum", "on");
    if let Some(port) = shape.port {
        builder = builder.ports(port);
    }
    if let Some(version) = shape.pg_version {
        builder = builder.version(version);
    }
    for (name, value) in &shape.settings {
        builder = builder.setting(name, value);
    }
    let failed = |error| Failure::Sandbox(told(&error));
    let installation = match shape.pg_version {
        Some(version) => Installation::find_version(version),
        None => Installation::find(),
    };
    let preloads = shape.preloads(&installation.map_err(failed)?);
    builder = builder.setting("shared_preload_libraries", &preloads);
    let cluster = builder.start().await.map_err(failed)?;
    furnish(&cluster, &preloads).await.map_err(failed)?;
    let listener = control::listen(place.dir())?;
    Ok((Stage::new(cluster, place.dir()), listener))
}

/// Makes the role of applications and its database.
async fn furnish(cluster: &Cluster, preloads: &str) -> lagwise_testkit::Result<()> {
    let primary = cluster.primary();
    let role = format!("create role {APP} login password '{APP}' in role pg_monitor");
    primary.execute(&role).await?;
    primary
        .execute(&format!("create database {APP} owner {APP}"))
        .await?;
    if preloads.contains(COUNTS) {
        let mut connection = primary.connect_to(APP).await?;
        let extension = sqlx::query("create extension pg_stat_statements");
        extension.execute(&mut connection).await?;
    }
    cluster.wait_caught_up().await
}

/// Says where everything is, and obeys.
async fn stay(stage: &mut Stage, listener: &UnixListener, format: Format) -> Result<(), Failure> {
    let answer = stage.answer(&Order::Status).await;
    let text = match format {
        Format::Json => answer.as_json(),
        Format::Text => welcome(&answer, stage.dir()),
    };
    let mut findings = Findings::new();
    findings.put(text.as_bytes())?;
    if findings.show()? == Wanted::Nothing {
        return Ok(());
    }
    let error = control::serve(listener, stage).await;
    Err(Failure::Sandbox(format!(
        "the control socket failed: {error}"
    )))
}

fn welcome(answer: &Answer, dir: &Path) -> String {
    let width = answer.nodes.iter().map(|node| node.name.len()).max();
    let width = width.unwrap_or_default();
    let mut text = String::new();
    // A string takes whatever is written.
    for node in &answer.nodes {
        writeln!(text, "{:width$}  {}", node.name, node.url).ok();
    }
    let superuser = answer.nodes.first().map(|node| node.admin_url.as_str());
    let superuser = superuser.unwrap_or_default();
    write!(
        text,
        "\nsuperuser of the primary: {superuser}\n\n{}",
        answer.env.as_shell()
    )
    .ok();
    let command = format!("lagwise sandbox{}", place::option(dir));
    write!(
        text,
        "\nFrom another terminal:\n  eval \"$({command} env)\"\n  {command} status\n"
    )
    .ok();
    if answer.nodes.len() > 1 {
        for order in [
            "delay replica-1 2s   # or pause, resume, cut, heal, freeze, thaw",
            "promote replica-1    # or kill, start",
        ] {
            writeln!(text, "  {command} {order}").ok();
        }
    }
    text.push_str("\nCtrl-C ends it and removes everything.\n");
    text
}
