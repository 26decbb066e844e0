use std::collections::BTreeMap;

use insta::assert_snapshot;

use crate::model::*;

use super::super::{BoxBakeRequest, bake_box, box_bake_hash, image_name};
use super::bake::builder;
use super::said;
use super::world::{environment, image, name};

fn seen() -> Inspection {
    let commits = BTreeMap::from([(name("storefront"), "4f2c".repeat(10))]);
    Inspection { commits, dirty: BTreeMap::new(), services: BTreeMap::new() }
}

fn world(approved: Option<Approval>) -> World {
    let instance = BoxInstance {
        id: "i-1".into(),
        state: "running".into(),
        address: None,
        instance_type: "m7i.large".into(),
        image: ImageId("ami-1".into()),
        owner: "ana".into(),
        launched: String::new(),
        expires: String::new(),
        commits: seen().commits,
        asked: BTreeMap::new(),
        approved,
    };
    let blue = ReviewBox {
        name: name("blue"),
        instance: Some(instance),
        rules: vec!["r1".into()],
        target_groups: [None, Some(name("web"))].map(group).to_vec(),
    };
    World { boxes: vec![blue], ..World::default() }
}

fn group(service: Option<ServiceName>) -> BoxTargetGroup {
    let called = box_target_group(&name("shop"), &name("blue"), service.as_ref());
    BoxTargetGroup { service, arn: format!("tg/{called}"), name: called, targets: Vec::new() }
}

fn approval() -> Option<Approval> {
    Some(Approval { who: "ana".into(), at: "2026-11-22T09:00:00Z".into(), commits: commits_hash(&seen().commits) })
}

fn baked(world: &World, seen: &Inspection, unapproved: Option<&str>, allow_dirty: bool) -> String {
    let (app, environment, of, builder) = (name("shop"), environment(&["web", "worker"]), name("blue"), builder());
    let clean = Some("bin/clean");
    let (builder, ready_within) = (&builder, Seconds(600));
    let request =
        BoxBakeRequest { app: &app, builder, environment: &environment, of: &of, seen, ready_within, clean, unapproved, allow_dirty };
    let plan = bake_box(world, request);
    assert_eq!(plan.iter().flat_map(|plan| super::super::lint(plan, None)).collect::<Vec<_>>(), []);
    said(plan)
}

#[test]
fn what_was_approved_is_captured_and_proved() {
    assert_snapshot!(baked(&world(approval()), &seen(), None, false), @"
    an image is baked and proved
      note  AWS restarts box blue while it is captured; what its backing stores hold is removed before
      1 capture   clean box blue of what must not be on an image (no way back)
      2           capture box blue as shop-358da7f81815, within 1h
      3           everything on blue healthy at the load balancer, within 10m
      4 prove     boot one instance from shop-358da7f81815, in isolation
      5           every service up on it, within 10m
      6           terminate the proof instance
      7           mark shop-358da7f81815 verified
    ");
}

#[test]
fn what_nobody_approved_needs_a_reason() {
    assert_snapshot!(baked(&world(None), &seen(), None, false), @"
    REFUSED cannot bake an image of box blue
      because  nobody has approved box blue
      next     adstage review approve blue
      next     adstage image bake --from blue --unapproved REASON
    ");
    let changed = Inspection { commits: BTreeMap::from([(name("storefront"), "0000".repeat(10))]), ..seen() };
    assert_snapshot!(baked(&world(approval()), &changed, None, false), @"
    REFUSED cannot bake an image of box blue
      because  ana approved other commits than are on box blue now, 2026-11-22T09:00:00Z
      next     adstage review approve blue
      next     adstage image bake --from blue --unapproved REASON
    ");
    let told = baked(&world(None), &seen(), Some("the login is broken"), false);
    assert!(told.contains("note  nobody approved it: the login is broken"), "{told}");
}

#[test]
fn what_is_on_no_commit_is_named_and_refused() {
    let files = ["a", "b", "c", "d", "e", "f"].map(str::to_string).to_vec();
    let dirty = Inspection { dirty: BTreeMap::from([(name("storefront"), files)]), ..seen() };
    assert_snapshot!(baked(&world(approval()), &dirty, None, false), @"
    REFUSED cannot bake an image of box blue
      because  storefront has changes that are on no commit: a, b, c, d, e and 1 more
      next     adstage image bake --from blue --allow-dirty
    ");
    let told = baked(&world(approval()), &dirty, None, true);
    assert!(told.contains("note  storefront is dirty: a, b, c, d, e and 1 more"), "{told}");
    let hash = |seen: &Inspection| box_bake_hash(&name("shop"), &ImageId("ami-1".into()), seen);
    assert_ne!(hash(&dirty), hash(&seen()), "it is another image");
}

#[test]
fn what_an_earlier_bake_began_is_finished() {
    let mut there = world(approval());
    let called = image_name(&name("shop"), &box_bake_hash(&name("shop"), &ImageId("ami-1".into()), &seen()));
    there.images = vec![Image { name: called, provenance: Provenance::Unproved, ..image("ami-there") }];
    assert_snapshot!(baked(&there, &seen(), None, false), @"
    an image is baked and proved
      note  shop-358da7f81815 (ami-there) was captured before: it is proved now
      1 capture   capture box blue as shop-358da7f81815, within 1h
      2           everything on blue healthy at the load balancer, within 10m
      3 prove     boot one instance from shop-358da7f81815, in isolation
      4           every service up on it, within 10m
      5           terminate the proof instance
      6           mark shop-358da7f81815 verified
    ");
    there.images[0].provenance = Provenance::Verified;
    assert_snapshot!(baked(&there, &seen(), None, false), @"
    nothing to bake
      note  shop-358da7f81815 (ami-there) is made from just this and proved, nothing to do
    ");
    assert_snapshot!(baked(&World::default(), &seen(), None, false), @"
    REFUSED cannot bake an image of box blue
      because  there is no box blue that runs
      next     adstage review create blue
    ");
}
