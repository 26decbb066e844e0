//! What every command works with that makes or changes review boxes.

use super::{no_box, reminder};
use crate::cli::Global;
use crate::cli::access::{Access, refused};
use crate::cli::operate::{Look, Preview, Work};
use crate::config;
use crate::failure::Failure;
use crate::model::{BoxName, Review, ReviewBox, Scope, Seconds, World};
use crate::observe;
use crate::plan::{Plan, Refusal};

/// What every command about boxes works with.
pub struct Boxes<'g> {
    pub global: &'g Global,
    pub review: Review,
    pub access: Access,
}

impl<'g> Boxes<'g> {
    pub async fn open(global: &'g Global) -> Result<Self, Failure> {
        let review = global.config()?.review()?.clone();
        let access = global.connect(&review.environment).await?;
        Ok(Self { global, review, access })
    }

    /// Every box there is.
    pub async fn all(&self) -> Result<Vec<ReviewBox>, Failure> {
        let found = observe::boxes(&self.access.aws, &self.access.environment).await;
        let found = found.map_err(|error| refused(error, &self.access.environment))?;
        reminder::note(self.global, &self.access.environment.app, &self.who(), &found);
        Ok(found)
    }

    /// One box, whose instance is there.
    pub async fn one(&self, name: &BoxName) -> Result<ReviewBox, Failure> {
        let all = self.all().await?;
        let living: Vec<&ReviewBox> = all.iter().filter(|found| found.instance.is_some()).collect();
        if let Some(found) = living.iter().find(|found| found.name == *name) {
            return Ok((*found).clone());
        }
        let names: Vec<String> = living.iter().map(|found| found.name.to_string()).collect();
        Err(no_box(name, &names))
    }

    pub fn scope(&self, name: &BoxName) -> Scope {
        Scope::review(&self.access.environment.state_table, &self.access.environment.app, name)
    }

    /// What is to be done to a box, by such a plan.
    pub fn work<'w>(
        &self,
        verb: &'static str,
        name: &BoxName,
        command: String,
        plan: &'w (dyn Fn(&World) -> Result<Plan, Refusal> + Sync),
        preview: Preview,
    ) -> Work<'w> {
        Work::unseen(verb, format!("review box {name}"), command, self.scope(name), Look::Box(name.clone()), plan, preview)
    }

    /// Who acts.
    pub fn who(&self) -> String {
        self.global.who(&self.access.caller)
    }

    /// So long from now, RFC 3339, by whole seconds.
    pub fn until(&self, ttl: Seconds) -> String {
        let now = self.global.clock.wall();
        let until = now + jiff::SignedDuration::from_secs(i64::try_from(ttl.0).unwrap_or_default());
        jiff::Timestamp::from_second(until.as_second()).unwrap_or(until).to_string()
    }
}

/// `--ttl`.
pub fn ttl(text: &str) -> Result<Seconds, String> {
    match config::timespan(text)? {
        span @ Seconds(300..=2_592_000) => Ok(span),
        _ => Err("a box lives from 5m to 30d".into()),
    }
}
