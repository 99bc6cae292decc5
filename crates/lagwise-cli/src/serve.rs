//! `lagwise serve`: a monitor that runs on, for Prometheus, for load balancers and for people.
//!
//! It asks the nodes as a router does and says what that router would decide; whoever asks it costs
//! the nodes nothing. It begins to listen before any node answers. Nothing can be changed through it,
//! no answer holds a secret, and no client can hold it up or make it grow.

use std::net::SocketAddr;
use std::sync::Arc;

use clap::Args;
use lagwise::PgRouter;
use tokio::net::TcpListener;

use self::counts::Counts;
use self::rounds::Rounds;
use crate::console::{self, Findings};
use crate::failure::Failure;
use crate::format::Format;
use crate::nodes::{NodeArgs, Nodes};
use crate::signal::{Interrupt, runtime};

mod answer;
mod counts;
mod exposition;
mod families;
mod health;
mod http;
mod metrics;
mod rounds;

/// Watches the nodes for as long as it runs: metrics, health checks, and a page with live charts.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub(crate) struct Arguments {
    /// Where to listen; port 0 for any that is free. There is no authentication: whoever reaches it may
    /// read.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9187")]
    listen: SocketAddr,
    /// How to say where it listens: for people, or as one JSON object.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    #[command(flatten)]
    nodes: NodeArgs,
}

const AFTER_HELP: &str = r#"Examples:
  lagwise serve --primary postgres://mon@db-1/shop --replica postgres://mon@db-2/shop
  lagwise serve --config lagwise.toml --listen 0.0.0.0:9187
  curl -s 'http://127.0.0.1:9187/node/replica-1?max_lag=2s'

Addresses:
  /                 a page with live charts of lag, membership and events
  /metrics          for Prometheus; as OpenMetrics if that is accepted
  /healthz          200 while this monitor looks at the nodes, however they are
  /cluster          everything that is known, as JSON
  /events           server-sent events: all of it every second, and each change
  /history          the last ten minutes, as JSON
  /node/NAME        200 if reads may go there: a replica in rotation, or the
                    primary while it answers; else 503
    ?role=replica   200 for a replica in rotation alone
    ?role=primary   200 for the primary alone, while it answers
    ?max_lag=2s     200 only if it is also proved to be within 2s of the primary
  /primary          200 with the primary's name while it answers; else 503
  /primary/NAME     the same as /node/NAME?role=primary

  A check may be sent as GET, HEAD or OPTIONS. A name that no node has is
  answered with 404.

Ends on Ctrl-C and on SIGTERM.

Exit codes:
  0  it was told to end
  1  the address could not be listened on
  2  the command line cannot be meant"#;

/// What all requests share.
#[derive(Clone, Debug)]
struct Service {
    db: PgRouter,
    counts: Arc<Counts>,
    rounds: Arc<Rounds>,
}

/// Serves until it is told to end.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let nodes = arguments.nodes.resolve()?;
    runtime()?.block_on(serve(arguments, &nodes))
}

async fn serve(arguments: &Arguments, nodes: &Nodes) -> Result<(), Failure> {
    let mut interrupt = Interrupt::listen()?;
    let address = arguments.listen;
    let listener = TcpListener::bind(address)
        .await
        .map_err(|cause| Failure::Listen { address, cause })?;
    let db = nodes.watcher().connect_lazy().map_err(Failure::Nodes)?;
    let service = Service {
        counts: Arc::default(),
        rounds: Arc::default(),
        db: db.clone(),
    };
    let asks = rounds::run(Arc::clone(&service.rounds), nodes.config());
    let counts = counts::run(Arc::clone(&service.counts), db.events());
    let app = answer::app(service);
    announce(&listener, address, arguments.format)?;
    let outcome = http::serve(listener, app, async {
        tokio::select! {
            () = interrupt.come() => {}
            () = asks => {}
            () = counts => {}
        }
        // Ends the streams of events, which would otherwise never end.
        db.close().await;
    });
    outcome.await;
    Ok(())
}

/// Says where it listens, which is news where the port was for the system to choose.
fn announce(listener: &TcpListener, asked: SocketAddr, format: Format) -> Result<(), Failure> {
    let address = listener.local_addr().map_err(|cause| Failure::Listen {
        address: asked,
        cause,
    })?;
    let line = match format {
        Format::Text => format!("listening on http://{address}\n"),
        Format::Json => format!(
            "{}\n",
            serde_json::json!({ "listening": format!("http://{address}") })
        ),
    };
    if !address.ip().is_loopback() {
        console::complain(
            &"note: there is no authentication; whoever reaches this address can read it",
        );
    }
    let mut findings = Findings::new();
    // Whether anybody reads that or not, it is served.
    findings.put(line.as_bytes())?;
    findings.show()?;
    Ok(())
}
