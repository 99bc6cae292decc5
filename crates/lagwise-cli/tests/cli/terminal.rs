//! On a terminal answers are colored, and where nobody wants color they are not.

use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::process::Command;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::Outcome;
use crate::binary::lagwise;

/// What appears on a terminal that is the command's standard output.
fn on_a_terminal(command: &mut Command) -> Outcome<String> {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
    grantpt(&ours)?;
    unlockpt(&ours)?;
    let path = ptsname(&ours, Vec::new())?.into_string()?;
    let theirs = OpenOptions::new().read(true).write(true).open(path)?;
    // What is written fits the buffer of a terminal, which is kept as long as one side is open.
    let kept = theirs.try_clone()?;
    let status = command.stdout(theirs).status()?;
    assert!(status.success(), "{status}");
    let (mut screen, mut ours) = (Vec::new(), File::from(ours));
    while !screen.ends_with(b"^\r\n") && !screen.ends_with(b"^\x1b[0m\r\n") {
        let mut piece = [0; 4096];
        let read = ours.read(&mut piece)?;
        screen.extend_from_slice(&piece[..read]);
    }
    drop(kept);
    Ok(String::from_utf8(screen)?)
}

fn explain() -> Command {
    let mut command = lagwise();
    command.args(["explain", "select 1"]).env("TERM", "xterm");
    command
}

#[test]
fn color_is_for_terminals_where_nobody_asked_for_none() -> Outcome {
    let colored = on_a_terminal(&mut explain())?;
    assert!(colored.starts_with("\u{1b}[1;32mread"), "{colored:?}");
    let empty = on_a_terminal(explain().env("NO_COLOR", ""))?;
    assert_eq!(empty, colored, "an empty variable asks for nothing");
    for (name, value) in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let plain = on_a_terminal(explain().env(name, value))?;
        assert!(plain.starts_with("read     "), "{name}={value}: {plain:?}");
        assert!(!plain.contains('\u{1b}'), "{name}={value}: {plain:?}");
    }
    let piped = explain().output()?;
    assert!(!piped.stdout.contains(&0x1b), "{piped:?}");
    Ok(())
}
