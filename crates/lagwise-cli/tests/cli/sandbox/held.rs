//! A sandbox that a test holds, and its addresses.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _};

use crate::Outcome;
use crate::binary::{Run, lagwise};

/// Far more than anything takes here; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A folder for a sandbox, short enough for sockets; nothing is there yet.
pub(super) fn folder(name: &str) -> Outcome<PathBuf> {
    let parent = std::env::temp_dir().canonicalize()?;
    Ok(parent.join(format!("lws-{name}-{}", std::process::id())))
}

pub(super) fn sandbox(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = lagwise();
    command.arg("sandbox").arg("--dir").arg(dir).args(arguments);
    command
}

/// A sandbox that runs; it does not outlive the test, whatever becomes of that.
pub(super) struct Held {
    pub(super) dir: PathBuf,
    /// What the start has said.
    pub(super) said: Value,
    process: Child,
    // Open, so that the sandbox does not take a closed pipe for the end.
    _out: BufReader<ChildStdout>,
}

impl Held {
    pub(super) fn start(name: &str, arguments: &[&str]) -> Outcome<Self> {
        Self::start_in(folder(name)?, arguments)
    }

    pub(super) fn start_in(dir: PathBuf, arguments: &[&str]) -> Outcome<Self> {
        let mut process = sandbox(&dir, &["--format", "json"])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()?;
        let mut out = BufReader::new(process.stdout.take().ok_or("it has an output")?);
        let mut line = String::new();
        out.read_line(&mut line)?;
        let said = serde_json::from_str(&line).map_err(|error| format!("{error}: {line:?}"))?;
        Ok(Self {
            dir,
            said,
            process,
            _out: out,
        })
    }

    /// Runs a command as from another terminal.
    pub(super) fn run(&self, order: &str) -> Outcome<Run> {
        let words: Vec<&str> = order.split_whitespace().collect();
        Run::new(&sandbox(&self.dir, &words).output()?)
    }

    /// The same, as something that has to be possible; what it says.
    pub(super) fn tell(&self, order: &str) -> Outcome<String> {
        let run = self.run(order)?;
        assert_eq!(
            (run.code, run.err.as_str()),
            (Some(0), ""),
            "{order}: {run:?}"
        );
        Ok(run.out)
    }

    /// The same, as something that has to be refused; why.
    pub(super) fn refused(&self, order: &str) -> Outcome<String> {
        let run = self.run(order)?;
        assert_eq!(
            (run.code, run.out.as_str()),
            (Some(1), ""),
            "{order}: {run:?}"
        );
        Ok(run.err)
    }

    pub(super) fn status(&self) -> Outcome<Value> {
        Ok(serde_json::from_str(&self.tell("status --format json")?)?)
    }

    /// How one node stands.
    pub(super) fn standing(&self, name: &str) -> Outcome<Value> {
        node(&self.status()?, name)
    }

    pub(super) fn url(&self, name: &str) -> Outcome<String> {
        let url = node(&self.said, name)?["url"].as_str().map(str::to_owned);
        Ok(url.ok_or("a node has an address")?)
    }

    /// Runs a statement on a node, as applications do.
    pub(super) async fn execute(&self, name: &str, statement: &str) -> Outcome {
        let mut connection = PgConnection::connect(&self.url(name)?).await?;
        sqlx::raw_sql(AssertSqlSafe(statement))
            .execute(&mut connection)
            .await?;
        Ok(connection.close().await?)
    }

    pub(super) async fn count(&self, name: &str, query: &str) -> Outcome<i64> {
        let mut connection = PgConnection::connect(&self.url(name)?).await?;
        let count = sqlx::query_scalar(AssertSqlSafe(query))
            .fetch_one(&mut connection)
            .await?;
        connection.close().await?;
        Ok(count)
    }

    /// Waits till a query has this answer on a node; an error is another answer.
    pub(super) async fn shows(&self, name: &str, query: &str, expected: i64) -> Outcome {
        let what = format!("{name}: {query} is {expected}");
        wait(&what, async || {
            self.count(name, query).await.ok() == Some(expected)
        })
        .await
    }

    pub(super) fn signal(&self, signal: Signal) -> Outcome {
        Ok(kill_process(Pid::from_child(&self.process), signal)?)
    }

    /// Waits till the process has ended by itself.
    pub(super) async fn ended(&mut self) -> Outcome<ExitStatus> {
        let mut status = None;
        wait("the sandbox has ended", async || {
            status = self.process.try_wait().unwrap_or(None);
            status.is_some()
        })
        .await?;
        Ok(status.ok_or("it has ended")?)
    }

    /// Ends it as Ctrl-C does, and checks that nothing stays.
    pub(super) async fn end(mut self) -> Outcome {
        self.signal(Signal::INT)?;
        let status = self.ended().await?;
        assert_eq!(status.code(), Some(0));
        assert!(!self.dir.exists(), "{} is left", self.dir.display());
        assert_eq!(inhabitants(&self.dir)?, [""; 0]);
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // It may have ended.
        self.signal(Signal::TERM).ok();
        drop(self.process.wait());
    }
}

pub(super) fn node(answer: &Value, name: &str) -> Outcome<Value> {
    let nodes = answer["nodes"].as_array().ok_or("there are nodes")?;
    let found = nodes.iter().find(|node| node["name"] == name);
    Ok(found.ok_or_else(|| format!("there is no {name}"))?.clone())
}

pub(super) async fn wait(what: &str, mut condition: impl AsyncFnMut() -> bool) -> Outcome {
    let holds = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let held = tokio::time::timeout(PATIENCE, holds).await;
    Ok(held.map_err(|_elapsed| format!("in vain: {what}"))?)
}

/// The processes that work in a folder, as the system names them.
pub(super) fn inhabitants(dir: &Path) -> Outcome<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let path = entry?.path();
        // Processes end while we look.
        let Ok(works_in) = fs::read_link(path.join("cwd")) else {
            continue;
        };
        if works_in.starts_with(dir) {
            found.push(fs::read_to_string(path.join("comm")).unwrap_or_default());
        }
    }
    Ok(found)
}
