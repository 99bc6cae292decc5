//! The service as its clients know it: processes, sockets, a browser, and a real cluster.
#![expect(clippy::unwrap_used, reason = "what a test stands on may fail it")]

mod browser;
mod http;
mod instance;
mod visitor;
