//! The integration tests: one binary, a module per subject.

#![allow(clippy::unwrap_used, reason = "a test whose stage cannot be set fails at once")]

mod agent;
mod architecture;
mod bench;
mod completions;
mod config;
mod conformance;
mod daily;
mod deploy;
mod engines;
mod help;
mod history;
mod iam;
mod image;
mod instance;
mod inventory;
mod json;
mod killed;
mod lease;
mod lease_deploys;
mod lease_keep;
mod lease_people;
mod lease_shared;
mod line;
mod lock;
mod machines;
mod man;
mod practice;
mod processes;
mod protocol;
mod python;
mod readme;
mod records;
mod resume;
mod rollback;
mod sandbox;
mod setup;
mod stage;
mod state_table;
mod status;
mod steps;
mod typed;
mod visitors;
mod workshop;
mod yard;
