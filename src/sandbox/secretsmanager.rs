//! Secrets Manager: secrets, their versions and the labels `AWSCURRENT` and `AWSPREVIOUS`. Nothing is encrypted.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::engine::{Context, Place};
use super::wire::AwsError;

/// One account and Region's secrets.
#[derive(Debug, Clone, Default)]
pub(super) struct Secrets {
    secrets: BTreeMap<String, Secret>,
}

#[derive(Debug, Clone, Default)]
struct Secret {
    /// Id and value, the newest last.
    versions: Vec<(String, String)>,
    created: f64,
    deleted: Option<f64>,
}

const CURRENT: &str = "AWSCURRENT";
const PREVIOUS: &str = "AWSPREVIOUS";

/// Dispatch.
pub(super) fn call(secrets: &mut Secrets, place: &Place, action: &str, body: &[u8], context: Context<'_>) -> Result<Value, AwsError> {
    let request: Value = serde_json::from_slice(body).map_err(|error| AwsError::bad("SerializationException", error.to_string()))?;
    let now = context.wall.as_second() as f64;
    match action {
        "CreateSecret" => secrets.create(&request, place, now),
        "PutSecretValue" => secrets.put(&request, place),
        "DescribeSecret" => secrets.describe(&request, place),
        "GetSecretValue" => secrets.get(&request, place),
        "DeleteSecret" => secrets.delete(&request, place, now),
        _ => Err(AwsError::unsupported(format!("the Secrets Manager action {action}"))),
    }
}

fn text<'r>(request: &'r Value, name: &str) -> Result<&'r str, AwsError> {
    request[name].as_str().ok_or_else(|| AwsError::bad("InvalidParameterException", format!("You must provide a {name} value.")))
}

/// What becomes the id of a version: 32 to 64 characters (*CreateSecret*).
fn token(request: &Value) -> Result<&str, AwsError> {
    let token = text(request, "ClientRequestToken")?;
    let fits = (32..=64).contains(&token.len());
    fits.then_some(token).ok_or_else(|| AwsError::bad("InvalidParameterException", "ClientRequestToken must have 32 to 64 characters."))
}

fn not_found() -> AwsError {
    AwsError::bad("ResourceNotFoundException", "Secrets Manager can't find the specified secret.")
}

/// AWS puts six random characters after the name, so that a secret made again is another one.
fn arn(place: &Place, name: &str) -> String {
    format!("arn:aws:secretsmanager:{}:{}:secret:{name}-Sandbx", place.region, place.account)
}

impl Secret {
    fn add(&mut self, version: &str, value: &str) -> Result<(), AwsError> {
        match self.versions.iter().find(|(id, _)| id == version) {
            None => self.versions.push((version.to_string(), value.to_string())),
            Some((_, same)) if same == value => {}
            Some(_) => {
                return Err(AwsError::bad(
                    "ResourceExistsException",
                    "You can't modify an existing version, you can only create new ones.",
                ));
            }
        }
        Ok(())
    }

    /// Labels of the versions that have any: AWS deletes the others when it pleases.
    fn stages(&self) -> BTreeMap<&str, [&'static str; 1]> {
        self.versions.iter().rev().zip([[CURRENT], [PREVIOUS]]).map(|((id, _), stages)| (id.as_str(), stages)).collect()
    }

    /// By id or by label; the current one if neither is asked for.
    fn version(&self, selector: Option<&str>) -> Option<&(String, String)> {
        let newest = |back: usize| self.versions.iter().rev().nth(back);
        match selector {
            None | Some(CURRENT) => newest(0),
            Some(PREVIOUS) => newest(1),
            Some(id) => self.versions.iter().find(|(version, _)| version == id),
        }
    }

    fn readable(&self, selector: Option<&str>) -> Result<&(String, String), AwsError> {
        if self.deleted.is_some() {
            let message = "You can't perform this operation on the secret because it was marked for deletion.";
            return Err(AwsError::bad("InvalidRequestException", message));
        }
        let missing = "Secrets Manager can't find the specified secret value for that version.";
        self.version(selector).ok_or_else(|| AwsError::bad("ResourceNotFoundException", missing))
    }
}

impl Secrets {
    /// By name or by ARN.
    fn find(&mut self, request: &Value, place: &Place) -> Result<(String, &mut Secret), AwsError> {
        let id = text(request, "SecretId")?;
        let found = self.secrets.iter_mut().find(|(name, _)| *name == id || arn(place, name) == id);
        found.map(|(name, secret)| (name.clone(), secret)).ok_or_else(not_found)
    }

    fn create(&mut self, request: &Value, place: &Place, now: f64) -> Result<Value, AwsError> {
        let (name, version, value) = (text(request, "Name")?, token(request)?, text(request, "SecretString")?);
        if self.secrets.contains_key(name) {
            let message = format!("The operation failed because the secret {name} already exists.");
            return Err(AwsError::bad("ResourceExistsException", message));
        }
        let mut secret = Secret { created: now, ..Secret::default() };
        secret.add(version, value)?;
        self.secrets.insert(name.to_string(), secret);
        Ok(json!({ "ARN": arn(place, name), "Name": name, "VersionId": version }))
    }

    fn put(&mut self, request: &Value, place: &Place) -> Result<Value, AwsError> {
        let (version, value) = (token(request)?, text(request, "SecretString")?);
        let (name, secret) = self.find(request, place)?;
        secret.add(version, value)?;
        Ok(json!({ "ARN": arn(place, &name), "Name": name, "VersionId": version, "VersionStages": [CURRENT] }))
    }

    fn describe(&mut self, request: &Value, place: &Place) -> Result<Value, AwsError> {
        let (name, secret) = self.find(request, place)?;
        let mut told =
            json!({ "ARN": arn(place, &name), "Name": name, "CreatedDate": secret.created, "VersionIdsToStages": secret.stages() });
        if let Some(deleted) = secret.deleted {
            told["DeletedDate"] = json!(deleted);
        }
        Ok(told)
    }

    fn get(&mut self, request: &Value, place: &Place) -> Result<Value, AwsError> {
        let (name, secret) = self.find(request, place)?;
        let selector = request["VersionId"].as_str().or(request["VersionStage"].as_str());
        let (version, value) = secret.readable(selector)?;
        Ok(json!({ "ARN": arn(place, &name), "Name": name, "VersionId": version, "SecretString": value }))
    }

    fn delete(&mut self, request: &Value, place: &Place, now: f64) -> Result<Value, AwsError> {
        let (name, secret) = self.find(request, place)?;
        secret.deleted = Some(now);
        if request["ForceDeleteWithoutRecovery"] == true {
            self.secrets.remove(&name);
        }
        Ok(json!({ "ARN": arn(place, &name), "Name": name, "DeletionDate": now }))
    }

    /// What Parameter Store gives out for `/aws/reference/secretsmanager/NAME[:VERSION]`: the ARN, the version and the value.
    pub fn referred(&self, place: &Place, name: &str, selector: Option<&str>) -> Result<(String, String, String), AwsError> {
        let secret = self.secrets.get(name).ok_or_else(not_found)?;
        let (version, value) = secret.readable(selector)?;
        Ok((arn(place, name), version.clone(), value.clone()))
    }
}
