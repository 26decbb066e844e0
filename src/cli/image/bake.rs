//! `adstage image bake`: the unified image, made from the base image or from a review box.

use serde_json::json;

use super::from_box::{self, How};
use crate::cli::Global;
use crate::cli::access::{Access, refused};
use crate::cli::operate::{Done, Look, Preview, Work, operate};
use crate::cli::refs::{self, Asked};
use crate::failure::Failure;
use crate::model::{BoxName, Scope, Seconds, World};
use crate::observe;
use crate::plan::{self, BakeRequest};
use crate::report::bold;

/// Make an image that holds every repository, and prove it by running every service on one instance
///
///   adstage image bake --from-base
///   adstage image bake --from-base --ref storefront=feature-x --ref jobs=v1.4
///   adstage image bake --from blue                           a review box that was approved
///
/// The image's name is a hash of what it is made from, so the same bake twice makes one image.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// Start from the base AMI
    #[arg(long, required_unless_present = "from", conflicts_with = "from")]
    from_base: bool,
    /// Capture this review box, as it is; somebody must have approved it
    #[arg(long, value_name = "BOX")]
    from: Option<BoxName>,
    /// Although nobody approved the box, because of this; it is kept on the image
    #[arg(long, value_name = "REASON", requires = "from")]
    unapproved: Option<String>,
    /// Although files on the box are on no commit; they are named on the image
    #[arg(long, requires = "from")]
    allow_dirty: bool,
    /// A repository's branch, tag or full commit, instead of its `ref` in adstage.toml; may be given again
    #[arg(long = "ref", value_name = "REPOSITORY=REF", conflicts_with = "from")]
    references: Vec<Asked>,
    #[command(flatten)]
    preview: Preview,
}

pub async fn run(args: Args, global: &Global) -> Result<(), Failure> {
    match &args.from {
        Some(of) => {
            let how = How { of, unapproved: args.unapproved.as_deref(), allow_dirty: args.allow_dirty, preview: args.preview };
            from_box::run(&how, global).await
        }
        None => from_base(args, global).await,
    }
}

async fn from_base(args: Args, global: &Global) -> Result<(), Failure> {
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
    let plan =
        |world: &World| plan::bake(BakeRequest { app, builder, environment: &environment, commits: &commits, images: &world.images });
    let (subject, scope) = (name.clone(), Scope::bake(&environment.state_table, &config.app, &hash));
    // Costs cents and reaches nobody.
    let work = Work::unseen("bake", subject, command, scope, Look::Images, &plan, args.preview);
    let done = operate(&work, &access, global).await?;
    if args.preview.plan {
        return Ok(());
    }
    said(&done, &access, &name, global).await
}

/// What came of a bake, and what to type next.
pub(super) async fn said(done: &Done, access: &Access, name: &str, global: &Global) -> Result<(), Failure> {
    let environment = &access.environment;
    let images = observe::images(&access.aws, environment).await.map_err(|error| refused(error, environment))?;
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
