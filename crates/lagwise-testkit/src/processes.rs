//! The processes of a server, and signals to them.
//!
//! A server is one process and its children, each with a task named in its title. To freeze a task
//! or to crash the server all at once, they have to be found from outside, since a server in
//! trouble answers no questions. They are found anew each time: process ids are used again, and one
//! that was remembered may be someone else's. Waiting for processes to end is `server`'s business.

use std::fs;
use std::io;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};

/// One child of a server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Process {
    pub(crate) pid: Pid,
    title: String,
}

impl Process {
    /// Whether this process does the `task`, the first word of its title after the server's names.
    pub(crate) fn does(&self, task: &str) -> bool {
        let mut words = self.title.split_ascii_whitespace();
        // "postgres: r1: startup recovering 000000010000000000000003"
        words.find(|word| !word.ends_with(':')) == Some(task)
    }
}

/// The children of a server's first process.
pub(crate) fn children_of(parent: Pid) -> io::Result<Vec<Process>> {
    match fs::read_dir("/proc/self") {
        Ok(_) => children_in_proc(parent),
        Err(_) => children_by_ps(parent),
    }
}

/// Sends a signal; that the process is gone already is no error.
pub(crate) fn signal(pid: Pid, signal: Signal) -> io::Result<()> {
    match kill_process(pid, signal) {
        Err(error) if error != rustix::io::Errno::SRCH => Err(error.into()),
        _ => Ok(()),
    }
}

/// Whether the process still runs: one that has ended but was not reaped yet does not.
pub(crate) fn runs(pid: Pid) -> bool {
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => parse_stat(&stat).is_some_and(|(state, _)| state != "Z" && state != "X"),
        Err(_) if fs::exists("/proc/self").unwrap_or(false) => false,
        Err(_) => rustix::process::test_kill_process(pid).is_ok(),
    }
}

fn children_in_proc(parent: Pid) -> io::Result<Vec<Process>> {
    let mut children = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = parse_pid(&entry.file_name().to_string_lossy()) else {
            continue;
        };
        // A process may end between being listed and being read.
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else {
            continue;
        };
        if parse_stat(&stat).is_none_or(|(_, ppid)| ppid != parent) {
            continue;
        }
        let title = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let title = String::from_utf8_lossy(&title).replace('\0', " ");
        children.push(Process { pid, title });
    }
    Ok(children)
}

fn children_by_ps(parent: Pid) -> io::Result<Vec<Process>> {
    let output = Command::new("ps")
        .args(["-A", "-o", "pid=,ppid=,command="])
        .output()?;
    let listing = String::from_utf8_lossy(&output.stdout);
    let children = listing.lines().filter_map(|line| {
        let (pid, rest) = line.trim_start().split_once(' ')?;
        let (ppid, title) = rest.trim_start().split_once(' ')?;
        (parse_pid(ppid)? == parent).then_some(())?;
        Some(Process {
            pid: parse_pid(pid)?,
            title: title.to_owned(),
        })
    });
    Ok(children.collect())
}

fn parse_pid(text: &str) -> Option<Pid> {
    Pid::from_raw(text.parse().ok()?)
}

/// The state and the parent, which follow the name, which may hold anything, in parentheses.
fn parse_stat(stat: &str) -> Option<(&str, Pid)> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    Some((fields.next()?, parse_pid(fields.next()?)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_found_with_and_without_a_cluster_name() {
        let pid = rustix::process::getpid();
        let process = |title: &str| Process {
            pid,
            title: title.to_owned(),
        };
        assert!(process("postgres: r1: startup recovering 0000").does("startup"));
        assert!(process("postgres: walreceiver streaming 0/3").does("walreceiver"));
        assert!(!process("postgres: p: postgres postgres [local] idle").does("startup"));
    }

    #[test]
    fn the_parent_is_read_past_a_name_with_parentheses() {
        let (state, ppid) = parse_stat("7 (a) S 1 (b)) R 42 7 7").unwrap();
        assert_eq!((state, ppid.as_raw_nonzero().get()), ("R", 42));
    }

    #[test]
    fn a_child_is_listed_and_runs_until_it_ends() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = Pid::from_child(&child);
        let listed = children_of(rustix::process::getpid()).unwrap();
        assert!(
            listed.iter().any(|process| process.pid == pid),
            "{listed:?}"
        );
        assert!(runs(pid));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!runs(pid));
    }
}
