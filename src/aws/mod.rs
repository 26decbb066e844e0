//! The only importer of the AWS SDK: a struct per service with methods named by intent, plain model values in and out.
//!
//! One policy for everything: the SDK never retries ([`retry`] does), every attempt has a time limit, and every call that changes
//! something passes the [`Guard`] at the last hook before the socket. There is no trait to fake: tests hand another HTTP client to
//! [`Connection`].
//!
//! A new call is a method in the file of its service, plus its action in `examples/iam/`.

mod clients;
pub mod dynamodb;
mod error;
mod guard;
mod retry;
mod sts;

pub use clients::{Aws, CALL_TIMEOUT, Connection, LONG_CALL_TIMEOUT};
pub use dynamodb::Dynamodb;
pub use error::{Error, ErrorKind};
pub use guard::Guard;
pub use sts::{Caller, Sts};

/// The SDK's seam for HTTP: what a test (or the in-process sandbox) hands to [`Connection`].
pub use aws_smithy_runtime_api::client::http::SharedHttpClient;
