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
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::complaint::Complaint;
use super::duty::Duty;
use super::http::{HttpError, ask};
use super::layout::Layout;
use super::service::{Board, Service, Status, names};
use super::supervisor::{Shift, Supervisor};
use super::workbench::{Stage, Stages};
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
    /// Whether they are to work; while they are not, there is nothing to be up.
    pub duty: Duty,
    /// On a review box: how far its repositories are.
    pub stages: Option<Stages>,
}

/// Where the agent answers and for what, for whoever asks on the instance itself.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Answering {
    pub at: String,
    pub services: Vec<ServiceName>,
    /// The agent's process.
    pub pid: u32,
    /// This is a review box.
    pub review: bool,
}

impl Answering {
    fn write(&self, layout: &Layout) -> std::io::Result<()> {
        let path = layout.answering();
        std::fs::create_dir_all(path.parent().unwrap_or(&path))?;
        std::fs::write(path, serde_json::to_vec(self).map_err(std::io::Error::other)?)
    }

    /// Of the agent that runs in this boot, or ran.
    pub fn read(layout: &Layout) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(layout.answering()).ok()?).ok()
    }
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
        if !self.duty.is_active() {
            return self.services.iter().map(|service| (service.name.clone(), None)).collect();
        }
        let statuses = self.board.statuses();
        let mut asked = JoinSet::new();
        for service in self.services.clone() {
            let (status, host) = (statuses.get(&service.name).cloned().unwrap_or_default(), self.host);
            let missing: Vec<ServiceName> = self.board.missing(&service).into_iter().cloned().collect();
            asked.spawn(async move { (service.name.clone(), trouble(&service, &status, &missing, host).await) });
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
            if !self.duty.is_active() {
                (complaints, said_up) = (BTreeMap::new(), None);
                self.duty.begins().await;
            }
            let before = restarts(&self.board);
            let verdicts = self.verdicts().await;
            if !self.duty.is_active() {
                continue;
            }
            for (service, trouble) in &verdicts {
                self.board.note_up(service, trouble.is_none());
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
                shift.console.mark(&ConsoleLine::Ready { services: names(&self.services) });
            }
            tokio::select! {
                () = shift.clock.sleep(if up { LOOK_WHEN_UP } else { LOOK }) => {}
                _ = changes.changed(), if up => {}
                () = self.duty.ends() => {}
            }
        }
    }

    /// Listens for questions; the error says why it cannot.
    pub async fn listen(self: &Arc<Self>, layout: &Layout) -> Result<impl Future<Output = ()> + Send + use<>, String> {
        let address = SocketAddr::new(self.host, AGENT_PORT);
        let listener = TcpListener::bind(address).await.map_err(|error| format!("cannot listen on {address}: {error}"))?;
        let (at, services, pid) = (address.to_string(), names(&self.services), std::process::id());
        let answering = Answering { at, services, pid, review: self.stages.is_some() };
        answering.write(layout).map_err(|error| format!("{}: {error}", layout.answering().display()))?;
        let router = Router::new().route("/health", get(answer)).with_state(self.clone());
        Ok(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!("the health answer ended: {error}");
            }
        })
    }
}

async fn trouble(service: &Service, status: &Status, missing: &[ServiceName], host: IpAddr) -> Option<Trouble> {
    if status.pid.is_none() {
        let exited = status.last_exit.map(|code| format!("exited with {code}"));
        let waits = || (!missing.is_empty()).then(|| format!("waits for {}", listed(missing)));
        let what = exited.or_else(|| status.trouble.clone()).or_else(waits).unwrap_or_else(|| "not started yet".into());
        return Some(Trouble { running: false, what });
    }
    if service.store.is_some() {
        let what = || status.trouble.clone().unwrap_or_else(|| "not asked yet".into());
        return (status.ready != status.pid).then(|| Trouble { running: true, what: what() });
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

fn listed(names: &[ServiceName]) -> String {
    names.iter().map(ServiceName::as_str).collect::<Vec<_>>().join(", ")
}

async fn answer(State(health): State<Arc<Health>>) -> (StatusCode, Json<Value>) {
    let verdicts = health.verdicts().await;
    let statuses = health.board.statuses();
    let stages = health.stages.as_ref().map(Stages::all);
    let active = health.duty.is_active();
    let placed = |stage: &Stage| matches!(stage, Stage::Built | Stage::Kept);
    let well = verdicts.values().all(Option::is_none) && stages.iter().flat_map(|stages| stages.values()).all(placed);
    let told = |stores: bool| -> BTreeMap<&str, Value> {
        let wanted = health.services.iter().filter(|service| service.store.is_some() == stores);
        wanted
            .map(|service| {
                let status = statuses.get(&service.name).cloned().unwrap_or_default();
                let trouble = verdicts.get(&service.name).and_then(Option::as_ref);
                let told = json!({ "up": active && trouble.is_none(), "trouble": trouble.map(|trouble| &trouble.what), "pid": status.pid, "restarts": status.restarts });
                (service.name.as_str(), told)
            })
            .collect()
    };
    let mut body = json!({ "healthy": well, "services": told(false) });
    if !active {
        // Well, and not at work.
        body["held"] = json!(true);
    }
    if let Some(stages) = &stages {
        let stages: BTreeMap<&str, Value> = stages.iter().map(|(name, stage)| (name.as_str(), stage.told())).collect();
        (body["stores"], body["checkouts"]) = (json!(told(true)), json!(stages));
    }
    (if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, Json(body))
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
