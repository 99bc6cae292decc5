//! Keys, as they are pressed.
//!
//! Reading a terminal blocks, and may block forever on one that is gone, so it is done on a thread of
//! its own which nobody waits for. What a key means is decided here; what it does is the state's.

use std::time::Duration;

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tokio::sync::mpsc;

use super::state::Key;

/// Something that came from the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    Key(Key),
    /// It has another size, or its picture may be damaged.
    Resized,
}

/// The terminal's side that is written by hands.
#[derive(Debug)]
pub(crate) struct Keyboard(mpsc::UnboundedReceiver<Input>);

impl Keyboard {
    /// Listens from now on.
    pub(crate) fn listen() -> Self {
        let (heard, inputs) = mpsc::unbounded_channel();
        std::thread::spawn(move || hear(&heard));
        Self(inputs)
    }

    /// The next; never, once there is no keyboard any longer.
    ///
    /// # Cancel safety
    /// A dropped call loses nothing.
    pub(crate) async fn next(&mut self) -> Input {
        match self.0.recv().await {
            Some(input) => input,
            None => std::future::pending().await,
        }
    }
}

/// Hands on what is pressed, until nobody listens or nobody can press any longer.
fn hear(heard: &mpsc::UnboundedSender<Input>) {
    while !heard.is_closed() {
        match read() {
            Ok(Some(input)) if heard.send(input).is_err() => return,
            Ok(_) => {}
            Err(_gone) => return,
        }
    }
}

fn read() -> std::io::Result<Option<Input>> {
    if !event::poll(PATIENCE)? {
        return Ok(None);
    }
    Ok(match event::read()? {
        Event::Key(key) if key.kind != KeyEventKind::Release => meaning(key).map(Input::Key),
        Event::Resize(..) => Some(Input::Resized),
        _ => None,
    })
}

/// In raw mode, Ctrl-C is a key like any other.
fn meaning(key: KeyEvent) -> Option<Key> {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    Some(match key.code {
        KeyCode::Char('c') if control => Key::Quit,
        _ if control => return None,
        KeyCode::Char('q') => Key::Quit,
        KeyCode::Esc => Key::Back,
        KeyCode::Up | KeyCode::Char('k') => Key::Up,
        KeyCode::Down | KeyCode::Char('j') => Key::Down,
        KeyCode::Enter | KeyCode::Char('z') => Key::Zoom,
        KeyCode::Char('s') => Key::Sort,
        KeyCode::Char('r') => Key::Reverse,
        KeyCode::Char('p' | ' ') => Key::Pause,
        KeyCode::Char('d') => Key::Drain,
        KeyCode::Char('?' | 'h') => Key::Help,
        _ => return None,
    })
}

/// Between two looks whether anybody still listens.
const PATIENCE: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ctrl_c_quits_and_no_other_key_with_control_does_anything() {
        let with = |code, modifiers| meaning(KeyEvent::new(code, modifiers));
        let c = KeyCode::Char('c');
        assert_eq!(with(c, KeyModifiers::CONTROL), Some(Key::Quit));
        assert_eq!(with(c, KeyModifiers::NONE), None);
        let d = KeyCode::Char('d');
        assert_eq!(with(d, KeyModifiers::NONE), Some(Key::Drain));
        assert_eq!(with(d, KeyModifiers::CONTROL), None);
    }
}
