//! One error for every AWS call, sorted by its *code*: nothing in this crate decides by the text of a message.

use std::error::Error as StdError;
use std::fmt;

use aws_credential_types::provider::error::{CredentialsError, TokenError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::{ConnectorError, SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use super::guard::GuardRefused;

/// An AWS call that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// The API action, `ModifyRule`.
    pub action: &'static str,
    /// What the code means to us.
    pub kind: ErrorKind,
    /// AWS's own code; empty if AWS did not answer.
    pub code: String,
    /// AWS's message, or ours if it did not answer.
    pub message: String,
    pub(super) again: Again,
}

/// What an error code means to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// It does not exist, or not yet: reads lag behind creates.
    NotFound,
    /// The name is taken, by us or by somebody else.
    AlreadyExists,
    /// Not now: something still uses it or changes it.
    InUse,
    /// A DynamoDB condition was false.
    Conflict,
    /// Too many calls, or busy.
    Throttled,
    /// The caller lacks a permission.
    Denied,
    /// No credentials, or expired ones.
    NotLoggedIn,
    /// The request itself is wrong.
    Invalid,
    /// AWS has no capacity left, or a quota is used up.
    Capacity,
    /// Our own guard refused to send it: the lease is not surely held.
    Guard,
    /// No answer: network, name resolution, time limit.
    Network,
    /// Anything else.
    Other,
}

/// What is known about a failed attempt, for the retry loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    /// Asking again gives the same answer.
    Never,
    /// AWS refused before doing anything.
    Throttled,
    /// It never left this machine.
    NotSent,
    /// It may have been carried out.
    Unknown,
}

impl Error {
    /// An error of our own making about an AWS answer that makes no sense.
    pub fn new(action: &'static str, kind: ErrorKind, code: &str, message: impl Into<String>) -> Self {
        Self { action, kind, code: code.to_string(), message: message.into(), again: Again::Never }
    }

    /// AWS answered, but what it must contain is missing.
    pub(super) fn incomplete(action: &'static str, what: &str) -> Self {
        Self::new(action, ErrorKind::Other, "", format!("the answer has no {what}"))
    }

    /// It does not exist (or not yet).
    pub fn is_not_found(&self) -> bool {
        self.kind == ErrorKind::NotFound
    }

    /// From what the SDK returns.
    pub(super) fn from_sdk<E>(action: &'static str, error: SdkError<E, HttpResponse>) -> Self
    where
        E: StdError + ProvideErrorMetadata + Send + Sync + 'static,
    {
        match &error {
            SdkError::ServiceError(answer) => {
                let (code, status) = (answer.err().code().unwrap_or_default(), answer.raw().status().as_u16());
                let message = answer.err().message().map(str::to_string).unwrap_or_else(|| format!("HTTP status {status}"));
                let kind = sort(code);
                Self { action, kind, code: code.to_string(), message, again: again(kind, status) }
            }
            SdkError::ResponseError(answer) => {
                let status = answer.raw().status().as_u16();
                let message = format!("the answer (HTTP status {status}) could not be read: {}", innermost(&error));
                Self { action, kind: ErrorKind::Network, code: String::new(), message, again: Again::Unknown }
            }
            SdkError::TimeoutError(_) => {
                let message = "AWS did not answer in time".to_string();
                Self { action, kind: ErrorKind::Network, code: String::new(), message, again: Again::Unknown }
            }
            SdkError::DispatchFailure(_) | SdkError::ConstructionFailure(_) => Self::unsent(action, &error),
            // The enum may grow; an unknown kind of failure may have been carried out.
            _ => Self { again: Again::Unknown, ..Self::new(action, ErrorKind::Other, "", innermost(&error)) },
        }
    }

    /// The SDK gave up before it had an answer: the reason is somewhere down the chain of causes.
    fn unsent(action: &'static str, error: &(dyn StdError + 'static)) -> Self {
        if let Some(refused) = find::<GuardRefused>(error) {
            return Self::new(action, ErrorKind::Guard, "", refused.0.clone());
        }
        let nothing_found = matches!(find::<CredentialsError>(error), Some(CredentialsError::CredentialsNotLoaded(_)))
            || matches!(find::<TokenError>(error), Some(TokenError::TokenNotLoaded(_)));
        let login = find::<CredentialsError>(error).is_some() || find::<TokenError>(error).is_some();
        let failed = find_last::<ConnectorError>(error);
        // A connection that closes before the answer is neither I/O nor a time limit to the SDK, but an accident of another kind.
        let accident = failed.filter(|failed| failed.is_io() || failed.is_timeout() || failed.as_other().is_some());
        match (nothing_found, login, accident) {
            (true, ..) => Self::new(action, ErrorKind::NotLoggedIn, "", "no AWS credentials were found"),
            (_, true, None) => {
                Self::new(action, ErrorKind::NotLoggedIn, "", format!("the AWS credentials cannot be used: {}", innermost(error)))
            }
            (_, true, Some(_)) => Self { again: Again::NotSent, ..Self::network(action, error) },
            (_, false, Some(failed)) => {
                let again = if failed.connection_never_made() { Again::NotSent } else { Again::Unknown };
                Self { again, ..Self::network(action, error) }
            }
            // What even the connector has no word for may have been carried out; only a request that could not be built was not.
            (_, false, None) => {
                let again = if failed.is_some_and(|failed| !failed.is_user()) { Again::Unknown } else { Again::Never };
                Self { again, ..Self::new(action, ErrorKind::Other, "", chain(error)) }
            }
        }
    }

    fn network(action: &'static str, error: &(dyn StdError + 'static)) -> Self {
        Self::new(action, ErrorKind::Network, "", format!("AWS cannot be reached: {}", innermost(error)))
    }
}

/// Whether a connection ever stood. The SDK keeps that to itself but for its `Debug` form, so refusals are read off the I/O error.
trait NeverMade {
    fn connection_never_made(&self) -> bool;
}

impl NeverMade for ConnectorError {
    fn connection_never_made(&self) -> bool {
        find::<std::io::Error>(self).is_some_and(|io| io.kind() == std::io::ErrorKind::ConnectionRefused)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code.as_str() {
            "" => write!(f, "{}: {}", self.action, self.message),
            code => write!(f, "{}: {} ({code})", self.action, self.message),
        }
    }
}

impl StdError for Error {}

fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |at: &&'a (dyn StdError + 'static)| {
        let cause: &'a (dyn StdError + 'static) = *at;
        cause.source()
    })
}

fn find<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    causes(error).find_map(|cause| cause.downcast_ref::<T>())
}

fn find_last<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    causes(error).filter_map(|cause| cause.downcast_ref::<T>()).last()
}

/// The cause that says what really happened; those above it say "dispatch failure".
fn innermost(error: &(dyn StdError + 'static)) -> String {
    causes(error).last().map(ToString::to_string).unwrap_or_default()
}

fn chain(error: &(dyn StdError + 'static)) -> String {
    causes(error).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn again(kind: ErrorKind, status: u16) -> Again {
    match kind {
        ErrorKind::Throttled => Again::Throttled,
        // 500s that are a verdict on the request, not an accident.
        ErrorKind::Capacity | ErrorKind::InUse => Again::Never,
        _ if status >= 500 && status != 501 => Again::Unknown,
        _ => Again::Never,
    }
}

/// Codes by meaning. Sources: *Error codes for the Amazon EC2 API*; the Auto Scaling, ELBv2, DynamoDB and STS references.
const BY_CODE: &[(ErrorKind, &[&str])] = &[
    (
        ErrorKind::Throttled,
        &[
            "Throttling",
            "ThrottlingException",
            "ThrottledException",
            "RequestThrottled",
            "RequestThrottledException",
            "TooManyRequestsException",
            "ProvisionedThroughputExceededException",
            "TransactionInProgressException",
            "TransactionConflictException",
            "ReplicatedWriteConflictException",
            "RequestLimitExceeded",
            "BandwidthLimitExceeded",
            "LimitExceededException",
            "SlowDown",
            "PriorRequestNotComplete",
            "EC2ThrottledException",
            "ConcurrentTagAccess",
        ],
    ),
    (ErrorKind::Conflict, &["ConditionalCheckFailedException", "TransactionCanceledException"]),
    (
        ErrorKind::InUse,
        &[
            "ResourceInUse",
            "ResourceInUseException",
            "ScalingActivityInProgress",
            "ResourceContention",
            "InvalidSnapshot.InUse",
            "IncorrectInstanceState",
            "IncorrectState",
            "InstanceRefreshInProgress",
        ],
    ),
    (
        ErrorKind::Capacity,
        &[
            "InsufficientInstanceCapacity",
            "InsufficientHostCapacity",
            "InsufficientCapacity",
            "InsufficientFreeAddressesInSubnet",
            "VcpuLimitExceeded",
            "InstanceLimitExceeded",
            "MaxSpotInstanceCountExceeded",
            "ResourceCountExceeded",
            "LimitExceeded",
            "TargetGroupAssociationLimit",
            "TagLimitExceeded",
        ],
    ),
    (
        ErrorKind::NotLoggedIn,
        &[
            "ExpiredToken",
            "ExpiredTokenException",
            "RequestExpired",
            "InvalidClientTokenId",
            "UnrecognizedClientException",
            "AuthFailure",
            "SignatureDoesNotMatch",
            "InvalidSignatureException",
            "MissingAuthenticationToken",
            "MissingAuthenticationTokenException",
            "InvalidAccessKeyId",
            "IncompleteSignature",
        ],
    ),
    (
        ErrorKind::Denied,
        &[
            "UnauthorizedOperation",
            "AccessDenied",
            "AccessDeniedException",
            "OptInRequired",
            "OperationNotPermitted",
            "PendingVerification",
        ],
    ),
    (
        ErrorKind::AlreadyExists,
        &["PriorityInUse", "AlreadyExists", "InvalidAMIName.Duplicate", "InvalidLaunchTemplateName.AlreadyExistsException"],
    ),
    (
        ErrorKind::Invalid,
        &[
            "InvalidTarget",
            "MissingParameter",
            "Unsupported",
            "IdempotentParameterMismatch",
            "IdempotentInstanceTerminated",
            "IncompatibleProtocols",
            "UnknownParameter",
            "SandboxUnsupported",
        ],
    ),
];

fn sort(code: &str) -> ErrorKind {
    let exact = BY_CODE.iter().find(|(_, codes)| codes.contains(&code));
    exact.map_or_else(|| sort_by_form(code), |(kind, _)| *kind)
}

/// The families: `…NotFound`, `Duplicate…`, `TooMany…`, `Invalid…`, `Validation…`.
fn sort_by_form(code: &str) -> ErrorKind {
    let ends = |suffix: &str| code.ends_with(suffix);
    match code {
        _ if ends("NotFound") || ends("NotFoundException") || code.starts_with("NoSuch") => ErrorKind::NotFound,
        _ if code.starts_with("Duplicate") || ends("AlreadyExists") || ends("AlreadyExistsException") => ErrorKind::AlreadyExists,
        _ if code.starts_with("TooMany") => ErrorKind::Capacity,
        _ if code.starts_with("Invalid") || code.starts_with("Validation") => ErrorKind::Invalid,
        _ => ErrorKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_sorted_by_meaning() {
        let table = [
            ("InvalidInstanceID.NotFound", ErrorKind::NotFound),
            ("InvalidLaunchTemplateName.NotFoundException", ErrorKind::NotFound),
            ("TargetGroupNotFound", ErrorKind::NotFound),
            ("DuplicateTargetGroupName", ErrorKind::AlreadyExists),
            ("InvalidAMIName.Duplicate", ErrorKind::AlreadyExists),
            ("RequestLimitExceeded", ErrorKind::Throttled),
            ("TransactionCanceledException", ErrorKind::Conflict),
            ("TooManyRules", ErrorKind::Capacity),
            ("ExpiredToken", ErrorKind::NotLoggedIn),
            ("ValidationError", ErrorKind::Invalid),
            ("InvalidParameterValue", ErrorKind::Invalid),
            ("InternalError", ErrorKind::Other),
        ];
        for (code, kind) in table {
            assert_eq!(sort(code), kind, "{code}");
        }
    }

    #[test]
    fn an_accident_may_have_been_carried_out_and_a_throttle_was_not() {
        assert_eq!(again(ErrorKind::Other, 500), Again::Unknown);
        assert_eq!(again(ErrorKind::Throttled, 503), Again::Throttled);
        assert_eq!(again(ErrorKind::Capacity, 500), Again::Never);
        assert_eq!(again(ErrorKind::Invalid, 400), Again::Never);
    }

    #[test]
    fn credentials_that_are_missing_say_so() {
        let error = ConnectorError::other(Box::new(CredentialsError::not_loaded_no_source()), None);
        assert_eq!(Error::unsent("DescribeRules", &error).kind, ErrorKind::NotLoggedIn);
        let expired = CredentialsError::provider_error("the SSO session has expired");
        let error = Error::unsent("DescribeRules", &ConnectorError::other(Box::new(expired), None));
        assert_eq!(error.to_string(), "DescribeRules: the AWS credentials cannot be used: the SSO session has expired");
    }
}
