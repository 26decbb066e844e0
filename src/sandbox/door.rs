//! From an HTTP request to a call and back: which service, account and Region it is for, and each protocol's dress for answers.

use bytes::Bytes;
use serde_json::{Value, json};

use super::cloudwatch::{self, Dress};
use super::engine::Place;
use super::faults::MARK;
use super::wire::{AwsError, Node, Params, branch, leaf};

/// Who answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Service {
    Ec2,
    Autoscaling,
    Elbv2,
    Dynamodb,
    Secretsmanager,
    Ssm,
    Sts,
    Cloudwatch,
    Servicequotas,
}

impl Service {
    /// The name in a signature's scope.
    pub fn scope(self) -> &'static str {
        match self {
            Self::Ec2 => "ec2",
            Self::Autoscaling => "autoscaling",
            Self::Elbv2 => "elasticloadbalancing",
            Self::Dynamodb => "dynamodb",
            Self::Secretsmanager => "secretsmanager",
            Self::Ssm => "ssm",
            Self::Sts => "sts",
            Self::Cloudwatch => "monitoring",
            Self::Servicequotas => "servicequotas",
        }
    }

    fn from_scope(scope: &str) -> Option<Self> {
        [Self::Ec2, Self::Autoscaling, Self::Elbv2, Self::Dynamodb, Self::Secretsmanager, Self::Ssm, Self::Sts, Self::Cloudwatch]
            .into_iter()
            .find(|service| service.scope() == scope)
    }

    /// By the first part of `X-Amz-Target`.
    fn from_target(target: &str) -> Option<Self> {
        match target {
            "AmazonSSM" => Some(Self::Ssm),
            "secretsmanager" => Some(Self::Secretsmanager),
            "ServiceQuotasV20190624" => Some(Self::Servicequotas),
            _ => target.starts_with("DynamoDB_").then_some(Self::Dynamodb),
        }
    }

    fn from_version(version: &str) -> Option<Self> {
        [Self::Ec2, Self::Autoscaling, Self::Elbv2, Self::Sts, Self::Cloudwatch].into_iter().find(|service| service.version() == version)
    }

    fn version(self) -> &'static str {
        match self {
            Self::Ec2 => "2016-11-15",
            Self::Autoscaling => "2011-01-01",
            Self::Elbv2 => "2015-12-01",
            Self::Sts => "2011-06-15",
            Self::Dynamodb => "2012-08-10",
            Self::Cloudwatch => "2010-08-01",
            Self::Ssm => "2014-11-06",
            Self::Secretsmanager => "2017-10-17",
            Self::Servicequotas => "2019-06-24",
        }
    }

    fn xmlns(self) -> String {
        match self {
            Self::Ec2 => format!("http://ec2.amazonaws.com/doc/{}/", self.version()),
            Self::Sts => format!("https://sts.amazonaws.com/doc/{}/", self.version()),
            _ => format!("http://{}.amazonaws.com/doc/{}/", self.scope(), self.version()),
        }
    }
}

/// True unless the action only reads.
pub(super) fn mutating(action: &str) -> bool {
    const READS: [&str; 7] = ["Describe", "Get", "List", "Query", "Scan", "BatchGet", "TransactGet"];
    !READS.iter().any(|read| action.starts_with(read))
}

/// A call as it arrived.
pub(super) struct Request {
    pub service: Service,
    pub action: String,
    pub place: Place,
    /// Form fields (EC2 and query protocols).
    pub params: Params,
    /// The body (JSON protocol).
    pub body: Bytes,
    /// How the caller marked it ([`MARK`]).
    pub mark: Option<String>,
    /// How a caller of CloudWatch speaks.
    pub dress: Dress,
}

/// The account of callers whose access key is not itself an account.
const ACCOUNT: &str = "123456789012";
/// The Region of callers that sign for none.
const REGION: &str = "us-east-1";

impl Request {
    /// What the request asks for. Signatures are not checked: the sandbox has no secrets.
    pub fn parse(request: &http::Request<Bytes>) -> Result<Self, (Service, AwsError)> {
        let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let scope: Vec<&str> = header("authorization")
            .split_once("Credential=")
            .and_then(|(_, rest)| rest.split(',').next())
            .map(|credential| credential.trim().split('/').collect())
            .unwrap_or_default();
        let part = |index: usize| scope.get(index).copied().filter(|text| !text.is_empty());
        let account = part(0).filter(|key| key.len() == 12 && key.bytes().all(|byte| byte.is_ascii_digit())).unwrap_or(ACCOUNT);
        let place = Place { account: account.to_string(), region: part(2).unwrap_or(REGION).to_string() };
        let body = request.body().clone();
        let mark = Some(header(MARK)).filter(|mark| !mark.is_empty()).map(str::to_string);

        if let Some((dress, action, params)) = cloudwatch::undressed(request) {
            return Ok(Self { service: Service::Cloudwatch, action, place, params, body, mark, dress });
        }
        let dress = Dress::default();
        if let Some((target, action)) = header("x-amz-target").split_once('.') {
            let unknown = || (Service::Dynamodb, AwsError::unsupported(format!("the service {target}")));
            let service = Service::from_target(target).ok_or_else(unknown)?;
            return Ok(Self { service, action: action.to_string(), place, params: Params::default(), body, mark, dress });
        }
        let fields = |text: &[u8]| serde_urlencoded::from_bytes::<Vec<(String, String)>>(text).unwrap_or_default();
        let mut all = fields(request.uri().query().unwrap_or_default().as_bytes());
        all.extend(fields(&body));
        let params = Params::from_fields(all);
        let version = params.get("Version").unwrap_or_default();
        let service = match part(3) {
            Some(scope) => Service::from_scope(scope).ok_or_else(|| AwsError::unsupported(format!("the service {scope}"))),
            None => Service::from_version(version).ok_or_else(|| AwsError::unsupported(format!("the API version {version:?}"))),
        };
        let service = service.map_err(|error| (Service::Sts, error))?;
        let action = params.get("Action").map(str::to_string);
        let action = action.ok_or_else(|| (service, AwsError::bad("MissingAction", "no Action in the request")))?;
        Ok(Self { service, action, place, params, body, mark, dress })
    }
}

fn response(status: u16, content_type: &str, request_id: &str, body: impl Into<Bytes>) -> http::Response<Bytes> {
    let mut response = http::Response::new(body.into());
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in [("content-type", content_type), ("x-amzn-requestid", request_id)] {
        if let Ok(value) = http::HeaderValue::from_str(value) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// An answer of the EC2 or query protocol.
pub(super) fn render_xml(service: Service, action: &str, answer: Node, request_id: &str) -> http::Response<Bytes> {
    let name = format!("{action}Response");
    let document = if service == Service::Ec2 {
        branch(&name, std::iter::once(leaf("requestId", request_id)).chain(answer.into_children()))
    } else {
        let metadata = branch("ResponseMetadata", [leaf("RequestId", request_id)]);
        branch(&name, [answer.named(&format!("{action}Result")), metadata])
    };
    response(200, "text/xml;charset=UTF-8", request_id, document.render(&service.xmlns()))
}

/// An answer of the JSON protocol.
pub(super) fn render_json(status: u16, body: Value, request_id: &str) -> http::Response<Bytes> {
    response(status, "application/x-amz-json-1.0", request_id, body.to_string())
}

/// A refusal, dressed for the service's protocol.
pub(super) fn render_error(service: Service, error: &AwsError, request_id: &str) -> http::Response<Bytes> {
    let AwsError { status, code, message, .. } = error;
    let text = |document: Node, xmlns: &str| response(*status, "text/xml;charset=UTF-8", request_id, document.render(xmlns));
    match service {
        Service::Dynamodb => {
            let mut body = error.details.clone().unwrap_or_else(|| json!({}));
            if body.get("__type").is_none() {
                body["__type"] = json!(format!("com.amazonaws.dynamodb.v20120810#{code}"));
                body["message"] = json!(message);
            }
            render_json(*status, body, request_id)
        }
        Service::Ssm | Service::Secretsmanager | Service::Servicequotas => {
            render_json(*status, json!({ "__type": code, "message": message }), request_id)
        }
        Service::Ec2 => {
            let error = branch("Error", [leaf("Code", code), leaf("Message", message)]);
            text(branch("Response", [branch("Errors", [error]), leaf("RequestID", request_id)]), "")
        }
        _ => {
            let kind = if *status < 500 { "Sender" } else { "Receiver" };
            let error = branch("Error", [leaf("Type", kind), leaf("Code", code), leaf("Message", message)]);
            text(branch("ErrorResponse", [error, leaf("RequestId", request_id)]), &service.xmlns())
        }
    }
}
