//! The integration tests: one binary, a module per subject.

mod conformance;
mod line;
mod lock;
mod records;
mod sandbox;
