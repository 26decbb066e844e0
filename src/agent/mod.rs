//! What runs on an instance: puts the repositories on an image ([`provision`]), and, on an instance booted from it, starts and holds the
//! services its tags name and answers for their health ([`boot`]). Tags say which services to be, user data says what they are.
//!
//! A review box also gets the refs asked for, built, and its backing stores ([`boot`]); [`inspect`] tells what is really on it, and
//! [`clean`] makes it fit to become an image.
//!
//! It talks to nobody but the instance's own metadata service and, for secrets, Parameter Store with the instance's role, and says what happened on the console, which everybody who may describe
//! the instance can read. It does not know whether the instance is one of EC2 or of the sandbox.

mod account;
mod boot;
mod checkout;
mod clean;
mod complaint;
mod console;
mod crash;
mod duty;
pub mod environment;
mod exec;
mod fuse;
mod health;
mod http;
mod identity;
mod imds;
mod inspect;
mod keys;
mod layout;
mod memory;
mod own;
mod provision;
mod release_command;
mod secrets;
mod service;
mod store;
mod supervisor;
mod systemd;
mod unit;
mod workbench;

pub use boot::boot;
pub use clean::clean;
pub use exec::exec;
pub use inspect::inspect;
pub use provision::provision;
