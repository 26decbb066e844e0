//! `adstage image show`: one image in full, and how its code differs from what serves.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::json;

use super::shelf::{Known, Shelf, Where};
use crate::cli::Global;
use crate::cli::access::refused;
use crate::failure::Failure;
use crate::journal;
use crate::model::{Confirm, Environment, EnvironmentName, Image, ReleaseRecord, RepositoryName, Scope, short};
use crate::report::{ago, bold};

/// Show one image in full: where it comes from, who baked it, where it serves, how its code differs from what is live
///
///   adstage image show shop-3f9c2d1a0b44
///   adstage image show 3f9c --against staging
///
/// IMAGE is a name, an id, or a beginning that only one image has.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The image
    image: String,
    /// Compare with what is live there [default: the environment that asks for its name, else the last one]
    #[arg(long, value_name = "ENV")]
    against: Option<EnvironmentName>,
    #[command(flatten)]
    place: Where,
}

/// A repository whose commit is not the live one.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Difference {
    repository: RepositoryName,
    live: Option<String>,
    here: Option<String>,
}

/// Compared with what is live.
struct Comparison {
    environment: EnvironmentName,
    live: Option<ReleaseRecord>,
    differences: Vec<Difference>,
}

pub async fn run(args: Args, global: &Global) -> Result<(), Failure> {
    let shelf = args.place.look(global).await?;
    let image = shelf.find(&args.image)?;
    let known = shelf.known(image);
    let against = match &args.against {
        Some(name) => Some(&*global.environment(name.as_str())?).cloned(),
        None => usual(global)?,
    };
    let compared = match &against {
        Some(environment) => Some(compare(&shelf, image, environment, global).await?),
        None => None,
    };
    let mut value = json!(known);
    if let Some(compared) = &compared {
        value["against"] = json!({
            "environment": compared.environment,
            "release": compared.live.as_ref().map(|live| live.release.number),
            "differences": compared.differences,
        });
    }
    global.report.result(&value, || text(&known, compared.as_ref(), global))
}

/// The environment whose visitors matter most.
fn usual(global: &Global) -> Result<Option<Environment>, Failure> {
    let environments = &global.config()?.environments;
    let guarded = environments.values().find(|environment| environment.confirm == Confirm::Name);
    Ok(guarded.or_else(|| environments.values().next_back()).cloned())
}

async fn compare(shelf: &Shelf, image: &Image, environment: &Environment, global: &Global) -> Result<Comparison, Failure> {
    let here = &shelf.access.environment;
    let near = here.account == environment.account && here.region == environment.region;
    let access = if near { shelf.access.clone() } else { global.connect(environment).await? };
    let journal = journal::read(&access.aws.dynamodb, &Scope::of(environment)).await;
    let journal = match journal {
        Err(error) if error.is_not_found() => journal::Journal::default(),
        journal => journal.map_err(|error| refused(error, environment))?,
    };
    let newest = journal.head.and_then(|head| head.serving.values().max().copied());
    let live = journal.releases.into_iter().find(|record| Some(record.release.number) == newest);
    let differences = live.as_ref().map(|live| differences(image, live)).unwrap_or_default();
    Ok(Comparison { environment: environment.name.clone(), live, differences })
}

fn differences(image: &Image, live: &ReleaseRecord) -> Vec<Difference> {
    let (here, there) = (&image.commits, &live.release.commits);
    let all: BTreeSet<&RepositoryName> = here.keys().chain(there.keys()).collect();
    let one =
        |name: &RepositoryName| Difference { repository: name.clone(), live: there.get(name).cloned(), here: here.get(name).cloned() };
    all.into_iter().map(one).filter(|difference| difference.live != difference.here).collect()
}

fn text(known: &Known, compared: Option<&Comparison>, global: &Global) -> String {
    let (image, now) = (known.image, global.clock.wall());
    let origin = &image.origin;
    let mut text = format!("{} ({}): {}\n", bold(&image.name), image.id, known.condition);
    let mut line = |name: &str, said: &str| text += &format!("  {name:<10} {said}\n");
    let by = origin.by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
    line("baked", &format!("{}{by}, {}", ago(&image.created, now), image.created));
    let said = [("from", &origin.from), ("approved", &origin.approved), ("unapproved", &origin.unapproved), ("dirty", &origin.dirty)];
    said.into_iter().filter_map(|(name, said)| Some((name, said.as_ref()?))).for_each(|(name, said)| line(name, said));
    if let Some(failed) = &origin.failed {
        line("failed", &format!("{}: {}", ago(&failed.at, now), failed.why));
        line("console", &failed.console);
    }
    for used in &known.uses {
        let how = match (used.live, used.warm, used.bad()) {
            (true, ..) => "live".to_string(),
            (_, true, None) => "warm".to_string(),
            (_, _, Some(reason)) => format!("bad: {reason}"),
            _ if used.served() => "served before".to_string(),
            _ => "never served".to_string(),
        };
        line("release", &format!("{} of {}: {how}", used.release, used.environment));
    }
    image.commits.iter().for_each(|(name, commit)| line("code", &format!("{name} {commit}")));
    line("snapshots", &origin.snapshots.join(", "));
    if let Some(compared) = compared {
        line("against", &against(compared));
    }
    text
}

/// `r41, live in production: storefront 4f2c4f2 there, 1a1a1a1 here`.
fn against(compared: &Comparison) -> String {
    let Some(live) = &compared.live else { return format!("{}: nothing is live there", compared.environment) };
    let said = |commit: &Option<String>| commit.as_ref().map_or("none".to_string(), |commit| short(commit).to_string());
    let one =
        |difference: &Difference| format!("{} {} there, {} here", difference.repository, said(&difference.live), said(&difference.here));
    let all: Vec<String> = compared.differences.iter().map(one).collect();
    let differs = if all.is_empty() { "the same code".to_string() } else { all.join("; ") };
    format!("{}, live in {}: {differs}", live.release.number, compared.environment)
}
