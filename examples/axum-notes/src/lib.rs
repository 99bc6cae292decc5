//! A service of notes that runs as several instances over a primary and its replicas.
//!
//! A visitor may come to another instance with every request, and reads what it wrote and nothing
//! older than it has read, on whichever node each instance chooses. All that travels is a cookie or a
//! header, which the session layer puts on responses and takes from requests. The instances know
//! nothing of each other; they share a database and a secret.
//!
//! From the bottom: `notes` says what is asked of the database, `refusal` what a client is told
//! instead of an answer, `health`, `nodes`, `scrape` and the page are for whoever runs it, `service`
//! puts them together, and `run` serves it until it is told to end, as `config` says.

mod config;
mod failure;
mod health;
mod nodes;
mod notes;
mod refusal;
mod run;
mod scrape;
mod service;

pub use self::config::Config;
pub use self::failure::Failure;
pub use self::notes::make_table;
pub use self::run::run;
pub use self::service::app;
