//! Keeps the laws of the house that the compiler does not know: which way imports run, how long
//! a file may be, who reads a clock, and what things are called.
//!
//! Each rule is a function from one file to its breaches, and is broken on purpose below. A
//! breach says where it is and how to get out of it. What clippy and rustfmt see is theirs.

use std::fs;
use std::path::{Path, PathBuf};

// ## The rules

/// Rules by name, each with the way out of a breach of it.
const RULES: [(&str, Rule, &str); 9] = [
    (
        "manifest arrows",
        manifest_arrows,
        "move what is shared to the crate below, see `ARROWS`",
    ),
    (
        "import arrows",
        import_arrows,
        "move what is shared to the crate below, see `ARROWS`",
    ),
    ("size", size, "split the file along the ideas in it"),
    (
        "module doc",
        module_doc,
        "open it with `//!`: the problem, the rule kept, what is not its business",
    ),
    (
        "clock",
        clock,
        "take `now` as an argument, or ask `clock.rs`",
    ),
    (
        "words",
        words,
        "use the word of the glossary, or name what it does",
    ),
    ("names", names, "name the file after what it does"),
    ("leftovers", leftovers, "do it now, or write an issue"),
    (
        "paths",
        paths,
        "find the folder when the program runs, or relative to the manifest",
    ),
];

type Rule = fn(&File) -> Vec<Breach>;

/// Which of our crates a crate may import, and what it must not import whoever wrote it.
const ARROWS: [Arrow; 7] = [
    Arrow {
        folder: "crates/lagwise-core/",
        imports: &[],
        in_tests: &[],
        never: &["std", "tokio", "sqlx"],
    },
    Arrow {
        folder: "crates/lagwise/",
        imports: &["lagwise-core"],
        in_tests: &["lagwise-testkit"],
        never: &[],
    },
    Arrow {
        folder: "crates/lagwise-cli/",
        imports: &["lagwise", "lagwise-core", "lagwise-testkit"],
        in_tests: &[],
        never: &[],
    },
    Arrow {
        folder: "crates/lagwise-testkit/",
        imports: &[],
        in_tests: &[],
        never: &[],
    },
    Arrow {
        folder: "fuzz/",
        imports: &["lagwise-core"],
        in_tests: &[],
        never: &[],
    },
    Arrow {
        folder: "loom/",
        imports: &["lagwise-core"],
        in_tests: &["lagwise-loom"],
        never: &[],
    },
    Arrow {
        folder: "xtask/",
        imports: &[],
        in_tests: &[],
        never: &[],
    },
];

struct Arrow {
    folder: &'static str,
    imports: &'static [&'static str],
    in_tests: &'static [&'static str],
    never: &'static [&'static str],
}

/// Every crate of ours, as a manifest names it.
const OURS: [&str; 17] = [
    "lagwise",
    "lagwise-core",
    "lagwise-testkit",
    "lagwise-cli",
    "lagwise-demo",
    "lagwise-notes",
    "lagwise-worker",
    "lagwise-tests",
    "lagwise-benches",
    "lagwise-chaos",
    "lagwise-drills",
    "lagwise-yardstick",
    "axum-notes",
    "tonic-notes",
    "lagwise-fuzz",
    "lagwise-loom",
    "xtask",
];

/// Roles have one name each, and a name says what a thing does.
const WORDS: [&str; 9] = [
    "master", "slave", "leader", "follower", "util", "utils", "helper", "helpers", "manager",
];

/// Text in which a word or a path is not ours to choose, with the reason.
const NOT_OURS: [(&str, &str); 4] = [
    (
        "deadpool_postgres::Manager",
        "the name of a dependency's type, in code",
    ),
    ("tokio_util", "the name of a dependency, in code"),
    ("tokio-util", "the name of a dependency, in prose"),
    (
        "/home/linuxbrew/",
        "where Homebrew is on every Linux machine",
    ),
];

/// Files that a rule does not bind, with the reason.
const EXEMPT: [(&str, &str, &str); 2] = [
    (THIS, "leftovers", "it has to name what it forbids"),
    (THIS, "paths", "it has to name what it forbids"),
];

const THIS: &str = "tests/tests/tidy.rs";

/// Longer than this, a file holds more than one idea.
const MOST_LINES: usize = 400;

/// A dependency against the arrows, or a crate that no arrow speaks of.
fn manifest_arrows(file: &File) -> Vec<Breach> {
    if !file.path.ends_with("/Cargo.toml") {
        return Vec::new();
    }
    let Some(arrow) = file.arrow() else {
        let published = file.path.starts_with("crates/");
        let breach = || file.breach(1, "no arrow says what this crate may import");
        return published.then(breach).into_iter().collect();
    };
    let mut section = "";
    let mut breaches = Vec::new();
    for (number, line) in file.lines() {
        if let Some(header) = line.trim().strip_prefix('[') {
            section = header.trim_end_matches(']');
        }
        let Some(name) = dependency(section, line) else {
            continue;
        };
        let in_tests = section.contains("dev-dependencies");
        if arrow.never.contains(&name) || !arrow.allows(name, in_tests) {
            breaches.push(file.breach(number, &format!("depends on `{name}`")));
        }
    }
    breaches
}

/// The crate that a line of a manifest asks for.
fn dependency<'a>(section: &'a str, line: &'a str) -> Option<&'a str> {
    let renamed = line
        .split("package = \"")
        .nth(1)
        .and_then(|rest| rest.split('"').next());
    let name = match section.split_once("dependencies") {
        Some((_, "")) => line.split(['=', '.']).next(),
        Some((_, table)) => table.strip_prefix('.'),
        None => return None,
    };
    renamed.or(name).map(str::trim)
}

/// A path in the code that starts at a crate against the arrows.
fn import_arrows(file: &File) -> Vec<Breach> {
    let Some(arrow) = file.arrow().filter(|_| file.is_rust()) else {
        return Vec::new();
    };
    let own = arrow
        .folder
        .trim_end_matches('/')
        .trim_start_matches("crates/");
    let mut breaches = Vec::new();
    for line in file.code() {
        let never = arrow.never.iter().copied().filter(|_| !line.in_tests);
        let ours = OURS
            .into_iter()
            .filter(|name| !arrow.allows(name, line.in_tests));
        for name in ours.chain(never).filter(|name| *name != own) {
            if imports(line.text, &name.replace('-', "_")) {
                breaches.push(file.breach(line.number, &format!("imports `{name}`")));
            }
        }
    }
    breaches
}

/// More lines of code than one idea needs.
fn size(file: &File) -> Vec<Breach> {
    let production = file.code().filter(|line| !line.in_tests).count();
    let long = file.is_rust() && !file.is_test() && production > MOST_LINES;
    let text = format!("{production} lines of code, more than {MOST_LINES}");
    long.then(|| file.breach(1, &text)).into_iter().collect()
}

/// A source file that does not say what it is for.
fn module_doc(file: &File) -> Vec<Breach> {
    let first = file
        .text
        .lines()
        .find(|line| !line.trim().is_empty())
        .unwrap_or_default();
    let opens = first.starts_with("//!") || first.starts_with("#![doc");
    let silent = file.is_rust() && !opens;
    silent
        .then(|| file.breach(1, "does not open with a `//!` doc"))
        .into_iter()
        .collect()
}

/// Time that is read where it should be an argument.
fn clock(file: &File) -> Vec<Breach> {
    let decides = ["crates/lagwise/src/", "crates/lagwise-core/src/"];
    let bound = decides.iter().any(|folder| file.path.starts_with(folder));
    if !file.is_rust() || !bound || file.path.ends_with("/clock.rs") {
        return Vec::new();
    }
    file.find(|line| {
        let clocks = ["Instant::now", "SystemTime"];
        clocks
            .into_iter()
            .find(|clock| line.is_code() && line.text.contains(clock))
    })
}

/// A word that the glossary has a better one for, or that names nothing.
fn words(file: &File) -> Vec<Breach> {
    let read = file.is_rust() || file.path.ends_with(".md");
    if !read || file.is_test() {
        return Vec::new();
    }
    file.find(|line| forbidden_word(&ours(line.text)))
}

/// A file or folder with such a word in its name.
fn names(file: &File) -> Vec<Breach> {
    let word = file.is_rust().then(|| forbidden_word(&file.path)).flatten();
    word.map(|word| file.breach(1, &format!("`{word}` in its name")))
        .into_iter()
        .collect()
}

/// Work that was put off, or a test that does not run.
fn leftovers(file: &File) -> Vec<Breach> {
    let markers = ["TODO", "FIXME", "XXX"];
    let stubs = ["todo!(", "unimplemented!(", "#[ignore"];
    file.find(|line| {
        let marker = markers
            .into_iter()
            .find(|marker| holds_word(line.text, marker));
        let stub = stubs
            .into_iter()
            .find(|stub| file.is_rust() && line.text.contains(stub));
        marker.or(stub)
    })
}

/// A path that exists on the machine of one person.
fn paths(file: &File) -> Vec<Breach> {
    let homes = ["/work/", "/home/", "/Users/", "/root/"];
    // In `src/work/` or `example.org/home/` it is a part of another path.
    let part = |letter: char| letter.is_alphanumeric() || "._-{})".contains(letter);
    file.find(|line| {
        let text = ours(line.text);
        let starts = |at: usize| !text[..at].ends_with(part);
        let absolute = |home: &&str| text.match_indices(home).any(|(at, _)| starts(at));
        homes.into_iter().find(absolute)
    })
}

// ## What a rule sees

struct File {
    /// From the root of the repository, with `/`.
    path: String,
    text: String,
}

struct Line<'a> {
    number: usize,
    text: &'a str,
    in_tests: bool,
}

#[derive(Debug, PartialEq, Eq)]
struct Breach {
    place: String,
    what: String,
}

impl File {
    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Whether the whole file is a test or a bench.
    fn is_test(&self) -> bool {
        let parts = || self.path.split('/');
        parts().any(|part| ["tests", "benches", "tests.rs"].contains(&part))
    }

    fn arrow(&self) -> Option<&'static Arrow> {
        ARROWS
            .iter()
            .find(|arrow| self.path.starts_with(arrow.folder))
    }

    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.text.lines())
    }

    /// Lines that are neither blank nor comments.
    fn code(&self) -> impl Iterator<Item = Line<'_>> {
        let lines: Vec<&str> = self.text.lines().collect();
        let tests_from = self.tests_from(&lines);
        let line = move |(number, text)| {
            let gated = lines[..number - 1].last() == Some(&"#[cfg(test)]");
            let in_tests = gated || number >= tests_from;
            Line {
                number,
                text,
                in_tests,
            }
        };
        self.lines().map(line).filter(Line::is_code)
    }

    /// The line that a module of tests starts at, and production ends.
    fn tests_from(&self, lines: &[&str]) -> usize {
        if self.is_test() {
            return 1;
        }
        let opens_tests = |at: &usize| {
            let item = lines[*at..].iter().find(|line| !line.starts_with("#["));
            let module = item.is_some_and(|item| item.starts_with("mod ") && item.ends_with('{'));
            lines[*at].starts_with("#[cfg(test)]") && module
        };
        (0..lines.len())
            .find(opens_tests)
            .map_or(usize::MAX, |at| at + 1)
    }

    /// One breach for each line in which something is found.
    fn find<'a>(&'a self, found: impl Fn(&Line<'a>) -> Option<&'static str>) -> Vec<Breach> {
        let line = |(number, text)| Line {
            number,
            text,
            in_tests: false,
        };
        self.lines()
            .map(line)
            .filter_map(|line| Some(self.breach(line.number, &format!("`{}`", found(&line)?))))
            .collect()
    }

    fn breach(&self, line: usize, what: &str) -> Breach {
        Breach {
            place: format!("{}:{line}", self.path),
            what: what.to_owned(),
        }
    }
}

impl Line<'_> {
    fn is_code(&self) -> bool {
        let text = self.text.trim_start();
        !text.is_empty() && !text.starts_with("//")
    }
}

impl Arrow {
    /// Whether the crate is one this one may import; what others wrote is not in question.
    fn allows(&self, name: &str, in_tests: bool) -> bool {
        let allowed = self.imports.contains(&name) || in_tests && self.in_tests.contains(&name);
        allowed || !OURS.contains(&name)
    }
}

/// Whether a line of code names the crate: as the start of a path, or in an import of it alone.
fn imports(text: &str, ident: &str) -> bool {
    text.match_indices(ident).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + ident.len()..]);
        let in_word = |letter: char| letter.is_alphanumeric() || letter == '_';
        let outer = before.strip_suffix("::").unwrap_or(before);
        let ends = !after.starts_with(in_word);
        let import = ["use", "extern crate"]
            .iter()
            .any(|word| before.trim_end().ends_with(word));
        !outer.ends_with(in_word) && ends && (import || after.starts_with("::"))
    })
}

fn holds_word(text: &str, word: &str) -> bool {
    text.split(|c: char| !c.is_alphanumeric())
        .any(|part| part == word)
}

/// The text without the phrases that others chose.
fn ours(text: &str) -> String {
    let without = |text: String, (phrase, _reason): (&str, _)| text.replace(phrase, "");
    NOT_OURS.into_iter().fold(text.to_owned(), without)
}

/// The first forbidden word in the text, be it prose, `snake_case` or `CamelCase`.
fn forbidden_word(text: &str) -> Option<&'static str> {
    let mut spaced = String::new();
    let mut previous = ' ';
    for letter in text.chars() {
        if previous.is_lowercase() && letter.is_uppercase() {
            spaced.push(' ');
        }
        spaced.extend(letter.to_lowercase());
        previous = letter;
    }
    let mut parts = spaced.split(|c: char| !c.is_alphabetic());
    parts.find_map(|part| WORDS.into_iter().find(|word| *word == part))
}

fn breaches(file: &File) -> Vec<String> {
    let mut all = Vec::new();
    for (name, rule, way_out) in RULES {
        let exempt = |of: &(&str, &str, &str)| of.0 == file.path && of.1 == name;
        if EXEMPT.iter().any(exempt) {
            continue;
        }
        for Breach { place, what } in rule(file) {
            all.push(format!("{place}: {name}: {what}; {way_out}"));
        }
    }
    all
}

// ## The tree

fn root() -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).to_path_buf()
}

/// Every file the rules speak of, without hidden folders and what the compiler wrote.
fn tree() -> Vec<File> {
    let (mut files, mut folders) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(root().join(&folder)).expect("a folder of ours can be read");
        for entry in entries.flatten() {
            let name = entry.file_name().display().to_string();
            let path = folder.join(&name);
            match entry.file_type().expect("an entry of ours has a type") {
                kind if kind.is_dir() && is_ours(&name) => folders.push(path),
                kind if kind.is_file() && is_text(&name) => files.extend(read(&path)),
                _ => {}
            }
        }
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    files
}

fn is_ours(folder: &str) -> bool {
    folder != "target" && !folder.starts_with('.')
}

fn is_text(file: &str) -> bool {
    [".rs", ".toml", ".md"]
        .iter()
        .any(|end| file.ends_with(end))
}

/// Nothing if the file is gone: an editor may be replacing it.
fn read(path: &Path) -> Option<File> {
    let text = fs::read_to_string(root().join(path)).ok()?;
    Some(File {
        path: path.display().to_string(),
        text,
    })
}

#[test]
fn the_tree_keeps_every_rule() {
    let files = tree();
    for known in [
        THIS,
        "Cargo.toml",
        "crates/lagwise-core/src/lib.rs",
        "xtask/Cargo.toml",
    ] {
        assert!(
            files.iter().any(|file| file.path == known),
            "{known} was not even looked at"
        );
    }
    let all: Vec<String> = files.iter().flat_map(breaches).collect();
    assert!(
        all.is_empty(),
        "{} breaches:\n{}\n",
        all.len(),
        all.join("\n")
    );
}

#[test]
fn the_core_cannot_name_the_standard_library() {
    let path = root().join("crates/lagwise-core/src/lib.rs");
    let text = fs::read_to_string(path).expect("the core has a root");
    assert!(
        text.lines().any(|line| line.trim() == "#![no_std]"),
        "its root says `#![no_std]`"
    );
}

// ## Each rule, broken on purpose

/// Asserts that a file of this text breaks the rule on these lines, and no other rule at all.
#[track_caller]
fn check(rule: &str, path: &str, text: &str, lines: &[usize]) {
    let file = File {
        path: path.to_owned(),
        text: text.to_owned(),
    };
    let expected: Vec<String> = lines
        .iter()
        .map(|line| format!("{path}:{line}: {rule}: "))
        .collect();
    let found = breaches(&file);
    let matching = found
        .iter()
        .zip(&expected)
        .all(|(found, start)| found.starts_with(start));
    let right = found.len() == expected.len() && matching;
    assert!(
        right,
        "expected {expected:#?}, found {found:#?}, in\n{text}"
    );
}

#[test]
fn the_core_depends_on_nothing_of_ours_and_on_no_runtime() {
    let (rule, path) = ("manifest arrows", "crates/lagwise-core/Cargo.toml");
    check(
        rule,
        path,
        "[dependencies]\nthiserror.workspace = true\n",
        &[],
    );
    check(
        rule,
        path,
        "[dependencies]\nlagwise.workspace = true\n",
        &[2],
    );
    check(
        rule,
        path,
        "[dependencies]\ntokio = { workspace = true }\n",
        &[2],
    );
    check(rule, path, "[dev-dependencies]\nsqlx = \"0.9\"\n", &[2]);
    check(
        rule,
        path,
        "[dependencies.lagwise-testkit]\nworkspace = true\n",
        &[1, 2],
    );
    check(
        rule,
        path,
        "[dependencies]\nkit = { package = \"lagwise-testkit\" }\n",
        &[2],
    );
    check(rule, path, "[package]\nname = \"lagwise-core\"\n", &[]);
}

#[test]
fn the_router_depends_on_the_core_and_in_tests_on_the_kit() {
    let (rule, path) = ("manifest arrows", "crates/lagwise/Cargo.toml");
    check(
        rule,
        path,
        "[dependencies]\nlagwise-core.workspace = true\n",
        &[],
    );
    check(
        rule,
        path,
        "[dev-dependencies]\nlagwise-testkit.workspace = true\n",
        &[],
    );
    check(
        rule,
        path,
        "[dependencies]\nlagwise-testkit.workspace = true\n",
        &[2],
    );
}

#[test]
fn the_command_line_depends_on_the_router_the_core_and_the_kit_and_on_no_service() {
    let (rule, path) = ("manifest arrows", "crates/lagwise-cli/Cargo.toml");
    let both = "lagwise.workspace = true\nlagwise-core.workspace = true\n";
    check(rule, path, &format!("[dependencies]\n{both}"), &[]);
    let kit = "[dependencies]\nlagwise-testkit.workspace = true\n";
    check(rule, path, kit, &[]);
    let service = "[dev-dependencies]\naxum-notes.workspace = true\n";
    check(rule, path, service, &[2]);
}

#[test]
fn the_router_does_not_know_of_its_command_line() {
    let (rule, path) = ("manifest arrows", "crates/lagwise/Cargo.toml");
    let text = "[dev-dependencies]\nlagwise-cli.workspace = true\n";
    check(rule, path, text, &[2]);
}

#[test]
fn the_fuzzer_depends_on_the_core_alone() {
    let (rule, path) = ("manifest arrows", "fuzz/Cargo.toml");
    let core = "[dependencies]\nlagwise-core = { path = \"../crates/lagwise-core\" }\n";
    check(rule, path, core, &[]);
    check(rule, path, &format!("{core}lagwise = \"0.1\"\n"), &[3]);
}

#[test]
fn the_models_depend_on_the_core_alone() {
    let (rule, path) = ("manifest arrows", "loom/Cargo.toml");
    let core = "[dependencies]\nreal-core = { package = \"lagwise-core\", path = \"../core\" }\n";
    check(rule, path, core, &[]);
    check(rule, path, &format!("{core}lagwise = \"0.1\"\n"), &[3]);
}

#[test]
fn the_kit_and_the_commands_depend_on_nothing_of_ours() {
    for path in ["crates/lagwise-testkit/Cargo.toml", "xtask/Cargo.toml"] {
        let text = "[target.'cfg(unix)'.dependencies]\nlagwise-core.workspace = true\n";
        check("manifest arrows", path, text, &[2]);
    }
}

#[test]
fn a_crate_that_no_arrow_speaks_of_is_noticed() {
    check(
        "manifest arrows",
        "crates/lagwise-new/Cargo.toml",
        "[package]\n",
        &[1],
    );
    check(
        "manifest arrows",
        "examples/new/Cargo.toml",
        "[package]\n",
        &[],
    );
}

#[test]
fn an_import_in_the_code_follows_the_arrows() {
    let (rule, core) = ("import arrows", "crates/lagwise-core/src/lsn.rs");
    check(
        rule,
        core,
        "//! Doc.\nuse core::fmt;\nuse alloc::vec::Vec;\n",
        &[],
    );
    check(rule, core, "//! Doc.\nuse std::fmt;\n", &[2]);
    check(
        rule,
        core,
        "//! Doc.\nfn now() -> tokio::time::Instant {}\n",
        &[2],
    );
    check(rule, core, "//! Doc.\nuse lagwise::Router;\n", &[2]);
    check(
        rule,
        core,
        "//! Doc.\n/// use std::fmt;\nfn documented() {}\n",
        &[],
    );
    let tests = "//! Doc.\n#[cfg(test)]\nmod tests {\n    extern crate std;\n}\n";
    check(rule, core, tests, &[]);
    let (router, kit) = (
        "crates/lagwise/src/read.rs",
        "crates/lagwise-testkit/src/node.rs",
    );
    check(
        rule,
        router,
        "//! Doc.\nuse lagwise_core::Lsn;\nuse lagwise::Any;\n",
        &[],
    );
    check(rule, router, "//! Doc.\npub use lagwise_testkit;\n", &[2]);
    check(rule, kit, "//! Doc.\nuse lagwise_core::Lsn;\n", &[2]);
    check(
        rule,
        kit,
        "//! Doc.\nconst DATABASE: &str = \"lagwise\";\n",
        &[],
    );
    check(
        rule,
        "xtask/src/main.rs",
        "//! Doc.\nuse lagwise_testkit::Cluster;\n",
        &[2],
    );
}

#[test]
fn a_file_is_as_long_as_its_code_before_its_tests() {
    let (rule, path) = ("size", "crates/lagwise/src/router.rs");
    let code = |lines| format!("//! Doc.\n{}", "fn line() {}\n\n// Why.\n".repeat(lines));
    let tests = "#[cfg(test)]\nmod tests {\n    fn law() {}\n}\n";
    check(rule, path, &code(MOST_LINES), &[]);
    check(rule, path, &format!("{}{tests}", code(MOST_LINES)), &[]);
    check(rule, path, &code(MOST_LINES + 1), &[1]);
    let apart = format!("//! Doc.\n#[cfg(test)]\nmod tests;\n{}", code(MOST_LINES));
    check(rule, path, &apart, &[1]);
    check(rule, "tests/tests/failover.rs", &code(MOST_LINES + 1), &[]);
}

#[test]
fn a_file_says_what_it_is_for() {
    let (rule, path) = ("module doc", "crates/lagwise/src/router.rs");
    check(rule, path, "use core::fmt;\n\n//! Doc.\n", &[1]);
    check(rule, path, "", &[1]);
    check(
        rule,
        path,
        "#![doc = include_str!(\"../README.md\")]\n",
        &[],
    );
}

#[test]
fn only_the_clock_reads_time() {
    let text = "//! Doc.\nfn now() { Instant::now() }\n// Not Instant::now.\n";
    check("clock", "crates/lagwise/src/router.rs", text, &[2]);
    check("clock", "crates/lagwise/src/clock.rs", text, &[]);
    check("clock", "xtask/src/clock.rs", text, &[]);
    let wall = "//! Doc.\nfn wall(at: SystemTime) {}\n";
    check("clock", "crates/lagwise-core/src/time.rs", wall, &[2]);
}

#[test]
fn a_forbidden_word_is_found_in_prose_and_in_code() {
    let (rule, path) = ("words", "crates/lagwise/src/router.rs");
    for text in [
        "// The Leader.",
        "fn elect_leader() {}",
        "struct PoolManager;",
        "mod util {}",
    ] {
        check(rule, path, &format!("//! Doc.\n{text}\n"), &[2]);
    }
    check(
        rule,
        path,
        "//! Doc.\nuse tokio_util::task;\nfn read_header() {}\n",
        &[],
    );
    check(rule, path, "//! The postmaster of a utility.\n", &[]);
    check(rule, "README.md", "Writes go to the master.\n", &[1]);
    check(rule, "tests/tests/words.rs", "//! Refuses `master`.\n", &[]);
}

#[test]
fn a_forbidden_word_is_found_in_a_name() {
    check("names", "tests/tests/helpers.rs", "//! Doc.\n", &[1]);
    check(
        "names",
        "crates/lagwise/src/util/time.rs",
        "//! Doc.\n",
        &[1],
    );
    check("names", "crates/lagwise/src/header.rs", "//! Doc.\n", &[]);
}

#[test]
fn nothing_is_put_off() {
    let (rule, path) = ("leftovers", "tests/tests/failover.rs");
    for text in [
        "// TODO: more.",
        "// FIXME",
        "todo!()",
        "unimplemented!()",
        "#[ignore = \"\"]",
    ] {
        check(rule, path, &format!("//! Doc.\n{text}\n"), &[2]);
    }
    check(rule, path, "//! Doc.\nmktemp(\"XXXXXX\");\n", &[]);
    check(rule, "README.md", "XXX\n", &[1]);
}

#[test]
fn no_path_is_of_one_machine() {
    let (rule, path) = ("paths", "xtask/src/main.rs");
    check(
        rule,
        path,
        "//! Doc.\nconst ROOT: &str = \"/home/me/lagwise\";\n",
        &[2],
    );
    check(rule, "deny.toml", "path = '/work/app'\n", &[1]);
    check(
        rule,
        path,
        "//! See https://example.org/home/ and src/work/.\n",
        &[],
    );
}
