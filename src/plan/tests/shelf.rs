use insta::assert_snapshot;

use crate::model::*;

use super::super::{PruneRequest, copy_image, prune, render, share_image};
use super::said;
use super::world::{environment, image, name};

/// Images `ami-1` to `ami-N`, newest first; created on days of their number.
fn images(count: usize) -> Vec<Image> {
    let one = |number: usize| Image { created: format!("2026-11-{number:02}T09:00:00Z"), ..image(&format!("ami-{number}")) };
    (1..=count).rev().map(one).collect()
}

fn used(which: &Image, environment: &str, release: u32) -> ImageUse {
    let (live, warm, last_good) = (false, false, false);
    let (release, environment) = (ReleaseNumber(release), name(environment));
    ImageUse { image: which.id.clone(), name: which.name.clone(), environment, release, live, warm, last_good, verdict: Verdict::Good }
}

fn pruned(world: &World, keep: usize) -> String {
    let plan = prune(world, &PruneRequest { keep, day_ago: "2026-11-21T12:00:00Z".into() });
    assert_eq!(super::super::lint(&plan, None), []);
    render(&plan).join("\n")
}

#[test]
fn the_newest_stay_and_whatever_anybody_needs() {
    let mut images = images(9);
    let at = |number: usize| 9 - number;
    images[at(8)].provenance = Provenance::Failed;
    let failed = |at: &str| Some(FailedProof { at: at.into(), why: "web exited".into(), console: String::new() });
    images[at(8)].origin.failed = failed("2026-11-22T09:00:00Z");
    images[at(1)].provenance = Provenance::Failed;
    images[at(1)].origin.failed = failed("2026-11-01T09:00:00Z");
    let uses = vec![
        ImageUse { live: true, ..used(&images[at(2)], "production", 41) },
        ImageUse { warm: true, ..used(&images[at(3)], "staging", 7) },
        ImageUse { last_good: true, ..used(&images[at(4)], "production", 40) },
        ImageUse { verdict: Verdict::Bad { reason: "checkout fails".into() }, ..used(&images[at(9)], "staging", 8) },
        used(&images[at(6)], "production", 39),
    ];
    let references = [(images[at(5)].id.clone(), vec!["arn:aws:ec2:eu-central-1:444455556666:instance/i-1".to_string()])].into();
    let world = World { images, uses, references, ..World::default() };
    assert_snapshot!(pruned(&world, 1), @"
    images nobody needs are removed
      note  shop-2 stays: live in production (r41)
      note  shop-3 stays: warm in staging (r7)
      note  shop-4 stays: the last good one of production (r40)
      note  shop-5 stays: arn:aws:ec2:eu-central-1:444455556666:instance/i-1 refers to it
      note  shop-8 stays: it failed its proof less than a day ago
      note  the newest 1 verified stay
      1 remove    remove shop-1 (ami-1) and its snapshots (no way back)
      2           remove shop-6 (ami-6) and its snapshots (no way back)
      3           remove shop-9 (ami-9) and its snapshots (no way back)
    ");
    assert_snapshot!(pruned(&world, 10), @"
    images nobody needs are removed
      note  shop-2 stays: live in production (r41)
      note  shop-3 stays: warm in staging (r7)
      note  shop-4 stays: the last good one of production (r40)
      note  shop-5 stays: arn:aws:ec2:eu-central-1:444455556666:instance/i-1 refers to it
      note  shop-8 stays: it failed its proof less than a day ago
      note  the newest 6 verified stay
      1 remove    remove shop-1 (ami-1) and its snapshots (no way back)
      2           remove shop-9 (ami-9) and its snapshots (no way back)
    ");
}

#[test]
fn what_may_be_at_work_stays() {
    let mut images = images(22);
    images.truncate(2);
    (images[0].provenance, images[1].state) = (Provenance::Unproved, ImageState::Pending);
    assert_snapshot!(pruned(&World { images, ..World::default() }, 0), @"
    nothing to do
      note  shop-21 stays: it is being captured
      note  shop-22 stays: it is less than a day old and not proved
    ");
}

#[test]
fn to_another_region_or_account() {
    let here = environment(&["web"]);
    let copy = |image: Image, region| said(copy_image(&here, std::slice::from_ref(&image), &image, region));
    let share = |image: Image, account| said(share_image(&here, std::slice::from_ref(&image), &image, account));
    assert_snapshot!(copy(image("ami-1"), "us-east-1"), @"
    an image goes to where else it is needed
      1 share     copy shop-1 to us-east-1, within 1d
    ");
    assert_snapshot!(said(copy_image(&here, &[], &image("ami-1"), "us-east-1")), @"
    REFUSED cannot copy shop-1 to us-east-1
      because  ami-1 was removed meanwhile
      next     adstage image list
    ");
    assert_snapshot!(copy(Image { state: ImageState::Pending, ..image("ami-1") }, "eu-central-1"), @"
    REFUSED cannot copy shop-1 to eu-central-1
      because  it is not available
      because  it is in eu-central-1 already
      next     adstage image list
    ");
    assert_snapshot!(share(Image { provenance: Provenance::Failed, ..image("ami-1") }, "111122223333"), @"
    an image goes to where else it is needed
      note  shop-1 is not verified: it cannot be deployed there either
      1 share     let account 111122223333 launch and copy shop-1 (no way back)
    ");
    assert_snapshot!(share(Image { app: None, ..image("ami-1") }, "444455556666"), @"
    REFUSED cannot share shop-1 with 444455556666
      because  it is no image of shop
      because  account 444455556666 owns it
      next     adstage image list
    ");
}
