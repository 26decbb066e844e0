//! The in-process door: an HTTP client for the SDK, on scripted machines and (in a paused runtime) virtual time.

use std::future::Future;
use std::io;
use std::sync::Arc;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http_body_util::BodyExt;
use tokio::net::TcpListener;

use super::engine::{self, Engine, Options};
use super::faults::Faults;
use super::host::scripted::{self, Scripted};

/// A sandbox inside this process. It ends when it and every client made from it are dropped.
#[derive(Clone)]
pub struct Sandbox {
    pub(super) engine: Arc<Engine>,
    host: Arc<Scripted>,
}

/// A sandbox at one moment ([`Sandbox::keep`]), to go on from as often as wanted, in any runtime.
pub struct Kept {
    engine: engine::Kept,
    host: scripted::Kept,
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Kept")
    }
}

impl std::fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sandbox")
    }
}

impl Sandbox {
    /// A sandbox with scripted machines. Must be called inside a tokio runtime; with its time paused, a day passes in a second.
    pub fn in_process(options: Options) -> Self {
        let host = Arc::new(Scripted::new(options.speed));
        Self { engine: Engine::new(options, host.clone()), host }
    }

    /// Everything as it is now, for [`Sandbox::again`]. Calls that are under way are not part of it.
    pub fn keep(&self) -> Kept {
        Kept { engine: self.engine.keep(), host: self.host.keep() }
    }

    /// A sandbox of its own that goes on from there, as if nothing else had ever come of it; its log of calls begins anew. Must be
    /// called inside a tokio runtime.
    pub fn again(kept: &Kept) -> Self {
        let host = Arc::new(Scripted::again(&kept.host));
        Self { engine: Engine::again(&kept.engine, host.clone()), host }
    }

    /// The HTTP client to give to the SDK instead of its own.
    pub fn http_client(&self) -> SharedHttpClient {
        SharedHttpClient::new(self.clone())
    }

    /// The same sandbox through the loopback door, for programs that are not this one, until `until` is ready or somebody asks it to stop.
    pub async fn serve(&self, listener: TcpListener, until: impl Future<Output = ()>) -> io::Result<()> {
        super::server::serve(self.engine.clone(), listener, until).await
    }

    /// What every machine there ever was has said by now.
    pub fn consoles(&self) -> Vec<String> {
        self.host.consoles()
    }

    /// Scheduled misfortunes and the log of calls.
    pub fn faults(&self) -> &Faults {
        &self.engine.faults
    }
}

impl HttpClient for Sandbox {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Sandbox {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let engine = self.engine.clone();
        HttpConnectorFuture::new(async move {
            let other = |error: Box<dyn std::error::Error + Send + Sync>| ConnectorError::other(error, None);
            let request = request.try_into_http1x().map_err(|error| other(error.into()))?;
            let (parts, body) = request.into_parts();
            let body = body.collect().await.map_err(other)?.to_bytes();
            let lost = |_| ConnectorError::io("the connection was closed before the reply".into());
            let response = engine.call(http::Request::from_parts(parts, body)).await.map_err(lost)?;
            HttpResponse::try_from(response.map(|body: Bytes| SdkBody::from(body))).map_err(|error| other(error.into()))
        })
    }
}
