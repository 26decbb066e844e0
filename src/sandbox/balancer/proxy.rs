//! One request through a load balancer.

use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use http::header::{CONNECTION, HOST, HeaderName, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::Instant;

use super::body::{self, Activity, Ended, Outgoing, Passing};
use super::{replies, upgrade};
use crate::sandbox::elbv2::{self, Asked, Decision, Forwarded};
use crate::sandbox::engine::{Engine, Place};

/// How long an ALB tries to connect to a target.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a connection to a target is kept for the next request.
const KEEP: Duration = Duration::from_secs(60);

/// The proxy of one listener.
pub(super) struct Proxy {
    engine: Weak<Engine>,
    place: Place,
    listener: String,
    client: Client<HttpConnector, Passing>,
}

/// The listener as visitors see it.
struct Front {
    protocol: String,
    port: u16,
}

impl Proxy {
    pub fn new(engine: &Arc<Engine>, place: &Place, listener: &str) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT));
        connector.set_nodelay(true);
        // A kept connection that turns out to be closed before the request was sent is replaced by a fresh one: the client's default.
        let client = Client::builder(TokioExecutor::new()).pool_idle_timeout(KEEP).pool_timer(TokioTimer::new()).build(connector);
        Self { engine: Arc::downgrade(engine), place: place.clone(), listener: listener.to_string(), client }
    }

    /// How long a silent visitor is kept.
    pub fn idle(&self) -> Duration {
        let found = self.engine.upgrade().map(|engine| {
            engine.within(&self.place, |state, _| {
                let listener = state.elbv2.listeners.get(&self.listener)?;
                state.elbv2.load_balancers.get(&listener.load_balancer).map(elbv2::LoadBalancer::idle)
            })
        });
        found.flatten().unwrap_or(KEEP)
    }

    /// Answers one request that reached this node.
    pub async fn answer(&self, request: Request<Incoming>, peer: IpAddr, node: usize) -> Response<Outgoing> {
        let Some(engine) = self.engine.upgrade() else { return replies::page(StatusCode::SERVICE_UNAVAILABLE) };
        let host = host(&request);
        let asked = Asked { host: &host, path: request.uri().path(), headers: request.headers() };
        let (decision, front) = engine.within(&self.place, |state, context| {
            let front = state.elbv2.listeners.get(&self.listener).map(|one| Front { protocol: one.protocol.clone(), port: one.port });
            (elbv2::route(state, &self.listener, node, asked, context.now), front)
        });
        let Some(front) = front else { return self.refuse(&engine, StatusCode::SERVICE_UNAVAILABLE) };
        match decision {
            Decision::Fixed { status, content_type, body } => replies::fixed(status, content_type, body),
            Decision::Redirect(to) => replies::redirect(&to, &request, &front.protocol, front.port, &host),
            Decision::Nobody | Decision::Closed => self.refuse(&engine, StatusCode::SERVICE_UNAVAILABLE),
            Decision::Forward(to) => {
                // While the request is under way nothing keeps a sandbox alive that is being stopped.
                drop(engine);
                self.forward(request, to, peer, &front).await
            }
        }
    }

    fn refuse(&self, engine: &Arc<Engine>, status: StatusCode) -> Response<Outgoing> {
        engine.within(&self.place, |state, _| elbv2::count_refusal(state, &self.listener, status.as_u16()));
        replies::page(status)
    }

    async fn forward(&self, mut request: Request<Incoming>, to: Forwarded, peer: IpAddr, front: &Front) -> Response<Outgoing> {
        let change = upgrade::wanted(request.headers());
        let visitor = change.is_some().then(|| upgrade::visitors_side(&mut request));
        let activity = Activity::begin();
        let started = Instant::now();
        let outgoing = outgoing(request, &to, peer, front, change, &activity);
        let ended = body::ended(activity.clone(), to.idle, to.presence.clone());
        let answer = tokio::select! {
            answer = self.client.request(outgoing) => answer.map_err(|error| failure(&error)),
            ended = ended => Err(match ended {
                Ended::Silent => StatusCode::GATEWAY_TIMEOUT,
                Ended::Left => StatusCode::BAD_GATEWAY,
            }),
        };
        let status = answer.as_ref().ok().map(|answer| answer.status().as_u16());
        if let Some(engine) = self.engine.upgrade() {
            let took = started.elapsed();
            engine.within(&self.place, |state, context| elbv2::count(state, context, &to.target_group, &to.instance, status, took));
            if let Err(status) = answer {
                return self.refuse(&engine, status);
            }
        }
        match answer {
            Err(status) => replies::page(status),
            Ok(mut response) => {
                let changed = response.headers().get(UPGRADE).cloned().filter(|_| response.status() == StatusCode::SWITCHING_PROTOCOLS);
                strip(response.headers_mut());
                if let (Some(changed), Some(visitor)) = (changed, visitor) {
                    upgrade::ask(response.headers_mut(), changed);
                    upgrade::carry(visitor, &mut response, to.presence);
                    return response.map(|_| body::whole(""));
                }
                activity.moved();
                let cut = body::ended(activity.clone(), to.idle, to.presence);
                response.map(|inner| Passing::down(inner, activity, cut).boxed_unsync())
            }
        }
    }
}

/// The name asked for, without a port.
fn host<B>(request: &Request<B>) -> String {
    let header = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let authority = header.or_else(|| request.uri().authority().map(Authority::as_str)).unwrap_or_default();
    let name = authority.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    name.map_or(authority, |(name, _)| name).to_string()
}

/// The request as the target gets it.
fn outgoing(
    request: Request<Incoming>,
    to: &Forwarded,
    peer: IpAddr,
    front: &Front,
    change: Option<HeaderValue>,
    activity: &Activity,
) -> Request<Passing> {
    let (mut parts, inner) = request.into_parts();
    let mut uri = http::uri::Parts::default();
    uri.scheme = Some(Scheme::HTTP);
    uri.authority = Authority::try_from(std::net::SocketAddr::new(to.address, to.port).to_string()).ok();
    uri.path_and_query = Some(parts.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/")));
    parts.uri = Uri::from_parts(uri).unwrap_or_default();
    parts.version = Version::HTTP_11;
    strip(&mut parts.headers);
    if let Some(change) = change {
        upgrade::ask(&mut parts.headers, change);
    }
    forwarded(&mut parts.headers, peer, front);
    Request::from_parts(parts, Passing::up(inner, activity.clone()))
}

/// Says who asked, and how.
fn forwarded(headers: &mut HeaderMap, peer: IpAddr, front: &Front) {
    let before = headers.get("x-forwarded-for").and_then(|value| value.to_str().ok());
    let chain = before.map_or_else(|| peer.to_string(), |before| format!("{before}, {peer}"));
    let trace = format!("Root=1-{:08x}-{:08x}{:016x}", fastrand::u32(..), fastrand::u32(..), fastrand::u64(..));
    let mut set = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    set("x-forwarded-for", &chain);
    set("x-forwarded-proto", &front.protocol.to_lowercase());
    set("x-forwarded-port", &front.port.to_string());
    set("x-amzn-trace-id", &trace);
}

/// Takes out what counts for one hop only.
fn strip(headers: &mut HeaderMap) {
    let named = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    let named: Vec<HeaderName> = named.filter_map(|name| name.trim().parse().ok()).collect();
    let always = [CONNECTION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, HeaderName::from_static("keep-alive")];
    for name in named.into_iter().chain(always) {
        headers.remove(name);
    }
}

/// An ALB's answer when a target did not: 504 if it could not be reached in time, 502 for everything else.
fn failure(error: &hyper_util::client::legacy::Error) -> StatusCode {
    let mut cause = std::error::Error::source(error);
    while let Some(one) = cause {
        if one.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::TimedOut) {
            return StatusCode::GATEWAY_TIMEOUT;
        }
        cause = one.source();
    }
    StatusCode::BAD_GATEWAY
}
