//! One health check over a real socket, as a load balancer makes it.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::ProbeError;

/// The status a GET gets. Anything but a whole HTTP answer is a refusal.
pub(super) async fn get(address: SocketAddr, path: String, timeout: Duration) -> Result<u16, ProbeError> {
    tokio::time::timeout(timeout, ask(address, path)).await.unwrap_or(Err(ProbeError::Timeout))
}

async fn ask(address: SocketAddr, path: String) -> Result<u16, ProbeError> {
    let stream = TcpStream::connect(address).await.map_err(|_| ProbeError::Refused)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|_| ProbeError::Refused)?;
    let request = http::Request::get(path)
        .header("host", address.to_string())
        .header("user-agent", "ELB-HealthChecker/2.0")
        .header("connection", "close")
        .body(Empty::<Bytes>::new())
        .map_err(|_| ProbeError::Refused)?;
    let answer = sender.send_request(request);
    tokio::pin!(answer);
    let answered = tokio::select! {
        answered = &mut answer => answered,
        // The connection may end first, with the answer already in hand.
        _ = connection => answer.await,
    };
    // The status is enough; dropping the connection spares the machine the rest of a long page.
    answered.map(|response| response.status().as_u16()).map_err(|_| ProbeError::Refused)
}
