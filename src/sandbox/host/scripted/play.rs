//! What a scripted machine plays: read off its user data and its tags.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Checkout, Play, Scene, Scripted, Service};

/// Whether a machine's services are to work, if its tags say.
pub(super) fn active(tags: &BTreeMap<String, String>) -> Option<bool> {
    tags.get("adstage:active").map(|value| value == "yes")
}

/// What the user data of a machine makes it do.
pub(super) fn play(user_data: &[u8], tags: Option<&BTreeMap<String, String>>) -> (Play, Option<Duration>) {
    #[derive(Deserialize)]
    struct Told {
        services: BTreeMap<String, Service>,
        #[serde(default, rename = "box")]
        review: ToldBox,
    }
    #[derive(Deserialize, Default)]
    struct ToldBox {
        #[serde(default)]
        checkouts: BTreeMap<String, Checkout>,
    }
    let text = String::from_utf8_lossy(user_data);
    if text.starts_with("#!") {
        let fuse = text.split_once("shutdown -h +").and_then(|(_, rest)| rest.split_whitespace().next()?.parse::<u64>().ok());
        let spec = text.lines().find(|line| line.starts_with("{\"repositories\""));
        let spec: Value = spec.and_then(|line| serde_json::from_str(line).ok()).unwrap_or_default();
        let commit = |(name, repository): (&String, &Value)| (name.clone(), repository["commit"].clone());
        let commits = spec["repositories"].as_object().map(|all| all.iter().map(commit).collect::<serde_json::Map<_, _>>());
        let fails = text.contains("SANDBOX_SCRIPT=provision-failed");
        let builder = Play::Builder { commits: Value::Object(commits.unwrap_or_default()), fails };
        return (builder, fuse.map(|minutes| Duration::from_secs(minutes * 60)));
    }
    let Ok(told) = serde_json::from_str::<Told>(&text) else { return (Play::Nothing, None) };
    // Without its tags an agent cannot know what to be.
    let Some(tags) = tags else { return (Play::Lost, None) };
    let wanted: Vec<&str> = tags.get("adstage:services").map(|tag| tag.split_whitespace().collect()).unwrap_or_default();
    let services = told.services.into_iter().filter(|(name, _)| wanted.contains(&name.as_str()));
    (Play::Services { services: services.collect(), checkouts: told.review.checkouts }, None)
}

impl Scripted {
    /// What every machine has said by now, those included that are gone.
    pub fn consoles(&self) -> Vec<String> {
        let scenes: Vec<Scene> = self.machines().values().cloned().collect();
        scenes.iter().map(|scene| self.console_of(scene)).collect()
    }
}

impl Scene {
    /// What the agent would have said by the time somebody looks: it runs the command once, whoever asks again.
    pub(super) fn run_release_command(&mut self, operation: &str) {
        let Play::Services { services, .. } = &self.play else { return };
        for (name, service) in services.iter().filter(|(_, service)| service.release_command.is_some()) {
            let (code, tail) = match service.script() {
                "release-hangs" => continue,
                "release-failed" => (3, "no such table: orders"),
                _ => (0, "migrated"),
            };
            let line = json!({ "event": "release-command", "service": name, "operation": operation, "code": code, "tail": [tail] });
            let line = format!("adstage-agent {line}\n");
            if !self.before.contains(&line) {
                self.before.push_str(&line);
            }
        }
    }
}
