//! How soon a session that has written leaves the primary again, at the default poll interval.
//!
//! Each session writes once and then reads until a replica serves it. What is told is the time from the
//! return of the write to when the first read has a connection of a replica, waits included, and how many
//! reads went to the primary before.

use std::time::Duration;

use lagwise::{PgRouter, Role};

use crate::figure::{Figure, Unit};
use crate::stage::Stage;
use crate::{Result, clock};

pub(super) async fn measure(quick: bool) -> Result<Vec<Figure>> {
    let stage = Stage::set(2).await?;
    let router = stage.router().await?;
    let mut figures = Vec::new();
    for (name, pause) in [
        ("at once", None),
        ("every 5 ms", Some(Duration::from_millis(5))),
    ] {
        let (mut times, mut reads) = (Vec::new(), Vec::new());
        for _ in 0..if quick { 5 } else { 200 } {
            // So that no session gains by what another has asked for, and all phases of the poll occur.
            tokio::time::sleep(Duration::from_millis(fastrand::u64(100..250))).await;
            let (left, on_primary) = leave(&router, pause).await?;
            times.push(left.as_secs_f64() * 1e3);
            reads.push(on_primary);
        }
        let left = Figure::of(format!("leaving/{name}/after"), Unit::Ms, &times);
        figures.push(left.at_most(10.0));
        let name = format!("leaving/{name}/reads on the primary");
        figures.push(Figure::of(name, Unit::Count, &reads));
    }
    router.close().await;
    stage.cluster.shutdown().await?;
    Ok(figures)
}

/// After how long a replica has served a session that wrote, and how many reads before went to the primary.
async fn leave(router: &PgRouter, pause: Option<Duration>) -> Result<(Duration, f64)> {
    let session = router.session();
    let write = sqlx::query("update counter set n = n + 1 where id = $1");
    write.bind(fastrand::i32(0..1000)).execute(&session).await?;
    let wrote = clock::now();
    let mut on_primary = 0.0;
    loop {
        let mut connection = session.read().await?;
        let found = clock::now();
        sqlx::query("select n from counter where id = 1")
            .fetch_one(&mut *connection)
            .await?;
        if connection.route().role == Role::Replica {
            return Ok((found.saturating_sub(wrote), on_primary));
        }
        on_primary += 1.0;
        if let Some(pause) = pause {
            drop(connection);
            tokio::time::sleep(pause).await;
        }
    }
}
