//! Connections that stop being HTTP, such as WebSockets: after a 101 the bytes are only carried.

use http::header::{CONNECTION, UPGRADE};
use http::{HeaderMap, HeaderValue, Request, Response};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::sync::watch;

/// What a visitor wants the connection to become, if anything.
pub(super) fn wanted(headers: &HeaderMap) -> Option<HeaderValue> {
    let asks = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    let asks = asks.map(str::trim).any(|token| token.eq_ignore_ascii_case("upgrade"));
    headers.get(UPGRADE).filter(|_| asks).cloned()
}

/// Says again that the connection is to change; these headers count for one hop only.
pub(super) fn ask(headers: &mut HeaderMap, to: HeaderValue) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, to);
}

/// The visitor's side of a connection about to change.
pub(super) fn visitors_side<B>(request: &mut Request<B>) -> OnUpgrade {
    hyper::upgrade::on(request)
}

/// Carries bytes both ways until either side is done or the target has left for good.
pub(super) fn carry<B>(visitor: OnUpgrade, response: &mut Response<B>, mut presence: watch::Receiver<()>) {
    let target = hyper::upgrade::on(response);
    tokio::spawn(async move {
        let (Ok(visitor), Ok(target)) = (visitor.await, target.await) else { return };
        let (mut visitor, mut target) = (TokioIo::new(visitor), TokioIo::new(target));
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut visitor, &mut target) => {}
            _ = presence.changed() => {}
        }
    });
}
