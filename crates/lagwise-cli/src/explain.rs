//! `lagwise explain`: where statements may run, and why, without a router or an application.
//!
//! Whoever turns routing on wants to know beforehand what would go where; whoever wonders about one
//! statement wants to see the word that decided it. Every input gets its answer, in order, also one
//! that is no statement at all: a program that sends lines can count on as many lines. What it
//! holds in memory at a time is one input.
//!
//! What the verdict is, `lagwise_core` decides.

use std::fs::File;
use std::io::{self, BufReader, IsTerminal as _, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use lagwise_core::{Catalog, NameError, Overrides, classify};

use crate::catalog;
use crate::console::{self, Findings, Wanted};
use crate::failure::{Failure, InputFault};
use crate::format::Format;
use crate::nodes;
use crate::signal::{self, Interrupt};

use self::answer::{Answer, Place};
use self::line::Lines;

mod answer;
mod excerpt;
mod line;

/// No statement that a router sees is longer; a line without an end must not fill the memory.
const MOST_BYTES: usize = 16 << 20;

/// Says of each statement whether it may run on a replica, and what in it decides that.
///
/// The verdict is `read`: any server in recovery gives the same answer; `write`: it goes to the
/// primary, because it writes, locks, acts on one server, or might; or `session`: it reads or changes
/// what belongs to one connection.
#[derive(Clone, Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub(crate) struct Arguments {
    /// Statements to explain, each in an argument; without any, and without `--file`, JSON lines
    /// `{"sql": ".."}` are read from standard input.
    #[arg(value_name = "STATEMENT")]
    statements: Vec<String>,
    /// Explains a file of SQL as one text, or each line of a `.jsonl` file; `-` is SQL on standard
    /// input. Files come after statements.
    #[arg(long = "file", value_name = "PATH")]
    files: Vec<PathBuf>,
    /// What to print: for people, or one JSON object a line.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Judges with the catalog of this server: its functions, views and unlogged tables. A URL or
    /// `key=value` pairs; of several hosts, the primary is asked. Without a server, only what every
    /// server has built in is known.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Judges with the catalog of the nodes that this TOML file names.
    #[arg(long, value_name = "FILE", conflicts_with = "url")]
    config: Option<PathBuf>,
    /// Judges with the catalog of the nodes that `LAGWISE_PRIMARY`, `LAGWISE_URL` or
    /// `LAGWISE_CONFIG` name.
    #[arg(long, conflicts_with_all = ["url", "config"])]
    catalog: bool,
    /// Whatever names this function or relation may go to a replica.
    #[arg(long, value_name = "NAME", value_parser = name)]
    reads: Vec<String>,
    /// Whatever names this function or relation goes to the primary.
    #[arg(long, value_name = "NAME", value_parser = name)]
    writes: Vec<String>,
}

const AFTER_HELP: &str = r#"Examples:
  lagwise explain "select nextval('orders_id_seq')"
  lagwise explain --url postgres://app@db-1/shop --file report.sql
  lagwise explain --config lagwise.toml --file report.sql
  lagwise explain --format json < statements.jsonl
  lagwise explain --reads audit.peek "select audit.peek(1)"

JSON lines:
  A line of input is {"sql": "select 1"}; other keys are ignored. With --format json an answer is
  {"verdict": "read", "because": "..", "at": 0}, one line for each input, in order, where "at" is a
  byte offset in the text. A line is answered before the next is waited for, so a program can hold a
  conversation. A line that is anything else, also a blank one or one longer than 16 MiB, is answered
  with "write".

Passwords:
  A password in --url is seen by whoever lists processes. PGPASSWORD, the file ~/.pgpass and service
  files are read as libpq does. Messages never show a password.

Color is used on a terminal, unless NO_COLOR is set.

Exit codes:
  0    every input was answered, or whoever read the answers wanted no more
  1    something could not be read or answered: a file, the server, standard output
  2    the command line cannot be meant
  130  it was ended by Ctrl-C or a signal"#;

/// A name that overrides take.
fn name(text: &str) -> Result<String, NameError> {
    Overrides::default().reads(text)?;
    Ok(text.to_owned())
}

/// Answers every input there is, until whoever asked wants no more.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let runtime = signal::runtime()?;
    let outcome = runtime.block_on(async {
        let mut interrupt = Interrupt::listen()?;
        tokio::select! {
            biased;
            () = interrupt.come() => Err(Failure::Interrupted),
            outcome = answer(arguments) => outcome,
        }
    });
    // Whatever still waits for input need not.
    runtime.shutdown_background();
    outcome
}

async fn answer(arguments: &Arguments) -> Result<(), Failure> {
    let overrides = overrides(arguments);
    let nodes = match (&arguments.url, &arguments.config, arguments.catalog) {
        (Some(url), ..) => Some(catalog::named_by(url)?),
        (None, Some(file), _) => Some(nodes::of_file(file)?),
        (None, None, true) => Some(catalog::named_around()?),
        (None, None, false) => None,
    };
    let catalog = match nodes {
        Some(nodes) => catalog::read(&nodes, &overrides).await?,
        None => Catalog::new([], &overrides),
    };
    let arguments = arguments.clone();
    // Input and output block, and signals are listened to meanwhile.
    let answers = tokio::task::spawn_blocking(move || answer_all(&arguments, catalog));
    match answers.await {
        Ok(outcome) => outcome,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

fn answer_all(arguments: &Arguments, catalog: Catalog) -> Result<(), Failure> {
    let mut explainer = Explainer {
        catalog,
        format: arguments.format,
        colored: console::colored(),
        findings: Findings::new(),
        answered: 0,
        unanswered: 0,
    };
    explainer.explain_all(arguments)?;
    explainer.findings.show()?;
    match explainer.unanswered {
        0 => Ok(()),
        count => Err(Failure::Unanswered(count)),
    }
}

fn overrides(arguments: &Arguments) -> Overrides {
    let mut overrides = Overrides::default();
    let reads = arguments.reads.iter().map(|name| overrides.reads(name));
    let refused = reads.filter_map(Result::err).count();
    let writes = arguments.writes.iter().map(|name| overrides.writes(name));
    let refused = refused + writes.filter_map(Result::err).count();
    debug_assert_eq!(refused, 0, "`name` has taken each of them");
    overrides
}

/// Answers inputs one after the other.
#[derive(Debug)]
struct Explainer {
    catalog: Catalog,
    format: Format,
    colored: bool,
    findings: Findings,
    answered: u64,
    unanswered: usize,
}

impl Explainer {
    fn explain_all(&mut self, arguments: &Arguments) -> Result<Wanted, Failure> {
        for statement in &arguments.statements {
            if self.explain(Place::Argument, statement)? == Wanted::Nothing {
                return Ok(Wanted::Nothing);
            }
        }
        for file in &arguments.files {
            if self.explain_file(file)? == Wanted::Nothing {
                return Ok(Wanted::Nothing);
            }
        }
        if !arguments.statements.is_empty() || !arguments.files.is_empty() {
            return Ok(Wanted::More);
        }
        if io::stdin().is_terminal() {
            console::complain(&r#"reading lines of {"sql": ".."}; Ctrl-D ends, --help explains"#);
        }
        self.explain_input(Path::new(STANDARD_INPUT), |explainer| {
            explainer.explain_lines(STANDARD_INPUT, Box::new(io::stdin().lock()))
        })
    }

    fn explain_file(&mut self, file: &Path) -> Result<Wanted, Failure> {
        if file == Path::new("-") {
            return self.explain_input(Path::new(STANDARD_INPUT), |explainer| {
                explainer.explain_whole(STANDARD_INPUT, io::stdin().lock())
            });
        }
        let name = file.display().to_string();
        let lines = file
            .extension()
            .is_some_and(|extension| extension.eq_ignore_ascii_case("jsonl"));
        self.explain_input(file, |explainer| {
            let opened = File::open(file)?;
            if lines {
                explainer.explain_lines(&name, Box::new(opened))
            } else {
                explainer.explain_whole(&name, opened)
            }
        })
    }

    /// Goes on after an input that cannot be read: the others are not worse for it.
    fn explain_input(
        &mut self,
        name: &Path,
        explain: impl FnOnce(&mut Self) -> Result<Wanted, Stop>,
    ) -> Result<Wanted, Failure> {
        match explain(self) {
            Ok(wanted) => Ok(wanted),
            Err(Stop::Output(failure)) => Err(failure),
            Err(Stop::Input(cause)) => {
                self.unanswered += 1;
                // In the order in which things happened, where both go to one terminal.
                let wanted = self.findings.show()?;
                let name = name.to_owned();
                console::complain(&Failure::Input { name, cause });
                Ok(wanted)
            }
        }
    }

    fn explain_whole(&mut self, name: &str, mut input: impl Read) -> Result<Wanted, Stop> {
        let mut bytes = Vec::new();
        let most = u64::try_from(MOST_BYTES).map_or(u64::MAX, |most| most + 1);
        input.by_ref().take(most).read_to_end(&mut bytes)?;
        if bytes.len() > MOST_BYTES {
            return Err(InputFault::Long(MOST_BYTES).into());
        }
        let text = String::from_utf8(bytes).map_err(|_bytes| InputFault::Encoding)?;
        Ok(self.explain(Place::File { name }, &text)?)
    }

    fn explain_lines(&mut self, name: &str, input: Box<dyn Read>) -> Result<Wanted, Stop> {
        let mut lines = Lines::new(BufReader::with_capacity(1 << 16, input), MOST_BYTES);
        let mut number = 0;
        loop {
            // Whoever sends the next line may be waiting for the answer to the last.
            if !lines.has_next() && self.findings.show()? == Wanted::Nothing {
                return Ok(Wanted::Nothing);
            }
            let Some(line) = lines.next()? else {
                return Ok(Wanted::More);
            };
            number += 1;
            let place = Place::Line { name, number };
            let wanted = match line.statement() {
                Ok(sql) => self.explain(place, &sql)?,
                Err(fault) => self.put(&Answer::to_garbage(&fault.to_string()), place, "")?,
            };
            if wanted == Wanted::Nothing {
                return Ok(Wanted::Nothing);
            }
        }
    }

    fn explain(&mut self, place: Place<'_>, sql: &str) -> Result<Wanted, Failure> {
        let found = classify(sql, &self.catalog);
        let because = found.because.to_string();
        let answer = Answer {
            verdict: found.verdict,
            because: &because,
            at: found.at,
        };
        self.put(&answer, place, sql)
    }

    fn put(&mut self, answer: &Answer<'_>, place: Place<'_>, sql: &str) -> Result<Wanted, Failure> {
        let text = match self.format {
            Format::Json => answer.as_json(),
            Format::Text => {
                let apart = if self.answered == 0 { "" } else { "\n" };
                format!("{apart}{}", answer.as_text(place, sql, self.colored))
            }
        };
        self.answered += 1;
        self.findings.put(text.as_bytes())
    }
}

const STANDARD_INPUT: &str = "standard input";

/// Why an input was not answered to its end.
#[derive(Debug)]
enum Stop {
    Input(InputFault),
    Output(Failure),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Input(error.into())
    }
}

impl From<InputFault> for Stop {
    fn from(fault: InputFault) -> Self {
        Self::Input(fault)
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Output(failure)
    }
}
