//! A terminal with a program on it: its keys, its size, and what it shows.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::num::NonZero;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use crate::Outcome;

/// How long a screen may take to show what it is to show; many times what it takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// A program on a terminal.
pub(crate) struct Screen {
    child: Child,
    ours: File,
    /// Reads all that is written, until the terminal is closed.
    reader: Option<JoinHandle<()>>,
    /// Kept open, so that the modes of the terminal can be looked at when the program is gone.
    theirs: File,
    pieces: Receiver<Vec<u8>>,
    parser: vt100::Parser,
    /// All that was written.
    pub(crate) written: Vec<u8>,
}

impl Screen {
    /// Starts a program on a terminal of this size, in rows and columns.
    pub(crate) fn open(mut command: Command, rows: u16, columns: u16) -> Outcome<Self> {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
        // The program has no business at our end, and would keep the terminal open.
        fcntl_setfd(&ours, FdFlags::CLOEXEC)?;
        grantpt(&ours)?;
        unlockpt(&ours)?;
        let path = ptsname(&ours, Vec::new())?.into_string()?;
        let theirs = OpenOptions::new().read(true).write(true).open(path)?;
        tcsetwinsize(&ours, size(rows, columns))?;
        let ours = File::from(ours);
        let child = command
            .env("TERM", "xterm-256color")
            .stdin(theirs.try_clone()?)
            .stdout(theirs.try_clone()?)
            .stderr(Stdio::from(theirs.try_clone()?))
            .spawn()?;
        let (piece, pieces) = mpsc::channel();
        let reader = ours.try_clone()?;
        let reader = thread::spawn(move || read_all(reader, &piece));
        Ok(Self {
            child,
            ours,
            reader: Some(reader),
            theirs,
            pieces,
            parser: vt100::Parser::new(cells(rows)?, cells(columns)?, 0),
            written: Vec::new(),
        })
    }

    /// What is seen now.
    pub(crate) fn text(&self) -> String {
        self.parser.screen().contents()
    }

    /// Waits until the screen is as it is to be.
    pub(crate) fn wait_for(&mut self, what: &str, shown: impl Fn(&str) -> bool) -> Outcome<String> {
        loop {
            let text = self.text();
            if shown(&text) {
                return Ok(text);
            }
            match self.pieces.recv_timeout(PATIENCE) {
                Ok(piece) => {
                    self.parser.process(&piece);
                    self.written.extend(piece);
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    return Err(format!("{what} is not on the screen:\n{text}").into());
                }
            }
        }
    }

    pub(crate) fn wait_for_text(&mut self, what: &str) -> Outcome<String> {
        self.wait_for(what, |text| text.contains(what))
    }

    pub(crate) fn press(&mut self, keys: &str) -> Outcome {
        Ok(self.ours.write_all(keys.as_bytes())?)
    }

    pub(crate) fn resize(&mut self, rows: u16, columns: u16) -> Outcome {
        self.parser
            .screen_mut()
            .set_size(cells(rows)?, cells(columns)?);
        tcsetwinsize(&self.ours, size(rows, columns))?;
        // The terminal is nobody's controlling one, so nobody is told by the system.
        self.signal(Signal::WINCH)
    }

    pub(crate) fn signal(&self, signal: Signal) -> Outcome {
        let child = Pid::from_child(&self.child);
        Ok(kill_process(child, signal)?)
    }

    /// Waits for the end of the program, and takes in what it wrote last.
    pub(crate) fn end(&mut self) -> Outcome<ExitStatus> {
        let status = crate::binary::wait(&mut self.child, PATIENCE)?;
        while let Ok(piece) = self.pieces.recv_timeout(Duration::from_millis(200)) {
            self.parser.process(&piece);
            self.written.extend(piece);
        }
        Ok(status)
    }

    /// Closes the terminal, as a window is closed, and waits for the end of the program.
    pub(crate) fn close(mut self) -> Outcome<ExitStatus> {
        let nowhere = || File::options().read(true).write(true).open("/dev/null");
        self.ours = nowhere()?;
        self.theirs = nowhere()?;
        // The reader has its own handle, and lets go of it when nobody takes in what it reads.
        drop(std::mem::replace(&mut self.pieces, mpsc::channel().1));
        if let Some(reader) = self.reader.take() {
            reader.join().map_err(|_panic| "the reader panicked")?;
        }
        crate::binary::wait(&mut self.child, PATIENCE)
    }

    /// Whether the terminal is as it was found.
    pub(crate) fn is_given_back(&self) -> Outcome<bool> {
        let modes = tcgetattr(&self.theirs)?.local_modes;
        let cooked = modes.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG);
        let screen = self.parser.screen();
        Ok(cooked && !screen.alternate_screen() && !screen.hide_cursor())
    }

    /// Whether it is in use for a full screen.
    pub(crate) fn is_taken(&self) -> Outcome<bool> {
        let modes = tcgetattr(&self.theirs)?.local_modes;
        let raw = !modes.intersects(LocalModes::ICANON | LocalModes::ECHO);
        let screen = self.parser.screen();
        Ok(raw && screen.alternate_screen() && screen.hide_cursor())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // It may be over already.
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

/// Hands on what is written, until nobody wants it or nobody can write any longer.
fn read_all(mut terminal: File, piece: &Sender<Vec<u8>>) {
    let mut buffer = [0; 1 << 16];
    while let Ok(read) = terminal.read(&mut buffer) {
        if read == 0 || piece.send(buffer[..read].to_vec()).is_err() {
            return;
        }
    }
}

fn cells(number: u16) -> Outcome<NonZero<u16>> {
    Ok(NonZero::new(number).ok_or("a screen has cells")?)
}

fn size(rows: u16, columns: u16) -> Winsize {
    Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}
