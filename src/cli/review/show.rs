//! `adstage review show`.

use serde_json::json;

use super::boxes::Boxes;
use super::list::Entry;
use crate::cli::access::refused;
use crate::failure::Failure;
use crate::model::{BoxName, BoxTargetGroup, ConsoleLine, Seconds, ServiceName, TargetState};
use crate::report::bold;

/// Show one review box: what runs on it, how each service is, where it is reached
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The box
    name: BoxName,
}

pub async fn run(args: &Args, boxes: &Boxes<'_>) -> Result<(), Failure> {
    let found = boxes.one(&args.name).await?;
    let entry = Entry::of(boxes, &found);
    let console = match &entry.instance {
        Some(id) => boxes.access.aws.ec2.console(id).await.map_err(|error| refused(error, &boxes.access.environment))?,
        None => String::new(),
    };
    let last = ConsoleLine::last_of(&console).map(|line| line.describe());
    let health: Vec<(String, String)> = found.target_groups.iter().map(verdict).collect();
    let mut value = json!(entry);
    if let Some(fields) = value.as_object_mut() {
        fields.insert("health".into(), health.iter().cloned().collect());
        fields.insert("said".into(), json!(last));
        fields.insert("image".into(), json!(found.instance.as_ref().map(|there| &there.image)));
    }
    boxes.global.report.result(&value, || {
        let mut text = format!("{} {}\n", bold(&entry.name), entry.state);
        let mut line = |key: &str, value: String| text += &format!("  {key:<9} {value}\n");
        entry.urls.iter().for_each(|url| line("url", url.clone()));
        line("owner", entry.owner.clone());
        line("until", format!("{} ({} left)", entry.expires, Seconds(entry.left_s)));
        line("so far", entry.so_far());
        let image = found.instance.as_ref().map(|there| there.image.to_string()).unwrap_or_default();
        line("instance", format!("{} from {image}", entry.instance.clone().unwrap_or_default()));
        for (repository, commit) in &entry.commits {
            let asked = entry.asked.get(repository).map(|asked| format!(" ({asked})")).unwrap_or_default();
            line("code", format!("{repository} {commit}{asked}"));
        }
        health.iter().for_each(|(service, verdict)| line("health", format!("{service} {verdict}")));
        line("said", last.clone().unwrap_or_else(|| "nothing yet".into()));
        if let Some(approved) = &entry.approved {
            line("approved", format!("by {} at {}", approved.who, approved.at));
        }
        text
    })
}

fn verdict(group: &BoxTargetGroup) -> (String, String) {
    let service = group.service.as_ref().map_or("everything", ServiceName::as_str).to_string();
    let verdict = match group.targets.first() {
        None => "not registered yet".to_string(),
        Some(target) if target.state == TargetState::Healthy => target.state.to_string(),
        Some(target) => format!("{}: {}", target.state, target.description),
    };
    (service, verdict)
}
