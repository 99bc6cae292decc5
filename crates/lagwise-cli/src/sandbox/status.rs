//! The table of nodes that people read.

use std::fmt::Write as _;

use super::standing::{Faults, Role, Standing};

const HEADINGS: [&str; 6] = ["NODE", "ROLE", "TIMELINE", "LSN", "FAULTS", "URL"];

/// One line for each node, below headings.
pub(super) fn table(nodes: &[Standing]) -> String {
    let mut rows = vec![HEADINGS.map(str::to_owned)];
    rows.extend(nodes.iter().map(row));
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..HEADINGS.len()).map(width).collect();
    let mut table = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths);
        let line = cells.fold(String::new(), |mut line, (cell, width)| {
            // A string takes whatever is written.
            write!(line, "{cell:width$}  ").ok();
            line
        });
        table.push_str(line.trim_end());
        table.push('\n');
    }
    table
}

fn row(node: &Standing) -> [String; 6] {
    let unknown = || "?".to_owned();
    let lsn = node.write_lsn.as_ref().or(node.replay_lsn.as_ref());
    let timeline = node.timeline.map(|timeline| timeline.to_string());
    [
        node.name.clone(),
        role(node).to_owned(),
        timeline.unwrap_or_else(unknown),
        lsn.cloned().unwrap_or_else(unknown),
        faults(node),
        node.url.clone(),
    ]
}

fn role(node: &Standing) -> &'static str {
    match node.role {
        _ if !node.running => "down",
        Some(role) => role.name(),
        None => "?",
    }
}

fn faults(node: &Standing) -> String {
    let Faults {
        paused,
        delay_ms,
        cut,
        clients_cut,
        frozen,
    } = node.faults;
    let delay = delay_ms.filter(|&delay| delay > 0).map(in_words);
    let named = [
        frozen.then(|| "frozen".to_owned()),
        (paused == Some(true)).then(|| "paused".to_owned()),
        delay.map(|delay| format!("delay {delay}")),
        cut.then(|| "cut".to_owned()),
        clients_cut.then(|| "clients cut".to_owned()),
        unexplained(node).then(|| "not streaming".to_owned()),
    ];
    let named: Vec<String> = named.into_iter().flatten().collect();
    match named.len() {
        0 => "-".to_owned(),
        _ => named.join(", "),
    }
}

/// A replica that does not stream, though nobody cut it off.
fn unexplained(node: &Standing) -> bool {
    node.role == Some(Role::Replica) && node.streaming == Some(false) && !node.faults.cut
}

/// A delay as people write it.
pub(super) fn in_words(milliseconds: u64) -> String {
    match milliseconds {
        whole if whole % 60_000 == 0 => format!("{}m", whole / 60_000),
        whole if whole % 1_000 == 0 => format!("{}s", whole / 1_000),
        part => format!("{part}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Faults, Role, Standing, table};

    fn node(name: &str) -> Standing {
        Standing {
            name: name.to_owned(),
            role: Some(Role::Replica),
            running: true,
            url: "postgres://u".to_owned(),
            admin_url: "postgres://a".to_owned(),
            follows: None,
            streaming: Some(true),
            faults: Faults::default(),
            timeline: Some(2),
            replay_lsn: Some("0/3000060".to_owned()),
            write_lsn: None,
        }
    }

    #[test]
    fn what_is_unknown_is_no_number_and_what_is_broken_is_named() {
        let (mut down, mut hung, mut late) =
            (node("primary"), node("replica-1"), node("replica-2"));
        (down.running, down.role) = (false, None);
        (hung.role, hung.timeline, hung.replay_lsn) = (None, None, None);
        hung.faults.frozen = true;
        late.faults.paused = Some(true);
        late.faults.delay_ms = Some(1_500);
        late.faults.cut = true;
        late.streaming = Some(false);
        let mut lost = node("replica-3");
        lost.streaming = Some(false);
        let shown = table(&[down, hung, late, lost]);
        let expected = [
            "NODE       ROLE     TIMELINE  LSN        FAULTS                     URL",
            "primary    down     2         0/3000060  -                          postgres://u",
            "replica-1  ?        ?         ?          frozen                     postgres://u",
            "replica-2  replica  2         0/3000060  paused, delay 1500ms, cut  postgres://u",
            "replica-3  replica  2         0/3000060  not streaming              postgres://u",
        ];
        assert_eq!(shown.lines().collect::<Vec<_>>(), expected, "{shown}");
    }
}
