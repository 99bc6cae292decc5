//! Answers: one for each input, in order, whatever the input is.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;
use std::sync::mpsc;
use std::time::Duration;
use std::{env, fs, process, thread};

use crate::Outcome;
use crate::binary::{lagwise, run, run_with};

const JSONL: [&str; 3] = ["explain", "--format", "json"];

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A file that goes when its test ends.
struct Text(String);

impl Text {
    fn new(name: &str, text: impl AsRef<[u8]>) -> Outcome<Self> {
        let path = env::temp_dir().join(format!("lagwise-cli-{}-{name}", process::id()));
        fs::write(&path, text)?;
        Ok(Self(path.to_str().ok_or("the folder is UTF-8")?.to_owned()))
    }
}

impl Drop for Text {
    fn drop(&mut self) {
        let _gone = fs::remove_file(&self.0);
    }
}

#[test]
fn statements_in_arguments_are_answered_for_people_in_order() -> Outcome {
    let run = run(&["explain", "select 1", "delete from t"])?;
    assert_eq!((run.code, run.err.as_str()), (Some(0), ""), "{run:?}");
    let lines: Vec<&str> = run.out.lines().collect();
    let [read, _, _, blank, write, shown, pointer] = lines[..] else {
        panic!("two answers of three lines, apart: {run:?}");
    };
    assert!(read.starts_with("read     "), "{read}");
    assert!(write.starts_with("write    "), "{write}");
    assert_eq!(blank, "");
    assert_eq!(shown, "     1 | delete from t");
    assert!(pointer.ends_with('^'), "{pointer}");
    Ok(())
}

#[test]
fn every_line_gets_one_answer_in_its_place() -> Outcome {
    let mut input = Vec::new();
    let big = format!(r#"{{"sql": "select 1 {}"}}"#, " ".repeat(1 << 19));
    let mut expected = Vec::new();
    for (line, verdict) in [
        (br#"{"sql": "select 1"}"#.as_slice(), "read"),
        (b"", "write"),
        (b"select 1", "write"),
        (br#"{"sql": "delete from t"}"#, "write"),
        (br#"{"sql": 1}"#, "write"),
        (br#"["select 1"]"#, "write"),
        (b"{\"sql\": \"select 1\", \"x\": \"\xff\"}", "write"),
        (b"\x00\xfe\xff", "write"),
        (br#"{"no": "select 1"}"#, "write"),
        (big.as_bytes(), "read"),
        (b"{\"sql\": \"select 1\"}\r", "read"),
        (br#"{"sql": "delete from t"}"#, "write"),
        (br#"{"sql": "select 1"}"#, "read"),
    ] {
        input.extend_from_slice(line);
        input.push(b'\n');
        expected.push(verdict);
    }
    // The last line has no end.
    input.pop();
    let run = run_with(&JSONL, input)?;
    assert_eq!((run.code, run.err.as_str()), (Some(0), ""));
    assert_eq!(run.verdicts()?, expected);
    let garbage = r#"the line is not {"sql": ".."}"#;
    for number in [1, 2, 4, 5, 6, 7, 8] {
        let answer = &run.answers()?[number];
        let because = answer["because"].as_str().unwrap_or_default();
        assert!(
            because.starts_with(garbage) && answer["at"] == 0,
            "{answer}"
        );
    }
    Ok(())
}

#[test]
fn nothing_is_answered_with_nothing() -> Outcome {
    let run = run_with(&JSONL, "")?;
    assert_eq!(
        (run.code, run.out.as_str(), run.err.as_str()),
        (Some(0), "", "")
    );
    Ok(())
}

#[test]
fn a_line_too_long_to_hold_is_answered_and_the_next_is_whole() -> Outcome {
    let mut input = br#"{"sql": "select 1 "#.to_vec();
    input.resize(17 << 20, b' ');
    input.extend_from_slice(b"\"}\n{\"sql\": \"select 1\"}\n");
    let run = run_with(&JSONL, input)?;
    assert_eq!(run.verdicts()?, ["write", "read"]);
    let because = run.answers()?[0]["because"].to_string();
    assert!(because.contains("longer than 16 MiB"), "{because}");
    Ok(())
}

#[test]
fn a_line_is_answered_before_the_next_is_sent() -> Outcome {
    for format in ["json", "jsonl", "text"] {
        let mut child = lagwise()
            .args(["explain", "--format", format])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut stdin = child.stdin.take().ok_or("it has an input")?;
        let output = child.stdout.take().ok_or("it has an output")?;
        let (heard, answers) = mpsc::channel();
        let listener = thread::spawn(move || {
            let lines = BufReader::new(output).lines().map_while(Result::ok);
            lines.for_each(|line| heard.send(line).unwrap_or_default());
        });
        for (sql, verdict) in [("select 1", "read"), ("delete from t", "write")] {
            writeln!(stdin, r#"{{"sql": "{sql}"}}"#)?;
            let answered = |line: String| line.contains(verdict);
            while !answered(answers.recv_timeout(PATIENCE)?) {}
        }
        drop(stdin);
        listener.join().map_err(|_panic| "the listener panicked")?;
        assert!(child.wait()?.success(), "it ends with its input");
    }
    Ok(())
}

#[test]
fn a_file_of_sql_is_one_text_and_one_of_lines_is_many() -> Outcome {
    let sql = Text::new("whole.sql", "select 1;\n\n  delete from t\n")?;
    let lines = Text::new("lines.jsonl", "{\"sql\": \"select 1\"}\n\n")?;
    let arguments = ["explain", "--file", &lines.0, "--file", &sql.0];
    let people = run(&arguments)?;
    assert_eq!(people.code, Some(0), "{people:?}");
    for place in [format!("{}:1\n", lines.0), format!("{}:2\n", lines.0)] {
        assert!(people.out.contains(&place), "{place}: {people:?}");
    }
    let place = format!("         {}:", sql.0);
    assert!(people.out.contains(&place), "{place}: {people:?}");

    let programs = run(&[&arguments[..], &["--format", "json", "select 1"]].concat())?;
    let expected = ["read", "read", "write", "write"];
    assert_eq!(programs.verdicts()?, expected, "arguments, lines, whole");
    Ok(())
}

#[test]
fn a_dash_is_sql_on_standard_input() -> Outcome {
    let run = run_with(&["explain", "--file", "-"], "select\n1")?;
    assert!(run.out.starts_with("read "), "{run:?}");
    assert!(run.out.contains("standard input:1:1"), "{run:?}");
    Ok(())
}

#[test]
fn the_pointer_is_in_the_text_for_every_answer() -> Outcome {
    let statement = "sélect '\u{1b}[2J\u{202e}' \n from t";
    let people = run(&["explain", statement])?;
    assert!(!people.out.contains(['\u{1b}', '\u{202e}']), "{people:?}");
    let programs = run(&["explain", "--format", "json", statement])?;
    let at = programs.answers()?[0]["at"].as_u64().ok_or("a number")?;
    assert!(statement.is_char_boundary(usize::try_from(at)?), "{at}");
    Ok(())
}

#[test]
fn overrides_are_taken_by_name() -> Outcome {
    let statement = "select overrides.unheard_of(1)";
    let with = |option: &str| {
        let options = [option, "overrides.unheard_of"];
        run(&[&JSONL[..], &options, &[statement]].concat())?.verdicts()
    };
    assert_eq!(with("--reads")?, ["read"]);
    assert_eq!(with("--writes")?, ["write"]);
    Ok(())
}
