//! Rows of text, each piece of it at a column: what a screen and a printed table are made of.
//!
//! What is shown was written by others, too, and never acts on the terminal; what has no room is cut,
//! and a mark shows that. Meaning is in the words; how a tone looks is the business of the palette.

use crate::printable::{Printable, columns};

/// What a piece is, for whoever paints it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Quiet,
    Title,
    Accent,
    Good,
    Caution,
    Bad,
}

/// A text that begins at a column.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    pub(crate) column: usize,
    pub(crate) text: String,
    pub(crate) tone: Tone,
}

/// One line of a screen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Row {
    pub(crate) pieces: Vec<Piece>,
    /// It is the one that keys act on.
    pub(crate) selected: bool,
}

impl Row {
    /// Adds a text at a column, cut to a width.
    pub(crate) fn put(&mut self, column: usize, width: usize, text: &str, tone: Tone) {
        let text = cut(text, width);
        if !text.is_empty() {
            self.pieces.push(Piece { column, text, tone });
        }
    }

    /// A row of one text.
    pub(crate) fn of(text: &str, width: usize, tone: Tone) -> Self {
        let mut row = Self::default();
        row.put(0, width, text, tone);
        row
    }

    /// As plain text.
    pub(crate) fn to_text(&self) -> String {
        let (mut text, mut at) = (String::new(), 0);
        for piece in &self.pieces {
            text.push_str(&" ".repeat(piece.column.saturating_sub(at)));
            text.push_str(&piece.text);
            at = piece.column.max(at) + width(&piece.text);
        }
        text.trim_end().to_owned()
    }
}

/// How many columns a text takes that is printable already.
pub(crate) fn width(text: &str) -> usize {
    text.chars().map(columns).sum()
}

/// What fits of a text, with a mark where the rest is missing.
pub(crate) fn cut(text: &str, room: usize) -> String {
    let text = Printable(text).to_string();
    if width(&text) <= room {
        return text;
    }
    let (mut kept, _) = taken(text.chars(), room.saturating_sub(1));
    if room > 0 {
        kept.push('…');
    }
    kept
}

/// The same for names: they differ at their ends as often as at their beginnings.
pub(crate) fn cut_name(name: &str, room: usize) -> String {
    let name = Printable(name).to_string();
    if width(&name) <= room || room < 3 {
        return cut(&name, room);
    }
    let (end, used) = taken(name.chars().rev(), (room - 1) / 2);
    let (start, _) = taken(name.chars(), room - 1 - used);
    format!("{start}…{}", end.chars().rev().collect::<String>())
}

/// As many characters as there is room for, and how much of it they take.
fn taken(letters: impl Iterator<Item = char>, room: usize) -> (String, usize) {
    let mut used = 0;
    let fits = |letter: &char| {
        let fits = used + columns(*letter) <= room;
        used += if fits { columns(*letter) } else { 0 };
        fits
    };
    let text: String = letters.take_while(fits).collect();
    (text, used)
}

/// Items beside each other, on as many rows as they need; one that is wider than a row is cut.
pub(crate) fn flow(items: &[(String, Tone)], indent: usize, room: usize) -> Vec<Row> {
    let mut rows = vec![Row::default()];
    let mut at = indent;
    for (text, tone) in items {
        let text = cut(text, room.saturating_sub(indent));
        let wide = width(&text);
        if at > indent && at + wide > room {
            rows.push(Row::default());
            at = indent;
        }
        if let Some(row) = rows.last_mut() {
            row.put(at, wide, &text, *tone);
        }
        at += wide + 2;
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_room_is_cut_with_a_mark() {
        assert_eq!(cut("replica-1", 9), "replica-1");
        assert_eq!(cut("replica-1", 8), "replica…");
        assert_eq!(cut("数据库", 4), "数…", "each takes two columns");
        assert_eq!(cut("replica-1", 0), "");
        assert_eq!(cut("\u{1b}[2J", 20), r"\u{1b}[2J");
    }

    #[test]
    fn names_keep_both_ends() {
        assert_eq!(cut_name("db-prod-eu-west-replica-01", 14), "db-prod…ica-01");
        assert_eq!(cut_name("db-prod-eu-west-replica-02", 14), "db-prod…ica-02");
        assert_eq!(width(&cut_name("数据库数据库数据库", 9)), 9);
        assert_eq!(cut_name("replica", 2), "r…");
    }

    #[test]
    fn items_flow_over_rows_and_never_beyond_them() {
        let items = ["primary p", "timeline 1", "a very long item"].map(|text| {
            let text: String = text.to_owned();
            (text, Tone::Plain)
        });
        let rows: Vec<String> = flow(&items, 2, 15).iter().map(Row::to_text).collect();
        assert_eq!(rows, ["  primary p", "  timeline 1", "  a very long …"]);
        assert_eq!(flow(&items, 0, 80).len(), 1);
    }
}
