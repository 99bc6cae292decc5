//! A command line: shown before it runs, and named in full when it fails.
//!
//! What is printed can be pasted into a shell. Everything runs in the root of the repository,
//! wherever `cargo xtask` was called.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::stderr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fmt};

use crate::console;
use crate::failure::Failure;

#[derive(Debug)]
pub(crate) struct Invocation {
    program: OsString,
    arguments: Vec<OsString>,
    environment: Vec<(&'static str, String)>,
}

impl Invocation {
    pub(crate) fn new<A: Into<OsString>>(
        program: impl Into<OsString>,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        Self {
            program: program.into(),
            arguments: arguments.into_iter().map(Into::into).collect(),
            environment: Vec::new(),
        }
    }

    pub(crate) fn cargo<A: Into<OsString>>(arguments: impl IntoIterator<Item = A>) -> Self {
        Self::new("cargo", arguments)
    }

    pub(crate) fn with(mut self, arguments: impl IntoIterator<Item = OsString>) -> Self {
        self.arguments.extend(arguments);
        self
    }

    pub(crate) fn with_env(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    /// Runs it to its end, with the terminal as it is.
    pub(crate) fn run(&self) -> Result<(), Failure> {
        self.finish(&mut self.command())
    }

    /// Runs it to its end with nothing to read, and with everything it prints on standard error.
    pub(crate) fn run_aside(&self) -> Result<(), Failure> {
        self.finish(self.command().stdin(Stdio::null()).stdout(stderr()))
    }

    /// Runs it to its end with nothing to read, and with everything it prints in a file.
    pub(crate) fn run_into(&self, file: &Path) -> Result<(), Failure> {
        let both = File::create(file).and_then(|log| Ok((log.try_clone()?, log)));
        let (out, err) = both.map_err(|source| Failure::NotWritten {
            file: file.to_path_buf(),
            source,
        })?;
        let mut command = self.command();
        self.finish(command.stdin(Stdio::null()).stdout(out).stderr(err))
    }

    /// Runs it unseen, and says whether it succeeded.
    pub(crate) fn succeeds(&self) -> bool {
        let mut command = self.command();
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }

    /// What it prints on standard output, when it succeeds and prints text.
    pub(crate) fn output(&self) -> Option<String> {
        let output = self
            .command()
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
            .ok()?;
        output.status.success().then_some(())?;
        String::from_utf8(output.stdout).ok()
    }

    /// Puts the program in the place of this process; returns only if it cannot be started.
    pub(crate) fn become_it(&self) -> Failure {
        let source = self.command().exec();
        Failure::NotStarted {
            line: self.to_string(),
            source,
        }
    }

    fn finish(&self, command: &mut Command) -> Result<(), Failure> {
        let line = self.to_string();
        console::say(&format!("$ {line}"));
        match command.status() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(Failure::Refused { line, status }),
            Err(source) => Err(Failure::NotStarted { line, source }),
        }
    }

    fn command(&self) -> Command {
        // Cargo tells its subcommands where it is; it need not be in PATH under this name.
        let program = match env::var_os("CARGO") {
            Some(cargo) if self.program == "cargo" => cargo,
            _ => self.program.clone(),
        };
        let mut command = Command::new(program);
        command
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(root());
        command
    }
}

impl fmt::Display for Invocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.environment {
            write!(f, "{name}={} ", quoted(value.as_ref()))?;
        }
        f.write_str(&quoted(&self.program))?;
        for argument in &self.arguments {
            write!(f, " {}", quoted(argument))?;
        }
        Ok(())
    }
}

/// As a shell would have to be given it.
fn quoted(word: &OsStr) -> String {
    let word = word.display().to_string();
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_=/.,:+@%".contains(letter);
    if !word.is_empty() && word.chars().all(plain) {
        word
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// The repository.
pub(crate) fn root() -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).to_path_buf()
}

#[cfg(test)]
mod tests {
    use std::{env, fs, process};

    use super::Invocation;
    use crate::failure::Failure;

    #[test]
    fn a_line_can_be_pasted_into_a_shell() {
        let line = Invocation::cargo(["doc", "it's", ""]).with_env("RUSTDOCFLAGS", "-D warnings");
        assert_eq!(
            line.to_string(),
            r"RUSTDOCFLAGS='-D warnings' cargo doc 'it'\''s' ''"
        );
    }

    #[test]
    fn a_failure_names_the_line() {
        let failure = Invocation::new("sh", ["-c", "exit 7"])
            .run()
            .expect_err("it exits with 7");
        assert_eq!(
            failure.to_string(),
            "`sh -c 'exit 7'` failed: exit status: 7"
        );
    }

    #[test]
    fn what_a_program_says_is_in_the_file_also_when_it_fails() {
        let file = env::temp_dir().join(format!("lagwise-xtask-{}-said", process::id()));
        let said = Invocation::new("sh", ["-c", "echo one; echo two >&2; exit 7"]).run_into(&file);
        assert!(matches!(said, Err(Failure::Refused { .. })), "{said:?}");
        let text = fs::read_to_string(&file).expect("it was written");
        assert_eq!(text, "one\ntwo\n");
        fs::remove_file(file).expect("it is ours");
    }

    #[test]
    fn a_program_that_is_missing_is_not_a_refusal() {
        let failure = Invocation::new("no-such-program", ["now"])
            .run()
            .expect_err("it is missing");
        assert!(matches!(failure, Failure::NotStarted { .. }), "{failure:?}");
    }
}
