//! `adstage review create`.

use serde_json::json;

use super::boxes::{Boxes, ttl};
use super::list::Entry;
use super::sweep;
use crate::cli::operate::{Preview, Work, operate};
use crate::cli::refs::{self, Asked};
use crate::failure::Failure;
use crate::model::{BoxName, Seconds};
use crate::plan::{self, BoxRequest};
use crate::report::bold;

/// Make a review box: an instance with every service, at the versions you ask for
///
///   adstage review create blue --ref storefront=feature-x
///   adstage review create blue --ref storefront=feature-x --ref jobs=v1.4 --ttl 3d
///   adstage review create blue --plan
///
/// What no --ref names is as on the image. The box is ready when the load balancer says so; it ends by itself when its time is up.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The box's name: a label of its host
    name: BoxName,
    /// A repository's branch, tag or full commit; may be given again
    #[arg(long = "ref", value_name = "REPOSITORY=REF")]
    references: Vec<Asked>,
    /// The image it is launched from, by name or id [default: the newest that is proved]
    #[arg(long)]
    image: Option<String>,
    /// How long it lives [default: `ttl` in adstage.toml]
    #[arg(long, value_parser = ttl)]
    ttl: Option<Seconds>,
    #[command(flatten)]
    preview: Preview,
}

pub async fn run(args: Args, boxes: &Boxes<'_>) -> Result<(), Failure> {
    let (global, name, config) = (boxes.global, &args.name, boxes.global.config()?);
    let wanted = refs::wanted(&config.builder, &args.references).await?;
    for (repository, wanted) in &wanted {
        global.report.say(format!("{repository} {} ({})", wanted.commit, wanted.reference));
    }
    let expires = boxes.until(args.ttl.unwrap_or(boxes.review.ttl));
    let request = BoxRequest {
        review: &boxes.review,
        repositories: &config.builder.repositories,
        name,
        image: args.image.as_deref(),
        wanted: &wanted,
        expires: &expires,
    };
    let mut command = format!("adstage review create {name}");
    wanted.iter().for_each(|(repository, wanted)| command += &format!(" --ref {repository}={}", wanted.reference));
    let plan = |world: &crate::model::World| plan::create_box(&request, world);
    let launches = boxes.review.purchases();
    let work = Work { launches, ..boxes.work("create", name, command, &plan, args.preview) };
    operate(&work, &boxes.access, global).await?;
    if args.preview.plan {
        return Ok(());
    }
    let mut fields = global.report.attached();
    sweep::others(boxes, name).await;
    let found = boxes.one(name).await?;
    let entry = Entry::of(boxes, &found);
    fields.insert("box".into(), json!(entry));
    let took = Seconds::from(global.report.elapsed());
    global.report.result(&fields, || {
        let urls: String = entry.urls.iter().map(|url| format!("  url   {url}\n")).collect();
        let next = global.typed(&format!("adstage review show {name}"));
        format!("{} {took}\n{urls}  until {}\n  next  {next}\n", bold(&format!("{name} is ready.")), entry.expires)
    })
}
