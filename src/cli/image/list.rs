//! `adstage image list`: what was baked, from what, and where it is now.

use super::shelf::{Known, Where};
use crate::cli::Global;
use crate::failure::Failure;
use crate::report::{Table, ago, dim};

/// List the app's images, newest first: what they hold, whether they are proved, where they serve
///
///   adstage image list
///   adstage image list --env staging --output json
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    #[command(flatten)]
    place: Where,
}

pub async fn run(args: Args, global: &Global) -> Result<(), Failure> {
    let shelf = args.place.look(global).await?;
    let known: Vec<Known> = shelf.images.iter().map(|image| shelf.known(image)).collect();
    let now = global.clock.wall();
    let mut table = Table::new(&["NAME", "AGE", "FROM", "STATE", "CODE", "WHERE"]);
    for one in &known {
        let age = ago(&one.image.created, now).trim_end_matches(" ago").to_string();
        let from = one.image.origin.from.clone().unwrap_or_default();
        table.row([one.image.name.clone(), age, from, one.condition.into(), one.code(), one.places().join(", ")]);
    }
    if table.is_empty() {
        let next = global.typed("adstage image bake --from-base");
        return global.report.result(&known, || format!("There is no image yet. Next: {next}"));
    }
    global.report.result_table(&known, &table, &dim(&format!("more: {} IMAGE\n", global.typed("adstage image show"))))
}
