//! Serves notes on port 3000, or the one that `PORT` says: `cargo run -p lagwise-notes`.
//!
//! On the servers that `DATABASE_URL` and `REPLICA_URL` name, or else on a cluster of its own, which
//! is gone when the service ends.

use std::io::Write as _;
use std::{env, io};

use lagwise_notes::app::{App, app};
use lagwise_notes::failure::Failure;
use lagwise_notes::hearing::{Heard, listen};
use lagwise_notes::nodes::Nodes;
use lagwise_notes::{cleaning, db, notes};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    if let Some(nodes) = Nodes::from_env() {
        return serve(&nodes).await;
    }
    let (nodes, cluster) = Nodes::start().await?;
    serve(&nodes).await?;
    cluster.shutdown().await?;
    Ok(())
}

/// Serves until it is interrupted, or something breaks.
async fn serve(nodes: &Nodes) -> Result<(), Failure> {
    let db = db::open(nodes).await?;
    notes::migrate(&db).await?;
    let heard = Heard::default();
    let news = heard.follow(listen(&db).await?);

    let port = env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
    let socket = TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    writeln!(
        io::stdout(),
        "notes on http://{}/notes",
        socket.local_addr()?
    )?;
    let service = app(App {
        db: db.clone(),
        heard: heard.clone(),
    });
    tokio::select! {
        ended = axum::serve(socket, service) => ended?,
        broken = news => broken?,
        broken = cleaning::every_night(&db) => broken?,
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    db.close().await;
    Ok(())
}
