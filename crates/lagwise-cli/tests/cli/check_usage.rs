//! A check that is asked for wrongly is a check that has found nothing: a plugin's exit code says so.

use crate::Outcome;
use crate::binary::run;

const PRIMARY: [&str; 3] = ["check", "--primary", "postgres://mon:Pa55@127.0.0.1:1/shop"];

#[test]
fn what_cannot_be_meant_is_unknown_on_standard_output() -> Outcome {
    for (more, part) in [
        (&["--warn", "soon"][..], "--warn"),
        (&["--no-such-option"][..], "--no-such-option"),
        (&["--warn", "2s", "--crit", "1s"][..], "--crit is 1.00s"),
        (&["--warn", "1ms"][..], "--warn is 1.0ms"),
        (&["--timeout", "1ms"][..], "--timeout is 1.0ms"),
        (
            &["--node", "db-7"][..],
            "--node is db-7, but the nodes are primary",
        ),
        (&["--replica", "mysql://mon:Pa55@a/b"][..], "replica"),
    ] {
        let run = run(&[&PRIMARY[..], more].concat())?;
        assert_eq!(run.code, Some(3), "{run:?}");
        let first = run.out.lines().next().unwrap_or_default();
        assert!(first.starts_with("LAGWISE UNKNOWN - "), "{run:?}");
        assert!(first.contains(part), "{part}: {run:?}");
        assert!(!format!("{run:?}").contains("Pa55"), "{run:?}");
    }
    Ok(())
}

#[test]
fn what_is_missing_is_said_also_as_json() -> Outcome {
    let missing = ["check", "--replica", "postgres://mon:Pa55@127.0.0.1:1/shop"];
    let text = run(&missing)?;
    let first =
        "LAGWISE UNKNOWN - the following required arguments were not provided: --primary <URL>";
    assert_eq!((text.code, text.out.lines().next()), (Some(3), Some(first)));
    for format in [&["--format", "json"][..], &["--format=json"]] {
        let json = run(&[&missing[..], format].concat())?;
        let report: serde_json::Value = serde_json::from_str(&json.out)?;
        let verdict = (json.code, &report["verdict"], &report["exit_code"]);
        assert_eq!(verdict, (Some(3), &"unknown".into(), &3.into()));
        let summary = report["summary"].as_str().unwrap_or_default();
        assert!(summary.ends_with("--primary <URL>"), "{report}");
    }
    Ok(())
}

#[test]
fn a_file_without_nodes_is_told_in_words_of_the_file() -> Outcome {
    let empty = run(&["check", "--config", "/dev/null"])?;
    let expected = "LAGWISE UNKNOWN - /dev/null: names no node: add [primary] with url";
    assert_eq!(empty.code, Some(3), "{empty:?}");
    assert!(empty.out.starts_with(expected), "{empty:?}");
    Ok(())
}

#[test]
fn no_nodes_are_unknown_also_as_json() -> Outcome {
    let text = run(&["check"])?;
    assert_eq!(text.code, Some(3), "{text:?}");
    assert!(
        text.out.starts_with("LAGWISE UNKNOWN - no nodes are named"),
        "{text:?}"
    );
    let json = run(&["check", "--format", "json"])?;
    let report: serde_json::Value = serde_json::from_str(&json.out)?;
    assert_eq!(
        (json.code, &report["verdict"]),
        (Some(3), &"unknown".into())
    );
    Ok(())
}

#[test]
fn the_help_says_what_the_verdicts_and_exit_codes_mean() -> Outcome {
    let run = run(&["check", "--help"])?;
    assert_eq!(run.code, Some(0), "{run:?}");
    for part in [
        "Examples:",
        "CRITICAL",
        "UNKNOWN",
        "Exit codes:",
        "PGPASSWORD",
        "--min-replicas",
    ] {
        assert!(run.out.contains(part), "{part} is not in\n{}", run.out);
    }
    Ok(())
}
