//! Bodies on their way through: streamed both ways, cut when nothing moves for too long or when the target has left for good.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// Why a body was cut.
pub(super) type Cut = Box<dyn std::error::Error + Send + Sync>;
/// A body the load balancer sends.
pub(super) type Outgoing = UnsyncBoxBody<Bytes, Cut>;

/// A body of the load balancer's own.
pub(super) fn whole(text: impl Into<Bytes>) -> Outgoing {
    use http_body_util::BodyExt;
    Full::new(text.into()).map_err(|never| match never {}).boxed_unsync()
}

/// When something last moved on a request, either way.
#[derive(Clone)]
pub(super) struct Activity(Arc<Mutex<Instant>>);

impl Activity {
    pub fn begin() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    fn last(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something moved just now.
    pub fn moved(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }
}

/// Why a request ends before its answer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Ended {
    /// Nothing moved for the idle timeout.
    #[error("nothing moved for the idle timeout")]
    Silent,
    /// The target's deregistration delay is over.
    #[error("the target is gone")]
    Left,
}

/// Returns when the request must be cut.
pub(super) async fn ended(activity: Activity, idle: Duration, mut presence: watch::Receiver<()>) -> Ended {
    loop {
        let until = activity.last() + idle;
        if until <= Instant::now() {
            return Ended::Silent;
        }
        tokio::select! {
            // Never sent to: it can only fail, when the target is removed.
            _ = presence.changed() => return Ended::Left,
            () = sleep_until(until) => {}
        }
    }
}

/// A body passing through.
pub(super) struct Passing {
    inner: Incoming,
    activity: Activity,
    cut: Option<Pin<Box<dyn Future<Output = Ended> + Send>>>,
}

impl Passing {
    /// The visitor's body on its way to the target.
    pub fn up(inner: Incoming, activity: Activity) -> Self {
        Self { inner, activity, cut: None }
    }

    /// The target's body on its way to the visitor.
    pub fn down(inner: Incoming, activity: Activity, cut: impl Future<Output = Ended> + Send + 'static) -> Self {
        Self { inner, activity, cut: Some(Box::pin(cut)) }
    }
}

impl Body for Passing {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(context) {
            self.activity.moved();
            return Poll::Ready(frame.map(|frame| frame.map_err(Cut::from)));
        }
        match self.cut.as_mut().map(|cut| cut.as_mut().poll(context)) {
            Some(Poll::Ready(ended)) => {
                self.cut = None;
                Poll::Ready(Some(Err(Box::new(ended))))
            }
            _ => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
