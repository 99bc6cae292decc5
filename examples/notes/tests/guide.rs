//! The guide shows the real difference between the program as it was and as it is.
#![expect(clippy::unwrap_used, reason = "what a test stands on may fail it")]

use std::fs;
use std::path::Path;

fn read(path: &str) -> String {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(here.join(path)).unwrap()
}

/// The one block of the guide that shows a difference, from its first line to its last.
fn difference() -> Vec<String> {
    let guide = read("../../docs/moving-from-pgpool.md");
    let mut blocks = guide.split("```diff\n").skip(1);
    let block = blocks.next().expect("the guide shows a difference");
    assert!(blocks.next().is_none(), "the guide shows one difference");
    let (block, _) = block.split_once("```").unwrap();
    block.lines().map(str::to_owned).collect()
}

/// The file on one side of the difference: its lines that begin so, without that.
fn side(difference: &[String], marks: [char; 2]) -> String {
    let line = |line: &String| match line.chars().next() {
        None => Some("\n".to_owned()),
        Some(mark) if marks.contains(&mark) => Some(format!("{}\n", &line[1..])),
        Some(_) => None,
    };
    difference.iter().filter_map(line).collect()
}

#[test]
fn the_guide_shows_the_difference() {
    let difference = difference();
    assert_eq!(side(&difference, [' ', '-']), read("before/db.rs"));
    assert_eq!(side(&difference, [' ', '+']), read("src/db.rs"));
}

/// Where the program is not the same with either type: which `db` it has, and its sessions.
#[test]
fn nothing_else_differs() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut places = Vec::new();
    for file in fs::read_dir(here).unwrap() {
        let path = file.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().display().to_string();
        let own = ["db.rs", "sessions.rs"].contains(&name.as_str());
        let knows = |line: &&str| line.contains("#[cfg") || line.contains("lagwise::") && !own;
        places.extend(text.lines().filter(knows).map(|line| {
            let line = line.trim();
            format!("{name}: {line}")
        }));
    }
    places.sort();
    let pool = r#"#[cfg(feature = "plain-pool")]"#;
    let router = r#"#[cfg(not(feature = "plain-pool"))]"#;
    assert_eq!(
        places,
        [
            format!("app.rs: {router}"),
            format!("lib.rs: {pool}"),
            format!("lib.rs: {router}"),
            format!("lib.rs: {router}"),
        ]
    );
}
