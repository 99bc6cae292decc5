//! What the screen is of: the scene, and how somebody wants to see it.
//!
//! Looks, accounts, events and keys come in, each with its time; nothing here reads a clock, asks a
//! server or draws. A pause freezes the scene that is shown while the other one goes on, so that no
//! event is missed. What a key asks of the router is returned as a wish.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use lagwise_core::Instant;

use super::cells::Facts;
use super::clock::WallClock;
use super::log::Entry;
use super::look::{Look, NodeLook};
use super::order::Order;
use super::track::Track;
use crate::vitals::Vitals;

/// Everything that is known, and has happened.
#[derive(Clone, Debug)]
pub(crate) struct Scene {
    pub(crate) clock: WallClock,
    pub(crate) began: Instant,
    pub(crate) look: Look,
    pub(crate) tracks: BTreeMap<Arc<str>, Track>,
    /// The newest first.
    pub(crate) log: VecDeque<Entry>,
}

/// What a key means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Up,
    Down,
    Sort,
    Reverse,
    Zoom,
    Pause,
    Drain,
    Help,
    Back,
    Quit,
}

/// What is to be done outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    GoOn,
    Quit,
    Drain(Arc<str>),
    Undrain(Arc<str>),
}

/// What is shown, and how.
#[derive(Clone, Debug)]
pub(crate) struct State {
    live: Scene,
    frozen: Option<Box<Scene>>,
    selected: Option<Arc<str>>,
    pub(crate) order: Order,
    pub(crate) zoomed: bool,
    pub(crate) help: bool,
}

impl Scene {
    pub(crate) fn new(look: Look, clock: WallClock) -> Self {
        let mut scene = Self {
            clock,
            began: look.at,
            look,
            tracks: BTreeMap::new(),
            log: VecDeque::new(),
        };
        scene.track();
        scene
    }

    /// Takes in a newer look.
    pub(crate) fn take(&mut self, look: Look) {
        self.look = look;
        self.track();
    }

    fn track(&mut self) {
        let look = &self.look;
        self.tracks.retain(|name, _| look.node(name).is_some());
        for node in &look.nodes {
            let track = self.tracks.entry(Arc::clone(&node.name)).or_default();
            track.note(node, look);
        }
    }

    /// Takes in what a node said of itself, or why it said nothing.
    pub(crate) fn told(&mut self, node: &str, told: Result<Vitals, String>) {
        if let Some(track) = self.tracks.get_mut(node) {
            track.told = Some(told);
        }
    }

    /// Takes in what has happened.
    pub(crate) fn happened(&mut self, entry: Entry) {
        self.log.push_front(entry);
        self.log.truncate(MOST_ENTRIES);
    }

    /// Whether every node is where it will stay, and has been heard or given up.
    pub(crate) fn is_settled(&self) -> bool {
        self.look.nodes.iter().all(NodeLook::is_settled)
            && self.tracks.values().all(|track| track.told.is_some())
    }

    pub(crate) fn facts<'a>(&'a self, node: &'a NodeLook) -> Facts<'a> {
        Facts::new(self, node)
    }
}

impl State {
    pub(crate) fn new(scene: Scene) -> Self {
        Self {
            live: scene,
            frozen: None,
            selected: None,
            order: Order::default(),
            zoomed: false,
            help: false,
        }
    }

    /// What goes on, whatever is shown.
    pub(crate) fn live(&mut self) -> &mut Scene {
        &mut self.live
    }

    /// What is shown.
    pub(crate) fn scene(&self) -> &Scene {
        self.frozen.as_deref().unwrap_or(&self.live)
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.frozen.is_some()
    }

    /// The nodes in the order in which they are shown.
    pub(crate) fn nodes(&self) -> Vec<&NodeLook> {
        self.order.sorted(self.scene())
    }

    /// The node that keys act on: the first until another was chosen, or if that is gone.
    pub(crate) fn selected(&self) -> Option<&NodeLook> {
        let chosen = self.selected.as_deref();
        let chosen = chosen.and_then(|name| self.scene().look.node(name));
        chosen.or_else(|| self.nodes().first().copied())
    }

    pub(crate) fn press(&mut self, key: Key) -> Wish {
        match key {
            Key::Back if self.help => self.help = false,
            Key::Back if self.zoomed => self.zoomed = false,
            Key::Back | Key::Quit => return Wish::Quit,
            Key::Help => self.help = !self.help,
            Key::Up => self.select(|at| at.saturating_sub(1)),
            Key::Down => self.select(|at| at + 1),
            Key::Sort => self.order.next(),
            Key::Reverse => self.order.reverse(),
            Key::Zoom => self.zoomed = !self.zoomed,
            Key::Pause => self.pause(),
            Key::Drain => return self.drain(),
        }
        Wish::GoOn
    }

    fn pause(&mut self) {
        self.frozen = match self.frozen {
            Some(_) => None,
            None => Some(Box::new(self.live.clone())),
        };
    }

    fn select(&mut self, next: impl FnOnce(usize) -> usize) {
        let selected = self.selected().map(|node| Arc::clone(&node.name));
        let nodes = self.nodes();
        let at = nodes
            .iter()
            .position(|node| Some(&node.name) == selected.as_ref());
        let next = next(at.unwrap_or(0)).min(nodes.len().saturating_sub(1));
        let chosen = nodes.get(next).map(|node| Arc::clone(&node.name));
        self.selected = chosen;
    }

    /// Of the node as it is now, whatever is shown.
    fn drain(&self) -> Wish {
        let node = self
            .selected()
            .and_then(|node| self.live.look.node(&node.name));
        match node {
            Some(node) if node.is_drained() => Wish::Undrain(Arc::clone(&node.name)),
            Some(node) => Wish::Drain(Arc::clone(&node.name)),
            None => Wish::GoOn,
        }
    }
}

/// More than fits on any screen.
const MOST_ENTRIES: usize = 500;

#[cfg(test)]
mod tests {
    use super::super::scenes;
    use super::*;

    fn state() -> State {
        State::new(scenes::scene())
    }

    fn selected(state: &State) -> &str {
        state.selected().map_or("none", |node| &node.name)
    }

    #[test]
    fn the_selection_follows_its_node_and_stays_among_the_nodes() {
        let mut state = state();
        assert_eq!(selected(&state), "primary");
        state.press(Key::Up);
        assert_eq!(selected(&state), "primary");
        for _ in 0..9 {
            state.press(Key::Down);
        }
        assert_eq!(selected(&state), "replica-2");
        state.press(Key::Reverse);
        assert_eq!(selected(&state), "replica-2", "wherever it stands now");
        assert_eq!(&*state.nodes()[0].name, "replica-2");
        let mut look = scenes::look();
        look.nodes.truncate(2);
        state.live().take(look);
        assert_eq!(
            selected(&state),
            "replica-1",
            "the first of those there are"
        );
    }

    #[test]
    fn a_pause_freezes_what_is_shown_and_misses_nothing() {
        let mut state = state();
        state.press(Key::Pause);
        state.live().happened(scenes::ejection());
        let mut look = scenes::look();
        look.in_rotation = 1;
        state.live().take(look);
        assert!(state.is_paused());
        assert_eq!(state.scene().look.in_rotation, 2);
        assert_eq!(state.scene().log.len(), 0);
        state.press(Key::Pause);
        assert!(!state.is_paused());
        assert_eq!(state.scene().look.in_rotation, 1);
        assert_eq!(state.scene().log.len(), 1);
    }

    #[test]
    fn back_leaves_one_thing_at_a_time_and_quit_all() {
        let mut state = state();
        state.press(Key::Zoom);
        state.press(Key::Help);
        assert_eq!(state.clone().press(Key::Quit), Wish::Quit);
        assert_eq!(state.press(Key::Back), Wish::GoOn);
        assert!(state.zoomed && !state.help);
        assert_eq!(state.press(Key::Back), Wish::GoOn);
        assert!(!state.zoomed);
        assert_eq!(state.press(Key::Back), Wish::Quit);
    }

    #[test]
    fn the_same_key_drains_and_undrains_the_node_as_it_is_now() {
        let mut state = state();
        state.press(Key::Down);
        state.press(Key::Pause);
        assert_eq!(state.press(Key::Drain), Wish::Drain("replica-1".into()));
        let mut look = scenes::look();
        look.nodes[1].membership = "ejected";
        look.nodes[1].cause = Some("drained");
        state.live().take(look);
        assert_eq!(state.press(Key::Drain), Wish::Undrain("replica-1".into()));
    }

    #[test]
    fn it_is_settled_once_every_node_is_heard_and_placed() {
        let mut scene = scenes::scene();
        assert!(scene.is_settled());
        let mut look = scenes::look();
        look.nodes[2].membership = "probation";
        look.nodes[2].cause = Some("unproved");
        scene.take(look);
        assert!(!scene.is_settled(), "one is on its way");
        let mut scene = Scene::new(scenes::look(), scenes::clock());
        assert!(!scene.is_settled(), "none has said anything");
        for name in ["primary", "replica-1", "replica-2"] {
            scene.told(name, Err("is down".to_owned()));
        }
        assert!(scene.is_settled());
    }
}
