//! Sessions over real channels: from call to call, from service to service, and back to a browser.

mod behind;
mod hops;
mod metadata;
mod program;
mod stage;
