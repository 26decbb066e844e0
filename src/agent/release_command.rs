//! The release's own command: run here once if a tag says that this is the instance, and told on the console. What is known of it is kept on
//! the disk, so that an agent that is started again says what came of it instead of running it again.

use std::fs;
use std::io;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::imds::Imds;
use super::own;
use super::service::Service;
use super::supervisor::Shift;
use crate::model::{ConsoleLine, GRACE, ServiceName, TimedCommand, tag};

/// How often the tag is read.
const LOOK: Duration = Duration::from_secs(2);

/// What is known of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    /// An image captured from this instance may hold the file: the next instance does not believe it.
    instance: String,
    /// None: it was begun.
    ended: Option<Ended>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Ended {
    code: Option<i32>,
    tail: Vec<String>,
}

/// The command of one service.
pub(super) struct Once {
    pub shift: Shift,
    pub service: ServiceName,
    pub command: TimedCommand,
}

impl Once {
    /// Waits until this instance is told to run it, runs it, and tells.
    pub async fn hold(self, metadata_endpoint: String) {
        let Ok(imds) = Imds::open(&metadata_endpoint, &self.shift.clock).await else { return };
        let instance = imds.text("meta-data/instance-id").await.ok().flatten().unwrap_or_default();
        let operation = loop {
            match imds.tag(tag::RELEASE_COMMAND).await {
                Ok(Some(operation)) if !operation.is_empty() => break operation,
                _ => self.shift.clock.sleep(LOOK).await,
            }
        };
        let Ended { code, tail } = match self.known(&instance) {
            Some(Kept { ended: Some(ended), .. }) => ended,
            Some(Kept { ended: None, .. }) => Ended { code: None, tail: vec!["the agent ended while it ran; it is not run again".into()] },
            None => self.run(&instance).await,
        };
        self.shift.console.mark(&ConsoleLine::ReleaseCommand { service: self.service.clone(), operation, code, tail });
    }

    fn known(&self, instance: &str) -> Option<Kept> {
        let text = fs::read(self.shift.layout.release_command(&self.service)).ok()?;
        serde_json::from_slice::<Kept>(&text).ok().filter(|kept| kept.instance == instance)
    }

    /// Written before it begins, and when it has ended.
    fn note(&self, instance: &str, ended: Option<&Ended>) -> io::Result<()> {
        let path = self.shift.layout.release_command(&self.service);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let kept = Kept { instance: instance.to_string(), ended: ended.cloned() };
        let next = path.with_extension("new");
        fs::write(&next, serde_json::to_vec(&kept)?)?;
        fs::rename(next, path)
    }

    async fn run(&self, instance: &str) -> Ended {
        let cannot = |error: io::Error| Ended { code: Some(126), tail: vec![format!("it cannot be run: {error}")] };
        let Some(service) = self.shift.services.iter().find(|service| service.name == self.service) else {
            return cannot(io::ErrorKind::NotFound.into());
        };
        if let Err(error) = self.note(instance, None) {
            return cannot(error);
        }
        self.shift.console.say(&format!("running the release command of {}", self.service));
        let ended = self.ran(service).await.unwrap_or_else(cannot);
        if let Err(error) = self.note(instance, Some(&ended)) {
            self.shift.console.say(&format!("what came of the release command cannot be kept: {error}"));
        }
        ended
    }

    async fn ran(&self, service: &Service) -> io::Result<Ended> {
        let log = self.shift.layout.release_command_log(&self.service);
        let secrets = self.shift.secrets.variables(&service.secrets).await.map_err(io::Error::other)?;
        let (mut child, group) = own::spawn(service, &self.command.run, &secrets, &log)?;
        let code = tokio::select! {
            status = child.wait() => Some(own::code(status?)),
            () = self.shift.clock.sleep(self.command.within.duration()) => None,
        };
        if code.is_none() {
            own::end(&mut child, group, GRACE.duration(), &self.shift.clock).await;
        }
        Ok(Ended { code, tail: own::tail(&log, 0) })
    }
}
