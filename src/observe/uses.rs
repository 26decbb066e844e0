//! What an account's environments have its images for, by their records; and by their launch templates, which are warm.

use std::collections::BTreeSet;

use crate::aws::{Aws, Error, Tags, TemplateInfo, gather};
use crate::journal::{self, Journal};
use crate::model::{Environment, EnvironmentName, ImageUse, ReleaseNumber, ReleaseRecord, Scope, Verdict, tag};

/// Every release these environments remember and its image. They share the account and Region that `aws` leads to. One that was never
/// set up has none.
pub async fn uses(aws: &Aws, environments: &[&Environment]) -> Result<Vec<ImageUse>, Error> {
    let Some(first) = environments.first() else { return Ok(Vec::new()) };
    let ours = Tags::from([(tag::APP.to_string(), first.app.to_string())]);
    let journals = gather(environments.iter().map(|environment| journal(aws, environment)));
    let (templates, journals) = tokio::join!(aws.ec2.launch_templates_tagged(&ours), journals);
    let ready: BTreeSet<(String, ReleaseNumber)> = templates?.iter().filter_map(of_release).collect();
    let mut uses = Vec::new();
    for (environment, journal) in environments.iter().zip(journals) {
        uses.extend(of_journal(&environment.name, &journal?, &ready));
    }
    Ok(uses)
}

async fn journal(aws: &Aws, environment: &Environment) -> Result<Journal, Error> {
    match journal::read(&aws.dynamodb, &Scope::of(environment)).await {
        // Not set up yet: there is no table.
        Err(error) if error.is_not_found() => Ok(Journal::default()),
        journal => journal,
    }
}

fn of_release(template: &TemplateInfo) -> Option<(String, ReleaseNumber)> {
    Some((template.tags.get(tag::ENV)?.clone(), template.tags.get(tag::RELEASE)?.parse().ok()?))
}

fn of_journal(environment: &EnvironmentName, journal: &Journal, ready: &BTreeSet<(String, ReleaseNumber)>) -> Vec<ImageUse> {
    let head = journal.head.clone().unwrap_or_default();
    let live = |release: &ReleaseNumber| head.serving.values().any(|serving| serving == release);
    let before = |release: &ReleaseNumber| head.before.values().any(|before| before == release);
    let newest_good = journal.releases.iter().find(|record| record.verdict == Verdict::Good).map(|record| record.release.number);
    let of = |record: &ReleaseRecord| {
        let release = record.release.number;
        ImageUse {
            image: record.release.image.clone(),
            name: record.release.image_name.clone(),
            environment: environment.clone(),
            release,
            live: live(&release),
            warm: !live(&release) && ready.contains(&(environment.to_string(), release)),
            last_good: newest_good == Some(release) || before(&release),
            verdict: record.verdict.clone(),
        }
    };
    journal.releases.iter().map(of).collect()
}
