//! Where a run is shown: on a terminal as it happens, in a pipe line by line, or not at all.
//!
//! Standard output belongs to the result; with `--json` nothing else goes there. A terminal is given
//! back as it was found, also after a panic. What is drawn is the business of `view` and `plain`.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use crate::arguments::Arguments;
use crate::failure::Failure;
use crate::history::Entry;
use crate::picture::Picture;
use crate::plain;
use crate::report::Report;
use crate::view::{self, Palette};

/// Between two lines about how the run is going.
const LINE_EVERY: Duration = Duration::from_secs(1);

/// What the viewer wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    End,
    GoOn,
}

/// A way to show a run.
#[derive(Debug)]
pub(crate) enum Display {
    /// Drawn on the whole screen; the terminal is there while it is drawn on.
    Live {
        palette: Palette,
        terminal: Option<Box<Screen>>,
    },
    /// Line by line.
    Lines { next: Duration },
    /// Not at all.
    Silent,
}

impl Display {
    pub(crate) fn choose(arguments: &Arguments) -> Self {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        if arguments.json {
            Self::Silent
        } else if io::stdout().is_terminal() && io::stdin().is_terminal() && !dumb {
            Self::Live {
                palette: Palette::from_environment(),
                terminal: None,
            }
        } else {
            Self::Lines {
                next: Duration::ZERO,
            }
        }
    }

    /// Says what is being done before there is anything to see.
    pub(crate) fn announce(&self, what: &str) {
        if !matches!(self, Self::Silent) {
            complain(what);
        }
    }

    /// Takes the terminal, where it is needed.
    pub(crate) fn open(&mut self) -> Result<(), Failure> {
        if let Self::Live { terminal, .. } = self {
            *terminal = Some(Box::new(Screen::take()?));
        }
        Ok(())
    }

    /// Gives the terminal back.
    pub(crate) fn close(&mut self) {
        if let Self::Live { terminal, .. } = self {
            terminal.take();
        }
    }

    /// Shows something that happened.
    pub(crate) fn note(&self, entry: &Entry) -> Result<(), Failure> {
        match self {
            Self::Lines { .. } => Ok(say(&plain::event(entry))?),
            // The next picture has it.
            Self::Live { .. } | Self::Silent => Ok(()),
        }
    }

    /// Shows a moment, if it is time to.
    pub(crate) fn show(&mut self, picture: &Picture<'_>) -> Result<Wish, Failure> {
        match self {
            Self::Live {
                palette,
                terminal: Some(screen),
            } => {
                let draws = |frame: &mut ratatui::Frame<'_>| view::draw(picture, palette, frame);
                screen.0.draw(draws)?;
                Ok(wish()?)
            }
            Self::Lines { next } => {
                if picture.elapsed >= *next {
                    say(&plain::moment(picture))?;
                    *next += LINE_EVERY;
                }
                Ok(Wish::GoOn)
            }
            Self::Live { terminal: None, .. } | Self::Silent => Ok(Wish::GoOn),
        }
    }
}

/// The terminal while it is ours.
#[derive(Debug)]
pub(crate) struct Screen(DefaultTerminal);

impl Screen {
    fn take() -> io::Result<Self> {
        // This also has a panic give the terminal back, before it says anything.
        ratatui::try_init().map(Self)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A panic has restored it already; once more would put the cursor into its message.
        if !std::thread::panicking() {
            ratatui::restore();
        }
    }
}

/// Prints the result, and says how the process ends.
pub(crate) fn conclude(arguments: &Arguments, report: &Report) -> ExitCode {
    let result = if arguments.json {
        if let Some(error) = report.first_error() {
            complain(&format!("the first error: {error}"));
        }
        serde_json::to_string(report.figures()).map_err(io::Error::from)
    } else {
        Ok(report.summary())
    };
    match result.and_then(|text| say(&text)) {
        Ok(()) if report.holds() => ExitCode::SUCCESS,
        Ok(()) => ExitCode::FAILURE,
        Err(error) => {
            complain(&format!("the result cannot be written: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Says something that is no result.
pub(crate) fn complain(what: &str) {
    // If nobody can hear it, there is nobody to tell that.
    writeln!(io::stderr(), "{what}").ok();
}

fn say(line: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{line}")
}

/// What the keys that were pressed since the last picture ask for.
fn wish() -> io::Result<Wish> {
    while event::poll(Duration::ZERO)? {
        match event::read()? {
            Event::Key(key) if key.kind == KeyEventKind::Press && ends(key) => {
                return Ok(Wish::End);
            }
            _ => {}
        }
    }
    Ok(Wish::GoOn)
}

/// In raw mode, Ctrl-C is a key like any other.
fn ends(key: KeyEvent) -> bool {
    match key.code {
        KeyCode::Char('c') => key.modifiers.contains(KeyModifiers::CONTROL),
        KeyCode::Char('q') | KeyCode::Esc => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn q_and_ctrl_c_end_the_run_and_c_does_not() {
        let key = |code, modifiers| KeyEvent::new(code, modifiers);
        assert!(ends(key(KeyCode::Char('q'), KeyModifiers::NONE)));
        assert!(ends(key(KeyCode::Char('c'), KeyModifiers::CONTROL)));
        assert!(!ends(key(KeyCode::Char('c'), KeyModifiers::NONE)));
    }
}
