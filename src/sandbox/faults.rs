//! Scheduled misfortunes, and the log of calls they are scheduled by.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::door::{self, Request, Service};
use super::wire::AwsError;

/// The reply never reaches the caller: the connection breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplyLost;

/// A header by which a caller marks a call, so that a fault finds it and the log says who sent it. AWS would not look at it.
pub const MARK: &str = "x-sandbox-mark";

/// Which call is struck.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum When {
    /// The call with this number in [`Faults::calls`].
    Call(usize),
    /// The n-th call (from 1) of an action, counted from when the fault was scheduled.
    Action(String, usize),
    /// The call that carries this mark ([`MARK`]).
    Marked(String),
}

/// What happens to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Misfortune {
    /// Nothing is done; the answer is this status and code.
    Refuse(u16, String),
    /// Nothing is done; the answer is the service's own throttling code.
    Throttle,
    /// All is done; the answer never arrives.
    LoseReply,
}

/// One call as it went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedCall {
    /// When it arrived, since the sandbox started.
    pub at: Duration,
    /// The service's name as in a signature's scope.
    pub service: &'static str,
    /// The API action.
    pub action: String,
    /// False if it only reads.
    pub mutating: bool,
    /// The mark it carried ([`MARK`]).
    pub mark: Option<String>,
    /// The code of the refusal, if it was one.
    pub refused: Option<String>,
}

#[derive(Debug, Default)]
struct Book {
    calls: Vec<LoggedCall>,
    scheduled: Vec<(When, Misfortune)>,
}

/// The schedule and the log.
#[derive(Debug, Default)]
pub struct Faults {
    book: Mutex<Book>,
}

pub(super) enum Verdict {
    Proceed,
    Refuse(AwsError),
    LoseReply,
}

impl Faults {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Schedule a misfortune; it strikes once.
    pub fn schedule(&self, when: When, misfortune: Misfortune) {
        self.book().scheduled.push((when, misfortune));
    }

    /// Every call so far, in order.
    pub fn calls(&self) -> Vec<LoggedCall> {
        self.book().calls.clone()
    }

    /// Enters a call into the log and says what is to become of it.
    pub(super) fn next(&self, request: &Request, at: Duration) -> (usize, Verdict) {
        let mut book = self.book();
        let number = book.calls.len();
        book.calls.push(LoggedCall {
            at,
            service: request.service.scope(),
            action: request.action.clone(),
            mutating: door::mutating(&request.action),
            mark: request.mark.clone(),
            refused: None,
        });
        for (when, _) in &mut book.scheduled {
            if let When::Action(action, left) = when
                && *action == request.action
            {
                *left = left.saturating_sub(1);
            }
        }
        let due = |when: &When| match when {
            When::Call(due) => *due == number,
            When::Action(action, left) => *left == 0 && *action == request.action,
            When::Marked(mark) => request.mark.as_ref() == Some(mark),
        };
        let struck = book.scheduled.iter().position(|(when, _)| due(when)).map(|index| book.scheduled.remove(index).1);
        let verdict = match struck {
            None => Verdict::Proceed,
            Some(Misfortune::LoseReply) => Verdict::LoseReply,
            Some(Misfortune::Throttle) => Verdict::Refuse(throttled(request.service)),
            Some(Misfortune::Refuse(status, code)) => Verdict::Refuse(AwsError::with_status(status, &code, "a scheduled fault")),
        };
        (number, verdict)
    }

    pub(super) fn note(&self, number: usize, refused: Option<String>) {
        if let Some(call) = self.book().calls.get_mut(number) {
            call.refused = refused;
        }
    }
}

/// Each service's own word for "too fast".
pub(super) fn throttled(service: Service) -> AwsError {
    match service {
        Service::Ec2 => AwsError::with_status(503, "RequestLimitExceeded", "Request limit exceeded."),
        Service::Dynamodb => AwsError::bad("ThrottlingException", "Rate of requests exceeds the allowed throughput."),
        Service::Servicequotas => AwsError::bad("TooManyRequestsException", "Rate exceeded"),
        _ => AwsError::bad("Throttling", "Rate exceeded"),
    }
}
