//! `adstage review list`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::boxes::Boxes;
use super::sweep;
use crate::failure::Failure;
use crate::model::{Approval, BoxInstance, RepositoryName, ReviewBox, Seconds, TargetState, short};
use crate::report::{Table, dim};

/// A box as programs get it.
#[derive(Debug, Serialize)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Whose it is.
    pub owner: String,
    /// How it is: `ready`, `starting`, `unwell`, `gone`, or EC2's word.
    pub state: String,
    /// EC2's id.
    pub instance: Option<String>,
    /// EC2's type.
    pub instance_type: Option<String>,
    /// When it was launched.
    pub launched: String,
    /// When it ends.
    pub expires: String,
    /// Seconds it has been there: what it costs is so much of its type.
    pub age_s: u64,
    /// Seconds it has left.
    pub left_s: u64,
    /// Commit of each repository.
    pub commits: BTreeMap<RepositoryName, String>,
    /// The branch or tag that was asked for.
    pub asked: BTreeMap<RepositoryName, String>,
    /// Where it is reached.
    pub urls: Vec<String>,
    /// Who found it good.
    pub approved: Option<Approval>,
}

pub async fn run(boxes: &Boxes<'_>) -> Result<(), Failure> {
    let global = boxes.global;
    let all = boxes.all().await?;
    let swept = sweep::leftovers(boxes, &all).await;
    let entries: Vec<Entry> = all.iter().filter(|found| !swept.contains(&found.name)).map(|found| Entry::of(boxes, found)).collect();
    let mut table = Table::new(&["BOX", "OWNER", "AGE", "LEFT", "STATE", "SO FAR", "CODE", "URL"]);
    for entry in &entries {
        let url = entry.urls.first().cloned().unwrap_or_default();
        let (age, left) = (coarse(entry.age_s), coarse(entry.left_s));
        let state = if entry.approved.is_some() { format!("{}, approved", entry.state) } else { entry.state.clone() };
        table.row([entry.name.clone(), entry.owner.clone(), age, left, state, entry.so_far(), entry.code(), url]);
    }
    if table.is_empty() {
        let next = global.typed("adstage review create NAME");
        return global.report.result(&entries, || format!("There is no review box. Next: {next}"));
    }
    global.report.result_table(&entries, &table, &dim(""))
}

fn coarse(seconds: u64) -> String {
    Seconds(seconds).to_string().split(' ').next().unwrap_or("0s").to_string()
}

impl Entry {
    pub fn of(boxes: &Boxes<'_>, found: &ReviewBox) -> Self {
        let now = boxes.global.clock.wall();
        let seconds = |span: jiff::SignedDuration| u64::try_from(span.as_secs()).unwrap_or_default();
        let time = |text: &str| text.parse::<Timestamp>().unwrap_or(now);
        let there = found.instance.as_ref();
        let text = |of: fn(&BoxInstance) -> &String| there.map(of).cloned().unwrap_or_default();
        let (launched, expires) = (text(|there| &there.launched), text(|there| &there.expires));
        let mut urls: Vec<String> = boxes.review.hosts(&found.name).into_iter().map(|(_, _, host)| boxes.review.url(&host)).collect();
        urls.dedup();
        let age_s = seconds(now.duration_since(time(&launched)));
        Self {
            name: found.name.to_string(),
            owner: text(|there| &there.owner),
            state: state(found, Seconds(age_s) < boxes.review.ready_within),
            instance: there.map(|there| there.id.clone()),
            instance_type: there.map(|there| there.instance_type.clone()),
            age_s,
            left_s: seconds(time(&expires).duration_since(now)),
            launched,
            expires,
            commits: there.map(|there| there.commits.clone()).unwrap_or_default(),
            asked: there.map(|there| there.asked.clone()).unwrap_or_default(),
            urls,
            approved: there.and_then(|there| there.approved.clone()),
        }
    }

    /// `3h of m7i.large`: prices are not ours to know.
    pub fn so_far(&self) -> String {
        let Some(kind) = &self.instance_type else { return String::new() };
        format!("{}h of {kind}", self.age_s.div_ceil(3_600))
    }

    /// What was asked for, with its commit; the rest is as on the image.
    fn code(&self) -> String {
        let asked = self.asked.iter().map(|(name, asked)| match self.commits.get(name).filter(|commit| *commit != asked) {
            Some(commit) => format!("{name} {asked} {}", short(commit)),
            None => format!("{name} {}", short(asked)),
        });
        let asked: Vec<String> = asked.collect();
        if asked.is_empty() { "as on its image".into() } else { asked.join(", ") }
    }
}

/// In one word; `young`: it need not be ready yet.
pub fn state(found: &ReviewBox, young: bool) -> String {
    let Some(there) = &found.instance else { return "gone".into() };
    let healthy = found.target_groups.iter().all(|group| group.targets.iter().any(|target| target.state == TargetState::Healthy));
    match there.state.as_str() {
        "running" if healthy && !found.target_groups.is_empty() => "ready".into(),
        "pending" | "running" if young => "starting".into(),
        "running" => "unwell".into(),
        other => other.into(),
    }
}
