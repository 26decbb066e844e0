//! Why a plan must not exist: everything that is wrong, at once.

use crate::model::{EnvironmentName, RuleAction};

use super::situation::Situation;

/// A plan that must not exist, and why. Everything that is wrong is reported at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What was refused, one line.
    pub what: String,
    /// Every reason.
    pub because: Vec<String>,
    /// Commands to type next, most useful first.
    pub next: Vec<String>,
}

/// Reasons as they are found.
#[derive(Default)]
pub(super) struct Reasons {
    because: Vec<String>,
    next: Vec<String>,
}

impl Reasons {
    pub fn add(&mut self, because: impl Into<String>, next: impl Into<String>) {
        self.because.push(because.into());
        let next = next.into();
        if !next.is_empty() {
            self.offer(next);
        }
    }

    /// A command that may help, whatever the reasons are.
    pub fn offer(&mut self, next: String) {
        if !self.next.contains(&next) {
            self.next.push(next);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.because.is_empty()
    }

    /// `Err` as soon as there is one reason.
    pub fn verdict(self, what: impl Into<String>) -> Result<(), Refusal> {
        if self.because.is_empty() { Ok(()) } else { Err(self.refusal(what)) }
    }

    pub fn refusal(self, what: impl Into<String>) -> Refusal {
        Refusal { what: what.into(), because: self.because, next: self.next }
    }

    /// What is wrong with the way visitors come in.
    pub fn network(&mut self, situation: &Situation) {
        let name = &situation.environment.name;
        if situation.world.listener.is_none() {
            self.add(format!("{name} has no listener yet"), setup(name));
            return;
        }
        for standing in &situation.standings {
            let (Some(rule), Some(route)) = (&standing.rule, &standing.service.route) else { continue };
            match situation.world.rule(rule) {
                None => self.add(format!("{} has no rule on the listener yet", standing.service.name), setup(name)),
                Some(found) if situation.world.weights(rule).is_none() => {
                    let next = format!("aws elbv2 describe-rules --rule-arns {}", found.arn);
                    self.add(foreign(route.priority, &standing.service.name.to_string(), &found.action), next);
                }
                Some(_) => {}
            }
        }
    }
}

fn foreign(priority: u16, service: &str, action: &RuleAction) -> String {
    let does = match action {
        RuleAction::Foreign(what) => what.clone(),
        RuleAction::Forward(groups) => format!("forwards to {}", groups.keys().cloned().collect::<Vec<_>>().join(", ")),
        RuleAction::Fixed(code) => format!("answers {code}"),
    };
    format!("rule {priority}, which {service} is to be reached by, was not made by adstage: {does}")
}

pub(super) fn setup(environment: &EnvironmentName) -> String {
    format!("adstage setup {environment}")
}

pub(super) fn rollback(environment: &EnvironmentName) -> String {
    format!("adstage rollback {environment}")
}
