//! A gRPC service of notes that runs as several instances over a primary and its replicas.
//!
//! A caller may come to another instance with every call, and reads what it wrote and nothing older
//! than it has read, on whichever node each instance chooses. All that travels is a metadata key, which
//! the session layer puts on answers, and takes from calls. A caller that is a service itself has its
//! client do the same with a [`ClientLayer`](lagwise::tower::ClientLayer).
//!
//! From the bottom: `notes` says what is asked of the database, `service` answers calls with it,
//! `upkeep` is for whoever runs it, `app` puts them on one port, and `run` serves that until it is told
//! to end, as `config` says.

mod app;
mod config;
mod notes;
mod run;
mod service;
mod upkeep;

/// The messages, the service and its client, as `proto/notes.proto` says.
pub mod proto {
    #![expect(
        missing_docs,
        unused_qualifications,
        clippy::allow_attributes,
        clippy::allow_attributes_without_reason,
        clippy::clone_on_ref_ptr,
        clippy::doc_markdown,
        clippy::excessive_nesting,
        clippy::missing_errors_doc,
        clippy::too_many_lines,
        reason = "the generator writes as it likes, and what there is to say is in the proto file"
    )]

    tonic::include_proto!("lagwise.notes.v1");
}

pub use self::app::app;
pub use self::config::Config;
pub use self::notes::make_table;
pub use self::run::{Failure, run};
