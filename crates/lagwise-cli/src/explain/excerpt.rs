//! The line of a text that an offset is in, cut to what fits beside it.
//!
//! A statement may be one line of a megabyte, or hold what would act on the terminal; the place
//! that decided must be seen anyway. What the place means is said elsewhere.

use crate::printable::{Printable, columns};

/// Room on a terminal of 80 columns, beside the number of the line.
const MOST_COLUMNS: usize = 70;

/// What is shown before the place; what comes after it says more.
const MOST_BEFORE: usize = 40;

const CUT: &str = "…";

/// A place in a text, for a person to find it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Excerpt {
    /// From one.
    pub(super) line: usize,
    /// In characters, from one.
    pub(super) column: usize,
    pub(super) shown: String,
    /// Columns of the terminal before the place.
    pub(super) pointer: usize,
}

impl Excerpt {
    /// The surroundings of a byte offset; one that is not in the text is taken for the nearest.
    pub(super) fn new(text: &str, at: usize) -> Self {
        let (before, after) = text.split_at(text.floor_char_boundary(at));
        let start = before.rfind('\n').map_or(0, |end| end + 1);
        let (before, line) = (&before[start..], 1 + count(&before[..start], '\n'));
        let after = after.split('\n').next().unwrap_or_default();
        let after = after.strip_suffix('\r').unwrap_or(after);

        let from = before.len() - fitting(before.chars().rev(), MOST_BEFORE);
        let left = if from == 0 { "" } else { CUT };
        let pointer = width(left) + width(&before[from..]);
        let to = fitting(after.chars(), MOST_COLUMNS.saturating_sub(pointer));
        let right = if to == after.len() { "" } else { CUT };
        let (before_shown, after_shown) = (Printable(&before[from..]), Printable(&after[..to]));
        Self {
            line,
            column: 1 + before.chars().count(),
            shown: format!("{left}{before_shown}{after_shown}{right}"),
            pointer,
        }
    }
}

/// A text as it can be shown on one line of at most so many columns, and a mark where it was cut.
pub(super) fn clipped(text: &str, most: usize) -> String {
    let to = fitting(text.chars(), most);
    let mark = if to == text.len() { "" } else { CUT };
    format!("{}{mark}", Printable(&text[..to]))
}

/// How many bytes the characters take that fit into so many columns.
fn fitting(letters: impl Iterator<Item = char>, most: usize) -> usize {
    let mut used = 0;
    let fits = |letter: &char| {
        used += columns(*letter);
        used <= most
    };
    letters.take_while(fits).map(char::len_utf8).sum()
}

fn width(text: &str) -> usize {
    text.chars().map(columns).sum()
}

fn count(text: &str, letter: char) -> usize {
    text.matches(letter).count()
}

#[cfg(test)]
mod tests {
    use super::{Excerpt, MOST_COLUMNS, clipped, width};

    /// What stands above the pointer.
    fn pointed(excerpt: &Excerpt) -> Option<char> {
        let mut at = 0;
        excerpt.shown.chars().find(|letter| {
            at += width(&letter.to_string());
            at > excerpt.pointer
        })
    }

    #[test]
    fn the_pointer_is_under_the_offset_on_its_line() {
        let text = "select 1;\r\n\tselect '数据', now()\r\nfrom t";
        let at = text.find("now").expect("it is there");
        let excerpt = Excerpt::new(text, at);
        assert_eq!((excerpt.line, excerpt.column), (2, 15));
        assert_eq!(excerpt.shown, " select '数据', now()");
        assert_eq!(pointed(&excerpt), Some('n'), "{excerpt:?}");
    }

    #[test]
    fn a_long_line_is_cut_on_both_sides_of_the_offset() {
        let text = format!("{}!{}", "é".repeat(500_000), "\u{1b}".repeat(500_000));
        let excerpt = Excerpt::new(&text, 1_000_000);
        assert_eq!(pointed(&excerpt), Some('!'), "{excerpt:?}");
        assert!(excerpt.shown.starts_with("…é"), "{excerpt:?}");
        assert!(excerpt.shown.ends_with("}…"), "{excerpt:?}");
        assert!(width(&excerpt.shown) <= MOST_COLUMNS + 1, "{excerpt:?}");
    }

    #[test]
    fn every_offset_has_an_excerpt() {
        let text = "sélect\n\u{1b}[2J\r\n";
        for at in 0..text.len() + 3 {
            let excerpt = Excerpt::new(text, at);
            assert!(
                !excerpt.shown.contains(['\u{1b}', '\n']),
                "{at}: {excerpt:?}"
            );
            assert!(
                excerpt.pointer <= width(&excerpt.shown),
                "{at}: {excerpt:?}"
            );
        }
        let nothing = Excerpt::new("", 0);
        assert_eq!((nothing.line, nothing.column, nothing.pointer), (1, 1, 0));
    }

    #[test]
    fn a_text_that_fits_is_not_cut() {
        assert_eq!(clipped("it only reads", 13), "it only reads");
        assert_eq!(clipped("it only reads", 12), "it only read…");
        assert_eq!(
            clipped("a\u{1b}b", 6),
            "a…",
            "an escape is shown whole or not at all"
        );
    }
}
