//! The integration tests: one binary, a module per subject.

mod agent;
mod architecture;
mod bench;
mod completions;
mod config;
mod conformance;
mod deploy;
mod help;
mod history;
mod iam;
mod instance;
mod json;
mod line;
mod lock;
mod machines;
mod man;
mod records;
mod sandbox;
mod status;
mod steps;
mod typed;
mod yard;
