//! Shows the cluster until somebody has seen enough.
//!
//! Whatever comes in changes the state; the screen is drawn some time after, and not more often than an
//! eye can follow. Nothing here waits for a node.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, sleep};

use super::input::{Input, Keyboard};
use super::state::{State, Wish};
use super::terminal::{Screen, Seen};
use super::view::Palette;
use super::watcher::Watcher;
use crate::console;
use crate::failure::Failure;
use crate::nodes::Nodes;
use crate::signal::Interrupt;

pub(super) async fn run(nodes: &Nodes) -> Result<(), Failure> {
    let mut interrupt = Interrupt::listen()?;
    let mut watcher = Watcher::start(nodes)?;
    let palette = Palette::new(console::colored());
    let mut screen = Screen::take(palette).map_err(Failure::Terminal)?;
    let shown = tokio::select! {
        () = interrupt.come() => Ok(()),
        shown = show(&mut watcher, &mut screen) => shown,
    };
    // Before anything that may take time: whoever has quit types on.
    drop(screen);
    watcher.close().await;
    shown
}

async fn show(watcher: &mut Watcher, screen: &mut Screen) -> Result<(), Failure> {
    let mut keyboard = Keyboard::listen();
    let mut state = State::new(watcher.scene());
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut changed = true;
    let mut drawn_at = lagwise::now().before(DRAW_EVERY);
    loop {
        let rest = DRAW_EVERY.saturating_sub(lagwise::now().since(drawn_at));
        tokio::select! {
            () = sleep(rest), if changed => {
                if screen.show(&state).map_err(Failure::Terminal)? == Seen::ByNobody {
                    return Ok(());
                }
                changed = false;
                drawn_at = lagwise::now();
            }
            input = keyboard.next() => {
                changed = true;
                if let Input::Key(key) = input {
                    match state.press(key) {
                        Wish::Quit => return Ok(()),
                        wish => watcher.grant(&wish),
                    }
                }
            }
            news = watcher.news() => {
                news.tell(state.live());
                changed |= !state.is_paused();
            }
            _ = looks.tick() => {
                state.live().take(watcher.look());
                // A picture that stands still also shows whether anybody is there to see it.
                let old = lagwise::now().since(drawn_at) > DRAW_LEAST;
                changed |= old || !state.is_paused();
            }
        }
    }
}

/// Between two looks at what the router knows.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// The longest time without a picture.
const DRAW_LEAST: Duration = Duration::from_secs(2);
/// Between two pictures.
const DRAW_EVERY: Duration = Duration::from_millis(100);
