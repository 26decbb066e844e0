//! The agent's answer to "are you well?": only when every service it should run is up, as each service itself defines it.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use http::Method;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::http::ask;
use super::service::{Board, Service, Status};
use crate::clock::Clock;
use crate::model::{AGENT_PORT, ConsoleLine, ServiceName};

use super::console::Console;

/// How long a service may take to answer its own health path.
const TIMEOUT: Duration = Duration::from_secs(2);

/// How often services that are not yet up are asked.
const LOOK: Duration = Duration::from_millis(500);

/// Whom to ask.
#[derive(Debug)]
pub(super) struct Health {
    pub services: Vec<Service>,
    pub board: Board,
    /// Where services listen.
    pub host: IpAddr,
}

/// What is wrong with a service; `None` if it is up.
type Verdicts = BTreeMap<ServiceName, Option<String>>;

impl Health {
    /// Asks every service at once.
    async fn verdicts(&self) -> Verdicts {
        let statuses = self.board.statuses();
        let mut asked = JoinSet::new();
        for service in self.services.clone() {
            let (status, host) = (statuses.get(&service.name).cloned().unwrap_or_default(), self.host);
            asked.spawn(async move { (service.name.clone(), trouble(&service, &status, host).await) });
        }
        asked.join_all().await.into_iter().collect()
    }

    /// Says on the console when all are up: once, and again after every time one was not.
    pub async fn announce(&self, console: &Console, clock: &Clock) {
        let mut changes = self.board.changes();
        let restarts = |board: &Board| board.statuses().values().map(|status| status.restarts).sum::<u32>();
        loop {
            let before = restarts(&self.board);
            if self.verdicts().await.values().any(Option::is_some) || restarts(&self.board) != before {
                clock.sleep(LOOK).await;
                continue;
            }
            console.mark(&ConsoleLine::Ready { services: self.services.iter().map(|service| service.name.clone()).collect() });
            while restarts(&self.board) == before {
                if changes.changed().await.is_err() {
                    return;
                }
            }
        }
    }

    /// Listens for questions; the error says why it cannot.
    pub async fn listen(self: &Arc<Self>) -> Result<impl Future<Output = ()> + Send + use<>, String> {
        let address = SocketAddr::new(self.host, AGENT_PORT);
        let listener = TcpListener::bind(address).await.map_err(|error| format!("cannot listen on {address}: {error}"))?;
        let router = Router::new().route("/health", get(answer)).with_state(self.clone());
        Ok(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!("the health answer ended: {error}");
            }
        })
    }
}

async fn trouble(service: &Service, status: &Status, host: IpAddr) -> Option<String> {
    if status.pid.is_none() {
        return Some(status.last_exit.map_or_else(|| "not started yet".into(), |code| format!("exited with {code}")));
    }
    let port = service.port?;
    let authority = SocketAddr::new(host, port).to_string();
    let path = &service.health_path;
    match ask(Method::GET, &authority, path, &[], TIMEOUT).await {
        Ok((200..=299, _)) => None,
        Ok((code, _)) => Some(format!("{path} answers {code}")),
        Err(error) => Some(format!("{path} at port {port}: {error}")),
    }
}

async fn answer(State(health): State<Arc<Health>>) -> (StatusCode, Json<Value>) {
    let verdicts = health.verdicts().await;
    let statuses = health.board.statuses();
    let well = verdicts.values().all(Option::is_none);
    let services: BTreeMap<&str, Value> = verdicts
        .iter()
        .map(|(name, trouble)| {
            let status = statuses.get(name).cloned().unwrap_or_default();
            let told = json!({ "up": trouble.is_none(), "trouble": trouble, "pid": status.pid, "restarts": status.restarts });
            (name.as_str(), told)
        })
        .collect();
    let code = if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(json!({ "healthy": well, "services": services })))
}
