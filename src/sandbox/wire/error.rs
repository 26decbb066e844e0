//! An AWS error, before it is dressed for a protocol.

use std::fmt::Display;

/// A refusal with AWS's own code; the doors dress it for EC2, query or JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sandbox) struct AwsError {
    pub status: u16,
    pub code: String,
    pub message: String,
    /// The whole JSON body, where a JSON service says more than code and message.
    pub details: Option<serde_json::Value>,
}

impl AwsError {
    /// 400 with this code.
    pub fn bad(code: &str, message: impl Display) -> Self {
        Self::with_status(400, code, message)
    }

    /// Any status.
    pub fn with_status(status: u16, code: &str, message: impl Display) -> Self {
        Self { status, code: code.to_string(), message: message.to_string(), details: None }
    }

    /// An action or parameter this sandbox does not have: loud, never a silent yes.
    pub fn unsupported(what: impl Display) -> Self {
        Self::with_status(501, "SandboxUnsupported", format!("the sandbox does not have {what}"))
    }
}
