//! A bake from the base image: a builder is launched and provisions itself, is stopped, captured, removed; then one instance is booted
//! from the image, in isolation, and only if every service comes up on it is the image marked verified.
//!
//! The image's name is a hash of what it is made from, so a repeated bake finds what the first one made: an image that is proved is a
//! plan without stages; one that is not (or failed: the cause may have been anything) is proved again.

use std::collections::BTreeMap;

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::model::{
    AppName, Builder, Environment, Image, ImageState, OperationKind, Provenance, ProvisionRepository, ProvisionSpec, RepositoryName,
    Source, UserDataError,
};

use super::candidate::{spec, user_data};
use super::refusal::Reasons;
use super::{Plan, Refusal, Stage, StageName, Step};

/// What is to be baked.
#[derive(Debug, Clone, Copy)]
pub struct BakeRequest<'a> {
    /// The app.
    pub app: &'a AppName,
    /// What the image is made from.
    pub builder: &'a Builder,
    /// The environment the builder runs in; the proof boots its services.
    pub environment: &'a Environment,
    /// Commit of each repository, in full.
    pub commits: &'a BTreeMap<RepositoryName, String>,
    /// The app's images in this account and Region.
    pub images: &'a [Image],
}

/// The first 12 hex digits of the hash of everything that goes into an image.
pub fn bake_hash(app: &AppName, builder: &Builder, commits: &BTreeMap<RepositoryName, String>) -> String {
    #[derive(Serialize)]
    struct Inputs<'a> {
        app: &'a AppName,
        base: &'a str,
        setup: Option<&'a str>,
        repositories: BTreeMap<&'a RepositoryName, (&'a Source, Option<&'a String>, Option<&'a str>)>,
    }
    let repositories = builder.repositories.iter();
    let repositories = repositories.map(|(name, repository)| (name, (&repository.source, commits.get(name), repository.build.as_deref())));
    let inputs = Inputs { app, base: &builder.base, setup: builder.setup.as_deref(), repositories: repositories.collect() };
    // Plain strings and maps always serialise.
    let text = serde_json::to_vec(&inputs).unwrap_or_default();
    Sha256::digest(&text).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

/// Name of the image a bake makes: `shop-3f9c2d1a0b44`.
pub fn image_name(app: &AppName, bake: &str) -> String {
    format!("{app}-{bake}")
}

/// The builder's user data.
pub fn builder_script(builder: &Builder, commits: &BTreeMap<String, String>) -> Result<String, UserDataError> {
    let told = builder.repositories.iter().filter_map(|(name, repository)| {
        let commit = commits.get(name.as_str())?.clone();
        let told = ProvisionRepository { source: repository.source.clone(), commit, build: repository.build.clone() };
        Some((name.clone(), told))
    });
    ProvisionSpec { repositories: told.collect() }.script(builder.setup.as_deref(), builder.time_limit)
}

/// The plan that makes a proved image, or every reason why there must not be one.
pub fn bake(request: BakeRequest) -> Result<Plan, Refusal> {
    let BakeRequest { app, builder, commits, .. } = request;
    let hash = bake_hash(app, builder, commits);
    let name = image_name(app, &hash);
    let existing = request.images.iter().find(|image| image.name == name);
    let mut reasons = Reasons::default();
    for repository in builder.repositories.keys().filter(|repository| !commits.contains_key(*repository)) {
        reasons.add(format!("no commit is known for repository `{repository}`"), "");
    }
    if let Some(image) = existing.filter(|image| image.state == ImageState::Unusable) {
        let remove = "adstage image prune";
        reasons.add(format!("an image of this name is there and can never be launched: {} ({})", image.name, image.id), remove);
    }
    let commits: BTreeMap<String, String> = commits.iter().map(|(name, commit)| (name.to_string(), commit.clone())).collect();
    if let Err(error) = builder_script(builder, &commits) {
        reasons.add(format!("the builder: {error}"), "");
    }
    let proof = proof(request.environment, builder, &hash, &name);
    if let Err(error) = &proof {
        reasons.add(format!("the proof: {error}"), "");
    }
    let proved = existing.is_some_and(|image| image.state == ImageState::Available && image.provenance == Provenance::Verified);
    reasons.verdict(format!("cannot bake {name}"))?;
    let (stages, note) = match existing {
        Some(image) if proved => (Vec::new(), Some(format!("{name} ({}) is made from just this and proved, nothing to do", image.id))),
        Some(image) => {
            let note = format!("{name} ({}) was captured before and is not proved: it is proved now", image.id);
            (adopt(&request, &hash, &name, &commits).into_iter().chain(proof.unwrap_or_default()).collect(), Some(note))
        }
        None => (make(&request, &hash, &name, &commits).into_iter().chain(proof.unwrap_or_default()).collect(), None),
    };
    let none = BTreeMap::new;
    let notes = note.into_iter().collect();
    Ok(Plan {
        kind: OperationKind::Bake,
        release: None,
        previous: None,
        new_release: false,
        divided: false,
        before: none(),
        serving: none(),
        notes,
        stages,
    })
}

/// One step after the other.
pub(super) fn one(name: StageName, step: Step) -> Stage {
    Stage { name, steps: vec![step] }
}

/// The builder, its provisioning and the capture.
fn make(request: &BakeRequest, bake: &str, name: &str, commits: &BTreeMap<String, String>) -> Vec<Stage> {
    let (builder, within) = (request.builder, request.builder.time_limit);
    let bake = || bake.to_string();
    let launch = Step::LaunchBuilder { bake: bake(), builder: builder.clone(), commits: commits.clone() };
    vec![
        one(StageName::Provision, launch),
        one(StageName::Provision, Step::AwaitProvision { bake: bake(), within }),
        one(StageName::Capture, Step::StopBuilder { bake: bake() }),
        one(StageName::Capture, Step::CaptureImage { bake: bake(), name: name.to_string(), commits: commits.clone(), within }),
        one(StageName::Capture, Step::TerminateBuilder { bake: bake() }),
    ]
}

/// A capture that an earlier bake began is waited for; that bake's builder may still be there.
fn adopt(request: &BakeRequest, bake: &str, name: &str, commits: &BTreeMap<String, String>) -> Vec<Stage> {
    make(request, bake, name, commits).split_off(3)
}

/// One instance booted from the image, with every service.
pub(super) fn proof(environment: &Environment, builder: &Builder, bake: &str, name: &str) -> Result<Vec<Stage>, UserDataError> {
    let (within, bake) = (builder.time_limit, || bake.to_string());
    let specs = environment.services.iter().map(|service| (service.name.clone(), spec(service, &environment.timing))).collect();
    let launch = Step::LaunchProof {
        bake: bake(),
        name: name.to_string(),
        instance_type: builder.instance_type.clone(),
        user_data: user_data(environment, None, &specs)?,
        services: environment.services.iter().map(|service| service.name.clone()).collect(),
        time_limit: within,
    };
    Ok(vec![
        one(StageName::Prove, launch),
        one(
            StageName::Prove,
            Step::AwaitProof { bake: bake(), name: name.to_string(), within: environment.timing.healthy_within.min(within) },
        ),
        // Marked last: a marked image is never looked at again, so nothing may be left to clear up then.
        one(StageName::Prove, Step::TerminateProof { bake: bake() }),
        one(StageName::Prove, Step::MarkVerified { name: name.to_string() }),
    ])
}
