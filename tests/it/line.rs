//! A process's line to AWS, which a test can cut, and on which it can make replies and packets late.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;

/// The state of the line.
#[derive(Debug, Default)]
pub struct Line {
    cut: AtomicBool,
    dynamodb_away: AtomicBool,
    logged_out: AtomicBool,
    conflicts: AtomicUsize,
    lose_one: AtomicBool,
    fresh_tokens: AtomicBool,
    hold: Mutex<Option<&'static str>>,
    held: Mutex<Vec<(SharedHttpConnector, HttpRequest)>>,
}

impl Line {
    /// The same client through this line.
    pub fn through(self: &Arc<Self>, client: SharedHttpClient) -> SharedHttpClient {
        SharedHttpClient::new(Far { line: self.clone(), client })
    }

    /// Nothing gets through any more, or again.
    pub fn cut(&self, cut: bool) {
        self.cut.store(cut, SeqCst);
    }

    /// DynamoDB cannot be reached any more, or again; everything else can.
    pub fn dynamodb_away(&self, away: bool) {
        self.dynamodb_away.store(away, SeqCst);
    }

    /// AWS refuses the credentials of this process as expired, or takes them again.
    pub fn log_out(&self, out: bool) {
        self.logged_out.store(out, SeqCst);
    }

    /// The next so many transactions meet another one over the same rows: they are cancelled, and what else their reasons say is stale.
    pub fn conflict(&self, count: usize) {
        self.conflicts.store(count, SeqCst);
    }

    /// The next call is carried out, its reply is lost, and then the line is cut.
    pub fn lose_next_reply_and_cut(&self) {
        self.lose_one.store(true, SeqCst);
    }

    /// AWS has forgotten the tokens of this process, as it does ten minutes later: every resend looks new to it.
    pub fn forget_tokens(&self, forgotten: bool) {
        self.fresh_tokens.store(forgotten, SeqCst);
    }

    /// Calls of this action get stuck on the way: the sender hears nothing, and they may still arrive.
    pub fn hold(&self, action: Option<&'static str>) {
        *self.hold.lock().unwrap() = action;
    }

    /// How many are stuck.
    pub fn held(&self) -> usize {
        self.held.lock().unwrap().len()
    }

    /// Lets what is stuck arrive, and says how many those were.
    pub async fn deliver_held(&self) -> usize {
        let held = std::mem::take(&mut *self.held.lock().unwrap());
        let count = held.len();
        for (connector, request) in held {
            let _answer_nobody_waits_for = connector.call(request).await;
        }
        count
    }
}

#[derive(Debug)]
struct Far {
    line: Arc<Line>,
    client: SharedHttpClient,
}

impl HttpClient for Far {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(Wire { line: self.line.clone(), inner: self.client.http_connector(settings, components) })
    }
}

#[derive(Debug)]
struct Wire {
    line: Arc<Line>,
    inner: SharedHttpConnector,
}

fn broken() -> ConnectorError {
    ConnectorError::io("the line is cut".into())
}

fn is(request: &HttpRequest, action: &str) -> bool {
    match request.headers().get("x-amz-target") {
        Some(target) => target.ends_with(&format!(".{action}")),
        None => request.body().bytes().is_some_and(|body| body.starts_with(format!("Action={action}&").as_bytes())),
    }
}

fn is_dynamodb(request: &HttpRequest) -> bool {
    request.headers().get("x-amz-target").is_some_and(|target| target.starts_with("DynamoDB_"))
}

/// "The security token included in the request is expired", in the words of each protocol.
fn expired(request: &HttpRequest) -> HttpResponse {
    let body = match is_dynamodb(request) {
        true => r#"{"__type":"com.amazon.coral.service#ExpiredTokenException","message":"the token is expired"}"#,
        false if request.uri().contains("ec2") => {
            "<Response><Errors><Error><Code>RequestExpired</Code><Message>the token is expired</Message></Error></Errors></Response>"
        }
        false => "<ErrorResponse><Error><Code>ExpiredToken</Code><Message>the token is expired</Message></Error></ErrorResponse>",
    };
    HttpResponse::new(400.try_into().unwrap(), SdkBody::from(body))
}

/// A transaction cancelled because another one touched the same row at the same moment (*TransactWriteItems*).
fn conflict(request: &HttpRequest) -> HttpResponse {
    let asked: serde_json::Value = serde_json::from_slice(request.body().bytes().unwrap()).unwrap();
    let mut reasons: Vec<_> = asked["TransactItems"].as_array().unwrap().iter().map(|_| serde_json::json!({ "Code": "None" })).collect();
    reasons[0] = serde_json::json!({ "Code": "TransactionConflict", "Message": "Transaction is ongoing for the item" });
    if let Some(last) = reasons.get_mut(1) {
        *last = serde_json::json!({ "Code": "ConditionalCheckFailed", "Message": "The conditional request failed" });
    }
    let body = serde_json::json!({
        "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
        "Message": "Transaction cancelled",
        "CancellationReasons": reasons,
    });
    HttpResponse::new(400.try_into().unwrap(), SdkBody::from(body.to_string()))
}

impl HttpConnector for Wire {
    fn call(&self, mut request: HttpRequest) -> HttpConnectorFuture {
        if self.line.cut.load(SeqCst) {
            return HttpConnectorFuture::ready(Err(broken()));
        }
        if self.line.dynamodb_away.load(SeqCst) && is_dynamodb(&request) {
            return HttpConnectorFuture::ready(Err(broken()));
        }
        if self.line.logged_out.load(SeqCst) {
            return HttpConnectorFuture::ready(Ok(expired(&request)));
        }
        let conflicts = &self.line.conflicts;
        if is(&request, "TransactWriteItems") && conflicts.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok() {
            return HttpConnectorFuture::ready(Ok(conflict(&request)));
        }
        if self.line.hold.lock().unwrap().is_some_and(|action| is(&request, action)) {
            let copy = request.try_clone().unwrap();
            self.line.held.lock().unwrap().push((self.inner.clone(), copy));
            return HttpConnectorFuture::ready(Err(broken()));
        }
        if self.line.fresh_tokens.load(SeqCst) && is(&request, "TransactWriteItems") {
            let mut body: serde_json::Value = serde_json::from_slice(request.body().bytes().unwrap()).unwrap();
            body["ClientRequestToken"] = ulid::Ulid::from_parts(0, fastrand::u128(..)).to_string().into();
            *request.body_mut() = SdkBody::from(body.to_string());
        }
        let (line, answer) = (self.line.clone(), self.inner.call(request));
        HttpConnectorFuture::new(async move {
            let answer = answer.await;
            if line.lose_one.swap(false, SeqCst) {
                line.cut(true);
                return Err(broken());
            }
            answer
        })
    }
}
