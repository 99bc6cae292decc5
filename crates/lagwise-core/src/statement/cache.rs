//! placeholder
/// Remembers verdicts by text.
#[derive(Debug)]
pub struct Verdicts {}
