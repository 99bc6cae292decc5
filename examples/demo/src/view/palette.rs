//! The styles of the view, with color or without.

use ratatui::style::{Color, Modifier, Style};

/// How each kind of thing looks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Palette {
    pub(super) accent: Style,
    pub(super) bad: Style,
    pub(super) caution: Style,
    pub(super) good: Style,
    pub(super) plain: Style,
    pub(super) quiet: Style,
    pub(super) title: Style,
}

impl Palette {
    /// Without color if `NO_COLOR` says so, as <https://no-color.org> has it.
    pub(crate) fn from_environment() -> Self {
        match std::env::var_os("NO_COLOR") {
            Some(value) if !value.is_empty() => Self::without_color(),
            _ => Self::with_color(),
        }
    }

    /// The terminal's own colors, which its user has chosen to be readable.
    fn with_color() -> Self {
        Self {
            accent: Style::new().fg(Color::Cyan),
            bad: Style::new().fg(Color::Red).add_modifier(Modifier::BOLD),
            caution: Style::new().fg(Color::Yellow),
            good: Style::new().fg(Color::Green),
            ..Self::without_color()
        }
    }

    pub(super) fn without_color() -> Self {
        let plain = Style::new();
        let title = plain.add_modifier(Modifier::BOLD);
        Self {
            accent: plain,
            bad: title,
            caution: plain,
            good: plain,
            plain,
            quiet: plain.add_modifier(Modifier::DIM),
            title,
        }
    }
}
