//! The wire formats: form fields in, XML or JSON out. No behaviour here.

pub(super) mod cbor;
mod error;
mod node;
mod params;

pub(super) use error::AwsError;
pub(super) use node::{Node, branch, leaf, list};
pub(super) use params::Params;
