//! `adstage image bake --from BOX`: the very box that was looked at becomes the image.

use std::time::Duration;

use tokio::sync::mpsc::Receiver;

use super::bake::said;
use crate::cli::Global;
use crate::cli::access::{Access, refused};
use crate::cli::operate::{Look, Preview, Work, operate};
use crate::cli::shell;
use crate::failure::{End, Failure};
use crate::model::{BoxName, Confirm, Inspection, Review, ReviewBox, Scope, World};
use crate::observe;
use crate::plan::{self, BoxBakeRequest};
use crate::steps::{Errand, Errands, Reply};

/// What was asked.
pub(super) struct How<'a> {
    pub of: &'a BoxName,
    pub unapproved: Option<&'a str>,
    pub allow_dirty: bool,
    pub preview: Preview,
}

/// The longest that looking into a box may take.
const LOOK: Duration = Duration::from_secs(120);

pub(super) async fn run(how: &How<'_>, global: &Global) -> Result<(), Failure> {
    let config = global.config()?;
    let (review, environment) = (config.review()?, global.environment(config.builder.environment.as_str())?);
    if (&review.environment.account, &review.environment.region) != (&environment.account, &environment.region) {
        let Review { environment: there, .. } = review;
        let what = format!("boxes are in account {}, {}, and images are baked in another", there.account, there.region);
        return Err(Failure::new(End::Config, what).because("[review] and [image] must name environments of one account and Region"));
    }
    let (errands, listening) = Errands::open();
    let access = Access { errands, ..global.connect(&environment).await? };
    let found = find(how.of, review, &access).await?;
    let seen = inspect(&found, review, &access, global).await?;
    let from = found.instance.as_ref().map(|instance| instance.image.clone());
    let from = from.ok_or_else(|| Failure::new(End::Refused, format!("box {} has no machine any more", how.of)))?;
    let hash = plan::box_bake_hash(&config.app, &from, &seen);
    let name = plan::image_name(&config.app, &hash);
    seen.commits.iter().for_each(|(repository, commit)| global.report.say(format!("{repository} {commit}")));
    let plan = |world: &World| {
        let (clean, unapproved, allow_dirty) = (review.clean.as_deref(), how.unapproved, how.allow_dirty);
        let (app, builder, environment, of, seen) = (&config.app, &config.builder, &*environment, how.of, &seen);
        let ready_within = review.ready_within;
        plan::bake_box(world, BoxBakeRequest { app, builder, environment, of, seen, ready_within, clean, unapproved, allow_dirty })
    };
    let (subject, scope) = (name.clone(), Scope::bake(&environment.state_table, &config.app, &hash));
    // What its backing stores hold is lost to it.
    let work = Work {
        confirm: Confirm::Yes,
        ..Work::unseen("bake", subject, typed(how), scope, Look::BoxImage(how.of.clone()), &plan, how.preview)
    };
    let done = tokio::select! {
        done = operate(&work, &access, global) => done?,
        () = serve(listening, &found, review, &access, global) => return Err(Failure::new(End::Unexpected, "nobody listens any more")),
    };
    if how.preview.plan { Ok(()) } else { said(&done, &access, &name, global).await }
}

fn typed(how: &How) -> String {
    let unapproved = how.unapproved.map(|reason| format!(" --unapproved '{}'", reason.replace('\'', "'\\''"))).unwrap_or_default();
    let dirty = if how.allow_dirty { " --allow-dirty" } else { "" };
    format!("adstage image bake --from {}{unapproved}{dirty}", how.of)
}

async fn find(of: &BoxName, review: &Review, access: &Access) -> Result<ReviewBox, Failure> {
    let boxes = observe::boxes(&access.aws, &review.environment).await.map_err(|error| refused(error, &review.environment))?;
    boxes.into_iter().find(|found| found.name == *of).ok_or_else(|| {
        let failure = Failure::new(End::Refused, format!("there is no review box {of}"));
        failure.next("adstage review list")
    })
}

/// What is really on the box.
async fn inspect(found: &ReviewBox, review: &Review, access: &Access, global: &Global) -> Result<Inspection, Failure> {
    let output = shell::run(global, review, access, found, &["adstage", "agent", "inspect"], LOOK).await?;
    let unreadable = || Failure::new(End::Unexpected, format!("box {} cannot say what is on it", found.name));
    if output.code != 0 {
        return Err(output.stderr.lines().fold(unreadable(), Failure::evidence));
    }
    let line = output.stdout.lines().rev().find(|line| line.starts_with('{')).ok_or_else(unreadable)?;
    serde_json::from_str(line).map_err(|error| unreadable().because(error))
}

/// Runs on the box what steps ask for; for ever.
async fn serve(mut listening: Receiver<Errand>, found: &ReviewBox, review: &Review, access: &Access, global: &Global) {
    while let Some(errand) = listening.recv().await {
        let words: Vec<&str> = errand.words.iter().map(String::as_str).collect();
        let answer = shell::run(global, review, access, found, &words, errand.within).await;
        let answer = answer.map(|output| Reply { code: output.code, stderr: output.stderr }).map_err(|failure| failure.what);
        // Whoever asked may have been stopped meanwhile.
        let _ = errand.done.send(answer);
    }
}
