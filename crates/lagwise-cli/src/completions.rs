//! `lagwise completions`: what a shell needs to complete the command line.
//!
//! It is made from the command line's own definition when it is asked for, so it always fits the binary
//! that prints it.

use clap::{Args, Command};
use clap_complete::Shell;

use crate::console::Findings;
use crate::failure::Failure;

/// Prints a script that has a shell complete commands, options and their values.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub(crate) struct Arguments {
    /// Which shell.
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
}

const AFTER_HELP: &str = "\
Examples:
  lagwise completions bash > ~/.local/share/bash-completion/completions/lagwise
  lagwise completions zsh > ~/.zfunc/_lagwise      (with ~/.zfunc in fpath)
  lagwise completions fish > ~/.config/fish/completions/lagwise.fish
  lagwise completions elvish >> ~/.config/elvish/rc.elv
  lagwise completions powershell >> $PROFILE

Exit codes:
  0  it was printed, or whoever read it wanted no more
  1  standard output could not be written
  2  the command line cannot be meant";

/// Prints the script for a command.
pub(crate) fn run(arguments: &Arguments, mut command: Command) -> Result<(), Failure> {
    let mut script = Vec::new();
    let name = command.get_name().to_owned();
    clap_complete::generate(arguments.shell, &mut command, name, &mut script);
    let mut findings = Findings::new();
    findings.put(&script)?;
    findings.show()?;
    Ok(())
}
