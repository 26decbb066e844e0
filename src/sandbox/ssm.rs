//! Parameter Store: parameters and their versions. SecureStrings are given out as they are, or, undecrypted, as something that is not
//! their value.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::engine::{Context, Place};
use super::secretsmanager::Secrets;
use super::wire::AwsError;

/// One account and Region's parameters.
#[derive(Debug, Clone, Default)]
pub(super) struct Ssm {
    parameters: BTreeMap<String, Parameter>,
}

#[derive(Debug, Clone)]
struct Parameter {
    kind: String,
    /// The first is version 1.
    versions: Vec<Version>,
}

#[derive(Debug, Clone)]
struct Version {
    value: String,
    modified: f64,
}

/// Dispatch.
pub(super) fn call(
    (ssm, secrets): (&mut Ssm, &Secrets),
    place: &Place,
    action: &str,
    body: &[u8],
    context: Context<'_>,
) -> Result<Value, AwsError> {
    let request: Value = serde_json::from_slice(body).map_err(|error| AwsError::bad("SerializationException", error.to_string()))?;
    match action {
        "PutParameter" => ssm.put(&request, context.wall.as_second() as f64),
        "GetParameter" => ssm.get(text(&request, "Name")?, &request, place, secrets).map(|parameter| json!({ "Parameter": parameter })),
        "GetParameters" => Ok(ssm.get_all(&request, place, secrets)),
        "DescribeParameters" => Ok(ssm.describe(&request, place)),
        "DeleteParameter" => match ssm.parameters.remove(text(&request, "Name")?) {
            Some(_) => Ok(json!({})),
            None => Err(not_found("")),
        },
        _ => Err(AwsError::unsupported(format!("the SSM action {action}"))),
    }
}

fn text<'r>(request: &'r Value, name: &str) -> Result<&'r str, AwsError> {
    request[name].as_str().ok_or_else(|| AwsError::bad("ValidationException", format!("{name} must not be null")))
}

fn not_found(name: &str) -> AwsError {
    AwsError::bad("ParameterNotFound", format!("Parameter {name} not found."))
}

fn arn(place: &Place, name: &str) -> String {
    format!("arn:aws:ssm:{}:{}:parameter/{}", place.region, place.account, name.trim_start_matches('/'))
}

/// What a reference to a secret of Secrets Manager leads to. Without decryption there is nothing to give out (*Referencing AWS Secrets
/// Manager secrets from Parameter Store parameters*).
fn referred(wanted: &str, found: Result<(String, String, String), AwsError>, request: &Value) -> Result<Value, AwsError> {
    if request["WithDecryption"] != true {
        return Err(AwsError::bad("ValidationException", "WithDecryption flag must be True for retrieving a Secret Manager secret."));
    }
    let (arn, version, value) = found.map_err(|_| not_found(wanted))?;
    let source = json!({ "ARN": arn, "versionId": version }).to_string();
    let name = wanted.split_once(':').map_or(wanted, |(name, _)| name);
    Ok(json!({ "Name": name, "Type": "SecureString", "Value": value, "Version": 0, "SourceResult": source, "ARN": arn }))
}

impl Ssm {
    fn put(&mut self, request: &Value, now: f64) -> Result<Value, AwsError> {
        let (name, value) = (text(request, "Name")?, text(request, "Value")?.to_string());
        let there = self.parameters.get_mut(name);
        let version = Version { value, modified: now };
        let count = match there {
            Some(_) if request["Overwrite"] != true => {
                let message = "The parameter already exists. To overwrite this value, set the overwrite option in the request to true.";
                return Err(AwsError::bad("ParameterAlreadyExists", message));
            }
            Some(parameter) => {
                parameter.versions.push(version);
                parameter.versions.len()
            }
            None => {
                let kind = request["Type"].as_str().unwrap_or("String").to_string();
                self.parameters.insert(name.to_string(), Parameter { kind, versions: vec![version] });
                1
            }
        };
        Ok(json!({ "Version": count, "Tier": "Standard" }))
    }

    /// `name` or `name:version`.
    fn get(&self, wanted: &str, request: &Value, place: &Place, secrets: &Secrets) -> Result<Value, AwsError> {
        let (name, selector) = wanted.split_once(':').map_or((wanted, None), |(name, version)| (name, Some(version)));
        if let Some(secret) = name.strip_prefix("/aws/reference/secretsmanager/") {
            return referred(wanted, secrets.referred(place, secret, selector), request);
        }
        let parameter = self.parameters.get(name).ok_or_else(|| not_found(name))?;
        let number = match selector {
            None => parameter.versions.len(),
            Some(version) => version.parse::<usize>().unwrap_or_default(),
        };
        let gone = || AwsError::bad("ParameterVersionNotFound", format!("Systems Manager could not find version {number} of {name}."));
        let version = number.checked_sub(1).and_then(|index| parameter.versions.get(index)).ok_or_else(gone)?;
        let sealed = parameter.kind == "SecureString" && request["WithDecryption"] != true;
        let value = if sealed { format!("AQICAHsealed{number}") } else { version.value.clone() };
        let mut told = json!({ "Name": name, "Type": parameter.kind, "Value": value, "Version": number, "DataType": "text",
            "LastModifiedDate": version.modified, "ARN": arn(place, name) });
        if let Some(selector) = selector {
            told["Selector"] = json!(format!(":{selector}"));
        }
        Ok(told)
    }

    fn get_all(&self, request: &Value, place: &Place, secrets: &Secrets) -> Value {
        let (mut found, mut invalid) = (Vec::new(), Vec::new());
        for name in request["Names"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            match self.get(name, request, place, secrets) {
                Ok(parameter) => found.push(parameter),
                Err(_) => invalid.push(name),
            }
        }
        json!({ "Parameters": found, "InvalidParameters": invalid })
    }

    /// All whose names are asked for: no values.
    fn describe(&self, request: &Value, place: &Place) -> Value {
        let filters = request["ParameterFilters"].as_array().cloned().unwrap_or_default();
        let named = |name: &str| filters.iter().all(|filter| filter["Values"].as_array().is_some_and(|all| all.contains(&json!(name))));
        let told = |(name, parameter): (&String, &Parameter)| {
            let modified = parameter.versions.last().map(|version| version.modified);
            json!({ "Name": name, "Type": parameter.kind, "Version": parameter.versions.len(), "Tier": "Standard", "DataType": "text",
                "LastModifiedDate": modified, "ARN": arn(place, name), "Policies": [] })
        };
        json!({ "Parameters": self.parameters.iter().filter(|(name, _)| named(name)).map(told).collect::<Vec<_>>() })
    }
}
