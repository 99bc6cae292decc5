//! Jobs that read on replicas what they were enqueued for: `cargo run -p lagwise-worker`.
//!
//! A web side writes documents and enqueues a job for each write; workers claim the jobs with
//! `FOR UPDATE SKIP LOCKED`, read the document, and check that it has the version that the job was
//! enqueued for. In the end it prints where those reads went and why, how long after the enqueue each
//! job was done, and how many were put back:
//!
//! ```text
//! cargo run -p lagwise-worker                     # a healthy replica
//! cargo run -p lagwise-worker -- --pause 3        # whose replay stands still for three seconds
//! ```
//!
//! With the replica paused, the jobs of each consistency go their own ways: `primary` ones never
//! noticed it, `sticky` ones wait a moment and read from the primary, `delayed` ones are put back and
//! run when the replica has caught up.
//!
//! It runs on a cluster of its own, which is gone when it ends, or on the servers that
//! `DATABASE_URL` and `REPLICA_URL` name, signing tokens with `LAGWISE_KEY`; there it drops and makes
//! the tables `documents` and `jobs`. Ctrl-C ends it with the jobs at hand. It fails if any job read
//! stale data.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser;
use lagwise_testkit::Cluster;
use lagwise_worker::failure::Failure;
use lagwise_worker::nodes::Nodes;
use lagwise_worker::plan::Plan;
use lagwise_worker::report::Report;
use lagwise_worker::run::{pause, run};
use tokio::signal::ctrl_c;

#[tokio::main]
async fn main() -> ExitCode {
    let plan = Plan::parse();
    let outcome = go(&plan).await;
    let (said, code) = match &outcome {
        Ok(report) if report.stale() == 0 => (report.to_string(), ExitCode::SUCCESS),
        Ok(report) => (report.to_string(), ExitCode::FAILURE),
        Err(failure) => (format!("the run broke: {failure}"), ExitCode::FAILURE),
    };
    // Where nobody listens any longer, the code says it all.
    writeln!(io::stdout(), "{said}").ok();
    code
}

/// Runs the plan on the servers that the environment names, or on a cluster of its own.
async fn go(plan: &Plan) -> Result<Report, Failure> {
    if let Some(nodes) = Nodes::from_env()? {
        return on(&nodes, plan).await;
    }
    let cluster = Cluster::builder().replicas(plan.replicas.into());
    let cluster = cluster.start().await?;
    let nodes = Nodes::of(&cluster)?;
    let report = match plan.pause() {
        None => on(&nodes, plan).await?,
        Some(length) => {
            let (report, paused) = tokio::join!(on(&nodes, plan), pause(&cluster, length));
            paused?;
            report?
        }
    };
    cluster.shutdown().await?;
    Ok(report)
}

async fn on(nodes: &Nodes, plan: &Plan) -> Result<Report, Failure> {
    let db = nodes.open().await?;
    let interrupted = async {
        if ctrl_c().await.is_err() {
            // Nobody can interrupt it then.
            std::future::pending::<()>().await;
        }
    };
    let report = run(&db, plan, interrupted).await?;
    db.close().await;
    Ok(report)
}
