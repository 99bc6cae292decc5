//! The cluster as a table on paper: what `--once` prints.

use super::row::{Row, Tone, flow};
use super::screen::summary;
use super::state::{Scene, State};
use super::table::Table;

/// All nodes, in lines of at most this many columns.
pub(crate) fn table(scene: &Scene, wide: usize) -> Vec<Row> {
    let mut rows = flow(&summary(scene), 0, wide);
    // A single look makes no chart.
    let table = Table::fit(scene, wide, false);
    rows.push(Row::default());
    rows.push(table.titles(None));
    let state = State::new(scene.clone());
    for node in state.nodes() {
        let facts = scene.facts(node);
        rows.push(table.node(&facts, false));
        rows.extend(table.rest(&facts));
    }
    rows
}

/// Rows as they are printed, with color or without.
pub(crate) fn text(rows: &[Row], colored: bool) -> String {
    let mut text = String::new();
    for row in rows {
        text.push_str(&if colored { dyed(row) } else { row.to_text() });
        text.push('\n');
    }
    text
}

fn dyed(row: &Row) -> String {
    let mut row = row.clone();
    let mut text = String::new();
    let mut at = 0;
    for piece in &mut row.pieces {
        text.push_str(&" ".repeat(piece.column.saturating_sub(at)));
        at = piece.column.max(at) + super::row::width(&piece.text);
        match code(piece.tone) {
            Some(code) => text.push_str(&format!("\u{1b}[{code}m{}\u{1b}[0m", piece.text)),
            None => text.push_str(&piece.text),
        }
    }
    text
}

const fn code(tone: Tone) -> Option<&'static str> {
    match tone {
        Tone::Plain => None,
        Tone::Quiet => Some("2"),
        Tone::Title => Some("1"),
        Tone::Accent => Some("36"),
        Tone::Good => Some("32"),
        Tone::Caution => Some("33"),
        Tone::Bad => Some("1;31"),
    }
}
