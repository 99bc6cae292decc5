//! What screens look like, compared with files of `tests/frames`.
//!
//! `LAGWISE_RENEW_FRAMES=1` writes the files anew, to be looked at and committed.

use std::path::Path;
use std::{env, fs};

use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::{Palette, draw};
use crate::watch::order::By;
use crate::watch::plain;
use crate::watch::row::{Row, width};
use crate::watch::scenes;
use crate::watch::screen::{LEAST, lines};
use crate::watch::state::{Key, Scene, State};

/// Every situation that there is a picture of.
fn situations() -> Vec<(&'static str, State)> {
    let state = |scene: Scene, keys: &[Key]| {
        let mut state = State::new(scene);
        for key in keys {
            state.press(*key);
        }
        state
    };
    vec![
        ("idle", state(scenes::scene(), &[])),
        ("trouble", state(scenes::trouble(), &[Key::Down])),
        ("no-primary", state(scenes::headless(), &[])),
        ("never-seen", state(scenes::unseen(), &[])),
        ("one-node", state(scenes::many(1), &[])),
        ("twelve-nodes", state(scenes::many(12), &[Key::Down; 8])),
        ("long-names", state(scenes::long_names(), &[Key::Down])),
        ("drained", state(scenes::drained(), &[Key::Down])),
        ("paused", state(scenes::trouble(), &[Key::Pause])),
        ("zoom", state(scenes::trouble(), &[Key::Down, Key::Zoom])),
        ("zoom-primary", state(scenes::scene(), &[Key::Zoom])),
        ("help", state(scenes::scene(), &[Key::Help])),
    ]
}

fn frame(state: &State, (wide, high): (u16, u16)) -> String {
    let mut terminal = Terminal::new(TestBackend::new(wide, high)).unwrap();
    let palette = Palette::new(false);
    terminal
        .draw(|frame| {
            let area = frame.area();
            draw(state, &palette, area, frame.buffer_mut());
        })
        .unwrap();
    let buffer = terminal.backend().buffer();
    let mut text = String::new();
    for row in buffer.content().chunks(usize::from(wide)) {
        let mut line = String::new();
        let mut covered = 0;
        for cell in row {
            if covered == 0 {
                line.push_str(cell.symbol());
                covered = width(cell.symbol());
            }
            covered = covered.saturating_sub(1);
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn compare(name: &str, found: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/frames");
    let file = folder.join(format!("{name}.txt"));
    if env::var_os("LAGWISE_RENEW_FRAMES").is_some_and(|value| value == "1") {
        fs::write(&file, found).unwrap();
    }
    let expected = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        found == expected,
        "{name} looks different; if it should, LAGWISE_RENEW_FRAMES=1 writes it anew\n\
         expected:\n{expected}\nfound:\n{found}"
    );
}

#[test]
fn screens_look_as_they_did() {
    for (name, state) in situations() {
        for (wide, high) in [(80, 24), (200, 50)] {
            compare(
                &format!("{name}-{wide}x{high}"),
                &frame(&state, (wide, high)),
            );
        }
    }
}

#[test]
fn small_screens_look_as_they_did() {
    let state = State::new(scenes::trouble());
    for (wide, high) in [(40, 10), (60, 16)] {
        compare(
            &format!("trouble-{wide}x{high}"),
            &frame(&state, (wide, high)),
        );
    }
}

#[test]
fn tables_look_as_they_did() {
    for (name, scene) in [
        ("idle", scenes::scene()),
        ("trouble", scenes::trouble()),
        ("no-primary", scenes::headless()),
        ("long-names", scenes::long_names()),
    ] {
        let text = plain::text(&plain::table(&scene, 80), false);
        assert!(text.lines().all(|line| width(line) <= 80), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
        compare(&format!("once-{name}"), &text);
    }
}

/// Not one cell of a screen belongs to two pieces, and none is beyond it, whatever its size.
#[test]
fn nothing_overlaps_at_any_size() {
    for (name, state) in situations() {
        for wide in (1..=240).step_by(13).chain([39, 41, 80, 81, 200]) {
            for high in [1, 9, 10, 13, 24, 50] {
                nothing_overlaps(name, &state, (wide, high));
            }
        }
    }
}

fn nothing_overlaps(name: &str, state: &State, (wide, high): (u16, u16)) {
    let size = (usize::from(wide), usize::from(high));
    let rows = lines(state, size);
    assert!(rows.len() <= size.1, "{name} at {wide}x{high}");
    for row in &rows {
        let mut at = 0;
        for piece in &row.pieces {
            assert!(piece.column >= at, "{name} at {wide}x{high}: {row:?}");
            at = piece.column + width(&piece.text);
        }
        assert!(at <= size.0, "{name} at {wide}x{high}: {row:?}");
    }
    // It can be painted.
    let text = frame(state, (wide, high));
    assert_eq!(text.lines().count(), size.1);
}

#[test]
fn every_fact_of_every_node_is_on_a_screen_of_80_by_24() {
    let text = frame(&State::new(scenes::trouble()), (80, 24));
    for fact in [
        "out: lagging 12s",
        "2.75s",
        "2.60s",
        "16 MB",
        "replays",
        "timeline 3",
        "conns 14/100",
        "conflicts 0",
        "latency 0.41ms",
        "out: unreachable 1h",
        "Connection refused",
        "17:50:24Z ! replica-2 leaves the rotation: unreachable",
        "0 of 2 replicas in rotation",
        "system 7301234567890123456",
        "max lag 1s",
        "takes the writes",
    ] {
        assert!(text.contains(fact), "{fact:?} is not on\n{text}");
    }
}

#[test]
fn the_chart_of_a_primary_that_was_a_replica_says_what_it_shows() {
    let mut look = scenes::look();
    let mut before = look.clone();
    before.nodes[0] = scenes::node("replica-3");
    before.nodes[0].name = "primary".into();
    let mut scene = Scene::new(before, scenes::clock());
    look.at = look.at.after(std::time::Duration::from_secs(1));
    scene.take(look);
    let mut state = State::new(scene);
    state.press(Key::Zoom);
    let text = frame(&state, (120, 24));
    assert!(text.contains("behind while it was a replica"), "{text}");
    assert!(!text.contains("it has no lag"), "{text}");
}

#[test]
fn what_is_too_small_says_so() {
    let (least, tall) = LEAST;
    for (wide, high) in [(least - 1, tall), (least, tall - 1)] {
        let rows = lines(&State::new(scenes::scene()), (wide, high));
        let text: String = rows.iter().map(Row::to_text).collect();
        assert!(text.contains("is too small"), "{text}");
    }
    for high in 1..6 {
        let rows = lines(&State::new(scenes::scene()), (20, high));
        assert!(rows[0].to_text().starts_with("make it 40x10"), "{rows:?}");
        assert!(rows.len() <= high, "{rows:?}");
        assert!(
            rows.iter().all(|row| !row.to_text().contains('…')),
            "{rows:?}"
        );
    }
    let rows = lines(&State::new(scenes::scene()), LEAST);
    assert!(rows.iter().any(|row| row.to_text().contains("replica-2")));
}

#[test]
fn the_last_of_many_nodes_is_seen_when_it_is_chosen() {
    let mut state = State::new(scenes::many(40));
    let seen = |state: &State, name: &str| frame(state, (80, 24)).contains(name);
    assert!(!seen(&state, "replica-39"));
    for _ in 0..39 {
        state.press(Key::Down);
    }
    assert!(seen(&state, ">  replica-39"), "{}", frame(&state, (80, 24)));
    assert!(seen(&state, "more above"));
}

#[test]
fn without_color_there_is_none_and_the_words_are_the_same() {
    let state = State::new(scenes::trouble());
    let colors = |palette: Palette| {
        let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
        let drawn = |frame: &mut ratatui::Frame<'_>| {
            let area = frame.area();
            draw(&state, &palette, area, frame.buffer_mut());
        };
        terminal.draw(drawn).unwrap();
        let cells = terminal.backend().buffer().content();
        let plain = ratatui::style::Color::Reset;
        cells
            .iter()
            .filter(|cell| (cell.fg, cell.bg) != (plain, plain))
            .count()
    };
    assert_eq!(colors(Palette::new(false)), 0);
    assert_ne!(colors(Palette::new(true)), 0);
    let rows = plain::table(&scenes::trouble(), 80);
    assert!(plain::text(&rows, true).contains("\u{1b}[1;31m"));
}

#[test]
fn a_title_shows_what_nodes_are_sorted_by() {
    let mut state = State::new(scenes::scene());
    while state.order.by != By::Bound {
        state.press(Key::Sort);
    }
    assert!(frame(&state, (80, 24)).contains("BOUND▾"));
    state.press(Key::Reverse);
    assert!(frame(&state, (80, 24)).contains("BOUND▴"));
}
