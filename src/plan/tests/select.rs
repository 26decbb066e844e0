use insta::assert_snapshot;

use crate::model::*;

use super::super::{DeployRequest, Elsewhere, Neighbour};
use super::world::{image, name, world};
use super::{deployed, said};

fn neighbour(which: &str, account: &str) -> Neighbour {
    Neighbour { name: name(which), account: account.into(), region: "eu-central-1".into(), silent: None }
}

fn used(id: &str, verdict: Verdict) -> ImageUse {
    let Image { id, name: called, .. } = image(id);
    let (live, warm, last_good) = (false, false, false);
    ImageUse { image: id, name: called, environment: name("staging"), release: ReleaseNumber(7), live, warm, last_good, verdict }
}

fn production() -> (Environment, World) {
    let (environment, world) = world("web: r41 x3 live");
    (Environment { confirm: Confirm::Name, ..environment }, world)
}

fn staging(uses: Vec<ImageUse>) -> Elsewhere {
    Elsewhere { environments: vec![neighbour("staging", "444455556666")], uses }
}

fn taken(elsewhere: Elsewhere, image: Option<&str>, force: bool) -> String {
    let request = DeployRequest { image: image.map(str::to_string), elsewhere, force, ..DeployRequest::default() };
    said(deployed(&production(), &request)).lines().take(4).collect::<Vec<_>>().join("\n")
}

#[test]
fn what_asks_for_its_name_takes_the_newest_image_only_if_it_has_served_elsewhere() {
    assert_snapshot!(taken(staging(Vec::new()), None, false), @"
    REFUSED cannot deploy to production
      because  the newest image, shop-new (ami-new), has not served in any other environment yet (staging)
      next     adstage deploy staging --image shop-new
      next     adstage deploy production --image shop-new
    ");
    assert_snapshot!(taken(staging(vec![used("ami-new", Verdict::Good)]), None, false), @"
    r42 (shop-new, ami-new) replaces r41
      note  web keeps the 3 instances it has now; the 2 of adstage.toml are for a first release
      1 prepare   template from ami-new, m7i.large: web-r42
      2           target group: web-r42
    ");
    assert_snapshot!(taken(staging(vec![used("ami-new", Verdict::Untried)]), Some("ami-new"), false), @"
    r42 (shop-new, ami-new) replaces r41
      note  web keeps the 3 instances it has now; the 2 of adstage.toml are for a first release
      1 prepare   template from ami-new, m7i.large: web-r42
      2           target group: web-r42
    ");
    assert!(taken(Elsewhere::default(), None, false).contains("replaces r41"), "there is nowhere else");
}

#[test]
fn what_could_not_be_asked_is_said() {
    let silent = Neighbour { silent: Some("not logged in to AWS".into()), ..neighbour("staging", "111122223333") };
    assert_snapshot!(taken(Elsewhere { environments: vec![silent], uses: Vec::new() }, None, false), @"
    REFUSED cannot deploy to production
      because  the newest image, shop-new (ami-new), has not served in any other environment yet (staging)
      because  the records of staging could not be read: not logged in to AWS
      next     adstage deploy staging --image shop-new
    ");
}

#[test]
fn an_image_that_is_bad_elsewhere_needs_force() {
    let bad = || staging(vec![used("ami-new", Verdict::Bad { reason: "checkout fails".into() })]);
    assert_snapshot!(taken(bad(), Some("shop-new"), false), @"
    REFUSED cannot deploy to production
      because  image shop-new (ami-new) is marked bad as r7 of staging: checkout fails
      next     adstage image list
      next     adstage deploy production --image shop-new --force
    ");
    assert_snapshot!(taken(bad(), Some("shop-new"), true), @"
    r42 (shop-new, ami-new) replaces r41
      note  web keeps the 3 instances it has now; the 2 of adstage.toml are for a first release
      note  image shop-new (ami-new) is marked bad as r7 of staging: checkout fails: forced
      1 prepare   template from ami-new, m7i.large: web-r42
    ");
    // Unnamed, the next one is looked at: it serves here already.
    assert_snapshot!(taken(bad(), None, false), @"
    r41 (shop-41, ami-41) stays live
      note  r41 is already live, nothing to do
    ");
}

#[test]
fn a_failed_image_says_when_and_why_and_needs_force() {
    let (environment, mut world) = production();
    let failed = FailedProof { at: "2026-11-21T09:00:00Z".into(), why: "web exited with 1".into(), console: String::new() };
    let origin = Origin { failed: Some(failed), from: Some("box blue".into()), ..Origin::default() };
    world.images.insert(0, Image { provenance: Provenance::Failed, origin, ..image("ami-failed") });
    let request = DeployRequest { image: Some("ami-failed".into()), ..DeployRequest::default() };
    let world = (environment, world);
    assert_snapshot!(said(deployed(&world, &request)), @"
    REFUSED cannot deploy to production
      because  image shop-failed (ami-failed) failed its proof, 2026-11-21T09:00:00Z: web exited with 1
      next     adstage image bake --from blue
      next     adstage deploy production --image ami-failed --force
    ");
    let forced = deployed(&world, &DeployRequest { force: true, ..request }).unwrap();
    assert_snapshot!(forced.notes.join("\n"), @"
    web keeps the 3 instances it has now; the 2 of adstage.toml are for a first release
    image shop-failed (ami-failed) failed its proof, 2026-11-21T09:00:00Z: web exited with 1: forced
    ");
}

#[test]
fn an_image_that_is_somewhere_else_says_how_it_comes_here() {
    let other = |which: &str, account: &str, region: &str| Neighbour { region: region.into(), ..neighbour(which, account) };
    let elsewhere = |other: Neighbour| Elsewhere { environments: vec![other], uses: vec![used("ami-77", Verdict::Good)] };
    assert_snapshot!(taken(elsewhere(other("staging", "444455556666", "us-east-1")), Some("shop-77"), false), @"
    REFUSED cannot deploy to production
      because  there is no image `shop-77` in account 444455556666, eu-central-1
      because  staging has it, in account 444455556666, us-east-1
      next     adstage image copy shop-77 --env staging --to eu-central-1
    ");
    assert_snapshot!(taken(elsewhere(other("staging", "111122223333", "eu-central-1")), Some("ami-77"), false), @"
    REFUSED cannot deploy to production
      because  there is no image `ami-77` in account 444455556666, eu-central-1
      because  staging has it, in account 111122223333, eu-central-1
      next     adstage image copy ami-77 --env staging --to production
    ");
    assert_snapshot!(taken(Elsewhere::default(), Some("ami-77"), false), @"
    REFUSED cannot deploy to production
      because  there is no image `ami-77` in account 444455556666, eu-central-1
      next     adstage image list
    ");
}
