//! What sessions and routers hold on to: by their allocations, and by what the process takes.

use std::fs;

use allocation_counter::measure as count;
use lagwise::{PgRouter, PgSession};

use super::decisions::issued;
use crate::Result;
use crate::figure::{Figure, Unit};
use crate::stage::Stage;

/// The most that a session may take, its handle included.
const GOAL: f64 = 200.0;

pub(super) async fn measure(quick: bool) -> Result<Vec<Figure>> {
    let stage = Stage::set(1).await?;
    let (router, session, token) = issued(&stage).await?;
    let many: usize = if quick { 10_000 } else { 1_000_000 };
    let mut figures = vec![
        allocated("memory/session", || router.session()).at_most(GOAL),
        allocated("memory/session, resumed", || router.resume(&token)),
        Figure::of("memory/handle of a session", Unit::Bytes, &[HANDLE]),
    ];
    let before = resident()?;
    let sessions: Vec<PgSession> = (0..many).map(|_| router.session()).collect();
    let grown = resident()?.saturating_sub(before) as f64 / sessions.len() as f64;
    let name = format!("memory/resident, each of {many} sessions");
    figures.push(Figure::of(name, Unit::Bytes, &[grown]));
    drop((sessions, session));
    router.close().await;
    stage.cluster.shutdown().await?;
    for nodes in [2, 8, 64] {
        figures.push(of_router(nodes).await?);
    }
    Ok(figures)
}

/// What a session's handle takes wherever it is kept.
const HANDLE: f64 = size_of::<PgSession>() as f64;

/// What each of many sessions holds, its handle included.
fn allocated(name: &str, mut open: impl FnMut() -> PgSession) -> Figure {
    const MANY: usize = 1_000;
    let mut sessions = Vec::with_capacity(MANY);
    let counted = count(|| sessions.extend((0..MANY).map(|_| open())));
    let each = counted.bytes_current as f64 / sessions.len() as f64;
    Figure::of(name, Unit::Bytes, &[each + HANDLE])
}

/// What building a router of so many nodes allocates and keeps, before anybody connects.
async fn of_router(nodes: usize) -> Result<Figure> {
    // Nobody listens there, and nobody has to.
    let url = |number: usize| format!("postgres://nobody@127.0.0.1:{}/none", 1 + number);
    let mut builder = PgRouter::builder().primary(url(0));
    for number in 1..nodes {
        builder = builder.replica(url(number));
    }
    let mut built = None;
    let counted = count(|| built = Some(builder.connect_lazy()));
    if let Some(router) = built {
        router?.close().await;
    }
    let name = format!("memory/router/{nodes} nodes");
    Ok(Figure::of(
        name,
        Unit::Bytes,
        &[counted.bytes_current as f64],
    ))
}

/// The memory that the process takes, in bytes (proc(5), `statm`: its second number, in pages).
fn resident() -> Result<usize> {
    let statm = fs::read_to_string("/proc/self/statm")?;
    let pages: usize = statm.split_whitespace().nth(1).unwrap_or("0").parse()?;
    Ok(pages * rustix::param::page_size())
}
