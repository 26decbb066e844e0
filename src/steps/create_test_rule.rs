//! The fleet's test rule: only a secret header value matches it, and no visitor knows it. It makes the load balancer check the fleet
//! before any visitor is led there (for a worker: at all), and lets a smoke request through.

use std::time::Duration;

use super::tags::token;
use super::wait::{appears, ended, failed, tolerated};
use super::{Cx, Done, StepError, Undone, listener};
use crate::aws::ErrorKind;
use crate::health::{Look, Waiting};
use crate::model::{Conditions, FleetKey, PROBE_HEADER, Rule};

/// How often a priority may be snatched away before we give up: one per rule of a concurrent wave, and then some.
const TRIES: usize = 20;
/// A deleted rule is not seen any more after this long.
const GONE: Duration = Duration::from_secs(60);
const HIGHEST: u16 = 50_000;

pub(super) async fn run(cx: &Cx, fleet: &FleetKey) -> Done {
    let name = cx.target_group_name(fleet);
    let door = listener::door(cx).await?;
    let group = appears(cx, &format!("target group {name}"), || cx.aws.elbv2.target_group(&name)).await?;
    let secret = token(&[&cx.operation.0, &fleet.to_string()]);
    let conditions = Conditions { header: Some((PROBE_HEADER.into(), secret)), ..Conditions::default() };
    for _ in 0..TRIES {
        let rules = listener::rules(cx, &door).await?;
        if rules.iter().any(|rule| listener::tests(rule, &name)) {
            return Ok(format!("test rule for {fleet}"));
        }
        let priority = lowest_free(cx, &rules).ok_or_else(|| StepError::new("the listener has no free priority left"))?;
        let groups = [(group.arn.clone(), 1)];
        let what = format!("create the test rule of {fleet}");
        let tags = cx.fleet_tags(fleet);
        let create = || async {
            match cx.aws.elbv2.create_forward_rule(&door.listener, priority, &conditions, &groups, &tags).await {
                Err(error) if error.kind == ErrorKind::AlreadyExists => Ok(false),
                made => made.map(|_| true),
            }
        };
        // Once more round the loop either way: a rule made is found, a priority taken is not free any more.
        tolerated(cx, &what, |error| error.is_not_found(), create).await?;
        cx.clock.sleep(Duration::from_millis(500)).await;
    }
    Err(StepError::new(format!("the test rule of {fleet} found no free priority")))
}

/// The lowest priority that no rule has and no route of the environment is configured to have.
fn lowest_free(cx: &Cx, rules: &[Rule]) -> Option<u16> {
    let reserved =
        |priority: u16| cx.environment.services.iter().filter_map(|service| service.route.as_ref()).any(|route| route.priority == priority);
    (1..=HIGHEST).find(|priority| !reserved(*priority) && !rules.iter().any(|rule| rule.priority == Some(*priority)))
}

pub(super) async fn undo(cx: &Cx, fleet: &FleetKey) -> Undone {
    let name = cx.target_group_name(fleet);
    let Some(door) = listener::find(cx).await? else { return Ok(()) };
    let look = || async {
        let rules = match cx.aws.elbv2.rules(&door.listener).await {
            Ok(rules) => rules,
            Err(error) => return failed(error, "read the listener's rules"),
        };
        let Some(rule) = rules.iter().find(|rule| listener::tests(rule, &name)) else { return Look::Done(()) };
        match cx.aws.elbv2.delete_rule(&rule.arn).await {
            Ok(()) => Look::Waiting(Waiting::new(format!("{fleet}: its test rule is being deleted"))),
            Err(error) => failed(error, &format!("delete the test rule of {fleet}")),
        }
    };
    cx.wait(GONE, look).await.map_err(|stop| ended(stop, || format!("the test rule of {fleet} does not go away")))
}
