//! Speaks to the person at the terminal.
//!
//! Always on standard error: standard output belongs to the commands that are run, and
//! `cargo xtask demo --json` must put nothing on it but the JSON.

#[expect(
    clippy::print_stderr,
    reason = "a command for people speaks to them here, and only here"
)]
pub(crate) fn say(text: &str) {
    eprintln!("{text}");
}
