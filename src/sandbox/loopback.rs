//! A sandbox that programs on this computer can talk to: the server in front of the engine, on machines that are real processes.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

use super::engine::{Engine, Options};
use super::host::{MachineOptions, Processes};
use super::server;

/// Answers to questions about the sandbox itself come from memory.
const CONTROL_TIMEOUT: Duration = Duration::from_secs(5);

/// An open sandbox, not yet answering.
pub struct Loopback {
    engine: Arc<Engine>,
    host: Arc<Processes>,
    listener: TcpListener,
}

impl std::fmt::Debug for Loopback {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Loopback")
    }
}

impl Loopback {
    /// Opens one in a folder that the caller occupies; what an earlier one left there is ended and removed. Port 0: any free one.
    pub async fn open(options: Options, mut machines: MachineOptions, port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        // Whatever on a machine calls AWS meets the sandbox.
        machines.environment.push(("AWS_ENDPOINT_URL".into(), format!("http://{}", listener.local_addr()?).into()));
        let host = Arc::new(Processes::open(machines).await?);
        let engine = Engine::new(options, host.clone());
        Ok(Self { engine, host, listener })
    }

    /// Where it will answer.
    pub fn endpoint(&self) -> io::Result<String> {
        Ok(format!("http://{}", self.listener.local_addr()?))
    }

    /// What marks its machines' processes.
    pub fn id(&self) -> &str {
        self.host.id()
    }

    /// Answers until `until` is ready or somebody asks it to stop; then ends every machine and removes every root folder.
    pub async fn serve(self, until: impl Future<Output = ()>) -> io::Result<()> {
        let served = server::serve(self.engine, self.listener, until).await;
        let closed = self.host.close().await;
        served.and(closed)
    }
}

/// Asks a sandbox about itself (`GET /_sandbox/status`) or tells it something (`POST /_sandbox/stop`).
pub async fn control(endpoint: &str, method: http::Method, path: &str) -> io::Result<serde_json::Value> {
    let exchange = async {
        let address: SocketAddr = endpoint.trim_start_matches("http://").parse().map_err(io::Error::other)?;
        let stream = TcpStream::connect(address).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        let request = http::Request::builder().method(method).uri(path).header("host", address.to_string());
        let request = request.body(Empty::<Bytes>::new()).map_err(io::Error::other)?;
        let answer = async {
            let response = sender.send_request(request).await.map_err(io::Error::other)?;
            let status = response.status();
            let body = response.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
            if !status.is_success() {
                return Err(io::Error::other(format!("{path} answered {status}")));
            }
            Ok(serde_json::from_slice(&body)?)
        };
        tokio::pin!(answer);
        tokio::select! {
            answered = &mut answer => answered,
            // The connection may end first, with the answer already in hand.
            _ = connection => answer.await,
        }
    };
    tokio::time::timeout(CONTROL_TIMEOUT, exchange).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
