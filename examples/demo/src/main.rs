//! Shows lagwise at work on a real cluster: `cargo xtask demo`.
//!
//! A primary and two replicas start in a temporary folder, sessions write and read through a router,
//! and one replica lags, is killed, and returns. The demo counts by value what any session missed of
//! its own writes. With `--naive` the same happens without lagwise, to show what it prevents. The
//! servers and their folder are gone when it ends, however it ends.
//!
//! From the top: `arguments` say what to do, `show` does it on a `stage` with a `workload` of
//! `routed` or `naive` clients and a `scenario`, the `tally` and the `history` keep account, a
//! `picture` of it goes to a `display`, and a `report` remains.

mod arguments;
mod clock;
mod display;
mod failure;
mod history;
mod interrupt;
mod naive;
mod picture;
mod plain;
mod report;
mod routed;
mod scenario;
mod show;
mod stage;
mod tally;
mod view;
mod workload;

use std::process::ExitCode;

use clap::Parser;

use crate::arguments::Arguments;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match show::run(&arguments).await {
        Ok(Some(report)) => display::conclude(&arguments, &report),
        // No result is no success: whoever waits for one must not take silence for it.
        Ok(None) => {
            display::complain("the demo was ended before it began");
            ExitCode::FAILURE
        }
        Err(failure) => {
            display::complain(&format!("the demo broke: {failure}"));
            ExitCode::FAILURE
        }
    }
}
