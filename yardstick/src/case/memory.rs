//! What sessions and routers hold on to: by how much the process grows with many of them.
//!
//! That is what a service has to have, with all that the allocator adds. How often something allocates is
//! a law, and the business of tests.

use std::fs;

use lagwise::{PgRouter, PgSession};

use super::decisions::issued;
use crate::Result;
use crate::figure::{Figure, Unit};
use crate::stage::Stage;

pub(super) async fn measure(quick: bool) -> Result<Vec<Figure>> {
    let (mut figures, mut routers) = (Vec::new(), Vec::new());
    // Kept to the end, and first of all: what was given back to the allocator would not be counted again.
    for nodes in [2, 8, 64] {
        let many = if quick { 2 } else { 50 };
        figures.push(of_routers(nodes, many, &mut routers)?);
    }
    let stage = Stage::set(1).await?;
    let (router, session, token) = issued(&stage).await?;
    let many = if quick { 10_000 } else { 1_000_000 };
    let (new, of_new) = of_sessions("new", many, || router.session())?;
    let (resumed, of_resumed) = of_sessions("resumed", many, || router.resume(&token))?;
    figures.extend([of_new, of_resumed]);
    drop((new, resumed, session));
    for router in routers {
        router.close().await;
    }
    router.close().await;
    stage.cluster.shutdown().await?;
    Ok(figures)
}

/// What each of many sessions takes, its handle included.
fn of_sessions(
    name: &str,
    many: usize,
    mut open: impl FnMut() -> PgSession,
) -> Result<(Vec<PgSession>, Figure)> {
    let before = resident()?;
    let sessions: Vec<PgSession> = (0..many).map(|_| open()).collect();
    let grown = resident()?.saturating_sub(before) as f64 / sessions.len() as f64;
    let name = format!("memory/session, {name}, of {many}");
    let figure = Figure::of(name, Unit::Bytes, &[grown]).shown();
    Ok((sessions, figure))
}

/// What each of many routers of so many nodes takes, before it has a connection.
fn of_routers(nodes: usize, many: usize, routers: &mut Vec<PgRouter>) -> Result<Figure> {
    // Nobody listens there, and nobody has to.
    let url = |number: usize| format!("postgres://nobody@127.0.0.1:{}/none", 1 + number);
    let before = resident()?;
    for _ in 0..many {
        let builder = PgRouter::builder().primary(url(0));
        routers.push(builder.replicas((1..nodes).map(url)).connect_lazy()?);
    }
    let grown = resident()?.saturating_sub(before) as f64 / many as f64;
    let name = format!("memory/router/{nodes} nodes");
    Ok(Figure::of(name, Unit::Bytes, &[grown]).shown())
}

/// The memory that the process takes, in bytes (proc(5), `statm`: its second number, in pages).
fn resident() -> Result<usize> {
    let statm = fs::read_to_string("/proc/self/statm")?;
    let pages: usize = statm.split_whitespace().nth(1).unwrap_or("0").parse()?;
    Ok(pages * rustix::param::page_size())
}
