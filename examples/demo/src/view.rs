//! The live view: one screen that is understood at a glance, drawn from a picture.
//!
//! It fits 80 columns and 24 rows, and says everything in words as well as in color. Larger
//! terminals get longer bars and more events. Nothing here knows of servers, clocks or keys.

mod digits;
mod palette;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Margin, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

pub(crate) use self::palette::Palette;
use crate::arguments::Mode;
use crate::history::Tone;
use crate::picture::{NodeLine, Picture, Standing, count, seconds, span};
use crate::tally::PerMille;

/// Wider than this, rows are hard to follow with the eye.
const WIDEST: u16 = 120;

/// Columns of a node's row, up to the bar.
const COLUMNS: usize = 65;

/// Room for ` 100 %` after the bar.
const AFTER_BAR: usize = 6;

/// Draws one moment.
pub(crate) fn draw(picture: &Picture<'_>, palette: &Palette, frame: &mut Frame<'_>) {
    let mut page = frame.area().inner(Margin::new(1, 0));
    page.width = page.width.min(WIDEST);
    let [head, _, scene, _, nodes, _, totals, _, events, foot] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(4),
        Constraint::Length(1),
        Constraint::Length(5),
        Constraint::Length(1),
        Constraint::Min(3),
        Constraint::Length(1),
    ])
    .areas(page);
    draw_head(picture, palette, frame, head);
    draw_scene(picture, palette, frame, scene);
    draw_nodes(picture, palette, frame, nodes);
    draw_totals(picture, palette, frame, totals);
    draw_events(picture, palette, frame, events);
    let keys = Line::styled(
        "q or Ctrl-C ends the demo and removes the servers",
        palette.quiet,
    );
    frame.render_widget(keys, foot);
}

fn draw_head(picture: &Picture<'_>, palette: &Palette, frame: &mut Frame<'_>, area: Rect) {
    let [title, progress] = rows(area);
    let without = match picture.mode {
        Mode::Routed => "",
        Mode::Naive => "  without lagwise: reads go to a random replica",
    };
    let name = Line::from(vec![
        Span::styled("lagwise demo", palette.title),
        Span::styled(without, palette.bad),
    ]);
    frame.render_widget(name, title);
    let left = picture.length.saturating_sub(picture.elapsed);
    let state = format!("{} sessions   {} left", picture.sessions, seconds(left));
    frame.render_widget(Line::styled(state, palette.quiet).right_aligned(), title);

    let width = usize::from(progress.width);
    let share = PerMille::of(
        u64::try_from(picture.elapsed.as_millis()).unwrap_or(u64::MAX),
        u64::try_from(picture.length.as_millis()).unwrap_or(u64::MAX),
    );
    let done = cells(share, width);
    let line = Line::from(vec![
        Span::styled("━".repeat(done), palette.accent),
        Span::styled("─".repeat(width - done), palette.quiet),
    ]);
    frame.render_widget(line, progress);
}

fn draw_scene(picture: &Picture<'_>, palette: &Palette, frame: &mut Frame<'_>, area: Rect) {
    let line = Line::from(vec![
        Span::styled("now  ", palette.quiet),
        Span::styled(picture.act.as_str(), palette.title),
    ]);
    frame.render_widget(line, area);
}

fn draw_nodes(picture: &Picture<'_>, palette: &Palette, frame: &mut Frame<'_>, area: Rect) {
    let heading = format!(
        "{:<10}{:<8}{:>7}{:>9}   {:<17}{:>9}  {}",
        "node", "role", "lag", "at most", "state", "reads", "share now"
    );
    let bar = usize::from(area.width).saturating_sub(COLUMNS + 1 + AFTER_BAR);
    let mut lines = vec![Line::styled(heading, palette.quiet)];
    lines.extend(
        picture
            .nodes
            .iter()
            .map(|node| node_line(picture.mode, palette, node, bar)),
    );
    frame.render_widget(Paragraph::new(lines), area);
}

fn node_line(mode: Mode, palette: &Palette, node: &NodeLine, bar: usize) -> Line<'static> {
    let (mark, style) = match node.standing {
        Standing::Primary => ("●", palette.plain),
        Standing::InRotation => ("●", palette.good),
        Standing::Probation(_) => ("◐", palette.caution),
        Standing::Out(_) => ("○", palette.bad),
    };
    let filled = cells(node.share, bar);
    Line::from(vec![
        Span::styled(format!("{:<10}", node.name), palette.plain),
        Span::styled(format!("{:<8}", node.role), palette.quiet),
        Span::styled(format!("{:>7}", span(node.estimate)), palette.plain),
        Span::styled(format!("{:>9} ", span(node.bound)), palette.plain),
        Span::styled(
            format!("{mark} {:<17}", node.standing.describe(mode)),
            style,
        ),
        Span::styled(format!("{:>9} ", count(node.reads)), palette.plain),
        Span::styled(" ", palette.plain),
        Span::styled("█".repeat(filled), palette.accent),
        Span::styled("░".repeat(bar - filled), palette.quiet),
        Span::styled(format!("{:>4} %", node.share.get() / 10), palette.plain),
    ])
}

fn draw_totals(picture: &Picture<'_>, palette: &Palette, frame: &mut Frame<'_>, area: Rect) {
    let [figures, stale, errors] = Layout::horizontal([
        Constraint::Length(30),
        Constraint::Min(24),
        Constraint::Length(24),
    ])
    .areas(area);
    let totals = &picture.totals;
    let figure = |value: String, what: &'static str| {
        Line::from(vec![
            Span::styled(format!("{value:>9}"), palette.title),
            Span::styled(format!("  {what}"), palette.quiet),
        ])
    };
    let lines = vec![
        Line::default(),
        figure(count(totals.reads()), "reads"),
        figure(count(totals.writes), "writes"),
        figure(totals.off_primary().to_string(), "off the primary"),
    ];
    frame.render_widget(Paragraph::new(lines), figures);
    let stale_reads = alarm("stale reads", totals.stale_reads, palette);
    frame.render_widget(stale_reads, stale);
    frame.render_widget(alarm("errors", totals.errors, palette), errors);
}

/// A number that is to be zero, large.
fn alarm(what: &'static str, number: u64, palette: &Palette) -> Paragraph<'static> {
    let style = match number {
        0 => palette.good,
        _ => palette.bad,
    };
    let mut lines = vec![Line::styled(what, palette.quiet)];
    lines.extend(digits::large(number).map(|row| Line::styled(row, style)));
    Paragraph::new(lines)
}

fn draw_events(picture: &Picture<'_>, palette: &Palette, frame: &mut Frame<'_>, area: Rect) {
    let room = usize::from(area.height.saturating_sub(1));
    let latest = picture.entries.iter().rev().take(room);
    let mut lines = vec![Line::styled("events, the latest first", palette.quiet)];
    lines.extend(latest.map(|entry| {
        let style = match entry.tone {
            Tone::Good => palette.good,
            Tone::Bad => palette.bad,
            Tone::Neither => palette.plain,
        };
        Line::from(vec![
            Span::styled(format!("{:>7}  ", seconds(entry.at)), palette.quiet),
            Span::styled(entry.text.clone(), style),
        ])
    }));
    frame.render_widget(Paragraph::new(lines), area);
}

fn rows<const N: usize>(area: Rect) -> [Rect; N] {
    Layout::vertical([Constraint::Length(1); N]).areas(area)
}

/// How many of `width` cells show a share.
fn cells(share: PerMille, width: usize) -> usize {
    let share = usize::try_from(share.get()).unwrap_or(1000).min(1000);
    (width * share + 500) / 1000
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::history::Entry;
    use crate::scenario::Act;
    use crate::tally::Totals;

    fn node(name: &'static str, standing: Standing, reads: u64, share: u64) -> NodeLine {
        let replica = standing != Standing::Primary;
        NodeLine {
            name,
            role: if replica { "replica" } else { "primary" },
            estimate: replica.then_some(Duration::from_millis(1980)),
            bound: replica.then_some(Duration::from_millis(2130)),
            standing,
            reads,
            share: PerMille::of(share, 100),
        }
    }

    fn picture(entries: &[Entry], stale_reads: u64) -> Picture<'_> {
        Picture {
            mode: Mode::Routed,
            sessions: 32,
            elapsed: Duration::from_secs(12),
            length: Duration::from_secs(30),
            act: Act::Delayed,
            nodes: vec![
                node("primary", Standing::Primary, 1_234, 4),
                node("replica-1", Standing::Out("lagging"), 10_000, 0),
                node("replica-2", Standing::InRotation, 1_012_345, 96),
            ],
            totals: Totals {
                reads_on: [1_234, 10_000, 1_012_345],
                writes: 4_321,
                stale_reads,
                errors: 0,
            },
            entries,
        }
    }

    fn entries(number: u64) -> Vec<Entry> {
        let entry = |second| Entry {
            at: Duration::from_secs(second),
            text: format!("event {second}"),
            tone: Tone::Bad,
        };
        (1..=number).map(entry).collect()
    }

    fn screen(picture: &Picture<'_>, width: u16, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        let palette = Palette::without_color();
        terminal
            .draw(|frame| draw(picture, &palette, frame))
            .unwrap();
        let buffer = terminal.backend().buffer();
        let rows = buffer.content().chunks(usize::from(width));
        rows.map(|row| row.iter().map(ratatui::buffer::Cell::symbol).collect())
            .collect()
    }

    #[test]
    fn at_80_by_24_everything_is_there_and_nothing_is_cut_off() {
        let entries = entries(9);
        let rows = screen(&picture(&entries, 0), 80, 24);
        let text = rows.join("\n");
        for expected in [
            "18.0 s left",
            "replica-1 applies every commit 2 s late",
            "○ out: lagging",
            "● in rotation",
            "1,012,345  ",
            "  96 %",
            "  99.8 %  off the primary",
            "stale reads",
            "9.0 s  event 9",
            "q or Ctrl-C ends",
        ] {
            assert!(text.contains(expected), "{expected:?} is not on\n{text}");
        }
        assert!(!text.contains("event 1\n"), "old events make room:\n{text}");
    }

    #[test]
    fn wider_terminals_get_longer_bars_and_smaller_ones_do_not_panic() {
        let bars = |width: u16| {
            let rows = screen(&picture(&[], 0), width, 24);
            rows.join("").matches('█').count()
        };
        assert!(bars(120) > bars(80));
        for (width, height) in [(1, 1), (20, 5), (79, 10), (300, 90)] {
            screen(&picture(&[], 12), width, height);
        }
    }

    #[test]
    fn the_number_of_stale_reads_is_drawn_large() {
        let zero = screen(&picture(&[], 0), 80, 24).join("\n");
        let some = screen(&picture(&[], 17), 80, 24).join("\n");
        assert!(zero.contains("█▀█"), "a large 0:\n{zero}");
        assert!(some.contains("▀█  ▀▀█"), "a large 17:\n{some}");
    }
}
