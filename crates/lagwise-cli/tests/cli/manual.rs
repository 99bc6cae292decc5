//! Completions and manual pages: made from the command line, and good for the programs that read them.

use std::fs;
use std::process::{Command, Output, Stdio};

use crate::Outcome;
use crate::binary::{lagwise, run, run_with};

/// The commands that the help lists.
pub(crate) fn commands() -> Outcome<Vec<String>> {
    let help = run(&["--help"])?;
    assert_eq!(help.code, Some(0), "{help:?}");
    let lines = help
        .out
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1);
    let names = lines
        .take_while(|line| line.starts_with("  "))
        .filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next())
        .filter(|name| *name != "help");
    // A description that goes on in the next line is indented further.
    let listed = |name: &&str| help.out.contains(&format!("\n  {name} "));
    let names: Vec<String> = names.filter(listed).map(str::to_owned).collect();
    assert!(names.contains(&"watch".to_owned()), "{names:?}");
    Ok(names)
}

/// What another program says; nothing where it is not installed.
fn other(program: &str, arguments: &[&str]) -> Outcome<Option<Output>> {
    let asked = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output();
    match asked {
        Ok(output) => Ok(Some(output)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[test]
fn bash_completes_commands_and_their_options() -> Outcome {
    let script = run(&["completions", "bash"])?;
    assert_eq!(
        (script.code, script.err.as_str()),
        (Some(0), ""),
        "{script:?}"
    );
    let file = std::env::temp_dir().join(format!("lagwise-{}.bash", std::process::id()));
    fs::write(&file, &script.out)?;
    let complete = "set -eu; source \"$1\"; shift; complete -p lagwise; COMP_WORDS=(\"$@\"); \
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); \
        _lagwise lagwise \"${COMP_WORDS[COMP_CWORD]}\" \"${COMP_WORDS[COMP_CWORD-1]}\"; \
        echo \"${COMPREPLY[@]}\"";
    let file_name = file.to_str().ok_or("the folder is UTF-8")?;
    for (words, expected) in [
        (&["lagwise", "wa"][..], "watch"),
        (&["lagwise", "watch", "--on"], "--once"),
        (&["lagwise", "watch", "--format", "j"], "json"),
        (&["lagwise", "completions", "z"], "zsh"),
    ] {
        let arguments = [&["-c", complete, "bash", file_name][..], words].concat();
        let output = other("bash", &arguments)?.ok_or("bash is everywhere")?;
        let said = String::from_utf8(output.stdout)?;
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert_eq!(said.lines().last(), Some(expected), "{words:?}: {said}");
    }
    Ok(fs::remove_file(file)?)
}

#[test]
fn every_shell_has_a_script_that_names_every_command() -> Outcome {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = run(&["completions", shell])?;
        assert_eq!(script.code, Some(0), "{script:?}");
        for command in commands()? {
            assert!(
                script.out.contains(&command),
                "{command} is not for {shell}"
            );
        }
    }
    assert_eq!(run(&["completions", "csh"])?.code, Some(2));
    Ok(())
}

#[test]
fn every_command_has_a_page_that_typesets_without_a_warning() -> Outcome {
    let folder = std::env::temp_dir().join(format!("lagwise-man-{}", std::process::id()));
    let written = lagwise()
        .args(["man", "--dir"])
        .arg(folder.join("man1"))
        .output()?;
    assert!(
        written.status.success() && written.stdout.is_empty(),
        "{written:?}"
    );
    let folder_of_pages = folder.join("man1");
    let mut pages: Vec<String> = commands()?;
    pages
        .iter_mut()
        .for_each(|name| *name = format!("lagwise-{name}"));
    pages.push("lagwise".to_owned());
    for page in pages {
        let file = folder_of_pages.join(format!("{page}.1"));
        let text = fs::read_to_string(&file)?;
        for section in [
            ".TH ",
            ".SH NAME",
            ".SH SYNOPSIS",
            ".SH DESCRIPTION",
            ".SH OPTIONS",
        ] {
            assert!(text.contains(section), "{section} is not in {page}");
        }
        let version = concat!("\"lagwise ", env!("CARGO_PKG_VERSION"), "\" lagwise");
        let title = format!(".TH {page} 1  {version}\n");
        assert!(text.contains(&title), "{title:?} is not in {page}");
        let name = format!(".SH NAME\n{} \\- ", page.replace('-', "\\-"));
        assert!(text.contains(&name), "{name:?} is not in {page}");
        if page != "lagwise" {
            assert!(
                text.contains("EXAMPLES") && text.contains("EXIT CODES"),
                "{page}"
            );
        }
        let file = file.to_str().ok_or("the folder is UTF-8")?;
        if let Some(set) = other("groff", &["-man", "-ww", "-Tutf8", file])? {
            let warnings = String::from_utf8(set.stderr)?;
            assert_eq!(
                (set.status.code(), warnings.as_str()),
                (Some(0), ""),
                "{page}"
            );
        }
        // One page of several parts, as one who reads it asks for it.
        let parts: Vec<&str> = page.split('-').skip(1).collect();
        let printed = run(&[&["man"][..], &parts].concat())?;
        assert_eq!(printed.out, text, "{page}");
    }
    assert!(!folder_of_pages.join("lagwise-help.1").exists());
    Ok(fs::remove_dir_all(folder)?)
}

#[test]
fn the_page_of_watch_tells_of_its_environment_and_keeps_examples_apart() -> Outcome {
    let page = run(&["man", "watch"])?;
    assert!(page.out.contains("LAGWISE_PRIMARY"), "{}", page.out);
    let example = "  lagwise watch \\-\\-config lagwise.toml \\-\\-once\n";
    assert!(page.out.contains(example), "{}", page.out);
    Ok(())
}

#[test]
fn a_page_of_nothing_and_a_folder_that_cannot_be_are_refused() -> Outcome {
    let nothing = run(&["man", "no-such"])?;
    assert_eq!(
        (nothing.code, nothing.out.as_str()),
        (Some(2), ""),
        "{nothing:?}"
    );
    assert!(
        nothing.err.contains("no-such") && nothing.err.contains("--help"),
        "{nothing:?}"
    );
    let file = run_with(&["man", "--dir", "/dev/null/man1"], "")?;
    assert_eq!(file.code, Some(1), "{file:?}");
    assert!(file.err.contains("/dev/null/man1"), "{file:?}");
    Ok(())
}
