//! Answers a load balancer gives itself, as an ALB words them.

use http::header::{CONTENT_TYPE, LOCATION, SERVER};
use http::{HeaderValue, Request, Response, StatusCode};

use super::body::{Outgoing, whole};
use crate::sandbox::elbv2::Redirect;

/// A status with an ALB's page.
pub(super) fn page(status: StatusCode) -> Response<Outgoing> {
    let title = match status {
        StatusCode::SERVICE_UNAVAILABLE => "503 Service Temporarily Unavailable".to_string(),
        StatusCode::GATEWAY_TIMEOUT => "504 Gateway Time-out".to_string(),
        other => other.to_string(),
    };
    let text =
        format!("<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n</body>\r\n</html>\r\n");
    own(status, Some("text/html"), text)
}

/// A fixed response.
pub(super) fn fixed(status: u16, content_type: Option<String>, body: Option<String>) -> Response<Outgoing> {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    own(status, Some(content_type.as_deref().unwrap_or("text/plain; charset=utf-8")), body.unwrap_or_default())
}

/// A redirect, with what was asked put in place of `#{…}`.
pub(super) fn redirect<B>(to: &Redirect, request: &Request<B>, protocol: &str, port: u16, host: &str) -> Response<Outgoing> {
    let (path, query) = (request.uri().path().trim_start_matches('/'), request.uri().query().unwrap_or_default());
    let port = port.to_string();
    let fill = |text: &str| {
        let filled = text.replace("#{protocol}", protocol).replace("#{host}", host).replace("#{port}", &port);
        filled.replace("#{path}", path).replace("#{query}", query)
    };
    let (protocol, query) = (fill(&to.protocol).to_lowercase(), fill(&to.query));
    let question = if query.is_empty() { "" } else { "?" };
    let location = format!("{protocol}://{}:{}{}{question}{query}", fill(&to.host), fill(&to.port), fill(&to.path));
    let status = if to.permanent { StatusCode::MOVED_PERMANENTLY } else { StatusCode::FOUND };
    let mut response = own(status, None, "");
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

fn own(status: StatusCode, content_type: Option<&str>, body: impl Into<bytes::Bytes>) -> Response<Outgoing> {
    let mut response = Response::new(whole(body));
    *response.status_mut() = status;
    response.headers_mut().insert(SERVER, HeaderValue::from_static("awselb/2.0"));
    if let Some(kind) = content_type.and_then(|kind| HeaderValue::from_str(kind).ok()) {
        response.headers_mut().insert(CONTENT_TYPE, kind);
    }
    response
}
