//! What becomes of connections that were kept at hand while their server went, or another one came in
//! its place.
