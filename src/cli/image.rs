//! `adstage image`: bake the unified image, and list what was baked.

use clap::Subcommand;
use serde_json::json;

use super::Global;
use super::access::refused;
use super::operate::{AtWork, Freeze, Look, OnUnfinished, Preview, Work, operate};
use super::refs::{self, Asked};
use crate::failure::Failure;
use crate::model::{Confirm, Image, ImageState, Provenance, Scope, Seconds};
use crate::observe;
use crate::plan::{self, BakeRequest};
use crate::report::{Table, ago, bold, dim};

/// Bake the unified image, or list what was baked
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Subcommand)]
enum Act {
    Bake(Bake),
    /// List the app's images, newest first
    List,
}

/// Make an image that holds every repository, and prove it by running every service on one instance
///
///   adstage image bake --from-base
///   adstage image bake --from-base --ref storefront=feature-x --ref jobs=v1.4
///
/// The image's name is a hash of what it is made from, so the same bake twice makes one image.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
struct Bake {
    /// Start from the base AMI
    #[arg(long, required = true)]
    from_base: bool,
    /// A repository's branch, tag or full commit, instead of its `ref` in adstage.toml; may be given again
    #[arg(long = "ref", value_name = "REPOSITORY=REF")]
    references: Vec<Asked>,
    #[command(flatten)]
    preview: Preview,
}

pub async fn run(args: Args, global: &Global) -> Result<(), Failure> {
    match args.act {
        Act::Bake(args) => bake(args, global).await,
        Act::List => list(global).await,
    }
}

async fn bake(args: Bake, global: &Global) -> Result<(), Failure> {
    let config = global.config()?;
    let environment = global.environment(config.builder.environment.as_str())?;
    // A typo in a branch's name must cost nothing, so it is looked for before anybody logs in.
    let commits = refs::resolve(&config.builder, &args.references).await?;
    let access = global.connect(&environment).await?;
    let hash = plan::bake_hash(&config.app, &config.builder, &commits);
    let name = plan::image_name(&config.app, &hash);
    for (repository, commit) in &commits {
        global.report.say(format!("{repository} {commit}"));
    }
    let mut command = "adstage image bake --from-base".to_string();
    commits.iter().for_each(|(repository, commit)| command += &format!(" --ref {repository}={commit}"));
    let (app, builder) = (&config.app, &config.builder);
    let work = Work {
        verb: "bake",
        subject: name.clone(),
        command,
        scope: Scope::bake(&environment.state_table, &config.app, &hash),
        look: Look::Images,
        plan: &|world| plan::bake(BakeRequest { app, builder, environment: &environment, commits: &commits, images: &world.images }),
        // Costs cents and reaches nobody.
        confirm: Confirm::None,
        default: true,
        freeze: Freeze::Passed,
        at_work: AtWork::Waits,
        on_unfinished: OnUnfinished::Supersede,
        preview: args.preview,
    };
    let done = operate(&work, &access, global).await?;
    if args.preview.plan {
        return Ok(());
    }
    let images = observe::images(&access.aws, &environment).await.map_err(|error| refused(error, &environment))?;
    let image = images.iter().find(|image| image.name == name);
    let mut fields = global.report.attached();
    fields.insert("image".into(), json!(image));
    let id = image.map(|image| format!(" ({})", image.id)).unwrap_or_default();
    let said = if done.plan.stages.is_empty() { "Nothing to do." } else { "Baked and proved." };
    let took = Seconds::from(global.report.elapsed());
    global.report.result(&fields, || {
        let next = global.typed(&format!("adstage deploy {} --image {name}", environment.name));
        format!("{} {name}{id}, {took}\n  next  {next}\n", bold(said))
    })
}

async fn list(global: &Global) -> Result<(), Failure> {
    let environment = global.environment(global.config()?.builder.environment.as_str())?;
    let access = global.connect(&environment).await?;
    let images = observe::images(&access.aws, &environment).await.map_err(|error| refused(error, &environment))?;
    let now = global.clock.wall();
    let mut table = Table::new(&["IMAGE", "ID", "STATE", "WHEN", "CODE"]);
    for image in &images {
        let code: Vec<String> = image.commits.iter().map(|(name, commit)| format!("{name} {}", &commit[..commit.len().min(7)])).collect();
        table.row([image.name.clone(), image.id.to_string(), state(image).into(), ago(&image.created, now), code.join(", ")]);
    }
    if table.is_empty() {
        let next = global.typed("adstage image bake --from-base");
        return global.report.result(&images, || format!("There is no image yet. Next: {next}"));
    }
    global.report.result_table(&images, &table, &dim(""))
}

fn state(image: &Image) -> &'static str {
    match (image.state, image.provenance) {
        (ImageState::Unusable, _) => "unusable",
        (ImageState::Pending, _) => "being captured",
        (ImageState::Available, Provenance::Verified) => "proved",
        (ImageState::Available, Provenance::Failed) => "failed its proof",
        (ImageState::Available, Provenance::Unproved) => "not proved",
    }
}
