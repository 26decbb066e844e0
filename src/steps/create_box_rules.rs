//! The rules that lead to a review box, in one free block of priorities, so that they are tried in their order and never mix with another
//! box's. Where the block is follows from the box's name; if somebody has it already, the next one is taken.

use sha2::{Digest, Sha256};

use super::error::During;
use super::tags::token;
use super::wait::{appears, tolerated};
use super::{Cx, Done, StepError, Undone, delete_box_rules, listener};
use crate::aws::ErrorKind;
use crate::model::{BoxName, Conditions, PROBE_HEADER, Rule};
use crate::plan::BoxRule;

/// Priorities of one box.
const BLOCK: u16 = 20;
/// So many blocks there are: what is above is for those who write rules by hand.
const BLOCKS: u16 = 2_499;
/// How often another box may snatch the block away.
const TRIES: u16 = 10;

pub(super) async fn run(cx: &Cx, name: &BoxName, rules: &[BoxRule]) -> Done {
    if rules.len() > usize::from(BLOCK) {
        return Err(StepError::new(format!("{} rules are more than a box can have ({BLOCK})", rules.len())));
    }
    let door = listener::door(cx).await?;
    let groups: Vec<String> = rules.iter().map(|rule| rule.target_group.clone()).collect();
    let arns = appears(cx, &format!("the target groups of {name}"), || cx.aws.elbv2.target_group_arns(&groups)).await?;
    let wanted: Vec<(&BoxRule, &String)> = rules.iter().zip(&arns).collect();
    for _ in 0..TRIES {
        let there = listener::rules(cx, &door).await?;
        let first = block(name, rules, &there).ok_or_else(|| StepError::new("the listener has no free block of priorities left"))?;
        if put(cx, name, &door, first, &wanted, &there).await? {
            return Ok(format!("{} rules from priority {first}", rules.len()));
        }
        // Somebody was quicker: all of them move, so that their order stays.
        delete_box_rules::delete(cx, name, &groups).await?;
    }
    Err(StepError::new(format!("the rules of {name} found no free priorities")))
}

/// The first priority of the block: that of the rules that are there, or of the first free block from the one the name leads to.
fn block(name: &BoxName, rules: &[BoxRule], there: &[Rule]) -> Option<u16> {
    let own = |rule: &Rule| rules.iter().any(|wanted| rule.action.leads_to(&wanted.target_group));
    if let Some(priority) = there.iter().find(|rule| own(rule)).and_then(|rule| rule.priority) {
        return Some((priority - 1) / BLOCK * BLOCK + 1);
    }
    let digest = Sha256::digest(name.as_str().as_bytes());
    let home = u16::from_be_bytes([digest[0], digest[1]]) % BLOCKS;
    let taken = |first: u16| there.iter().filter_map(|rule| rule.priority).any(|priority| (first..first + BLOCK).contains(&priority));
    (0..BLOCKS).map(|step| (home + step) % BLOCKS * BLOCK + 1).find(|first| !taken(*first))
}

/// False: a priority is somebody else's by now.
async fn put(
    cx: &Cx,
    name: &BoxName,
    door: &listener::Door,
    first: u16,
    rules: &[(&BoxRule, &String)],
    there: &[Rule],
) -> Result<bool, StepError> {
    for (priority, (wanted, arn)) in (first..).zip(rules) {
        if let Some(found) = there.iter().find(|rule| rule.priority == Some(priority)) {
            if found.action.leads_to(&wanted.target_group) && found.conditions.paths == wanted.paths {
                continue;
            }
            return Ok(false);
        }
        if !create(cx, name, door, priority, wanted, arn).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn create(cx: &Cx, name: &BoxName, door: &listener::Door, priority: u16, wanted: &BoxRule, arn: &str) -> Result<bool, StepError> {
    let header = wanted.test.then(|| (PROBE_HEADER.to_string(), token(&[&cx.operation.0, name.as_str()])));
    let conditions = Conditions { hosts: vec![wanted.host.clone()], paths: wanted.paths.clone(), header };
    let (groups, tags) = ([(arn.to_string(), 1)], cx.box_tags(name));
    let create = || async {
        match cx.aws.elbv2.create_forward_rule(&door.listener, priority, &conditions, &groups, &tags).await {
            Err(error) if error.kind == ErrorKind::AlreadyExists => Ok(false),
            made => made.map(|_| true),
        }
    };
    let made = tolerated(cx, &format!("create rule {priority} of {name}"), |error| error.is_not_found(), create).await?;
    if made {
        return Ok(true);
    }
    // Our own call whose reply was lost, or another box's.
    let now = cx.aws.elbv2.rules(&door.listener).await.during("read the listener's rules")?;
    Ok(now.iter().any(|rule| rule.priority == Some(priority) && rule.action.leads_to(&wanted.target_group)))
}

pub(super) async fn undo(cx: &Cx, name: &BoxName, rules: &[BoxRule]) -> Undone {
    let groups: Vec<String> = rules.iter().map(|rule| rule.target_group.clone()).collect();
    delete_box_rules::delete(cx, name, &groups).await
}
