//! How tones look, with color or without.
//!
//! The colors are the terminal's own, which its user has chosen to be readable.

use ratatui::style::{Color, Modifier, Style};

use crate::watch::row::Tone;

/// The style of each tone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Palette {
    colored: bool,
    pub(super) selected: Style,
}

impl Palette {
    pub(crate) const fn new(colored: bool) -> Self {
        let selected = if colored {
            Style::new().bg(Color::DarkGray)
        } else {
            Style::new().add_modifier(Modifier::REVERSED)
        };
        Self { colored, selected }
    }

    pub(super) fn of(&self, tone: Tone) -> Style {
        let plain = Style::new();
        let bold = plain.add_modifier(Modifier::BOLD);
        let color = |style: Style, color| if self.colored { style.fg(color) } else { style };
        match tone {
            Tone::Plain => plain,
            Tone::Quiet => plain.add_modifier(Modifier::DIM),
            Tone::Title => bold,
            Tone::Accent => color(plain, Color::Cyan),
            Tone::Good => color(plain, Color::Green),
            Tone::Caution => color(plain, Color::Yellow),
            Tone::Bad => color(bold, Color::Red),
        }
    }
}
