//! The instance metadata service of one machine: IMDSv2 only, as an instance launched with `HttpTokens=required` sees it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Json, Router};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::{Machine, Metadata, MetadataSource};

const TTL: &str = "x-aws-ec2-metadata-token-ttl-seconds";
const TOKEN: &str = "x-aws-ec2-metadata-token";
/// The role of every instance.
const ROLE: &str = "sandbox";
const LONGEST_TTL: u64 = 21_600;

struct Service {
    machine: Machine,
    source: Weak<dyn MetadataSource>,
    tokens: Mutex<HashMap<String, Instant>>,
}

/// Serves until the task is dropped.
pub(super) async fn serve(listener: TcpListener, machine: Machine, source: Weak<dyn MetadataSource>) -> std::io::Result<()> {
    let service = Arc::new(Service { machine, source, tokens: Mutex::default() });
    let tokened = Router::new()
        .route("/latest/meta-data/instance-id", get(|State(s): State<Arc<Service>>| async move { s.machine.id.clone() }))
        .route("/latest/meta-data/ami-id", get(|State(s): State<Arc<Service>>| async move { s.machine.image.clone() }))
        .route("/latest/meta-data/local-ipv4", get(|State(s): State<Arc<Service>>| async move { s.machine.address.to_string() }))
        .route("/latest/meta-data/placement/region", get(|State(s): State<Arc<Service>>| async move { s.machine.region.clone() }))
        .route("/latest/meta-data/instance-type", get(instance_type))
        .route("/latest/meta-data/placement/availability-zone", get(availability_zone))
        .route("/latest/meta-data/tags/instance", get(tag_keys))
        .route("/latest/meta-data/tags/instance/", get(tag_keys))
        .route("/latest/meta-data/tags/instance/{key}", get(tag))
        .route("/latest/user-data", get(user_data))
        .route("/latest/meta-data/iam/security-credentials", get(|| async { ROLE }))
        .route("/latest/meta-data/iam/security-credentials/", get(|| async { ROLE }))
        .route("/latest/meta-data/iam/security-credentials/{role}", get(credentials))
        .route("/latest/dynamic/instance-identity/document", get(identity))
        .fallback(|| async { StatusCode::NOT_FOUND })
        .layer(middleware::from_fn_with_state(service.clone(), token_required));
    let router = Router::new().route("/latest/api/token", put(new_token)).merge(tokened).with_state(service);
    axum::serve(listener, router).await
}

async fn new_token(State(service): State<Arc<Service>>, headers: HeaderMap) -> Response {
    // A token must not leave the machine through a proxy somebody left open.
    if headers.contains_key("x-forwarded-for") {
        return StatusCode::FORBIDDEN.into_response();
    }
    let asked = headers.get(TTL).and_then(|value| value.to_str().ok()?.parse().ok());
    let Some(seconds) = asked.filter(|seconds| (1..=LONGEST_TTL).contains(seconds)) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let token: String = std::iter::repeat_with(fastrand::alphanumeric).take(56).collect();
    let mut tokens = service.tokens.lock().unwrap_or_else(PoisonError::into_inner);
    tokens.retain(|_, ends| *ends > Instant::now());
    tokens.insert(token.clone(), Instant::now() + Duration::from_secs(seconds));
    ([(TTL, seconds.to_string())], token).into_response()
}

async fn token_required(State(service): State<Arc<Service>>, request: Request, next: Next) -> Response {
    let token = request.headers().get(TOKEN).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let ends = service.tokens.lock().unwrap_or_else(PoisonError::into_inner).get(token).copied();
    match ends {
        Some(ends) if ends > Instant::now() => next.run(request).await,
        _ => StatusCode::UNAUTHORIZED.into_response(),
    }
}

impl Service {
    fn live(&self) -> Metadata {
        self.source.upgrade().and_then(|source| source.metadata(&self.machine.id)).unwrap_or_default()
    }
}

/// An empty value is one that does not exist.
fn or_not_found(value: String) -> Response {
    if value.is_empty() { StatusCode::NOT_FOUND.into_response() } else { value.into_response() }
}

async fn instance_type(State(service): State<Arc<Service>>) -> Response {
    or_not_found(service.live().instance_type)
}

async fn availability_zone(State(service): State<Arc<Service>>) -> Response {
    or_not_found(service.live().availability_zone)
}

async fn tag_keys(State(service): State<Arc<Service>>) -> Response {
    let keys = service.live().tags.map(|tags| tags.into_keys().collect::<Vec<_>>().join("\n"));
    keys.map_or_else(|| StatusCode::NOT_FOUND.into_response(), IntoResponse::into_response)
}

async fn tag(State(service): State<Arc<Service>>, Path(key): Path<String>) -> Response {
    let value = service.live().tags.and_then(|mut tags| tags.remove(&key));
    value.map_or_else(|| StatusCode::NOT_FOUND.into_response(), IntoResponse::into_response)
}

async fn user_data(State(service): State<Arc<Service>>) -> Response {
    match service.machine.user_data.as_slice() {
        [] => StatusCode::NOT_FOUND.into_response(),
        bytes => bytes.to_vec().into_response(),
    }
}

/// Credentials of the instance's role: in the sandbox the access key is the account.
async fn credentials(State(service): State<Arc<Service>>, Path(role): Path<String>) -> Response {
    if role != ROLE {
        return StatusCode::NOT_FOUND.into_response();
    }
    Json(json!({
        "Code": "Success",
        "Type": "AWS-HMAC",
        "AccessKeyId": service.machine.account,
        "SecretAccessKey": "sandbox",
        "Token": "sandbox",
        "LastUpdated": "2026-01-01T00:00:00Z",
        "Expiration": "2099-01-01T00:00:00Z",
    }))
    .into_response()
}

async fn identity(State(service): State<Arc<Service>>) -> Response {
    let (machine, live) = (&service.machine, service.live());
    Json(json!({
        "accountId": machine.account,
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" },
        "availabilityZone": live.availability_zone,
        "imageId": machine.image,
        "instanceId": machine.id,
        "instanceType": live.instance_type,
        "privateIp": machine.address.to_string(),
        "region": machine.region,
        "version": "2017-09-30",
    }))
    .into_response()
}
