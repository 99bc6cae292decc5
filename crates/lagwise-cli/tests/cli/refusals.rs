//! What cannot be done is said, with the way out, an exit code, and no password.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::process::Stdio;

use crate::Outcome;
use crate::binary::{Run, lagwise, run, run_with};

const PASSWORD: &str = "s3cr3t-Pa55word";

fn silent_about_the_password(run: &Run) {
    let said = format!("{}{}", run.out, run.err);
    assert!(!said.contains(PASSWORD) && !said.contains("Pa55"), "{said}");
}

#[test]
fn a_missing_file_is_named_and_the_others_are_answered() -> Outcome {
    let missing = "/no/such/\u{1b}[2Jfile.sql";
    let run = run_with(&["explain", "--file", missing, "--file", "-"], "select 1")?;
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.out.starts_with("read "), "{run:?}");
    assert!(run.err.contains(r"/no/such/\u{1b}[2Jfile.sql"), "{run:?}");
    assert!(run.err.contains("name a file that exists"), "{run:?}");
    assert!(
        run.err.contains("one input could not be answered"),
        "{run:?}"
    );
    Ok(())
}

#[test]
fn a_file_that_is_no_text_is_refused() -> Outcome {
    let folder = run(&["explain", "--file", "/"])?;
    assert_eq!(
        (folder.code, folder.out.as_str()),
        (Some(1), ""),
        "{folder:?}"
    );
    let binary = run_with(&["explain", "--file", "-"], b"select '\xff'")?;
    assert_eq!(
        (binary.code, binary.out.as_str()),
        (Some(1), ""),
        "{binary:?}"
    );
    assert!(binary.err.contains("iconv"), "{binary:?}");
    Ok(())
}

#[test]
fn a_server_that_is_not_there_is_named_without_its_password() -> Outcome {
    // Bound and let go, so that nobody listens.
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let url = format!("postgres://app:{PASSWORD}@127.0.0.1:{port}/shop");
    let run = run(&["explain", "--url", &url, "select 1"])?;
    assert_eq!((run.code, run.out.as_str()), (Some(1), ""), "{run:?}");
    assert!(
        run.err.contains(&format!("127.0.0.1:{port}/shop")),
        "{run:?}"
    );
    assert!(run.err.contains("name no server"), "{run:?}");
    silent_about_the_password(&run);
    Ok(())
}

#[test]
fn a_url_that_is_none_is_not_shown() -> Outcome {
    for url in [
        format!("app:{PASSWORD}@db-1/shop"),
        format!("mysql://app:{PASSWORD}@db-1/shop"),
        format!("postgres://app:1/{PASSWORD}@127.0.0.1:1/shop"),
        format!("postgres://app:1#{PASSWORD}@127.0.0.1:1/shop"),
        format!("postgres://app:{PASSWORD}@db-1:x/shop"),
        format!("postgres://app:{PASSWORD}@db-1/shop?sslmode={PASSWORD}"),
    ] {
        let run = run(&["explain", "--url", &url, "select 1"])?;
        assert_eq!((run.code, run.out.as_str()), (Some(2), ""), "{run:?}");
        assert!(run.err.contains("postgres://USER@HOST"), "{run:?}");
        silent_about_the_password(&run);
    }
    Ok(())
}

#[test]
fn a_command_line_that_cannot_be_meant_is_refused() -> Outcome {
    for line in [
        &["explain", "--reads", "", "select 1"][..],
        &["explain", "--format", "yaml"],
        &["explain", "--no-such-option"],
        &["no-such-command"],
        &[],
    ] {
        let run = run(line)?;
        assert_eq!(
            (run.code, run.out.as_str()),
            (Some(2), ""),
            "{line:?}: {run:?}"
        );
        assert_ne!(run.err, "", "{line:?}");
    }
    Ok(())
}

#[test]
fn whoever_has_seen_enough_ends_it_quietly() -> Outcome {
    let mut child = lagwise()
        .arg("explain")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().ok_or("it has an input")?;
    writeln!(stdin, r#"{{"sql": "select 1"}}"#)?;
    let mut answers = BufReader::new(child.stdout.take().ok_or("it has an output")?);
    answers.read_line(&mut String::new())?;
    drop(answers);
    // It may be gone before it has read them all.
    let _gone = stdin.write_all(&b"{\"sql\": \"select 1\"}\n".repeat(1000));
    drop(stdin);
    let run = Run::new(&child.wait_with_output()?)?;
    assert_eq!((run.code, run.err.as_str()), (Some(0), ""), "{run:?}");
    Ok(())
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_no_success() -> Outcome {
    let full = std::fs::File::options().write(true).open("/dev/full")?;
    let output = lagwise()
        .args(["explain", "select 1"])
        .stdout(full)
        .output()?;
    let run = Run::new(&output)?;
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(
        run.err.contains("standard output could not be written"),
        "{run:?}"
    );
    Ok(())
}

#[test]
fn the_help_has_examples_and_exit_codes() -> Outcome {
    let run = run(&["explain", "--help"])?;
    assert_eq!(run.code, Some(0));
    for part in [
        "Examples:",
        "Exit codes:",
        "NO_COLOR",
        "--format json",
        "PGPASSWORD",
    ] {
        assert!(run.out.contains(part), "{part} is not in\n{}", run.out);
    }
    let long = run.out.lines().filter(|line| line.chars().count() > 100);
    assert_eq!(long.collect::<Vec<_>>(), [""; 0], "lines are wrapped");
    Ok(())
}
