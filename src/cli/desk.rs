//! What every command that takes an environment's lock says and does around it: who it is, whom it waits for, what serves now, how it ended.

use std::time::Duration;

use serde_json::Value;

use super::Global;
use super::access::Access;
use super::{blocked, hooks};
use crate::failure::{End, Failure};
use crate::lock::{self, Blocked, Held, Intent, TakeOver, TakeOverKind, Wait, Watch};
use crate::model::{Event, LockRecord, Mark, OperationId, Outcome, Resource, Scope, Seconds, Serving, World, serving};
use crate::observe::{self, Wants};
use crate::plan::Plan;
use crate::steps::{Cx, KnownDoor};

/// One command at work on one environment or image.
pub struct Desk<'d> {
    /// `deploy`.
    pub verb: &'static str,
    /// What it is done to, for messages: the environment, or the image.
    pub subject: &'d str,
    /// The command as it would be typed again, without answers.
    pub command: &'d str,
    /// Whose lock and journal.
    pub scope: &'d Scope,
    /// Visitors may notice: it is about an environment, not about an image.
    pub serves: bool,
    /// Where.
    pub access: &'d Access,
    /// Options, report, clock.
    pub global: &'d Global,
}

impl Desk<'_> {
    /// The first line.
    pub fn hello(&self) -> Event {
        let environment = &self.access.environment;
        Event::Hello {
            tool: env!("CARGO_PKG_VERSION").into(),
            command: self.verb.into(),
            app: environment.app.to_string(),
            environment: Some(environment.name.to_string()),
            account: environment.account.clone(),
            region: environment.region.clone(),
            caller: self.global.who(&self.access.caller),
        }
    }

    /// Environments that one listener leads to never change it at the same time.
    pub fn secondaries(&self) -> Vec<Resource> {
        let balancer = &self.access.environment.load_balancer;
        if self.serves { vec![Resource::listener(&balancer.name, balancer.listener.port)] } else { Vec::new() }
    }

    /// Somebody is at work: wait as long as was asked, before anything is planned.
    pub async fn wait(&self, world: &World) -> Result<Watch, Failure> {
        let Global { clock, report, options, .. } = self.global;
        let now = || self.access.aws.dynamodb.now();
        let tell = |record: &LockRecord, quiet: Duration| report.say(blocked::waiting(record, quiet, now()));
        let wait = Wait { timeout: options.lock_timeout.unwrap_or_default(), tell: &tell };
        match lock::wait_until_settled(&self.access.aws.dynamodb, clock, self.scope, wait).await {
            Ok(watch) => Ok(watch),
            Err(blocked) => Err(self.blocked(blocked, None, &serving(&self.access.environment, world)).await),
        }
    }

    /// Somebody or something stands in the way.
    pub async fn blocked(&self, blocked: Blocked, plan: Option<&Plan>, before: &Serving) -> Failure {
        let access = self.access;
        let attempt = blocked::Attempt {
            subject: self.subject,
            command: self.command,
            environment: self.serves.then(|| access.environment.name.as_str()),
            overrides: self.verb == "deploy",
            waited: self.global.options.lock_timeout.unwrap_or_default(),
            now: access.aws.dynamodb.now(),
        };
        let failure = blocked::failure(blocked, access, self.scope, &attempt).await;
        let outcome = if failure.end == End::Locked { Outcome::Locked } else { Outcome::Refused };
        self.ended(outcome, plan, before, failure)
    }

    /// Takes the lock, waiting for it as long as was asked, or at least so long, and says from whom it came.
    pub async fn lock(
        &self,
        who: lock::Identity,
        intent: Intent,
        plan: Option<&Plan>,
        watch: Watch,
        before: &Serving,
        at_least: Duration,
    ) -> Result<Held, Failure> {
        let Global { clock, report, options, .. } = self.global;
        let now = || self.access.aws.dynamodb.now();
        let tell = |record: &LockRecord, quiet: Duration| report.say(blocked::waiting(record, quiet, now()));
        let wait = Wait { timeout: options.lock_timeout.unwrap_or_default().max(at_least), tell: &tell };
        let taken = lock::acquire_seen(&self.access.aws.dynamodb, clock, self.scope.clone(), who, intent, wait, watch).await;
        let held = match taken {
            Ok(held) => held,
            Err(blocked) => return Err(self.blocked(blocked, plan, before).await),
        };
        if let Some(take_over) = held.take_over() {
            report.emit(&Event::Said { mark: Mark::Note, text: taken_over(&take_over, held.must_wait()) });
        }
        Ok(held)
    }

    /// What the steps of an operation work with.
    pub fn cx(&self, operation: OperationId) -> Cx {
        Cx {
            aws: self.access.aws.clone(),
            clock: self.global.clock.clone(),
            environment: self.access.environment.clone(),
            operation,
            owner: self.global.who(&self.access.caller),
            door: KnownDoor::default(),
            errands: self.access.errands.clone(),
            commands: hooks::commands(self.global),
            consult: self.global.consult(),
            progress: std::sync::Arc::new(|_| ()),
        }
    }

    /// Another look: the last line must be true even if everything else went wrong.
    pub async fn now_serving(&self) -> Serving {
        if !self.serves {
            return Serving::default();
        }
        let (aws, environment) = (&self.access.aws, &self.access.environment);
        let world = observe::world(aws, environment, self.scope, Wants::default()).await;
        world.map(|world| serving(environment, &world)).unwrap_or_default()
    }

    /// The failure with what serves now; programs get the outcome with it.
    pub fn ended(&self, outcome: Outcome, plan: Option<&Plan>, now: &Serving, failure: Failure) -> Failure {
        self.result(outcome, plan, now, failure.end);
        if self.serves && failure.serving.is_none() { failure.serving(now) } else { failure }
    }

    /// The last event, and the fields of the outcome for the JSON of a failure or of a success.
    pub fn result(&self, outcome: Outcome, plan: Option<&Plan>, now: &Serving, end: End) {
        let release = plan.and_then(|plan| plan.release.as_ref()).map(|release| release.number);
        let previous = plan.and_then(|plan| plan.previous);
        let seconds = self.global.report.elapsed().as_secs();
        let event = Event::Result { outcome, release, previous, serving: now.clone(), seconds, exit: end.code() };
        self.global.report.emit(&event);
        if let Ok(Value::Object(mut fields)) = serde_json::to_value(&event) {
            fields.remove("type");
            fields.insert("environment".into(), self.access.environment.name.to_string().into());
            self.global.report.attach(fields);
        }
    }
}

/// How the lock came to us.
fn taken_over(take_over: &TakeOver, pause: Duration) -> String {
    let from = &take_over.from;
    let who = if from.who.is_empty() { "nobody" } else { &from.who };
    match take_over.kind {
        TakeOverKind::HandedOver => format!("{who} left off {}; this takes its place", from.doing),
        TakeOverKind::Lapsed => format!("taken over from {who} on {}: no sign of it while it was {}", from.host, from.doing),
        TakeOverKind::Broken { .. } => {
            let broken = from.broken.as_ref().map(|broken| format!(" by {}: {}", broken.who, broken.why)).unwrap_or_default();
            let pause = Seconds(pause.as_secs() + 1);
            format!("the lock was broken{broken}. Its last holder may not know yet, so nothing is changed for {pause}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Broken;

    #[test]
    fn m30_whoever_takes_over_is_told_from_whom_and_what_that_means() {
        let broken = Broken { who: "ana".into(), why: "runner hangs".into(), at: String::new(), answered: true };
        let from = LockRecord { who: "joe".into(), host: "runner-7".into(), doing: "deploying r413".into(), ..LockRecord::default() };
        let told = |from: &LockRecord, kind, pause| taken_over(&TakeOver { from: from.clone(), kind }, Duration::from_secs(pause));
        assert_eq!(told(&from, TakeOverKind::HandedOver, 0), "joe left off deploying r413; this takes its place");
        let lapsed = told(&from, TakeOverKind::Lapsed, 0);
        assert_eq!(lapsed, "taken over from joe on runner-7: no sign of it while it was deploying r413");
        let from = LockRecord { broken: Some(broken), ..from };
        let said = told(&from, TakeOverKind::Broken { answered: true }, 24);
        assert_eq!(said, "the lock was broken by ana: runner hangs. Its last holder may not know yet, so nothing is changed for 25s");
    }
}
