//! The wires between the processes of a story and AWS. Calls are numbered in the order in which they leave, whoever sends them, and what
//! is to befall a call is planned by its number: nothing here knows what a call is for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use adstage::clock::{Clock, Moment};
use adstage::sandbox::{MARK, Misfortune, Sandbox, When};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use tokio::sync::watch;

/// What befalls one call, or the process that makes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// AWS says no and does nothing.
    Refused,
    /// AWS does it; the reply is lost.
    ReplyLost,
    /// It gets stuck on the way: the caller hears nothing, and AWS does it 90 s later.
    Late,
    /// This one and the next four of its kind come too fast.
    Throttled,
    /// The process is gone before it sends the call.
    KilledBefore,
    /// AWS does it, and the process is gone before it hears of it.
    KilledAfter,
    /// AWS does it, and the machine falls asleep for eight hours before the process hears of it.
    Slept,
    /// AWS does it, and the process's line freezes until somebody else has taken over and finished.
    TakenOver,
}

impl Fault {
    pub const ALL: [Self; 8] =
        [Self::Refused, Self::ReplyLost, Self::Late, Self::Throttled, Self::KilledBefore, Self::KilledAfter, Self::Slept, Self::TakenOver];
}

/// How late a late call is.
const LATE: Duration = Duration::from_secs(90);
const NIGHT: Duration = Duration::from_secs(8 * 3_600);

/// A call that left.
#[derive(Debug, Clone)]
pub struct Call {
    pub by: String,
    pub service: String,
    pub action: String,
    /// Since the wires were armed.
    pub at: Duration,
    /// For a change outside the records: the locks held at this instant, each with its scope, its holder and its fence, as the table has them.
    pub holders: Vec<(String, String, u64)>,
}

impl Call {
    pub fn changes(&self) -> bool {
        !["Describe", "Get", "List", "Query", "Scan", "BatchGet", "TransactGet"].iter().any(|read| self.action.starts_with(read))
    }

    /// A change of something that is no record.
    pub fn acts(&self) -> bool {
        self.changes() && self.service != "dynamodb"
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Dead,
    Frozen,
}

#[derive(Default)]
struct Book {
    armed: Option<Moment>,
    calls: Vec<Call>,
    planned: BTreeMap<usize, Fault>,
    fates: BTreeMap<String, Fate>,
    late: usize,
    struck: Vec<(usize, Fault)>,
}

/// All wires of a story.
pub struct Wires {
    sandbox: Sandbox,
    /// Everybody's who has not slept.
    clock: Clock,
    /// The machines'.
    machines: Mutex<Vec<Clock>>,
    /// Account, Region, table, and partitions with a lock.
    place: [String; 3],
    scopes: Vec<String>,
    book: Mutex<Book>,
    moved: watch::Sender<()>,
}

impl Wires {
    pub fn new(sandbox: &Sandbox, clock: &Clock, place: [String; 3], scopes: Vec<String>) -> Arc<Self> {
        let (book, moved) = (Mutex::default(), watch::channel(()).0);
        let machines = Mutex::default();
        Arc::new(Self { sandbox: sandbox.clone(), clock: clock.clone(), machines, place, scopes, book, moved })
    }

    /// From now on calls are numbered, from 0, and these are struck.
    pub fn arm(&self, planned: BTreeMap<usize, Fault>) {
        *self.book() = Book { armed: Some(self.clock.moment()), planned, ..Book::default() };
    }

    /// A process's way to AWS, and its clock.
    pub fn of(self: &Arc<Self>, who: &str, clock: &Clock) -> SharedHttpClient {
        self.machines.lock().unwrap().push(clock.clone());
        SharedHttpClient::new(Wire { wires: self.clone(), who: who.to_string() })
    }

    pub fn calls(&self) -> Vec<Call> {
        self.book().calls.clone()
    }

    pub fn struck(&self) -> Vec<(usize, Fault)> {
        self.book().struck.clone()
    }

    pub async fn killed(&self, who: &str) {
        self.until(|book| book.fates.get(who) == Some(&Fate::Dead)).await;
    }

    pub async fn frozen(&self, who: &str) {
        self.until(|book| book.fates.get(who) == Some(&Fate::Frozen)).await;
    }

    /// The line of a frozen process works again.
    pub fn thaw(&self, who: &str) {
        self.change(|book| _ = book.fates.remove(who));
    }

    /// Nothing is under way to AWS any more.
    pub async fn quiet(&self) {
        self.until(|book| book.late == 0).await;
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Book)) {
        change(&mut self.book());
        self.moved.send_replace(());
    }

    async fn until(&self, holds: impl Fn(&Book) -> bool) {
        let mut moved = self.moved.subscribe();
        while !holds(&self.book()) {
            moved.changed().await.expect("the sender is ours");
        }
    }

    fn holders(&self) -> Vec<(String, String, u64)> {
        let [account, region, table] = &self.place;
        let held = |scope: &String| {
            let row = self.sandbox.item(account, region, table, [scope, "LOCK"])?;
            let owner = row["owner"]["S"].as_str()?.to_string();
            let fence = || row["fence"]["N"].as_str().unwrap_or_default().parse().expect("a number");
            (row["st"]["S"] == "held").then(|| (scope.clone(), owner, fence()))
        };
        self.scopes.iter().filter_map(held).collect()
    }

    /// Numbers a call and says what befalls it.
    fn enter(&self, who: &str, request: &mut HttpRequest) -> Option<Fault> {
        let mut book = self.book();
        let armed = book.armed?;
        let (service, action) = named(request);
        let mut call = Call { by: who.to_string(), service, action, at: self.clock.passed(armed), holders: Vec::new() };
        if call.acts() {
            call.holders = self.holders();
        }
        let number = book.calls.len();
        let fault = book.planned.remove(&number);
        book.struck.extend(fault.map(|fault| (number, fault)));
        let mark = number.to_string();
        request.headers_mut().insert(MARK, mark.clone());
        let strike = |misfortune| self.sandbox.faults().schedule(When::Marked(mark.clone()), misfortune);
        match fault {
            Some(Fault::Refused) => strike(Misfortune::Refuse(403, denied(&call.service).to_string())),
            Some(Fault::ReplyLost) => strike(Misfortune::LoseReply),
            Some(Fault::Throttled) => {
                strike(Misfortune::Throttle);
                for _ in 0..4 {
                    self.sandbox.faults().schedule(When::Action(call.action.clone(), 1), Misfortune::Throttle);
                }
            }
            _ => {}
        }
        book.calls.push(call);
        fault
    }
}

/// Each service's own word for "you may not".
fn denied(service: &str) -> &'static str {
    match service {
        "ec2" => "UnauthorizedOperation",
        "dynamodb" => "AccessDeniedException",
        _ => "AccessDenied",
    }
}

/// Service and action of a request.
fn named(request: &HttpRequest) -> (String, String) {
    if let Some(target) = request.headers().get("x-amz-target") {
        return ("dynamodb".to_string(), target.rsplit('.').next().unwrap_or_default().to_string());
    }
    if let Some((_, action)) = request.uri().split_once("/operation/") {
        return ("monitoring".to_string(), action.to_string());
    }
    let scope = request.headers().get("authorization").unwrap_or_default();
    let service = scope.split('/').nth(3).unwrap_or_default().to_string();
    let body = std::str::from_utf8(request.body().bytes().unwrap_or_default()).unwrap_or_default();
    let action = body.split('&').find_map(|field| field.strip_prefix("Action="));
    (service, action.unwrap_or_default().to_string())
}

struct Wire {
    wires: Arc<Wires>,
    who: String,
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the wire of {}", self.who)
    }
}

impl HttpClient for Wire {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        let inner = self.wires.sandbox.http_client().http_connector(settings, components);
        let (wires, who) = (self.wires.clone(), self.who.clone());
        SharedHttpConnector::new(End { wires, who, inner })
    }
}

#[derive(Clone)]
struct End {
    wires: Arc<Wires>,
    who: String,
    inner: SharedHttpConnector,
}

impl std::fmt::Debug for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the end of the wire of {}", self.who)
    }
}

fn broken() -> ConnectorError {
    ConnectorError::io("the line is cut".into())
}

type Reply = Result<HttpResponse, ConnectorError>;

impl HttpConnector for End {
    fn call(&self, mut request: HttpRequest) -> HttpConnectorFuture {
        let end = self.clone();
        if let Some(fate) = self.wires.book().fates.get(&self.who).copied() {
            return HttpConnectorFuture::new(async move { end.stopped(fate).await });
        }
        let fault = self.wires.enter(&self.who, &mut request);
        HttpConnectorFuture::new(async move { end.carry(request, fault).await })
    }
}

impl End {
    /// Nothing leaves a process that is gone, and nothing that a frozen one tries to send arrives.
    async fn stopped(&self, fate: Fate) -> Reply {
        if fate == Fate::Frozen {
            self.wires.until(|book| !book.fates.contains_key(&self.who)).await;
        }
        Err(broken())
    }

    async fn carry(&self, request: HttpRequest, fault: Option<Fault>) -> Reply {
        if fault == Some(Fault::KilledBefore) {
            self.end_as(Fate::Dead);
            return std::future::pending().await;
        }
        if fault == Some(Fault::Late) {
            self.send_late(request);
            return std::future::pending().await;
        }
        let reply = self.inner.call(request).await;
        match fault {
            Some(Fault::KilledAfter) => self.end_as(Fate::Dead),
            Some(Fault::TakenOver) => self.end_as(Fate::Frozen),
            Some(Fault::Slept) => {
                // Eight hours pass for everybody: whoever comes next, and whoever's line is frozen.
                self.wires.clock.sleep_machine(NIGHT);
                self.wires.machines.lock().unwrap().iter().for_each(|clock| clock.sleep_machine(NIGHT));
            }
            _ => {}
        }
        self.hear(reply).await
    }

    fn send_late(&self, request: HttpRequest) {
        self.wires.change(|book| book.late += 1);
        let end = self.clone();
        tokio::spawn(async move {
            end.wires.clock.sleep(LATE).await;
            let _answer_nobody_waits_for = end.inner.call(request).await;
            end.wires.change(|book| book.late -= 1);
        });
    }

    fn end_as(&self, fate: Fate) {
        self.wires.change(|book| _ = book.fates.insert(self.who.clone(), fate));
    }

    /// A reply reaches a process that is there.
    async fn hear(&self, reply: Reply) -> Reply {
        let fates = || self.wires.book().fates.get(&self.who).copied();
        if fates() == Some(Fate::Frozen) {
            self.wires.until(|book| book.fates.get(&self.who) != Some(&Fate::Frozen)).await;
        }
        match fates() {
            Some(_) => std::future::pending().await,
            None => reply,
        }
    }
}
