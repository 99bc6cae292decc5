//! Looks at one server, and at what stands between it and us.
//!
//! A pooler or a balancer does not say that it is one; it shows by who answers. A process that answers
//! on a connection was started for it, unless somebody keeps processes: so a second connection that
//! is answered by the process of one that was closed leads through a pooler, and two that are open at
//! once and share a process do not even keep one each. Connections that lead to different servers
//! lead through a balancer.

use std::time::Duration;

use lagwise::config::Node;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, Connection as _};

use super::seen::{Backend, Receiver, Seen, clock, position};

/// One node, and what was found there.
#[derive(Debug)]
pub(crate) struct Examined {
    pub(crate) node: Node,
    pub(crate) outcome: Result<Found, Refusal>,
}

/// Why a node could not be looked at.
#[derive(Debug)]
pub(crate) enum Refusal {
    Error(sqlx::Error),
    Late(Duration),
}

/// What was found behind an address.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    pub(crate) seen: Seen,
    pub(crate) between: Between,
    pub(crate) clock: Option<Clock>,
    /// Where a primary stood after every node had been looked at.
    pub(crate) stood: Option<i64>,
}

/// What stands between us and the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Between {
    /// Nothing that shows.
    #[default]
    Nothing,
    /// A pooler, and each of its clients has a connection for itself.
    SessionPooler,
    /// A pooler whose clients share connections, from one transaction to the next.
    TransactionPooler,
    /// Different servers answer at one address.
    Balancer,
}

/// A server's clock against our own, which need not be right.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Clock {
    /// Seconds that it is ahead of ours, which starts anywhere.
    pub(crate) ahead: f64,
    /// Half of what the question took: the error of the above.
    pub(crate) error: f64,
}

impl Examined {
    /// Looks at a node, for so long.
    pub(crate) async fn of(node: Node, patience: Duration) -> Self {
        let options = options(&node, patience);
        let outcome = match tokio::time::timeout(patience, examine(&options)).await {
            Ok(outcome) => outcome.map_err(Refusal::Error),
            Err(_elapsed) => Err(Refusal::Late(patience)),
        };
        Self { node, outcome }
    }

    /// Asks a primary where it stands: to be called once the replicas have said what they have replayed, of
    /// which none can be beyond that but by another history.
    pub(crate) async fn stand(mut self, patience: Duration) -> Self {
        let options = options(&self.node, patience);
        if let Ok(found) = &mut self.outcome
            && !found.seen.state.in_recovery
        {
            let asks = async { position(&mut options.connect().await?).await };
            let stood = tokio::time::timeout(patience, asks).await;
            found.stood = stood.ok().and_then(Result::ok);
        }
        self
    }

    /// Which server it is, where its address leads to one: its cluster, and when it was started.
    pub(crate) fn server(&self) -> Option<(i64, i64)> {
        let found = self.found()?;
        let state = &found.seen.state;
        (found.between != Between::Balancer).then_some((state.system, state.started))
    }

    /// What was found, if anything was.
    pub(crate) fn found(&self) -> Option<&Found> {
        self.outcome.as_ref().ok()
    }
}

fn options(node: &Node, patience: Duration) -> PgConnectOptions {
    // The monitor sets a time limit as it connects, which not every pooler lets pass.
    let limit = patience.as_millis().max(1).to_string();
    node.options()
        .clone()
        .application_name("lagwise doctor")
        .options([("statement_timeout", limit.as_str())])
}

async fn examine(options: &PgConnectOptions) -> Result<Found, sqlx::Error> {
    let mut first = options.connect().await?;
    let mut backends = vec![Backend::ask(&mut first).await?];
    let mut seen = Seen::ask(&mut first).await?;
    let mut receivers = vec![Receiver::ask(&mut first).await?];
    let clock = best_clock(&mut first).await?;
    first.close().await?;

    let mut held = Vec::new();
    for _ in 0..HELD {
        let mut connection = options.connect().await?;
        backends.push(Backend::ask(&mut connection).await?);
        if seen.state.in_recovery {
            tokio::time::sleep(LOOK_AGAIN).await;
            receivers.push(Receiver::ask(&mut connection).await?);
        }
        held.push(connection);
    }
    seen.state.receiver = Receiver::usual(&receivers);
    for connection in held {
        connection.close().await?;
    }
    Ok(Found {
        between: between(&backends),
        seen,
        clock,
        stood: None,
    })
}

/// What the answers on several connections show: of one that was closed, and of others that were then
/// open at once.
fn between(backends: &[Backend]) -> Between {
    let Some((closed, held)) = backends.split_first() else {
        return Between::Nothing;
    };
    let is_other = |backend: &Backend| backend.server_since != closed.server_since;
    let shared = (1..held.len()).any(|place| held[place..].contains(&held[place - 1]));
    if held.iter().any(is_other) {
        Between::Balancer
    } else if shared {
        Between::TransactionPooler
    } else if held.contains(closed) {
        Between::SessionPooler
    } else {
        Between::Nothing
    }
}

/// The clock by the question that took least.
async fn best_clock(connection: &mut PgConnection) -> Result<Option<Clock>, sqlx::Error> {
    let mut best: Option<Clock> = None;
    for _ in 0..3 {
        let sent = lagwise::now();
        let server = clock(connection).await?;
        let took = lagwise::now().since(sent).as_secs_f64();
        let ours = lagwise::Instant::from_nanos(0);
        let sent = sent.since(ours).as_secs_f64();
        let clock = Clock {
            ahead: server - (sent + took / 2.0),
            error: took / 2.0,
        };
        if best.is_none_or(|best| clock.error < best.error) {
            best = Some(clock);
        }
    }
    Ok(best)
}

/// Of a balancer that draws one of two servers, one look in thirty sees but one.
const HELD: usize = 5;

/// A receiver that is turned away shows that for most of this time and longer.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    fn backend(pid: i32, server_since: i64) -> Backend {
        Backend {
            pid,
            since: i64::from(pid) * 10,
            server_since,
        }
    }

    #[test]
    fn who_answers_shows_what_stands_between() {
        let case = |backends: &[(i32, i64)]| {
            let backends: Vec<Backend> = backends.iter().map(|&(p, s)| backend(p, s)).collect();
            between(&backends)
        };
        assert_eq!(case(&[(1, 9), (2, 9), (3, 9), (4, 9)]), Between::Nothing);
        assert_eq!(
            case(&[(1, 9), (1, 9), (2, 9), (3, 9)]),
            Between::SessionPooler
        );
        assert_eq!(
            case(&[(1, 9), (2, 9), (1, 9), (3, 9)]),
            Between::SessionPooler
        );
        let shared = Between::TransactionPooler;
        assert_eq!(case(&[(1, 9), (1, 9), (1, 9), (1, 9)]), shared);
        assert_eq!(case(&[(1, 9), (2, 9), (3, 9), (2, 9)]), shared);
        assert_eq!(case(&[(1, 9), (2, 8), (3, 9), (4, 8)]), Between::Balancer);
    }
}
