//! The instance metadata service, version 2: a token first, then questions.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Uri};

use super::http::{HttpError, ask};
use crate::clock::Clock;

/// It answers from the same machine.
const TIMEOUT: Duration = Duration::from_secs(2);

/// It may come up after us, while the network does.
const UP_WITHIN: Duration = Duration::from_secs(120);

const PAUSE: Duration = Duration::from_millis(500);

/// Long enough for a boot; whoever asks for longer gets a new one when it has ended.
const TOKEN_SECONDS: &str = "600";

const TOKEN_PATH: &str = "/latest/api/token";

/// Why something cannot be learnt from it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ImdsError {
    #[error("the instance metadata service at {0} did not answer within 2 minutes: {1}")]
    Silent(String, HttpError),
    #[error("{0:?} is not the address of an instance metadata service")]
    Address(String),
    #[error("the instance metadata service refused {0} with status {1}")]
    Refused(String, u16),
    #[error("the instance metadata service failed at {0}: {1}")]
    Broken(String, HttpError),
}

/// A session with it.
#[derive(Debug)]
pub(super) struct Imds {
    authority: String,
    token: Mutex<String>,
}

async fn new_token(authority: &str) -> Result<(u16, String), HttpError> {
    let headers = [("x-aws-ec2-metadata-token-ttl-seconds", TOKEN_SECONDS)];
    let (status, token) = ask(Method::PUT, authority, TOKEN_PATH, &headers, TIMEOUT).await?;
    Ok((status, String::from_utf8_lossy(&token).into_owned()))
}

impl Imds {
    /// Waits until it answers.
    pub async fn open(endpoint: &str, clock: &Clock) -> Result<Self, ImdsError> {
        let not_one = || ImdsError::Address(endpoint.to_string());
        let uri: Uri = endpoint.parse().map_err(|_| not_one())?;
        let host = uri.host().ok_or_else(not_one)?;
        let authority = format!("{host}:{}", uri.port_u16().unwrap_or(80));
        let started = clock.moment();
        let path = TOKEN_PATH;
        loop {
            match new_token(&authority).await {
                Ok((200, token)) => return Ok(Self { authority, token: Mutex::new(token) }),
                // It throttles with 503, and a 5xx passes.
                Ok((status, _)) if status < 500 => return Err(ImdsError::Refused(path.into(), status)),
                Ok((status, _)) if clock.since(started) > UP_WITHIN => return Err(ImdsError::Refused(path.into(), status)),
                Err(error) if clock.since(started) > UP_WITHIN => return Err(ImdsError::Silent(authority, error)),
                _ => clock.sleep(PAUSE).await,
            }
        }
    }

    /// A value as bytes; `None` if there is none.
    pub async fn get(&self, path: &str) -> Result<Option<Vec<u8>>, ImdsError> {
        let path = format!("/latest/{path}");
        let mut answer = self.ask_with_token(&path).await;
        if matches!(answer, Ok((401, _))) {
            let (_, token) = new_token(&self.authority).await.map_err(|error| ImdsError::Broken(path.clone(), error))?;
            *self.token.lock().unwrap_or_else(PoisonError::into_inner) = token;
            answer = self.ask_with_token(&path).await;
        }
        match answer {
            Ok((200, body)) => Ok(Some(body.to_vec())),
            Ok((404, _)) => Ok(None),
            Ok((status, _)) => Err(ImdsError::Refused(path, status)),
            Err(error) => Err(ImdsError::Broken(path, error)),
        }
    }

    async fn ask_with_token(&self, path: &str) -> Result<(u16, Bytes), HttpError> {
        let token = self.token.lock().unwrap_or_else(PoisonError::into_inner).clone();
        ask(Method::GET, &self.authority, path, &[("x-aws-ec2-metadata-token", &token)], TIMEOUT).await
    }

    /// A value as text; `None` if there is none.
    pub async fn text(&self, path: &str) -> Result<Option<String>, ImdsError> {
        let found = self.get(path).await?;
        Ok(found.map(|bytes| String::from_utf8_lossy(&bytes).trim().to_string()))
    }

    /// A tag of this instance; `None` if there is none, or if tags are not shown in the metadata.
    pub async fn tag(&self, key: &str) -> Result<Option<String>, ImdsError> {
        self.text(&format!("meta-data/tags/instance/{key}")).await
    }
}
