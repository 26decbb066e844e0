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

use super::complaint::Complaint;
use super::http::{HttpError, ask};
use super::service::{Board, Service, Status};
use super::supervisor::{Shift, Supervisor};
use crate::model::{AGENT_PORT, ConsoleLine, ServiceName};

/// How long a service may take to answer its own health path.
const TIMEOUT: Duration = Duration::from_secs(2);

/// How often services that are not yet up are asked.
const LOOK: Duration = Duration::from_millis(500);

/// How often services that are up are asked whether they still are.
const LOOK_WHEN_UP: Duration = Duration::from_secs(2);

/// Lines of a service's log that go with its bad answer.
const TAIL: usize = 5;

/// Characters of an answer's body that are told.
const WIDEST: usize = 200;

/// Whom to ask.
#[derive(Debug)]
pub(super) struct Health {
    pub services: Vec<Service>,
    pub board: Board,
    /// Where services listen.
    pub host: IpAddr,
}

/// What is wrong with a service.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Trouble {
    /// It does run.
    running: bool,
    what: String,
}

/// `None` for a service that is up.
type Verdicts = BTreeMap<ServiceName, Option<Trouble>>;

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

    /// Says on the console when all are up: once, and again after every time one was not. And, if one runs but stays unwell, why.
    pub async fn announce(&self, shift: &Shift, supervisor: Supervisor) {
        let mut changes = self.board.changes();
        let restarts = |board: &Board| board.statuses().values().map(|status| status.restarts).sum::<u32>();
        let mut complaints: BTreeMap<ServiceName, Complaint> = BTreeMap::new();
        // The count of restarts at which they were said to be up.
        let mut said_up = None;
        let begun = shift.clock.moment();
        loop {
            let before = restarts(&self.board);
            let verdicts = self.verdicts().await;
            for (service, trouble) in &verdicts {
                let answer = trouble.as_ref().filter(|trouble| trouble.running).map(|trouble| trouble.what.clone());
                let told = complaints.entry(service.clone()).or_default().note(answer.as_deref(), shift.clock.since(begun));
                if let Some(answer) = answer.filter(|_| told) {
                    said_up = None;
                    let mut tail = supervisor.log(shift, service).await;
                    tail.drain(..tail.len().saturating_sub(TAIL));
                    shift.console.mark(&ConsoleLine::Unwell { service: service.clone(), answer, tail });
                }
            }
            let up = verdicts.values().all(Option::is_none) && restarts(&self.board) == before;
            if up && said_up != Some(before) {
                said_up = Some(before);
                shift.console.mark(&ConsoleLine::Ready { services: self.services.iter().map(|service| service.name.clone()).collect() });
            }
            tokio::select! {
                () = shift.clock.sleep(if up { LOOK_WHEN_UP } else { LOOK }) => {}
                _ = changes.changed(), if up => {}
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

async fn trouble(service: &Service, status: &Status, host: IpAddr) -> Option<Trouble> {
    if status.pid.is_none() {
        let what = status.last_exit.map_or_else(|| "not started yet".into(), |code| format!("exited with {code}"));
        return Some(Trouble { running: false, what });
    }
    let port = service.port?;
    let authority = SocketAddr::new(host, port).to_string();
    let path = &service.health_path;
    let what = match ask(Method::GET, &authority, path, &[], TIMEOUT).await {
        Ok((200..=299, _)) => return None,
        Ok((code, body)) => format!("GET {path} -> {code} {}", first_line(&body)).trim_end().to_string(),
        Err(error @ HttpError::Timeout(_)) => format!("GET {path} at port {port} -> {error}"),
        Err(HttpError::Broken(why)) => format!("no answer on port {port}: {why}"),
    };
    Some(Trouble { running: true, what })
}

/// What a body says first, printable and not too long.
fn first_line(body: &[u8]) -> String {
    // No character has more than four bytes.
    let text = String::from_utf8_lossy(&body[..body.len().min(WIDEST * 8)]).into_owned();
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    line.chars().filter(|c| !c.is_control()).take(WIDEST).collect()
}

async fn answer(State(health): State<Arc<Health>>) -> (StatusCode, Json<Value>) {
    let verdicts = health.verdicts().await;
    let statuses = health.board.statuses();
    let well = verdicts.values().all(Option::is_none);
    let services: BTreeMap<&str, Value> = verdicts
        .iter()
        .map(|(name, trouble)| {
            let status = statuses.get(name).cloned().unwrap_or_default();
            let told = json!({ "up": trouble.is_none(), "trouble": trouble.as_ref().map(|trouble| &trouble.what), "pid": status.pid, "restarts": status.restarts });
            (name.as_str(), told)
        })
        .collect();
    let code = if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(json!({ "healthy": well, "services": services })))
}

#[cfg(test)]
mod tests {
    use super::first_line;

    #[test]
    fn of_a_body_its_first_line_is_told() {
        assert_eq!(first_line(b"\ncannot reach \x1b[1mstock\r\nbacktrace: ..."), "cannot reach [1mstock");
        assert_eq!(first_line(b""), "");
        assert_eq!(first_line("ü".repeat(5_000).as_bytes()).chars().count(), 200);
    }
}
