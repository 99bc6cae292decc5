//! Makes the messages and the service of `proto/notes.proto`, without a `protoc`.

use std::error::Error;
use std::io::{Write as _, stdout};

fn main() -> Result<(), Box<dyn Error>> {
    writeln!(stdout(), "cargo::rerun-if-changed=proto/notes.proto")?;
    let files = protox::compile(["notes.proto"], ["proto"])?;
    tonic_prost_build::configure().compile_fds(files)?;
    Ok(())
}
