//! What runs on an instance: puts the repositories on an image ([`provision`]), and, on an instance booted from it, starts and holds the
//! services its tags name and answers for their health ([`boot`]). Tags say which services to be, user data says what they are.
//!
//! It talks to nobody but the instance's own metadata service, and says what happened on the console, which everybody who may describe
//! the instance can read. It does not know whether the instance is one of EC2 or of the sandbox.

mod boot;
mod complaint;
mod console;
mod crash;
pub mod environment;
mod fuse;
mod health;
mod http;
mod imds;
mod layout;
mod own;
mod provision;
mod service;
mod supervisor;
mod systemd;
mod unit;

pub use boot::boot;
pub use provision::provision;
