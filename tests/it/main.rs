//! The integration tests: one binary, a module per subject.

mod agent;
mod architecture;
mod completions;
mod config;
mod conformance;
mod help;
mod history;
mod json;
mod line;
mod lock;
mod man;
mod records;
mod sandbox;
mod typed;
