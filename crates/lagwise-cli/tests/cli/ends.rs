//! Every command ends when it is asked to, quietly and with the exit code that its help promises.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::Outcome;
use crate::binary::{Run, lagwise, run, wait};
use crate::manual::commands;

/// How long an end may take, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// How a command ends that is interrupted while it waits for a server that says nothing.
enum End {
    /// It does not wait for anything.
    AtOnce,
    /// With this exit code.
    With(i32),
}

/// Each command, with what makes it wait for the server in place of `URL`, and how it ends.
const COMMANDS: [(&[&str], End); 10] = [
    (&["assess", "--primary", "URL"], End::With(130)),
    (
        &["check", "--primary", "URL", "--timeout", "60s"],
        End::With(3),
    ),
    (&["completions", "bash"], End::AtOnce),
    (&["doctor", "--primary", "URL"], End::With(130)),
    (&["explain", "--url", "URL", "select 1"], End::With(130)),
    (&["man"], End::AtOnce),
    (&["sandbox", "--help"], End::AtOnce),
    (
        &["serve", "--primary", "URL", "--listen", "127.0.0.1:0"],
        End::With(0),
    ),
    (
        &["watch", "--primary", "URL", "--once", "--timeout", "60s"],
        End::With(130),
    ),
    (
        &[
            "watch",
            "--primary",
            "URL",
            "--format",
            "json",
            "--timeout",
            "60s",
        ],
        End::With(0),
    ),
];

#[test]
fn every_command_is_known_here() -> Outcome {
    for command in commands()? {
        let known = COMMANDS
            .iter()
            .any(|(arguments, _)| arguments[0] == command);
        assert!(known, "say in `COMMANDS` how `{command}` ends");
    }
    Ok(())
}

#[test]
fn an_interrupt_ends_whoever_waits_for_a_server() -> Outcome {
    let there = commands()?;
    let mut interrupted = 0;
    for (arguments, end) in &COMMANDS {
        let End::With(code) = end else { continue };
        if !there.iter().any(|command| command == arguments[0]) {
            continue;
        }
        for signal in [Signal::INT, Signal::TERM] {
            let run = interrupt_while_it_waits(arguments, signal)?;
            assert_eq!(run.code, Some(*code), "{arguments:?}, {signal:?}: {run:?}");
            assert_eq!(run.err, "", "{arguments:?}, {signal:?}");
            interrupted += 1;
        }
    }
    assert!(interrupted >= 6, "{interrupted}");
    Ok(())
}

/// A server that takes connections and says nothing hears from it before it is interrupted.
fn interrupt_while_it_waits(arguments: &[&str], signal: Signal) -> Outcome<Run> {
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let url = format!(
        "postgres://app@{}/shop?sslmode=disable",
        silent.local_addr()?
    );
    let arguments = arguments
        .iter()
        .map(|argument| argument.replace("URL", &url));
    let mut child = lagwise()
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let _connection = silent.accept()?;
    kill_process(Pid::from_child(&child), signal)?;
    wait(&mut child, PATIENCE)?;
    Run::new(&child.wait_with_output()?)
}

#[test]
fn an_interrupt_ends_whoever_waits_for_input() -> Outcome {
    let mut child = lagwise()
        .args(["explain", "--format", "json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().ok_or("it has an input")?;
    writeln!(stdin, r#"{{"sql": "select 1"}}"#)?;
    let answer = first_line(&mut child)?;
    assert!(answer.contains(r#""verdict":"read""#), "{answer}");
    kill_process(Pid::from_child(&child), Signal::INT)?;
    wait(&mut child, PATIENCE)?;
    let run = Run::new(&child.wait_with_output()?)?;
    assert_eq!((run.code, run.err.as_str()), (Some(130), ""), "{run:?}");
    drop(stdin);
    Ok(())
}

fn first_line(child: &mut Child) -> Outcome<String> {
    let output = child.stdout.take().ok_or("it has an output")?;
    let (heard, lines) = mpsc::channel();
    thread::spawn(move || {
        let mut line = String::new();
        // If it fails, nothing is heard.
        if BufReader::new(output).read_line(&mut line).is_ok() {
            heard.send(line).unwrap_or_default();
        }
    });
    Ok(lines.recv_timeout(PATIENCE)?)
}

#[test]
fn whoever_prints_ends_when_nobody_reads() -> Outcome {
    let nobody = "postgres://app@127.0.0.1:1/shop";
    for arguments in [
        &["--help"][..],
        &["watch", "--help"],
        &["man"],
        &["completions", "zsh"],
        &["explain", "select 1"],
        &["watch", "--once", "--primary", nobody],
        &["watch", "--once", "--format", "json", "--primary", nobody],
        &["watch", "--format", "json", "--primary", nobody],
    ] {
        let mut child = lagwise()
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        drop(child.stdout.take());
        wait(&mut child, PATIENCE)?;
        let run = Run::new(&child.wait_with_output()?)?;
        assert_eq!(
            (run.code, run.err.as_str()),
            (Some(0), ""),
            "{arguments:?}: {run:?}"
        );
    }
    Ok(())
}

#[test]
fn every_help_has_examples_and_exit_codes() -> Outcome {
    for command in commands()? {
        let help = run(&[&command, "--help"])?;
        assert_eq!(help.code, Some(0), "{help:?}");
        for part in ["Examples:", "Exit codes:"] {
            assert!(
                help.out.contains(part),
                "{part} is not in the help of {command}"
            );
        }
    }
    Ok(())
}
