//! Shows text that others wrote without letting it act on the terminal.
//!
//! A statement, a file name or a server's message may hold sequences that move the cursor, recolor
//! what stands above or turn the direction of writing, and so make a write look like a read. What
//! is not a visible character of its own is shown escaped. Where to cut is the caller's business.

use std::fmt::{self, Write as _};

use unicode_width::UnicodeWidthChar as _;

/// A text as it can be shown on one line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Printable<'a>(pub(crate) &'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|letter| write(f, letter))
    }
}

/// How many columns a character takes when it is shown.
pub(crate) fn columns(letter: char) -> usize {
    if is_plain(letter) {
        letter.width().unwrap_or(1)
    } else if letter == '\t' {
        1
    } else {
        letter.escape_debug().count()
    }
}

fn write(f: &mut fmt::Formatter<'_>, letter: char) -> fmt::Result {
    if is_plain(letter) {
        f.write_char(letter)
    } else if letter == '\t' {
        // Its width depends on where it stands.
        f.write_char(' ')
    } else {
        write!(f, "{}", letter.escape_debug())
    }
}

/// Whether it is seen, takes room of its own, and does nothing else.
fn is_plain(letter: char) -> bool {
    let quoting = matches!(letter, '\'' | '"' | '\\');
    quoting || letter.escape_debug().count() == 1
}

#[cfg(test)]
mod tests {
    use super::{Printable, columns};

    #[test]
    fn what_acts_on_a_terminal_is_shown_and_does_not_act() {
        let hostile = "\u{1b}[2J\u{7}\r\u{9b}31m\u{202e}\u{200b}\u{301}\u{0}\n\u{e0041}\u{2028}";
        let shown = Printable(hostile).to_string();
        let harmless = |letter: char| letter.is_ascii_graphic();
        assert!(shown.chars().all(harmless), "{shown}");
        assert!(shown.starts_with(r"\u{1b}[2J\u{7}\r\u{9b}31m"), "{shown}");
    }

    #[test]
    fn what_people_write_is_shown_as_they_wrote_it() {
        let text = r#"select 'it''s', "x\y", 'größe', '数据', '🦀' "#;
        assert_eq!(Printable(text).to_string(), text);
        assert_eq!(Printable("a\tb").to_string(), "a b");
    }

    #[test]
    fn columns_are_those_that_the_shown_text_takes() {
        let of = |text: &str| text.chars().map(columns).sum::<usize>();
        assert_eq!(of("größe"), 5);
        assert_eq!(of("数据"), 4, "each takes two");
        assert_eq!(of("\u{1b}\t"), r"\u{1b} ".len());
    }
}
