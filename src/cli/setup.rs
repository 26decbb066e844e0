//! `adstage setup`: what must be there before the first deploy. Shown first, and repeatable.

use std::sync::Arc;

use serde_json::json;

use super::Global;
use super::access::{Access, refused};
use super::confirm::Question;
use super::operate::{AtWork, Freeze, Look, OnUnfinished, Preview, Work, operate};
use crate::failure::{End, Failure};
use crate::model::{Confirm, Environment, Purchases, REVIEW, Scope};
use crate::plan;

/// Create what is missing before a first deploy: the state table, and an environment's load balancer, listener and rules
///
///   adstage setup                 the state table, in every account and Region adstage.toml names
///   adstage setup production      that of production, and its load balancer, listener and rules
///   adstage setup production --plan
///   adstage setup review          the load balancer and the listener of review boxes
///
/// What is missing is shown first. What is there already is left as it is.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The environment
    environment: Option<String>,
    #[command(flatten)]
    preview: Preview,
}

pub async fn run(args: Args, global: &Global) -> Result<(), Failure> {
    match &args.environment {
        Some(name) => environment(name, args.preview, global).await,
        None => tables(args.preview, global).await,
    }
}

/// The state table of every account and Region.
async fn tables(preview: Preview, global: &Global) -> Result<(), Failure> {
    let mut places: Vec<&Environment> = Vec::new();
    for environment in global.config()?.environments.values() {
        if !places.iter().any(|place| place.account == environment.account && place.region == environment.region) {
            places.push(environment);
        }
    }
    let mut missing = Vec::new();
    for place in places {
        let access = global.connect(place).await?;
        if table_is_missing(&access).await? {
            missing.push(access);
        }
    }
    let lines: Vec<String> = missing.iter().map(line).collect();
    if preview.plan || missing.is_empty() {
        let text = || if lines.is_empty() { "The state table is there. Nothing to do.".to_string() } else { lines.join("\n") };
        global.report.result(&json!({ "changes": !lines.is_empty(), "lines": lines }), text)?;
        return if preview.exit_code && !lines.is_empty() { Err(Failure::new(End::Changes, "there are changes")) } else { Ok(()) };
    }
    for access in &missing {
        create_table(access, "adstage setup", global).await?;
    }
    global.report.result(&json!({ "created": lines }), || "Done. Next: adstage setup ENVIRONMENT".to_string())
}

fn line(access: &Access) -> String {
    let environment = &access.environment;
    let (table, account, region) = (&environment.state_table, &environment.account, &environment.region);
    format!("create state table {table} in {account}, {region}: on demand, protected, restorable to any moment of 35 days")
}

async fn table_is_missing(access: &Access) -> Result<bool, Failure> {
    let environment = &access.environment;
    let state = access.aws.dynamodb.describe_table(&environment.state_table).await.map_err(|error| refused(error, environment))?;
    Ok(!state.is_some_and(|state| state.complete()))
}

/// Shows, asks, makes.
async fn create_table(access: &Access, command: &str, global: &Global) -> Result<(), Failure> {
    let environment = &access.environment;
    global.report.say(line(access));
    let doing = format!("create the state table of {}", environment.name);
    global.confirm(environment, &Question { doing: &doing, command, level: asked(environment), default: true })?;
    access.aws.dynamodb.create_table(&environment.state_table).await.map_err(|error| refused(error, environment))?;
    global.report.say(format!("state table {} is ready", environment.state_table));
    Ok(())
}

/// Nothing made here reaches a visitor, so a yes is enough even where deploys want the name.
fn asked(environment: &Environment) -> Confirm {
    environment.confirm.at_most_a_yes()
}

async fn environment(name: &str, preview: Preview, global: &Global) -> Result<(), Failure> {
    // Every rule of review boxes is a box's, so for them there is no more than the listener to make.
    let environment = match name {
        REVIEW => Arc::new(Environment { services: Vec::new(), ..global.config()?.review()?.environment.clone() }),
        _ => global.environment(name)?,
    };
    let access = global.connect(&environment).await?;
    let command = format!("adstage setup {}", environment.name);
    if table_is_missing(&access).await? {
        if preview.plan {
            let lines = [line(&access), "then the load balancer, its listener and rules".into()];
            global.report.result(&json!({ "changes": true, "lines": lines }), || lines.join("\n"))?;
            return if preview.exit_code { Err(Failure::new(End::Changes, "there are changes")) } else { Ok(()) };
        }
        create_table(&access, &command, global).await?;
    }
    let work = Work {
        verb: "set up",
        subject: environment.name.to_string(),
        command,
        scope: Scope::of(&environment),
        look: Look::Environment { images: false },
        launches: Purchases::new(),
        plan: &|world| plan::setup(&environment, world),
        confirm: asked(&environment),
        default: true,
        freeze: Freeze::Stops,
        at_work: AtWork::Waits,
        on_unfinished: OnUnfinished::Stop,
        preview,
    };
    let done = operate(&work, &access, global).await?;
    if preview.plan {
        return Ok(());
    }
    let next = if name == REVIEW { "adstage review create NAME".into() } else { format!("adstage deploy {name}") };
    let text = match done.plan.stages.is_empty() {
        true => format!("{} is set up already. Nothing to do.", environment.name),
        false => format!("{} is set up. Next: {}", environment.name, global.typed(&next)),
    };
    done.say(global, text)
}
