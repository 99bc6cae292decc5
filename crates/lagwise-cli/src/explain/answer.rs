//! An answer, as people read it and as programs do.
//!
//! Nothing is decided here. What a program reads is exact and never colored; what a person reads is
//! cut to the width of a terminal and cannot act on it.

use std::fmt::Write as _;

use lagwise_core::Verdict;
use serde::Serialize;

use super::excerpt::{Excerpt, clipped};
use crate::printable::Printable;

/// A reason may quote the text; this much of it fits on two lines.
const MOST_COLUMNS: usize = 140;

/// Where may this run, and why.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer<'a> {
    pub(super) verdict: Verdict,
    pub(super) because: &'a str,
    pub(super) at: usize,
}

/// Where a text was found.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place<'a> {
    /// On the command line, where the person who reads has just written it.
    Argument,
    /// It is the whole file.
    File { name: &'a str },
    /// It is one line of a file.
    Line { name: &'a str, number: u64 },
}

impl<'a> Answer<'a> {
    /// What is no statement is not known to be harmless.
    pub(super) fn to_garbage(because: &'a str) -> Self {
        Self {
            verdict: Verdict::Write,
            because,
            at: 0,
        }
    }

    /// One line, for programs.
    pub(super) fn as_json(&self) -> String {
        #[derive(Serialize)]
        struct Line<'a> {
            verdict: &'a str,
            because: &'a str,
            at: usize,
        }
        let line = Line {
            verdict: self.verdict.as_str(),
            because: self.because,
            at: self.at,
        };
        let mut text = serde_json::to_string(&line).expect("two texts and a number are JSON");
        text.push('\n');
        text
    }

    /// The verdict and its reason, the place, and the line with a pointer under it.
    pub(super) fn as_text(&self, place: Place<'_>, sql: &str, colored: bool) -> String {
        let excerpt = Excerpt::new(sql, self.at);
        let (verdict, because) = (self.verdict.as_str(), clipped(self.because, MOST_COLUMNS));
        let paint = Paint(colored);
        let mut text = paint.dye(color(self.verdict), &format!("{verdict:<8}"));
        let mut add = |line: String| {
            // Writing to a string cannot fail.
            let _written = writeln!(text, "{}", line.trim_end());
        };
        add(format!(" {because}"));
        match place {
            Place::Argument => {}
            Place::File { name } => {
                let (line, column) = (excerpt.line, excerpt.column);
                add(format!("         {}:{line}:{column}", Printable(name)));
            }
            Place::Line { name, number } => add(format!("         {}:{number}", Printable(name))),
        }
        if !sql.is_empty() {
            add(format!("{:>6} | {}", excerpt.line, excerpt.shown));
            let indent = " ".repeat(excerpt.pointer);
            add(format!("       | {indent}{}", paint.dye(BOLD, "^")));
        }
        text
    }
}

const BOLD: &str = "1";

fn color(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Read => "1;32",
        Verdict::Write => "1;33",
        Verdict::Session => "1;36",
    }
}

/// Colors text, where that is wanted.
#[derive(Clone, Copy, Debug)]
struct Paint(bool);

impl Paint {
    fn dye(self, code: &str, text: &str) -> String {
        if self.0 {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use lagwise_core::Verdict;

    use super::{Answer, Place};

    const ANSWER: Answer<'_> = Answer {
        verdict: Verdict::Session,
        because: "`set` acts on the connection",
        at: 9,
    };

    #[test]
    fn a_person_sees_verdict_reason_place_and_text() {
        let file = Place::File { name: "q.sql" };
        let expected = "\
session  `set` acts on the connection
         q.sql:2:1
     2 | set x to 1
       | ^
";
        assert_eq!(
            ANSWER.as_text(file, "select 1\nset x to 1", false),
            expected
        );
    }

    #[test]
    fn hostile_reasons_and_names_do_not_reach_the_terminal() {
        let because = "\u{1b}[2J".repeat(1000);
        let answer = Answer {
            because: &because,
            ..ANSWER
        };
        let place = Place::Line {
            name: "\u{1b}]0;x",
            number: 3,
        };
        let text = answer.as_text(place, "\u{1b}[1A", false);
        assert!(!text.contains('\u{1b}'), "{text}");
        assert!(text.len() < 500, "{text}");
    }

    #[test]
    fn only_verdict_and_pointer_are_colored() {
        let text = ANSWER.as_text(Place::Argument, "set x to 1", true);
        let plain = text
            .replace("\u{1b}[1;36m", "")
            .replace("\u{1b}[1m", "")
            .replace("\u{1b}[0m", "");
        assert_eq!(plain, ANSWER.as_text(Place::Argument, "set x to 1", false));
        assert_ne!(text, plain);
    }

    #[test]
    fn a_program_sees_one_exact_line() {
        let because = "a \"quote\"\n";
        let answer = Answer { because, ..ANSWER };
        let expected = r#"{"verdict":"session","because":"a \"quote\"\n","at":9}"#;
        assert_eq!(answer.as_json(), format!("{expected}\n"));
    }
}
