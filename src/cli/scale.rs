//! `adstage scale`: another number of instances for the live fleet of one service.

use super::Global;
use super::operate::{AtWork, Done, Freeze, Look, OnUnfinished, Preview, Work, operate};
use crate::failure::Failure;
use crate::model::{Purchases, Scope, Seconds, ServiceName};
use crate::plan::{self, ScaleRequest, Sizes};
use crate::report::bold;

/// Change how many instances serve, on-demand and spot
///
///   adstage scale production web --on-demand 5
///   adstage scale production web --fallback      on-demand for all spot that is missing
///   adstage scale production web --hand-back     shared again as configured
///
/// What grows grows first. A fleet is made smaller only while enough of it stays healthy; --force does it anyway.
/// The next release starts with as many instances as are live then.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
#[command(group(clap::ArgGroup::new("size").required(true).multiple(true)))]
pub struct Args {
    /// The environment
    environment: String,
    /// The service
    service: ServiceName,
    /// So many on-demand instances
    #[arg(long, value_name = "N", group = "size")]
    on_demand: Option<u32>,
    /// So many spot instances
    #[arg(long, value_name = "N", group = "size")]
    spot: Option<u32>,
    /// On-demand instances for all spot instances that are missing now
    #[arg(long, group = "size", conflicts_with_all = ["on_demand", "spot", "hand_back"])]
    fallback: bool,
    /// As many as now, shared between spot and on-demand as adstage.toml says
    #[arg(long, group = "size", conflicts_with_all = ["on_demand", "spot"])]
    hand_back: bool,
    /// Wait until all of them are healthy
    #[arg(long)]
    wait: bool,
    /// Also if fewer than that stay healthy, or none
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    preview: Preview,
}

impl Args {
    fn to(&self) -> Sizes {
        match (self.fallback, self.hand_back) {
            (true, _) => Sizes::Fallback,
            (_, true) => Sizes::HandBack,
            _ => Sizes::Of { on_demand: self.on_demand, spot: self.spot },
        }
    }

    /// As it would be typed again.
    fn typed(&self) -> String {
        let mut words = vec![format!("adstage scale {} {}", self.environment, self.service)];
        words.extend(self.on_demand.map(|size| format!("--on-demand {size}")));
        words.extend(self.spot.map(|size| format!("--spot {size}")));
        let flags = [(self.fallback, "--fallback"), (self.hand_back, "--hand-back"), (self.wait, "--wait"), (self.force, "--force")];
        words.extend(flags.into_iter().filter(|(set, _)| *set).map(|(_, flag)| flag.to_string()));
        words.join(" ")
    }
}

pub async fn run(args: Args, global: &Global) -> Result<(), Failure> {
    let environment = global.environment(&args.environment)?;
    let access = global.connect(&environment).await?;
    let request = ScaleRequest { service: args.service.clone(), to: args.to(), wait: args.wait, force: args.force };
    let work = Work {
        verb: "scale",
        subject: environment.name.to_string(),
        command: args.typed(),
        scope: Scope::of(&environment),
        look: Look::Environment { images: false },
        launches: Purchases::new(),
        plan: &|world| plan::scale(&environment, world, &request),
        // What may leave too few is asked for as a deploy is.
        confirm: if args.force { environment.confirm } else { environment.confirm.at_most_a_yes() },
        default: !args.force,
        freeze: Freeze::Passed,
        at_work: AtWork::Waits,
        on_unfinished: OnUnfinished::Stop,
        preview: args.preview,
    };
    let done = operate(&work, &access, global).await?;
    if args.preview.plan {
        return Ok(());
    }
    let text = text(&done, global);
    done.say(global, text)
}

fn text(done: &Done, global: &Global) -> String {
    let took = Seconds::from(global.report.elapsed());
    let head = if done.plan.stages.is_empty() { "Nothing to do." } else { "Scaled." };
    let said = done.plan.notes.first().map(|note| format!(" {note}.")).unwrap_or_default();
    format!("{} {took}\n", bold(&format!("{head}{said}")))
}
