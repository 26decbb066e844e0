//! The three protocols CloudWatch speaks: form fields and XML, JSON, and CBOR, which aws-sdk-cloudwatch uses.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::sandbox::wire::{AwsError, Node, Params, branch, cbor, leaf};

/// How a caller speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::sandbox) enum Dress {
    /// `Action=…` in a form; XML back.
    #[default]
    Query,
    /// `X-Amz-Target`; JSON back.
    Json,
    /// `Smithy-Protocol: rpc-v2-cbor`; the action is in the path.
    Cbor,
}

const XMLNS: &str = "http://monitoring.amazonaws.com/doc/2010-08-01/";

/// The action and the parameters of a request that is no form; none for a form, or for another service.
pub(in crate::sandbox) fn undressed(request: &http::Request<Bytes>) -> Option<(Dress, String, Params)> {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if header("smithy-protocol") == "rpc-v2-cbor" {
        let action = request.uri().path().rsplit_once("/service/GraniteServiceVersion20100801/operation/")?.1;
        return Some((Dress::Cbor, action.to_string(), Params::from_json(&cbor::decode(request.body()).unwrap_or_default())));
    }
    let action = header("x-amz-target").strip_prefix("GraniteServiceVersion20100801.")?;
    let fields = serde_json::from_slice::<Value>(request.body()).unwrap_or_default();
    Some((Dress::Json, action.to_string(), Params::from_json(&fields)))
}

fn response(status: u16, content_type: &'static str, request_id: &str, body: Vec<u8>) -> http::Response<Bytes> {
    let mut response = http::Response::new(Bytes::from(body));
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert("content-type", http::HeaderValue::from_static(content_type));
    if content_type == "application/cbor" {
        headers.insert("smithy-protocol", http::HeaderValue::from_static("rpc-v2-cbor"));
    }
    if let Ok(id) = http::HeaderValue::from_str(request_id) {
        headers.insert("x-amzn-requestid", id);
    }
    response
}

/// An answer.
pub(in crate::sandbox) fn render(dress: Dress, action: &str, answer: &Value, request_id: &str) -> http::Response<Bytes> {
    match dress {
        Dress::Cbor => response(200, "application/cbor", request_id, cbor::encode(answer)),
        Dress::Json => response(200, "application/x-amz-json-1.0", request_id, answer.to_string().into_bytes()),
        Dress::Query => {
            let metadata = branch("ResponseMetadata", [leaf("RequestId", request_id)]);
            let document = branch(&format!("{action}Response"), [node(&format!("{action}Result"), answer, false), metadata]);
            response(200, "text/xml;charset=UTF-8", request_id, document.render(XMLNS).into_bytes())
        }
    }
}

/// A refusal.
pub(in crate::sandbox) fn render_error(dress: Dress, error: &AwsError, request_id: &str) -> http::Response<Bytes> {
    let AwsError { status, code, message, .. } = error;
    let body = json!({ "__type": format!("com.amazonaws.cloudwatch#{code}"), "message": message });
    match dress {
        Dress::Cbor => response(*status, "application/cbor", request_id, cbor::encode(&body)),
        Dress::Json => response(*status, "application/x-amz-json-1.0", request_id, body.to_string().into_bytes()),
        Dress::Query => {
            let kind = if *status < 500 { "Sender" } else { "Receiver" };
            let error = branch("Error", [leaf("Type", kind), leaf("Code", code), leaf("Message", message)]);
            let document = branch("ErrorResponse", [error, leaf("RequestId", request_id)]);
            response(*status, "text/xml;charset=UTF-8", request_id, document.render(XMLNS).into_bytes())
        }
    }
}

/// A field as an element; members of a list are called `member`.
fn node(name: &str, value: &Value, time: bool) -> Node {
    let time = time || cbor::is_time(name);
    match value {
        Value::Object(fields) => branch(name, fields.iter().map(|(name, value)| node(name, value, false))),
        Value::Array(items) => branch(name, items.iter().map(|item| node("member", item, time))),
        Value::String(text) => leaf(name, text),
        Value::Number(number) if time => {
            let at = jiff::Timestamp::from_second(number.as_f64().unwrap_or_default() as i64);
            leaf(name, at.map(|at| at.to_string()).unwrap_or_default())
        }
        other => leaf(name, other),
    }
}
