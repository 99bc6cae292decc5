//! What one decision costs, without any server in it: the statement is known, the session is asked, and a
//! replica is selected. Beside it, what it costs to sign a session's token and to take one up.
//!
//! All of them take turns within a round, each for thousands of calls.

use std::hint::black_box;

use lagwise::{Keys, PgRouter, PgSession, Token};
use lagwise_benches::decision::{Before, Decisions, POINT};

use crate::figure::{Figure, Unit, quantile};
use crate::stage::Stage;
use crate::{Result, clock};

const REPLICAS: [u16; 4] = [2, 8, 64, 256];

pub(super) async fn measure(quick: bool) -> Result<Vec<Figure>> {
    let rounds = if quick { 3 } else { 60 };
    let mut figures = decisions(rounds);
    let stage = Stage::set(1).await?;
    figures.extend(tokens(&stage, rounds).await?);
    stage.cluster.shutdown().await?;
    Ok(figures)
}

fn decisions(rounds: usize) -> Vec<Figure> {
    let mut among = REPLICAS.map(|replicas| Decisions::among(replicas, Before::Wrote));
    let mut took = REPLICAS.map(|_| Vec::new());
    let (mut checks, mut classes) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        for (decisions, took) in among.iter_mut().zip(&mut took) {
            took.push(nanos(|| {
                black_box(decisions.decide(black_box(POINT)));
            }));
        }
        checks.push(nanos(|| {
            black_box(among[1].floor());
        }));
        classes.push(nanos(|| {
            black_box(among[1].classify(black_box(POINT)));
        }));
    }
    let mut figures = Vec::new();
    for (replicas, took) in REPLICAS.iter().zip(&took) {
        let figure = Figure::of(format!("decision/{replicas} replicas"), Unit::Ns, took);
        figures.push(if *replicas == 8 {
            figure.at_most(60.0)
        } else {
            figure.shown()
        });
    }
    let pairs = took[3].iter().zip(&took[1]);
    let ratios: Vec<f64> = pairs.map(|(many, few)| many / few).collect();
    figures.push(Figure::of("decision/256 replicas to 8", Unit::Ratio, &ratios).at_most(2.0));
    figures.push(Figure::of("decision/session check", Unit::Ns, &checks));
    figures.push(Figure::of("decision/cached class", Unit::Ns, &classes));
    figures
}

async fn tokens(stage: &Stage, rounds: usize) -> Result<Vec<Figure>> {
    let (router, session, token) = issued(stage).await?;
    let mut renewed = session.token().await?;
    let (mut signed, mut verified) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let began = clock::now();
        for _ in 0..CALLS {
            // Nothing was written since it came in, so nobody is asked.
            renewed = session.token().await?;
        }
        signed.push(each(began, CALLS));
        let other = router.session();
        let began = clock::now();
        for _ in 0..CALLS {
            black_box(other.merge(black_box(&token)).is_ok());
        }
        verified.push(each(began, CALLS));
    }
    drop((session, renewed));
    router.close().await;
    Ok(vec![
        Figure::of("token/sign", Unit::Ns, &signed),
        Figure::of("token/verify", Unit::Ns, &verified),
    ])
}

/// A router with keys, and a session that has written, with its token.
pub(super) async fn issued(stage: &Stage) -> Result<(PgRouter, PgSession, Token)> {
    let router = PgRouter::builder()
        .primary(stage.url(0))
        .replica(stage.url(1))
        .keys(Keys::new("a-secret-of-at-least-32-bytes-for-figures")?)
        .connect()
        .await?;
    router.ready(1, std::time::Duration::from_secs(30)).await?;
    let session = router.session();
    drop(session.write().await?);
    let token = session.token().await?;
    Ok((router, session, token))
}

/// What one of many calls takes, in nanoseconds: in the middle one of several slices, each too short to be
/// interrupted in most of them.
fn nanos(mut call: impl FnMut()) -> f64 {
    let mut slices: Vec<f64> = (0..SLICES)
        .map(|_| {
            let began = clock::now();
            (0..CALLS).for_each(|_| call());
            each(began, CALLS)
        })
        .collect();
    slices.sort_by(f64::total_cmp);
    quantile(&slices, 50)
}

fn each(began: std::time::Duration, calls: u32) -> f64 {
    let took = clock::now().saturating_sub(began);
    took.as_secs_f64() * 1e9 / f64::from(calls)
}

/// So many calls are timed at once: a reading of the clock costs as much as one of them.
const CALLS: u32 = 1_000;

const SLICES: usize = 21;
