//! The loopback door: an HTTP server that the `aws` command line, boto3 and adstage itself talk to as if it were AWS.
//!
//! hyper is driven directly: a fault that loses the reply must close the connection without a byte, which frameworks do not offer.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ffi::OsStr;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::elbv2;
use super::engine::{Engine, pause};
use super::faults::{LoggedCall, ReplyLost};
use super::orders;

/// Open connections get this long to finish when the sandbox stops.
const GRACE: Duration = Duration::from_secs(1);

/// Serves until `until` is ready or somebody posts to `/_sandbox/stop`; then terminates every machine.
pub(super) async fn serve(engine: Arc<Engine>, listener: TcpListener, until: impl Future<Output = ()>) -> io::Result<()> {
    let endpoint = format!("http://{}", listener.local_addr()?);
    let asked_to_stop = Arc::new(Notify::new());
    let mut connections = JoinSet::new();
    let mut until = std::pin::pin!(until);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = asked_to_stop.notified() => break,
            () = &mut until => break,
        };
        while connections.try_join_next().is_some() {}
        // A failed accept concerns one connection, not the server.
        let Ok((stream, _)) = accepted else { continue };
        let (engine, stop, endpoint) = (engine.clone(), asked_to_stop.clone(), endpoint.clone());
        connections.spawn(async move {
            let service = service_fn(|request| answer(&engine, &endpoint, &stop, request));
            // Whatever went wrong, the client sees it as a closed connection.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
    engine.end_machines();
    pause(GRACE.min(Duration::from_millis(100))).await;
    let _ = tokio::time::timeout(GRACE, async { while connections.join_next().await.is_some() {} }).await;
    Ok(())
}

async fn answer(
    engine: &Arc<Engine>,
    endpoint: &str,
    stop: &Notify,
    request: http::Request<Incoming>,
) -> Result<http::Response<Full<Bytes>>, Closed> {
    let (parts, body) = request.into_parts();
    if from_a_web_page(&parts.headers) {
        return Ok(own(403, &json!({ "error": "the sandbox does not talk to web pages" })).map(Full::new));
    }
    let body = body.collect().await.map_err(|_| Closed)?.to_bytes();
    let response = match (parts.method.as_str(), parts.uri.path()) {
        ("GET", "/_sandbox/status") => own(200, &status(engine, endpoint)),
        ("GET", "/_sandbox/calls") => own(200, &calls(engine, parts.uri.query())),
        ("GET", "/_sandbox/machine") => own(200, &machine(engine, parts.uri.query())),
        ("POST", "/_sandbox/shortage") => own(200, &orders::shortage(engine, parts.uri.query())),
        ("POST", "/_sandbox/reclaim") => own(200, &orders::reclaim(engine, parts.uri.query())),
        ("POST", "/_sandbox/stop") => {
            stop.notify_one();
            own(200, &json!({ "stopping": true }))
        }
        (_, path) if path.starts_with("/_sandbox/") => own(404, &json!({ "error": format!("the sandbox has no {path}") })),
        _ => engine.call(http::Request::from_parts(parts, body)).await?,
    };
    Ok(response.map(Full::new))
}

/// True if a browser sent it for some web page. User data runs as the person at the keyboard, so a page anywhere on the web must not
/// be able to post here: neither directly (browsers then name its origin) nor through a name it points at this address.
fn from_a_web_page(headers: &http::HeaderMap) -> bool {
    let host = headers.get(http::header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let local = name == "localhost" || name.ends_with(".localhost") || name.parse::<std::net::Ipv4Addr>().is_ok_and(|ip| ip.is_loopback());
    !local || headers.contains_key(http::header::ORIGIN) || headers.contains_key("sec-fetch-site")
}

/// The connection is closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("closed on purpose")]
struct Closed;

impl From<ReplyLost> for Closed {
    fn from(_: ReplyLost) -> Self {
        Self
    }
}

impl From<Infallible> for Closed {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

fn own(status: u16, body: &Value) -> http::Response<Bytes> {
    let mut response = http::Response::new(Bytes::from(body.to_string()));
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
    response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    response
}

/// The calls so far; with `?from=N` those from the N-th on. What `refused` a call is known once it is answered.
fn calls(engine: &Engine, query: Option<&str>) -> Value {
    let from = query.and_then(|query| query.strip_prefix("from=")?.parse().ok()).unwrap_or(0);
    let shown = |(number, call): (usize, LoggedCall)| {
        json!({
            "number": number, "at_ms": call.at.as_millis(), "service": call.service, "action": call.action,
            "mutating": call.mutating, "refused": call.refused,
        })
    };
    engine.faults.calls().into_iter().enumerate().skip(from).map(shown).collect()
}

/// How a process gets into the machine `?id=`; only its state if it is not on, null if there is none.
fn machine(engine: &Engine, query: Option<&str>) -> Value {
    let id = query.and_then(|query| query.strip_prefix("id=")).unwrap_or_default();
    let places = engine.state();
    let Some(instance) = places.values().find_map(|state| state.ec2.instances.get(id)) else { return Value::Null };
    let mut shown = json!({ "state": instance.state.name() });
    if let Some(entrance) = engine.host.entrance(id).filter(|_| !instance.state.is_ending()) {
        let text = |text: &OsStr| text.to_string_lossy().into_owned();
        let variables = entrance.variables.iter().map(|(name, value)| (text(name), text(value)));
        let variables = variables.chain([("HOST".to_string(), entrance.address.to_string())]);
        shown["root"] = json!(entrance.root);
        shown["variables"] = json!(variables.collect::<BTreeMap<_, _>>());
    }
    shown
}

/// What `sandbox status` shows.
fn status(engine: &Engine, endpoint: &str) -> Value {
    let places = engine.state();
    let mut instances = Vec::new();
    let (mut load_balancers, mut boxes) = (Vec::new(), Vec::new());
    for state in places.values() {
        for instance in state.ec2.instances.values() {
            let tags = state.ec2.tags_of(&instance.id);
            let tag = |key: &str| tags.get(key).cloned().unwrap_or_default();
            instances.push(json!({
                "id": instance.id, "account": state.place.account, "region": state.place.region,
                "address": instance.address.to_string(), "state": instance.state.name(), "image": instance.request.image,
                "environment": tag("adstage:env"), "mode": tag("adstage:mode"), "release": tag("adstage:release"),
                "services": tag("adstage:services").split_whitespace().collect::<Vec<_>>(), "spot": instance.request.spot,
                "pid": engine.host.pid(&instance.id),
            }));
        }
        boxes.extend(
            elbv2::boxes(state)
                .into_iter()
                .map(|(name, url)| json!({ "name": name, "url": url, "account": state.place.account, "region": state.place.region })),
        );
        for balancer in elbv2::status(state) {
            let mut shown = json!(balancer);
            shown["account"] = json!(state.place.account);
            shown["region"] = json!(state.place.region);
            load_balancers.push(shown);
        }
    }
    drop(places);
    let shortages = orders::shortages(engine);
    json!({ "endpoint": endpoint, "load_balancers": load_balancers, "instances": instances, "boxes": boxes, "shortages": shortages })
}
