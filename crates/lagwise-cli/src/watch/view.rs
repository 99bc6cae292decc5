//! Paints lines on a screen: every piece at its column, in the style of its tone.
//!
//! What the lines say is decided already. A piece is painted where it begins, whatever a terminal takes
//! for the width of what stands before it, so that columns stay columns.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::screen::lines;
use super::state::State;

pub(crate) use self::palette::Palette;

#[cfg(test)]
mod frames;
mod palette;

/// Draws all of it.
pub(crate) fn draw(state: &State, palette: &Palette, area: Rect, buffer: &mut Buffer) {
    let size = (usize::from(area.width), usize::from(area.height));
    for (y, row) in (area.y..area.bottom()).zip(lines(state, size)) {
        let line = Rect::new(area.x, y, area.width, 1);
        if row.selected {
            buffer.set_style(line, palette.selected);
        }
        for piece in &row.pieces {
            let column = u16::try_from(piece.column).unwrap_or(u16::MAX);
            let x = area.x.saturating_add(column);
            if x < area.right() {
                let room = usize::from(area.right() - x);
                let style = palette.of(piece.tone);
                buffer.set_stringn(x, y, &piece.text, room, style);
            }
        }
    }
}
