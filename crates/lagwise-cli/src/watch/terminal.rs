//! The terminal, while it is ours, and its return.
//!
//! It is given back as it was found however the command ends: when it is done, when it is asked to, and
//! when it panics, before the panic says anything. A terminal that is gone is no failure: nobody is
//! there to see one.

use std::io::{self, IsTerminal as _};

use ratatui::DefaultTerminal;

use super::state::State;
use super::view::{Palette, draw};

/// The whole screen.
#[derive(Debug)]
pub(crate) struct Screen {
    terminal: DefaultTerminal,
    palette: Palette,
}

/// Whether somebody may be there to see what is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Perhaps,
    ByNobody,
}

impl Screen {
    /// Takes the terminal, and sees to it that a panic gives it back.
    pub(crate) fn take(palette: Palette) -> io::Result<Self> {
        match ratatui::try_init() {
            Ok(terminal) => Ok(Self { terminal, palette }),
            Err(error) => {
                ratatui::try_restore().ok();
                Err(error)
            }
        }
    }

    /// Draws what has changed since the last time.
    pub(crate) fn show(&mut self, state: &State) -> io::Result<Seen> {
        let palette = self.palette;
        let drawn = self.terminal.draw(|frame| {
            let area = frame.area();
            draw(state, &palette, area, frame.buffer_mut());
        });
        match drawn {
            Ok(_) => Ok(Seen::Perhaps),
            Err(error) if is_gone(&error) => Ok(Seen::ByNobody),
            Err(error) => Err(error),
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A panic has given it back already; once more would put the cursor into its message.
        if !std::thread::panicking() {
            // One that is gone cannot be given back.
            ratatui::try_restore().ok();
        }
    }
}

/// Whether there is a terminal that can be drawn on.
pub(crate) fn is_there() -> bool {
    let dumb = std::env::var_os("TERM").is_none_or(|kind| kind == "dumb");
    io::stdout().is_terminal() && !dumb
}

/// How many columns what is printed may take: those of the terminal, or the least that people have.
pub(crate) fn columns() -> usize {
    let size = ratatui::crossterm::terminal::size();
    match size {
        Ok((columns, _)) if io::stdout().is_terminal() && columns > 0 => usize::from(columns),
        _ => 80,
    }
}

/// A pipe nobody reads, or a terminal that was closed.
fn is_gone(error: &io::Error) -> bool {
    const EIO: i32 = 5;
    error.kind() == io::ErrorKind::BrokenPipe || error.raw_os_error() == Some(EIO)
}
