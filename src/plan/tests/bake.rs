use std::collections::BTreeMap;

use insta::assert_snapshot;

use crate::model::*;

use super::super::{BakeRequest, bake, bake_hash};
use super::said;
use super::world::{environment, image, name};

pub fn builder() -> Builder {
    let repository =
        Repository { source: Source::Url("https://example.com/storefront".into()), reference: "main".into(), build: Some("make".into()) };
    Builder {
        base: "ami-base".into(),
        instance_type: "m7i.large".into(),
        setup: None,
        time_limit: Seconds(3_600),
        environment: name("production"),
        repositories: BTreeMap::from([(name("storefront"), repository)]),
    }
}

fn baked(builder: &Builder, commits: &BTreeMap<RepositoryName, String>, images: &[Image]) -> String {
    let environment = environment(&["web", "worker"]);
    said(bake(BakeRequest { app: &name("shop"), builder, environment: &environment, commits, images }))
}

#[test]
fn from_the_base_image() {
    let commits = BTreeMap::from([(name("storefront"), "4f2c".repeat(10))]);
    assert_snapshot!(baked(&builder(), &commits, &[]), @"
    an image is baked and proved
      1 provision builder from ami-base, m7i.large
      2           builder provisioned, within 1h
      3 capture   stop the builder
      4           capture shop-29469f258534, within 1h
      5           terminate the builder
      6 prove     boot one instance from shop-29469f258534, in isolation
      7           every service up on it, within 10m
      8           terminate the proof instance
      9           mark shop-29469f258534 verified
    ");
}

#[test]
fn what_is_there_is_not_made_again() {
    let commits = BTreeMap::from([(name("storefront"), "4f2c".repeat(10))]);
    let hash = bake_hash(&name("shop"), &builder(), &commits);
    let there = Image { name: format!("shop-{hash}"), ..image("ami-there") };
    assert_snapshot!(baked(&builder(), &commits, std::slice::from_ref(&there)), @"
    nothing to bake
      note  shop-29469f258534 (ami-there) is made from just this and proved, nothing to do
    ");
    assert_snapshot!(baked(&builder(), &commits, &[Image { provenance: Provenance::Unproved, ..there.clone() }]), @"
    an image is baked and proved
      note  shop-29469f258534 (ami-there) was captured before and is not proved: it is proved now
      1 capture   capture shop-29469f258534, within 1h
      2           terminate the builder
      3 prove     boot one instance from shop-29469f258534, in isolation
      4           every service up on it, within 10m
      5           terminate the proof instance
      6           mark shop-29469f258534 verified
    ");
    assert_snapshot!(baked(&builder(), &commits, &[Image { state: ImageState::Unusable, ..there }]), @"
    REFUSED cannot bake shop-29469f258534
      because  an image of this name is there and can never be launched: shop-29469f258534 (ami-there)
      next     adstage image prune
    ");
}

#[test]
fn everything_that_goes_in_is_in_the_name() {
    let commits = BTreeMap::from([(name("storefront"), "4f2c".repeat(10))]);
    let hash = |builder: &Builder, commits: &BTreeMap<RepositoryName, String>| bake_hash(&name("shop"), builder, commits);
    let first = hash(&builder(), &commits);
    assert_eq!(first, hash(&builder(), &commits));
    assert_ne!(first, hash(&builder(), &BTreeMap::from([(name("storefront"), "0000".repeat(10))])));
    assert_ne!(first, hash(&Builder { base: "ami-other".into(), ..builder() }, &commits));
    assert_ne!(first, hash(&Builder { setup: Some("true".into()), ..builder() }, &commits));
    assert_eq!(
        first,
        hash(&Builder { time_limit: Seconds(1), ..builder() }, &commits),
        "how long it may take changes nothing on the image"
    );
}

#[test]
fn without_a_commit() {
    assert_snapshot!(baked(&builder(), &BTreeMap::new(), &[]), @"
    REFUSED cannot bake shop-1f7f956e3b33
      because  no commit is known for repository `storefront`
    ");
}
