//! One small HTTP request at a time: to the metadata service, and to the services' health paths.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Answers are read up to here; user data, the longest wanted, has 16 KiB.
const LONGEST: usize = 256 * 1024;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum HttpError {
    #[error("no answer within {} s", .0.as_secs_f32())]
    Timeout(Duration),
    #[error("{0}")]
    Broken(String),
}

/// Status and body of what `authority` (host:port) answers.
pub(super) async fn ask(
    method: Method,
    authority: &str,
    path: &str,
    headers: &[(&str, &str)],
    timeout: Duration,
) -> Result<(u16, Bytes), HttpError> {
    let asked = tokio::time::timeout(timeout, exchange(method, authority, path, headers)).await;
    asked.unwrap_or(Err(HttpError::Timeout(timeout)))
}

async fn exchange(method: Method, authority: &str, path: &str, headers: &[(&str, &str)]) -> Result<(u16, Bytes), HttpError> {
    let broken = |error: &dyn std::fmt::Display| HttpError::Broken(error.to_string());
    let stream = TcpStream::connect(authority).await.map_err(|error| broken(&error))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
    let mut request = Request::builder().method(method).uri(path).header("host", authority).header("user-agent", "adstage-agent");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| broken(&error))?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(|error| broken(&error))?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), LONGEST).collect().await.map_err(|error| broken(&error))?;
        Ok((status, body.to_bytes()))
    };
    tokio::pin!(answer);
    tokio::select! {
        done = &mut answer => done,
        // The connection may end first, with the answer already in hand.
        _ = connection => answer.await,
    }
}
