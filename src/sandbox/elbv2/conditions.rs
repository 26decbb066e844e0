//! Conditions of rules: read, checked, shown, matched.

use http::HeaderMap;

use crate::sandbox::wire::{AwsError, Node, Params, branch, leaf};

/// One condition. A rule matches when all of its conditions do; a condition when any of its values does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sandbox) enum Condition {
    Host(Vec<String>),
    Path(Vec<String>),
    Header { name: String, values: Vec<String> },
}

/// The parts of a request that rules look at.
#[derive(Clone, Copy)]
pub(in crate::sandbox) struct Asked<'a> {
    /// Host header, without the port.
    pub host: &'a str,
    /// Path, without the query.
    pub path: &'a str,
    pub headers: &'a HeaderMap,
}

impl Condition {
    fn read(params: &Params) -> Result<Self, AwsError> {
        let field = params.required("Field")?;
        let values = |config: &str| -> Vec<String> {
            let inner = params.child(config).texts("Values");
            let outer = params.texts("Values");
            if inner.is_empty() { outer } else { inner }.into_iter().map(str::to_string).collect()
        };
        if !params.child("RegexValues").is_absent() || !params.child(&format!("{field}Config")).child("RegexValues").is_absent() {
            return Err(AwsError::unsupported("conditions with regular expressions"));
        }
        let condition = match field {
            "host-header" => Self::Host(values("HostHeaderConfig")),
            "path-pattern" => Self::Path(values("PathPatternConfig")),
            "http-header" => {
                let config = params.child("HttpHeaderConfig");
                Self::Header { name: config.required("HttpHeaderName")?.to_string(), values: values("HttpHeaderConfig") }
            }
            "http-request-method" | "query-string" | "source-ip" => return Err(AwsError::unsupported(format!("the condition {field}"))),
            other => {
                return Err(AwsError::bad(
                    "ValidationError",
                    format!(
                        "Condition field '{other}' must be one of '[path-pattern, host-header, http-header, http-request-method, query-string, source-ip]'"
                    ),
                ));
            }
        };
        if condition.values().is_empty() {
            return Err(AwsError::bad("ValidationError", "A condition value must be specified"));
        }
        Ok(condition)
    }

    /// The first host it asks for.
    pub fn host(&self) -> Option<&str> {
        match self {
            Self::Host(values) => values.first().map(String::as_str),
            _ => None,
        }
    }

    fn values(&self) -> &[String] {
        match self {
            Self::Host(values) | Self::Path(values) | Self::Header { values, .. } => values,
        }
    }

    fn field(&self) -> &'static str {
        match self {
            Self::Host(_) => "host-header",
            Self::Path(_) => "path-pattern",
            Self::Header { .. } => "http-header",
        }
    }

    /// As children of a list member.
    pub fn show(&self) -> Vec<Node> {
        let values = || branch("Values", self.values().iter().map(|value| leaf("member", value)));
        let field = leaf("Field", self.field());
        match self {
            Self::Host(_) => vec![field, values(), branch("HostHeaderConfig", [values()])],
            Self::Path(_) => vec![field, values(), branch("PathPatternConfig", [values()])],
            Self::Header { name, .. } => vec![field, branch("HttpHeaderConfig", [leaf("HttpHeaderName", name), values()])],
        }
    }

    /// True if the request meets it. Paths are compared as they are, everything else ignores case.
    pub fn matches(&self, asked: Asked<'_>) -> bool {
        match self {
            Self::Host(values) => values.iter().any(|value| glob(&value.to_lowercase(), &asked.host.to_lowercase())),
            Self::Path(values) => values.iter().any(|value| glob(value, asked.path)),
            Self::Header { name, values } => {
                asked.headers.get_all(name.as_str()).iter().filter_map(|sent| sent.to_str().ok()).any(|sent| {
                    let sent = sent.to_lowercase();
                    values.iter().any(|value| glob(&value.to_lowercase(), &sent))
                })
            }
        }
    }
}

/// The conditions of a rule, with AWS's quotas: five values, six wildcards.
pub(super) fn read(params: &[&Params]) -> Result<Vec<Condition>, AwsError> {
    let conditions = params.iter().map(|one| Condition::read(one)).collect::<Result<Vec<_>, _>>()?;
    for field in ["host-header", "path-pattern"] {
        if conditions.iter().filter(|condition| condition.field() == field).count() > 1 {
            return Err(AwsError::bad("InvalidConfigurationRequest", format!("A rule can only have one '{field}' condition")));
        }
    }
    let values: Vec<&String> = conditions.iter().flat_map(|condition| condition.values()).collect();
    if values.is_empty() {
        return Err(AwsError::bad("ValidationError", "A condition must be specified"));
    }
    if values.len() > 5 {
        return Err(AwsError::bad("InvalidConfigurationRequest", "A rule can have at most 5 condition values"));
    }
    if values.iter().flat_map(|value| value.chars()).filter(|char| matches!(char, '*' | '?')).count() > 6 {
        return Err(AwsError::bad("InvalidConfigurationRequest", "A rule can have at most 6 wildcards"));
    }
    if let Some(long) = values.iter().find(|value| value.len() > 128) {
        return Err(AwsError::bad("ValidationError", format!("Condition value '{long}' must be at most 128 characters")));
    }
    Ok(conditions)
}

/// `*` stands for any run of characters, `?` for exactly one.
fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    // Where to go on when the characters after the last `*` did not fit: one character further.
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        if p < pattern.len() && pattern[p] == '*' {
            retry = Some((p, t));
            p += 1;
        } else if p < pattern.len() && (pattern[p] == '?' || pattern[p] == text[t]) {
            p += 1;
            t += 1;
        } else if let Some((star, from)) = retry {
            retry = Some((star, from + 1));
            p = star + 1;
            t = from + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|char| *char == '*')
}

#[cfg(test)]
mod tests {
    use super::glob;

    #[test]
    fn wildcards() {
        let fits =
            [("/*", "/"), ("/*", "/a/b"), ("/img/*.png", "/img/a/b.png"), ("?.example.com", "a.example.com"), ("*", ""), ("/a", "/a")];
        let misses = [("/a", "/A"), ("/a", "/ab"), ("?.example.com", "ab.example.com"), ("/img/*.png", "/img/a.jpg"), ("a*b*c", "ab")];
        assert!(fits.iter().all(|(pattern, text)| glob(pattern, text)));
        assert!(misses.iter().all(|(pattern, text)| !glob(pattern, text)));
    }
}
