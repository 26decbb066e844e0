//! `adstage deploy`: an image becomes a release, verified before any visitor reaches it.

mod elsewhere;

use clap::ValueEnum;

use super::Global;
use super::operate::{AtWork, Done, Freeze, Look, OnUnfinished, Preview, Work, operate};
use crate::failure::Failure;
use crate::model::{Scope, Seconds, ServiceName};
use crate::plan::{self, Ask, DeployRequest};
use crate::report::bold;

/// Make an image live: new fleets, verified before any visitor reaches them, then all visitors at once
///
///   adstage deploy staging
///   adstage deploy production --plan
///   adstage deploy production --image shop-3f9c2d1a0b44
///   adstage deploy production --confirm production --lock-timeout 15m      in CI
///
/// If anything fails before visitors move, everything begun is undone. The release that served keeps running
/// without visitors, so that `adstage rollback` is instant.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The environment
    environment: String,
    /// The image: name, id, or a beginning of either [default: the newest that is proved; where the name has to be confirmed, it
    /// must have served in another environment]
    #[arg(long, value_name = "IMAGE")]
    image: Option<String>,
    /// Only this service; may be given again
    #[arg(long = "service", value_name = "NAME")]
    services: Vec<ServiceName>,
    /// Also if it is live already, marked bad, or failed its proof
    #[arg(long)]
    force: bool,
    /// Although a person froze the environment, because of this; it is written down
    #[arg(long, value_name = "WHY")]
    override_freeze: Option<String>,
    /// What to do about an operation that stopped before its end and had begun something
    #[arg(long, value_name = "HOW", value_enum, default_value_t = Unfinished::Stop)]
    on_unfinished: Unfinished,
    #[command(flatten)]
    preview: Preview,
}

/// What to do about an operation that stopped before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Unfinished {
    /// Bring it to its end first
    Resume,
    /// Undo it first
    Abort,
    /// Nothing: end with 5
    Stop,
}

impl From<Unfinished> for OnUnfinished {
    fn from(how: Unfinished) -> Self {
        match how {
            Unfinished::Resume => Self::Settle(Ask::GoOn),
            Unfinished::Abort => Self::Settle(Ask::Abort),
            Unfinished::Stop => Self::Stop,
        }
    }
}

pub async fn run(args: Args, global: &Global) -> Result<(), Failure> {
    let environment = global.environment(&args.environment)?;
    let access = global.connect(&environment).await?;
    let mut command = format!("adstage deploy {}", environment.name);
    args.image.iter().for_each(|image| command += &format!(" --image {image}"));
    args.services.iter().for_each(|service| command += &format!(" --service {service}"));
    if args.force {
        command += " --force";
    }
    if let Some(why) = &args.override_freeze {
        command += &format!(" --override-freeze \"{why}\"");
    }
    let elsewhere = elsewhere::look(&access, args.image.as_deref(), global).await?;
    let request = DeployRequest { image: args.image, services: args.services, force: args.force, elsewhere };
    let work = Work {
        verb: "deploy",
        subject: environment.name.to_string(),
        command,
        scope: Scope::of(&environment),
        look: Look::Environment { images: true },
        launches: environment.purchases(),
        plan: &|world| plan::deploy(&environment, world, &request),
        confirm: environment.confirm,
        default: false,
        freeze: args.override_freeze.map_or(Freeze::Stops, Freeze::Overridden),
        at_work: AtWork::Waits,
        on_unfinished: args.on_unfinished.into(),
        preview: args.preview,
    };
    let done = operate(&work, &access, global).await?;
    if args.preview.plan {
        return Ok(());
    }
    let text = text(&done, &work.subject, global);
    done.say(global, text)
}

fn text(done: &Done, environment: &str, global: &Global) -> String {
    let Some(release) = done.plan.release.as_ref().map(|release| release.number).filter(|_| !done.plan.stages.is_empty()) else {
        return format!("Nothing to do. {environment} serves {}.", done.serving);
    };
    let took = Seconds::from(global.report.elapsed());
    let mut text = match done.serving.sole() {
        Some(sole) if sole == release => {
            format!("{} {took} in all\n", bold(&format!("Deployed. {release} serves 100 % of {environment}.")))
        }
        _ => format!("{} {took} in all\n", bold(&format!("Deployed {release}. {environment} serves {}.", done.serving))),
    };
    if let Some(previous) = done.plan.previous {
        text += &format!("  undo  {}    ({previous} is warm)\n", global.typed(&format!("adstage rollback {environment}")));
    }
    text
}
