//! `lagwise man`: manual pages, one for each command.
//!
//! They are made from the command line's own definition when they are asked for, so they always fit the
//! binary that prints them. What stands below the options in `--help` is set as sections of its own, line
//! for line, since it is mostly examples.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::{Args, Command};
use clap_mangen::Man;

use crate::console::Findings;
use crate::failure::Failure;

/// Prints a manual page, or writes all of them into a folder.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub(crate) struct Arguments {
    /// The command that the page is about, as `watch`; without one, all of lagwise.
    #[arg(value_name = "COMMAND", conflicts_with = "dir")]
    command: Vec<String>,
    /// Writes the pages of all commands into this folder, which is made if it is not there.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

const AFTER_HELP: &str = "\
Examples:
  lagwise man watch | man -l -
  lagwise man --dir ~/.local/share/man/man1

Exit codes:
  0  it was written, or whoever read it wanted no more
  1  standard output or a file could not be written
  2  the command line cannot be meant";

/// Writes the pages of a command.
pub(crate) fn run(arguments: &Arguments, command: Command) -> Result<(), Failure> {
    let mut command = command.disable_help_subcommand(true);
    // Only then does each know its whole name.
    command.build();
    if let Some(dir) = &arguments.dir {
        return write_all(&command, dir);
    }
    let mut chosen = &command;
    for name in &arguments.command {
        chosen = chosen
            .find_subcommand(name)
            .ok_or_else(|| Failure::NoCommand(name.clone()))?;
    }
    let mut findings = Findings::new();
    findings.put(&page(chosen).map_err(Failure::Output)?)?;
    findings.show()?;
    Ok(())
}

fn write_all(command: &Command, dir: &Path) -> Result<(), Failure> {
    let failed = |name: &Path| {
        let name = name.to_owned();
        move |cause| Failure::Written { name, cause }
    };
    std::fs::create_dir_all(dir).map_err(failed(dir))?;
    let mut commands = vec![command];
    while let Some(command) = commands.pop() {
        let file = dir.join(Man::new(command.clone()).get_filename());
        let page = page(command).map_err(failed(&file))?;
        std::fs::write(&file, page).map_err(failed(&file))?;
        commands.extend(command.get_subcommands().filter(|sub| !sub.is_hide_set()));
    }
    Ok(())
}

/// One page, as roff.
fn page(command: &Command) -> io::Result<Vec<u8>> {
    let version = concat!("lagwise ", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.clone()).manual("lagwise").source(version);
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.get_subcommands().any(|sub| !sub.is_hide_set()) {
        man.render_subcommands_section(&mut page)?;
    }
    let after = command
        .get_after_long_help()
        .or_else(|| command.get_after_help());
    for line in after.map(ToString::to_string).unwrap_or_default().lines() {
        write_line(&mut page, line)?;
    }
    Ok(page)
}

/// A line that ends with a colon and is not indented begins a section; all others stay as they are.
fn write_line(page: &mut Vec<u8>, line: &str) -> io::Result<()> {
    match line.strip_suffix(':') {
        Some(title) if !line.starts_with(' ') => {
            writeln!(page, ".fi\n.SH \"{}\"\n.nf", escaped(&title.to_uppercase()))
        }
        _ => writeln!(page, "{}", escaped(line)),
    }
}

/// Text as roff takes it for text.
fn escaped(line: &str) -> String {
    let text = line.replace('\\', "\\e").replace('-', "\\-");
    // Typewriters made these, and typesetters would make others of them.
    let text = text
        .replace('\'', "\\(aq")
        .replace('`', "\\(ga")
        .replace('^', "\\(ha");
    let text = text.replace('~', "\\(ti").replace('"', "\\(dq");
    match text.chars().next() {
        Some('.') => format!("\\&{text}"),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_never_taken_for_a_request() {
        assert_eq!(escaped(".fi"), "\\&.fi");
        assert_eq!(escaped("'fi"), "\\(aqfi");
        assert_eq!(escaped("a\\fB --x"), "a\\efB \\-\\-x");
    }

    #[test]
    fn a_page_has_the_sections_of_its_help() {
        let command = Command::new("x").after_long_help("Examples:\n  x 'y'\nExit codes:\n  0");
        let page = String::from_utf8(page(&command).unwrap()).unwrap();
        let expected =
            ".fi\n.SH \"EXAMPLES\"\n.nf\n  x \\(aqy\\(aq\n.fi\n.SH \"EXIT CODES\"\n.nf\n  0\n";
        assert!(page.ends_with(expected), "{page}");
    }
}
