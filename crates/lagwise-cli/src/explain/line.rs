//! Reads lines of `{"sql": ".."}`, whoever wrote them.
//!
//! A line may be anything: no JSON, no text, without an end. None of them is an error, since each
//! has to be answered; and none takes more memory than the longest line that is allowed.

use std::borrow::Cow;
use std::io::{self, BufRead as _, BufReader, Read};
use std::str;

use serde::Deserialize;

/// The lines of an input, in one buffer.
#[derive(Debug)]
pub(super) struct Lines<R> {
    input: BufReader<R>,
    line: Vec<u8>,
    most: usize,
}

/// One line without its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    bytes: &'a [u8],
    most: usize,
}

/// Why a line holds no statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Garbage {
    #[error(r#"the line is not {{"sql": ".."}}"#)]
    Shape,
    #[error(r#"the line is not {{"sql": ".."}}: it is not UTF-8"#)]
    Encoding,
    #[error(r#"the line is not {{"sql": ".."}}: it is longer than {} MiB"#, .0 >> 20)]
    Long(usize),
}

impl<R: Read> Lines<R> {
    /// Lines of at most so many bytes; of a longer one, only that it is longer is kept.
    pub(super) fn new(input: BufReader<R>, most: usize) -> Self {
        Self {
            input,
            line: Vec::new(),
            most,
        }
    }

    /// Whether the next line is here, and need not be waited for.
    pub(super) fn has_next(&self) -> bool {
        self.input.buffer().contains(&b'\n')
    }

    pub(super) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        self.line.clear();
        // With room for the end of the line.
        let limit = u64::try_from(self.most).map_or(u64::MAX, |most| most.saturating_add(1));
        let input = &mut self.input;
        if input.take(limit).read_until(b'\n', &mut self.line)? == 0 {
            return Ok(None);
        }
        if self.line.last() == Some(&b'\n') {
            self.line.pop();
        } else if self.line.len() > self.most {
            self.input.skip_until(b'\n')?;
        }
        Ok(Some(Line {
            bytes: &self.line,
            most: self.most,
        }))
    }
}

impl<'a> Line<'a> {
    /// The statement in it.
    pub(super) fn statement(self) -> Result<Cow<'a, str>, Garbage> {
        if self.bytes.len() > self.most {
            return Err(Garbage::Long(self.most));
        }
        let text = str::from_utf8(self.bytes).map_err(|_invalid| Garbage::Encoding)?;
        // An array of the fields in their order would be taken for the object.
        if !text.trim_start().starts_with('{') {
            return Err(Garbage::Shape);
        }
        let given: Given<'_> = serde_json::from_str(text).map_err(|_invalid| Garbage::Shape)?;
        Ok(given.sql)
    }
}

/// A second `sql` in the object is refused by what this derives.
#[derive(Debug, Deserialize)]
struct Given<'a> {
    #[serde(borrow)]
    sql: Cow<'a, str>,
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::{Garbage, Line, Lines};

    fn statement(line: &str) -> Result<String, Garbage> {
        let bytes = line.as_bytes();
        let line = Line { bytes, most: 100 };
        line.statement().map(std::borrow::Cow::into_owned)
    }

    #[test]
    fn a_line_is_an_object_with_a_text() {
        for (line, sql) in [
            (r#"{"sql": "select 1"}"#, "select 1"),
            (" {\"sql\": \"\"}\r", ""),
            (
                r#"{"at": [{"sql": 7}], "sql": "\"\u00e9\n\"", "x": null}"#,
                "\"é\n\"",
            ),
        ] {
            assert_eq!(statement(line).as_deref(), Ok(sql), "{line}");
        }
    }

    #[test]
    fn anything_else_is_garbage() {
        for line in [
            "",
            " ",
            "select 1",
            "{}",
            r#"{"sql": 1}"#,
            r#"{"sql": null}"#,
            r#"{"SQL": "select 1"}"#,
            r#"["select 1"]"#,
            r#"{"sql": "select 1"} {"sql": "delete from t"}"#,
            r#"{"sql": "select 1", "sql": "delete from t"}"#,
            r#"{"sql": "\ud800"}"#,
            r#"{"sql": "select 1"#,
        ] {
            assert_eq!(statement(line), Err(Garbage::Shape), "{line}");
        }
    }

    #[test]
    fn a_long_line_is_one_line_and_the_next_is_whole() {
        let longest = format!("{{\"sql\": \"{}\"}}", "x".repeat(88));
        assert_eq!(longest.len(), 99, "with one byte more it is the longest");
        let text = format!("{longest} \n{longest}  \n{longest}\n\n{}", "x".repeat(1000));
        // The buffer of the input is smaller than a line.
        let mut lines = Lines::new(BufReader::with_capacity(7, text.as_bytes()), 100);
        let mut found = Vec::new();
        while let Some(line) = lines.next().expect("memory can be read") {
            found.push(line.statement().map(|sql| sql.len()));
        }
        let long = Err(Garbage::Long(100));
        assert_eq!(found, [Ok(88), long, Ok(88), Err(Garbage::Shape), long]);
    }

    #[test]
    fn a_line_that_is_not_here_is_known_before_it_is_waited_for() {
        let mut lines = Lines::new(BufReader::new(&b"1\n2\n3"[..]), 100);
        assert!(!lines.has_next(), "nothing was asked for yet");
        lines.next().expect("memory can be read");
        assert!(lines.has_next(), "it came with the first");
        lines.next().expect("memory can be read");
        assert!(!lines.has_next(), "the third has no end yet");
    }
}
