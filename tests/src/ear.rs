//! What a router says of itself while a test listens.
//!
//! An ear hears the thread that it was put on, so tests that listen run on one thread. It hears
//! lagwise alone: the driver writes down whole statements.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Level, Metadata, Subscriber};

/// One thing that was said.
#[derive(Clone, Debug)]
pub struct Heard {
    /// How loud it was.
    pub level: Level,
    /// What was said; the words themselves are the field `message`.
    pub fields: BTreeMap<&'static str, String>,
}

impl Heard {
    /// A field, empty if there is none of that name.
    #[must_use]
    pub fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }
}

/// Where something was sent, and why.
pub type Sent = (String, String);

/// Listens from when it is made until it is dropped.
#[derive(Debug)]
pub struct Ear {
    notes: Notes,
    _listening: DefaultGuard,
}

impl Ear {
    /// Begins to listen on this thread.
    #[must_use]
    pub fn open() -> Self {
        let notes = Notes::default();
        let listening = tracing::subscriber::set_default(notes.clone());
        Self {
            notes,
            _listening: listening,
        }
    }

    /// Everything that was said since the last time this was asked.
    #[must_use]
    pub fn take(&self) -> Vec<Heard> {
        std::mem::take(&mut self.notes.lock())
    }

    /// Where a piece of work sent statements, each time with the reason, and what it came to.
    pub async fn routes_of<T>(&self, work: impl Future<Output = T>) -> (T, Vec<Sent>) {
        drop(self.take());
        let outcome = work.await;
        (outcome, routes(&self.take()))
    }
}

/// Where statements were sent, and why: `("r1", "eligible")`.
#[must_use]
pub fn routes(heard: &[Heard]) -> Vec<Sent> {
    let routed = heard
        .iter()
        .filter(|said| said.field("message") == "routed");
    routed
        .map(|said| {
            (
                said.field("node").to_owned(),
                said.field("reason").to_owned(),
            )
        })
        .collect()
}

/// Warnings in whose words a text occurs.
#[must_use]
pub fn warnings<'a>(heard: &'a [Heard], words: &str) -> Vec<&'a Heard> {
    let said = heard.iter().filter(|said| said.level == Level::WARN);
    said.filter(|said| said.field("message").contains(words))
        .collect()
}

#[derive(Clone, Debug, Default)]
struct Notes(Arc<Mutex<Vec<Heard>>>);

impl Notes {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Heard>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Fields<'a>(&'a mut BTreeMap<&'static str, String>);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

impl Subscriber for Notes {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("lagwise")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = BTreeMap::new();
        event.record(&mut Fields(&mut fields));
        let level = *event.metadata().level();
        self.lock().push(Heard { level, fields });
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
