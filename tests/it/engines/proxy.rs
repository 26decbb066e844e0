//! A bad line between adstage and a server: requests and replies get lost, come late or twice. Plain HTTP on loopback.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use adstage::clock::Clock;

/// What happens to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// It never arrives, and the connection breaks.
    LoseRequest,
    /// It is carried out, but the connection breaks before the answer.
    LoseReply,
    /// It arrives twice, and the sender gets the answer to the first.
    Twice,
    /// It arrives twice, and the sender gets the answer to the second.
    TwiceAndAnswerTheSecond,
    /// The answer takes its time.
    Late,
}

/// How much later than usual.
const LATE: Duration = Duration::from_millis(150);

/// One request in so many hundred meets this fault.
pub type Weather = Vec<(Fault, u32)>;

type Whole = Request<Bytes>;

#[derive(Default)]
struct Orders {
    /// For the next call of an action.
    next: Vec<(&'static str, Fault)>,
    /// For every call.
    always: Option<Fault>,
    weather: Weather,
    dice: Option<fastrand::Rng>,
    /// Copies of what passes, for [`Proxy::deliver_again`].
    keep: bool,
    kept: Vec<Whole>,
    forget_tokens: bool,
    passed: u64,
    done: BTreeMap<Fault, u64>,
}

/// The line. Dropped, it is cut.
pub struct Proxy {
    /// Its near end.
    pub endpoint: String,
    line: Arc<Line>,
    serving: tokio::task::JoinHandle<()>,
}

struct Line {
    upstream: String,
    client: Client<HttpConnector, Full<Bytes>>,
    orders: Mutex<Orders>,
    clock: Clock,
}

/// The connection is closed without a byte.
#[derive(Debug, thiserror::Error)]
#[error("the line broke")]
struct Broken;

impl Drop for Proxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Proxy {
    /// A good line to this server.
    pub async fn to(upstream: &str) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).build(connector);
        let line = Arc::new(Line { upstream: upstream.to_string(), client, orders: Mutex::default(), clock: Clock::real() });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let serving = tokio::spawn(serve(line.clone(), listener));
        Self { endpoint, line, serving }
    }

    fn orders<T>(&self, change: impl FnOnce(&mut Orders) -> T) -> T {
        change(&mut self.line.orders.lock().unwrap())
    }

    /// The next call of this action meets this.
    pub fn next(&self, action: &'static str, fault: Fault) {
        self.orders(|orders| orders.next.push((action, fault)));
    }

    /// Every call meets this, or nothing any more.
    pub fn always(&self, fault: Option<Fault>) {
        self.orders(|orders| orders.always = fault);
    }

    /// Some calls meet these, by these dice.
    pub fn weather(&self, seed: u64, weather: Weather) {
        self.orders(|orders| (orders.weather, orders.dice) = (weather, Some(fastrand::Rng::with_seed(seed))));
    }

    /// Every transaction looks new to the server, as ten minutes after it was first sent.
    pub fn forget_tokens(&self, forgotten: bool) {
        self.orders(|orders| orders.forget_tokens = forgotten);
    }

    /// From now on, copies of changes are kept; what was kept before is thrown away.
    pub fn keep(&self) {
        self.orders(|orders| (orders.keep, orders.kept) = (true, Vec::new()));
    }

    /// Delivers the kept changes of this action (all of them if none) once more, oldest first, and says what the server answered to each.
    pub async fn deliver_again(&self, action: Option<&str>) -> Vec<StatusCode> {
        let kept = self.orders(|orders| orders.kept.clone());
        let mut answers = Vec::new();
        for request in kept.iter().filter(|request| action.is_none_or(|wanted| named(request) == wanted)) {
            answers.push(self.line.forward(request).await.unwrap().status());
        }
        answers
    }

    /// How many requests came by.
    pub fn passed(&self) -> u64 {
        self.orders(|orders| orders.passed)
    }

    /// How many met which fault.
    pub fn done(&self) -> BTreeMap<Fault, u64> {
        self.orders(|orders| orders.done.clone())
    }
}

async fn serve(line: Arc<Line>, listener: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        // A small answer must not wait for the acknowledgement of the one before.
        let _ = stream.set_nodelay(true);
        while connections.try_join_next().is_some() {}
        let line = line.clone();
        connections.spawn(async move {
            let service = service_fn(|request| line.pass(request));
            // A line that broke on purpose ends like this, too.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

fn named(request: &Whole) -> &str {
    let target = request.headers().get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
    target.rsplit_once('.').map_or("", |(_, action)| action)
}

fn changes(action: &str) -> bool {
    ["PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems"].contains(&action)
}

impl Line {
    async fn pass(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Broken> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(|_| Broken)?.to_bytes();
        let mut request = Request::from_parts(parts, body);
        let fault = self.judge(&mut request);
        let answer = match fault {
            None => self.forward(&request).await,
            Some(Fault::LoseRequest) => Err(Broken),
            Some(Fault::LoseReply) => self.forward(&request).await.and(Err(Broken)),
            Some(Fault::Twice) => {
                let first = self.forward(&request).await;
                let _second = self.forward(&request).await;
                first
            }
            Some(Fault::TwiceAndAnswerTheSecond) => {
                let _first = self.forward(&request).await;
                self.forward(&request).await
            }
            Some(Fault::Late) => {
                let answer = self.forward(&request).await;
                self.clock.sleep(LATE).await;
                answer
            }
        };
        answer.map(|answer| answer.map(Full::new))
    }

    /// What will happen to it; as it passes, it is counted and copied.
    fn judge(&self, request: &mut Whole) -> Option<Fault> {
        let mut orders = self.orders.lock().unwrap();
        let action = named(request).to_string();
        orders.passed += 1;
        if orders.keep && changes(&action) {
            orders.kept.push(request.clone());
        }
        let ordered = orders.next.iter().position(|(wanted, _)| *wanted == action).map(|at| orders.next.remove(at).1);
        let fault = ordered.or(orders.always).or_else(|| {
            let Orders { weather, dice, .. } = &mut *orders;
            let mut roll = dice.as_mut()?.u32(..100);
            weather.iter().find(|(_, share)| roll.checked_sub(*share).map(|rest| roll = rest).is_none()).map(|(fault, _)| *fault)
        });
        if let Some(fault) = fault {
            *orders.done.entry(fault).or_default() += 1;
        }
        fault
    }

    async fn forward(&self, request: &Whole) -> Result<Response<Bytes>, Broken> {
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let mut sent = Request::builder().method(request.method()).uri(format!("{}{path}", self.upstream));
        for (name, value) in request.headers().iter().filter(|(name, _)| ![http::header::HOST, http::header::CONTENT_LENGTH].contains(name))
        {
            sent = sent.header(name, value);
        }
        let sent = sent.body(Full::new(self.body(request))).map_err(|_| Broken)?;
        let (parts, body) = self.client.request(sent).await.map_err(|_| Broken)?.into_parts();
        let body = body.collect().await.map_err(|_| Broken)?.to_bytes();
        Ok(Response::from_parts(parts, body))
    }

    fn body(&self, request: &Whole) -> Bytes {
        let mut orders = self.orders.lock().unwrap();
        if !orders.forget_tokens || named(request) != "TransactWriteItems" {
            return request.body().clone();
        }
        orders.passed += 1;
        let mut body: serde_json::Value = serde_json::from_slice(request.body()).unwrap();
        body["ClientRequestToken"] = format!("another-{}", orders.passed).into();
        Bytes::from(body.to_string())
    }
}
