use insta::assert_snapshot;

use crate::model::*;

use super::super::setup;
use super::said;
use super::world::world;

#[test]
fn only_what_is_missing() {
    let (environment, mut world) = world("web:; admin:; worker:");
    assert_snapshot!(said(setup(&environment, &world)), @"
    nothing is missing
      note  production is set up already, nothing to do
    ");
    world.rules.remove(0);
    assert_snapshot!(said(setup(&environment, &world)), @"
    what is missing is made
      1 network   rule 10 for web (no way back)
    ");
    (world.listener, world.rules) = (None, Vec::new());
    assert_snapshot!(said(setup(&environment, &world)), @"
    what is missing is made
      1 network   load balancer (no way back)
      2           listener (no way back)
      3           rule 10 for web (no way back)
      4           rule 20 for admin (no way back)
    ");
}

#[test]
fn what_is_not_ours_is_left_alone() {
    let (environment, mut world) = world("web:; admin:");
    world.rules[0].action = RuleAction::Forward([("legacy".to_string(), 1)].into());
    world.rules[1].conditions.paths = vec!["/old/*".into()];
    assert_snapshot!(said(setup(&environment, &world)), @"
    REFUSED cannot set up production
      because  rule 10 is taken, and not by adstage: give web another priority
      because  rule 20 of admin asks for host any, path /old/*; adstage.toml says host any, path /admin/*. A rule in use is not changed: give the route a new priority
      next     aws elbv2 describe-rules --rule-arns rule/web
    ");
}
