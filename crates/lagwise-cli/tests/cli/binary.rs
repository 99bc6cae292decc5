//! Runs the binary to its end, and holds what it said.

use std::io::{self, Write as _};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::Outcome;

/// The binary, in an environment that is the same everywhere.
pub(crate) fn lagwise() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lagwise"));
    let is_ours =
        |name: &str| name == "NO_COLOR" || name.starts_with("LAGWISE_") || name.starts_with("PG");
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(is_ours) {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// What a run said, and how it ended.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs it aside: the addresses of the test kit are served by the runtime of the test.
pub(crate) async fn run_aside(mut command: Command) -> Outcome<Run> {
    let output = tokio::task::spawn_blocking(move || command.output()).await??;
    Run::new(&output)
}

pub(crate) fn run(arguments: &[&str]) -> Outcome<Run> {
    Run::new(&lagwise().args(arguments).output()?)
}

/// Runs it with bytes on its standard input.
pub(crate) fn run_with(arguments: &[&str], input: impl Into<Vec<u8>>) -> Outcome<Run> {
    let mut child = lagwise()
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let (mut stdin, input) = (child.stdin.take().ok_or("it has an input")?, input.into());
    // Aside, since both pipes may be full at once.
    let feeder = thread::spawn(move || -> io::Result<()> { stdin.write_all(&input) });
    let output = child.wait_with_output()?;
    feeder.join().map_err(|_panic| "the feeder panicked")??;
    Run::new(&output)
}

impl Run {
    pub(crate) fn new(output: &Output) -> Outcome<Self> {
        Ok(Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout.clone())?,
            err: String::from_utf8(output.stderr.clone())?,
        })
    }

    /// The answers to programs, each checked to have exactly the promised keys.
    pub(crate) fn answers(&self) -> Outcome<Vec<Value>> {
        let mut answers = Vec::new();
        for line in self.out.lines() {
            let answer: Value = serde_json::from_str(line)?;
            let object = answer.as_object().ok_or("an answer is an object")?;
            let keys: Vec<&str> = object.keys().map(String::as_str).collect();
            assert_eq!(keys, ["at", "because", "verdict"], "{line}");
            assert!(
                answer["at"].is_u64() && answer["because"].is_string(),
                "{line}"
            );
            answers.push(answer);
        }
        Ok(answers)
    }

    pub(crate) fn verdicts(&self) -> Outcome<Vec<String>> {
        let verdict = |answer: &Value| answer["verdict"].as_str().unwrap_or("none").to_owned();
        Ok(self.answers()?.iter().map(verdict).collect())
    }
}

/// Waits for the end of a process, and ends one that does not.
pub(crate) fn wait(child: &mut Child, patience: Duration) -> Outcome<ExitStatus> {
    const PAUSE: Duration = Duration::from_millis(5);
    let mut left = patience;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        let Some(less) = left.checked_sub(PAUSE) else {
            child.kill()?;
            return Err(format!("it did not end within {patience:?}").into());
        };
        left = less;
        thread::park_timeout(PAUSE);
    }
}
