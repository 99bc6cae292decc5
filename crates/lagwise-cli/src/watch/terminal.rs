//! The terminal, while it is ours, and its return.
//!
//! It is given back as it was found however the command ends: when it is done, when it is asked to, and
//! when it panics, before the panic says anything. A terminal that is gone is no failure: nobody is
//! there to see one.

use std::io::{self, IsTerminal as _, Stdout, Write};
use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};

use super::state::State;
use super::view::{Palette, draw};

/// The whole screen.
#[derive(Debug)]
pub(crate) struct Screen {
    terminal: Terminal<CrosstermBackend<Glass>>,
    /// Whether the glass is.
    broken: Arc<AtomicBool>,
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
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            give_back();
            before(panic);
        }));
        let broken = Arc::new(AtomicBool::new(false));
        let taken = take(Glass {
            out: io::stdout(),
            broken: Arc::clone(&broken),
        });
        if taken.is_err() {
            give_back();
        }
        Ok(Self {
            terminal: taken?,
            broken,
            palette,
        })
    }

    /// Draws what has changed since the last time.
    pub(crate) fn show(&mut self, state: &State) -> io::Result<Seen> {
        let palette = self.palette;
        let drawn = self.terminal.draw(|frame| {
            let area = frame.area();
            draw(state, &palette, area, frame.buffer_mut());
        });
        match drawn {
            _ if self.broken.load(Relaxed) => Ok(Seen::ByNobody),
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
            give_back();
        }
    }
}

fn take(glass: Glass) -> io::Result<Terminal<CrosstermBackend<Glass>>> {
    enable_raw_mode()?;
    execute!(io::stdout(), EnterAlternateScreen)?;
    Terminal::new(CrosstermBackend::new(glass))
}

/// One that is gone cannot be given back, and needs not be.
fn give_back() {
    disable_raw_mode().ok();
    execute!(io::stdout(), LeaveAlternateScreen, Show).ok();
}

/// What is drawn on. It breaks when its terminal is closed, and then swallows everything: what is left
/// to be written is of use to nobody, and its failure neither.
#[derive(Debug)]
struct Glass {
    out: Stdout,
    broken: Arc<AtomicBool>,
}

impl Glass {
    fn unless_broken<T>(&self, written: io::Result<T>, otherwise: T) -> io::Result<T> {
        match written {
            Err(error) if is_gone(&error) => {
                self.broken.store(true, Relaxed);
                Ok(otherwise)
            }
            written => written,
        }
    }
}

impl Write for Glass {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes);
        self.unless_broken(written, bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.out.flush();
        self.unless_broken(flushed, ())
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

#[cfg(test)]
mod tests {
    use std::fs::{File, OpenOptions};
    use std::io::Read as _;
    use std::process::Command;

    use ratatui::crossterm::terminal::is_raw_mode_enabled;
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use rustix::termios::{LocalModes, tcgetattr};

    use super::*;
    use crate::watch::scenes;

    const NAME: &str =
        "watch::terminal::tests::a_panic_gives_the_terminal_back_before_it_says_anything";
    const PANICS: &str = "LAGWISE_TEST_PANICS";
    const MESSAGE: &str = "on purpose, with a screen";

    /// This test again, in a process of its own on a terminal of its own, where it panics.
    #[test]
    fn a_panic_gives_the_terminal_back_before_it_says_anything() {
        if std::env::var_os(PANICS).is_some() {
            let mut screen = Screen::take(Palette::new(true)).unwrap();
            screen.show(&State::new(scenes::scene())).unwrap();
            assert!(is_raw_mode_enabled().unwrap(), "it has the terminal");
            panic!("{MESSAGE}");
        }
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let path = ptsname(&ours, Vec::new()).unwrap().into_string().unwrap();
        let theirs = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .unwrap();
        let stream = || theirs.try_clone().unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", NAME, "--nocapture"])
            .env(PANICS, "1");
        command.stdin(stream()).stdout(stream()).stderr(stream());
        let mut child = command.spawn().unwrap();
        drop(command);
        let mut written = String::new();
        let mut ours = File::from(ours);
        // What it says last of all.
        while !written.contains("test result") {
            let mut piece = [0; 4096];
            let read = ours.read(&mut piece).unwrap();
            written.push_str(&String::from_utf8_lossy(&piece[..read]));
        }
        assert!(!child.wait().unwrap().success());
        let place = |what: &str| {
            written
                .rfind(what)
                .unwrap_or_else(|| panic!("{what:?}: {written:?}"))
        };
        assert!(
            place("\u{1b}[?1049h") < place("\u{1b}[?1049l"),
            "{written:?}"
        );
        assert!(place("\u{1b}[?1049l") < place(MESSAGE), "{written:?}");
        assert!(place("\u{1b}[?25l") < place("\u{1b}[?25h"), "{written:?}");
        let modes = tcgetattr(&theirs).unwrap().local_modes;
        assert!(modes.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG));
    }
}
