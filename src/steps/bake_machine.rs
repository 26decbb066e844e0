//! Machines that are launched one by one, the two a bake uses (builder and proof) and a review box's: at most one at a time, found again
//! by their tags, listened to through their consoles.

use std::time::Duration;

use tokio::sync::Mutex;

use super::error::During;
use super::tags::{mode, token};
use super::wait::{ended, failed, settled};
use super::{Cx, StepError};
use crate::aws::{Error, ErrorKind, InstanceInfo, RunSpec, Tags};
use crate::health::{Look, Stop, Waiting};
use crate::model::{BoxName, ConsoleLine, Seconds, tag};

/// Which machine of which bake, or of which box.
#[derive(Debug, Clone, Copy)]
pub(super) struct Machine<'a> {
    mode: &'static str,
    /// The tag that says whose it is, and its value.
    whose: (&'static str, &'a str),
}

/// What to launch it from.
pub(super) struct Launch<'a> {
    pub image: &'a str,
    pub instance_type: &'a str,
    pub user_data: String,
    /// Tags beyond those that identify it.
    pub tags: Tags,
}

/// A machine that was just launched may stay unseen this long.
pub(super) const APPEARS: Duration = Duration::from_secs(60);
const GONE: Duration = Duration::from_secs(300);
/// Tokens tried: one per earlier machine of the same name that ended, which AWS remembers longer than it lists the machine.
const TRIES: usize = 24;

impl<'a> Machine<'a> {
    pub fn builder(bake: &'a str) -> Self {
        Self { mode: mode::BUILDER, whose: (tag::BAKE, bake) }
    }

    pub fn proof(bake: &'a str) -> Self {
        Self { mode: mode::PROOF, whose: (tag::BAKE, bake) }
    }

    pub fn review(name: &'a BoxName) -> Self {
        Self { mode: mode::REVIEW, whose: (tag::BOX, name.as_str()) }
    }

    pub fn name(&self) -> String {
        format!("{} {}", if self.mode == mode::REVIEW { "box" } else { self.mode }, self.whose.1)
    }

    fn identity(&self, cx: &Cx) -> Tags {
        let pairs = [(tag::APP, cx.environment.app.as_str()), (tag::MODE, self.mode), self.whose];
        pairs.into_iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
    }

    /// Every machine of this name that AWS still lists, ended ones too.
    pub async fn all(&self, cx: &Cx) -> Result<Vec<InstanceInfo>, Error> {
        cx.aws.ec2.instances_tagged(&self.identity(cx)).await
    }

    /// The machine, if one lives.
    pub async fn living(&self, cx: &Cx) -> Result<Option<InstanceInfo>, Error> {
        Ok(self.all(cx).await?.into_iter().find(|instance| !instance.state.is_gone()))
    }

    /// Launches it unless it is there. The token makes a repeated launch find the first one's machine, and is only changed once that
    /// machine is known to have ended.
    pub async fn launch(&self, cx: &Cx, launch: Launch<'_>) -> Result<String, StepError> {
        let what = format!("launch the {}", self.name());
        let mut last = None;
        for attempt in 0..TRIES {
            let known = self.all(cx).await.during(&format!("look for the {}", self.name()))?;
            if let Some(living) = known.iter().find(|instance| !instance.state.is_gone()) {
                return Ok(living.id.clone());
            }
            let number = known.len().max(attempt);
            match cx.aws.ec2.run_one_instance(&self.spec(cx, &launch, number)?).await {
                Ok(id) => return Ok(id),
                // That token's machine has ended, or was made by another operation: if it lives, the next look finds it.
                Err(error) if error.code == "IdempotentInstanceTerminated" || error.code == "IdempotentParameterMismatch" => {
                    last = Some(error);
                    cx.clock.sleep(Duration::from_secs(3)).await;
                }
                Err(error) => return Err(error).during(&what),
            }
        }
        let gave_up = last.unwrap_or_else(|| Error::new("RunInstances", ErrorKind::Other, "", "gave up"));
        Err(gave_up).during(&what)
    }

    fn spec(&self, cx: &Cx, launch: &Launch, number: usize) -> Result<RunSpec, StepError> {
        let environment = &cx.environment;
        let subnet = environment.subnets.first().ok_or_else(|| StepError::new("the environment has no subnet"))?;
        let mut tags = cx.tags();
        tags.extend(self.identity(cx));
        tags.extend(launch.tags.clone());
        Ok(RunSpec {
            image: launch.image.to_string(),
            instance_type: launch.instance_type.to_string(),
            subnet: subnet.clone(),
            security_groups: environment.security_groups.clone(),
            instance_profile: environment.instance_profile.clone(),
            user_data: launch.user_data.clone(),
            tags,
            token: token(&[self.whose.1, self.mode, &number.to_string()]),
        })
    }

    /// Terminates every machine of this name.
    pub async fn terminate(&self, cx: &Cx) -> Result<(), StepError> {
        let name = self.name();
        if settled(cx, &format!("the {name}"), || self.living(cx)).await?.is_none() {
            return Ok(());
        }
        let look = || async {
            let instance = match self.living(cx).await {
                Ok(Some(instance)) => instance,
                Ok(None) => return Look::Done(()),
                Err(error) => return failed(error, &format!("look for the {name}")),
            };
            match cx.aws.ec2.terminate(&instance.id).await {
                Ok(()) => Look::Waiting(Waiting::new(format!("{name} ({}) is being terminated", instance.id))),
                Err(error) => failed(error, &format!("terminate the {name}")),
            }
        };
        cx.wait(GONE, look).await.map_err(|stop| ended(stop, || format!("the {name} does not end")))
    }

    /// Listens to the console until `judge` has heard enough.
    pub async fn listen<T>(
        &self,
        cx: &Cx,
        within: Seconds,
        judge: impl Fn(&[ConsoleLine]) -> Option<Result<T, StepError>>,
    ) -> Result<T, StepError> {
        let name = self.name();
        let started = cx.clock.moment();
        let heard = Mutex::new(Heard::default());
        let look = || async {
            let mut heard = heard.lock().await;
            let instance = match self.all(cx).await {
                Ok(all) => heard.choose(all),
                Err(error) => return failed(error, &format!("look for the {name}")),
            };
            let Some(instance) = instance else {
                return match cx.clock.since(started) < APPEARS {
                    true => Look::Waiting(Waiting::new(format!("{name} is not visible yet"))),
                    false => Look::Failed(StepError::new(format!("there is no {name}"))),
                };
            };
            if let Err(error) = heard.listen(cx, &instance).await {
                return failed(error, &format!("read the console of the {name}"));
            }
            match judge(&heard.lines) {
                Some(Ok(value)) => Look::Done(value),
                Some(Err(error)) => Look::Failed(error),
                None if instance.state.is_gone() => Look::Failed(heard.obituary(&name, &instance)),
                None => Look::Waiting(Waiting::new(format!("{name} ({}): {}", instance.id, heard.last()))),
            }
        };
        match cx.wait(within.duration(), look).await {
            Ok(value) => Ok(value),
            Err(Stop::Failed(error)) => Err(error),
            Err(Stop::TimedOut(waiting)) => {
                let late = StepError::new(format!("the {name} was not through within {within}")).because(waiting.text);
                Err(late.evidence(heard.into_inner().tail()))
            }
        }
    }
}

/// What was heard of a machine so far.
#[derive(Default)]
pub(super) struct Heard {
    id: Option<String>,
    pub lines: Vec<ConsoleLine>,
    /// How often it was listened to.
    pub looks: usize,
}

impl Heard {
    /// The one listened to: the living one, or the one heard before, even if it has ended.
    pub fn choose(&mut self, all: Vec<InstanceInfo>) -> Option<InstanceInfo> {
        let (gone, living): (Vec<_>, Vec<_>) = all.into_iter().partition(|instance| instance.state.is_gone());
        let living = living.into_iter().next();
        if let Some(living) = &living {
            self.id = Some(living.id.clone());
        }
        living.or_else(|| gone.into_iter().find(|instance| Some(&instance.id) == self.id.as_ref()))
    }

    /// Reads its console.
    pub async fn listen(&mut self, cx: &Cx, instance: &InstanceInfo) -> Result<(), Error> {
        self.looks += 1;
        match cx.aws.ec2.console(&instance.id).await {
            Ok(text) => self.lines = ConsoleLine::all_of(&text),
            // A machine that just ended may have no console any more: what was heard before counts.
            Err(error) if instance.state.is_gone() => tracing::debug!(%error, "no console"),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    pub fn last(&self) -> String {
        self.lines.last().map_or_else(|| "nothing on its console yet".to_string(), ConsoleLine::describe)
    }

    pub fn tail(&self) -> Vec<String> {
        let telling = self.lines.iter().rev().find(|line| !line.tail().is_empty());
        telling.map(|line| line.tail().iter().map(|text| format!("| {text}")).collect()).unwrap_or_default()
    }

    pub fn obituary(&self, name: &str, instance: &InstanceInfo) -> StepError {
        obituary(name, instance).evidence(self.tail())
    }
}

/// It ended, and why as far as AWS says.
pub(super) fn obituary(name: &str, instance: &InstanceInfo) -> StepError {
    let reason = instance.reason.as_ref().map(|(code, message)| if message.is_empty() { code } else { message });
    let reason = reason.cloned().unwrap_or_else(|| "AWS gives no reason".to_string());
    StepError::new(format!("the {name} ({}) ended by itself", instance.id)).because(reason)
}

/// The marker as a failure, with its output.
pub(super) fn failure(line: &ConsoleLine) -> StepError {
    StepError::new(line.describe()).evidence(line.tail().iter().map(|text| format!("| {text}")))
}
