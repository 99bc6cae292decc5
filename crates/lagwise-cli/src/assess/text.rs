//! The report as people read it on a terminal, at 80 columns.

use std::fmt::Write as _;

use crate::format::short;
use crate::printable::{Printable, columns};

use super::report::{Part, Report, Statement, duration, percent, thousands};

const WIDTH: usize = 80;

pub(super) fn render(report: &Report, colored: bool) -> String {
    let mut text = String::new();
    // A string takes whatever is written.
    let headline = wrapped(&report.headline, 0);
    match colored {
        true => writeln!(text, "\u{1b}[1m{}\u{1b}[0m", headline.trim_end()).ok(),
        false => writeln!(text, "{}", headline.trim_end()).ok(),
    };
    text.push_str(&wrapped(&report.scope(), 0));
    if report.verdict.is_empty() {
        return text;
    }
    text.push('\n');
    for line in &report.verdict {
        text.push_str(&wrapped(line, 0));
    }
    sums(&mut text, report);
    statements(&mut text, "Could move", &report.movable);
    statements(&mut text, "Stay on the primary", &report.staying);
    if !report.reasons.is_empty() {
        text.push_str("\nWhat keeps statements on the primary\n");
    }
    for reason in &report.reasons {
        let (share, calls) = (percent(reason.share_of_time), thousands(reason.calls));
        let because = cut(&reason.because, WIDTH - 25);
        writeln!(text, "  {share:>6}  {calls:>12}  {because}").ok();
    }
    points(&mut text, "Assumed", &report.assumptions);
    points(&mut text, "Mind", &report.caveats);
    text
}

fn sums(text: &mut String, report: &Report) {
    writeln!(
        text,
        "\n  {:<22}{:>14}{:>12}{:>9}",
        "", "calls", "time", "of time"
    )
    .ok();
    let rows: [(&str, &Part); 4] = [
        ("could move", &report.moves),
        ("stays on the primary", &report.stays),
        ("not known", &report.hidden),
        ("apart: COMMIT, SET ..", &report.apart),
    ];
    for (name, part) in rows {
        let (calls, share) = (thousands(part.calls), percent(part.share_of_time));
        let time = short(duration(part.seconds));
        writeln!(text, "  {name:<22}{calls:>14}{time:>12}{share:>9}").ok();
    }
}

fn statements(text: &mut String, title: &str, statements: &[Statement]) {
    if statements.is_empty() {
        return;
    }
    writeln!(text, "\n{title}: the most expensive").ok();
    for statement in statements {
        let (share, calls) = (percent(statement.share_of_time), thousands(statement.calls));
        let shown = cut(&statement.text, WIDTH - 25);
        writeln!(text, "  {share:>6}  {calls:>12}  {shown}").ok();
        if let Some(because) = &statement.because {
            writeln!(text, "{:24}{}", "", cut(because, WIDTH - 25)).ok();
        }
    }
}

fn points(text: &mut String, title: &str, points: &[String]) {
    if points.is_empty() {
        return;
    }
    writeln!(text, "\n{title}").ok();
    for point in points {
        let lines = wrapped(point, 4);
        writeln!(text, "  - {}", lines.trim()).ok();
    }
}

/// A text on lines of the terminal's width, each indented.
fn wrapped(text: &str, indent: usize) -> String {
    let mut lines = String::new();
    let mut line = String::new();
    for word in Printable(text).to_string().split(' ') {
        if !line.is_empty() && width(&line) + 1 + width(word) > WIDTH - indent {
            writeln!(lines, "{:indent$}{line}", "").ok();
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    writeln!(lines, "{:indent$}{line}", "").ok();
    lines
}

/// A text of so many columns at most.
fn cut(text: &str, most: usize) -> String {
    let shown = Printable(text).to_string();
    if width(&shown) <= most {
        return shown;
    }
    let mut left = most - 1;
    let kept = shown.chars().take_while(|&letter| {
        let fits = columns(letter) <= left;
        left = left.saturating_sub(columns(letter));
        fits
    });
    let mut kept: String = kept.collect();
    kept.push('…');
    kept
}

fn width(text: &str) -> usize {
    text.chars().map(columns).sum()
}

#[cfg(test)]
mod tests {
    use super::{cut, width, wrapped};

    #[test]
    fn lines_are_no_longer_than_a_terminal() {
        let text = "word ".repeat(60);
        let lines = wrapped(text.trim(), 4);
        assert!(lines.lines().count() > 3, "{lines}");
        assert!(lines.lines().all(|line| width(line) <= 80), "{lines}");
        assert_eq!(cut("select", 10), "select");
        assert_eq!(cut("select \u{1b}[2J from notes", 12), "select \\u{1…");
        assert_eq!(width(&cut(&"数".repeat(40), 21)), 21);
    }
}
