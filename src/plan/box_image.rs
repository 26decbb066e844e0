//! A bake from a review box: what must not be on an image is removed, the box is captured as it is and awaited until it is up again, and the
//! image is proved as any other.
//!
//! The image's name is a hash of what the box came from, the commits on it and the files that are on none, so a repeated bake finds what
//! the first one made. Only what somebody approved is baked: exactly those commits.

use std::collections::BTreeMap;

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::model::{
    AppName, BoxInstance, BoxName, Builder, Environment, ImageId, ImageState, Inspection, OperationKind, Provenance, RepositoryName,
    ReviewBox, Seconds, World, commits_hash, tag,
};

use super::image::{image_name, one, proof};
use super::refusal::Reasons;
use super::{Plan, Refusal, Stage, StageName, Step};

/// What is to be baked.
#[derive(Debug, Clone, Copy)]
pub struct BoxBakeRequest<'a> {
    /// The app.
    pub app: &'a AppName,
    /// The instance type of the proof, and how long anything may take.
    pub builder: &'a Builder,
    /// The proof boots its services.
    pub environment: &'a Environment,
    /// Which box.
    pub of: &'a BoxName,
    /// What is on it.
    pub seen: &'a Inspection,
    /// How long it may take until it is up again.
    pub ready_within: Seconds,
    /// The company's own command that cleans it.
    pub clean: Option<&'a str>,
    /// Bake it although nobody approved it, because of this.
    pub unapproved: Option<&'a str>,
    /// Bake it with files that are on no commit.
    pub allow_dirty: bool,
}

/// The first 12 hex digits of the hash of everything that goes into an image of a box.
pub fn box_bake_hash(app: &AppName, from: &ImageId, seen: &Inspection) -> String {
    #[derive(Serialize)]
    struct Inputs<'a> {
        app: &'a AppName,
        from: &'a ImageId,
        commits: &'a BTreeMap<RepositoryName, String>,
        dirty: &'a BTreeMap<RepositoryName, Vec<String>>,
    }
    // Plain strings and maps always serialise.
    let text = serde_json::to_vec(&Inputs { app, from, commits: &seen.commits, dirty: &seen.dirty }).unwrap_or_default();
    Sha256::digest(&text).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

/// The plan that makes a proved image of a box, or every reason why there must not be one.
pub fn bake_box(world: &World, request: BoxBakeRequest) -> Result<Plan, Refusal> {
    let BoxBakeRequest { app, of, seen, .. } = request;
    let mut reasons = Reasons::default();
    let what = format!("cannot bake an image of box {of}");
    let whole_box = world.boxes.iter().find(|found| found.name == *of);
    let Some((whole_box, found)) = whole_box.and_then(|found| Some((found, found.instance.as_ref()?))) else {
        reasons.add(format!("there is no box {of} that runs"), format!("adstage review create {of}"));
        return Err(reasons.refusal(what));
    };
    let hash = box_bake_hash(app, &found.image, seen);
    let name = image_name(app, &hash);
    approved(&request, found, &mut reasons);
    committed(&request, &mut reasons);
    let existing = world.images.iter().find(|image| image.name == name);
    if let Some(image) = existing.filter(|image| image.state == ImageState::Unusable) {
        reasons.add(format!("an image of this name is there and can never be launched: {name} ({})", image.id), "adstage image prune");
    }
    let proof = proof(request.environment, request.builder, &hash, &name);
    if let Err(error) = &proof {
        reasons.add(format!("the proof: {error}"), "");
    }
    reasons.verdict(what)?;
    let (again, proof) = (up_again(&request, whole_box), proof.unwrap_or_default());
    let after = again.into_iter().chain(proof);
    let (stages, notes) = match existing {
        Some(image) if image.state == ImageState::Available && image.provenance == Provenance::Verified => {
            let same = format!("{name} ({}) is made from just this and proved, nothing to do", image.id);
            // Only the names of such files are in the hash, not what is in them.
            let unsure = || "whether the files that are on no commit were the same then, nobody knows: commit them".to_string();
            (Vec::new(), std::iter::once(same).chain((!seen.dirty.is_empty()).then(unsure)).collect())
        }
        Some(image) => (
            capturing(&request, found, &hash, name.clone(), after),
            vec![format!("{name} ({}) was captured before: it is proved now", image.id)],
        ),
        None => (whole(&request, found, &hash, name, after), told(&request)),
    };
    let none = BTreeMap::new;
    let kind = OperationKind::Bake;
    Ok(Plan { kind, release: None, previous: None, new_release: false, divided: false, before: none(), serving: none(), notes, stages })
}

/// Somebody has found good exactly what is on it, or there is a reason to do without.
fn approved(request: &BoxBakeRequest, found: &BoxInstance, reasons: &mut Reasons) {
    if request.unapproved.is_some() {
        return;
    }
    let of = request.of;
    let why = match &found.approved {
        None => format!("nobody has approved box {of}"),
        Some(approval) if approval.commits != commits_hash(&request.seen.commits) => {
            format!("{} approved other commits than are on box {of} now, {}", approval.who, approval.at)
        }
        Some(_) => return,
    };
    reasons.add(why, format!("adstage review approve {of}"));
    reasons.offer(format!("adstage image bake --from {of} --unapproved REASON"));
}

/// Nothing is on it that is on no commit, or that is wanted.
fn committed(request: &BoxBakeRequest, reasons: &mut Reasons) {
    if request.allow_dirty {
        return;
    }
    for (repository, files) in &request.seen.dirty {
        let again = format!("adstage image bake --from {} --allow-dirty", request.of);
        reasons.add(format!("{repository} has changes that are on no commit: {}", few(files)), again);
    }
}

fn few(files: &[String]) -> String {
    let more = files.len().saturating_sub(5);
    let shown = files.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}

fn told(request: &BoxBakeRequest) -> Vec<String> {
    let mut notes = vec![format!("AWS restarts box {} while it is captured; what its backing stores hold is removed before", request.of)];
    notes.extend(request.unapproved.map(|reason| format!("nobody approved it: {reason}")));
    notes.extend(request.seen.dirty.iter().map(|(repository, files)| format!("{repository} is dirty: {}", few(files))));
    notes
}

fn whole(request: &BoxBakeRequest, found: &BoxInstance, hash: &str, name: String, after: impl Iterator<Item = Stage>) -> Vec<Stage> {
    let clean = Step::CleanBox { of: request.of.clone(), clean: request.clean.map(str::to_string) };
    std::iter::once(one(StageName::Capture, clean)).chain(capturing(request, found, hash, name, after)).collect()
}

/// A capture that an earlier bake began is waited for.
fn capturing(request: &BoxBakeRequest, found: &BoxInstance, hash: &str, name: String, after: impl Iterator<Item = Stage>) -> Vec<Stage> {
    std::iter::once(one(StageName::Capture, capture(request, found, hash, &name))).chain(after).collect()
}

/// Whoever looks at the box finds it again as it was before AWS restarted it.
fn up_again(request: &BoxBakeRequest, found: &ReviewBox) -> Option<Stage> {
    let (own, agent): (Vec<_>, Vec<_>) = found.target_groups.iter().partition(|group| group.service.is_some());
    let target_groups = own.into_iter().chain(agent).map(|group| group.name.clone()).collect();
    let wait = Step::AwaitBox { name: request.of.clone(), target_groups, within: request.ready_within };
    (!found.rules.is_empty()).then(|| one(StageName::Capture, wait))
}

fn capture(request: &BoxBakeRequest, found: &BoxInstance, hash: &str, name: &str) -> Step {
    let seen = request.seen;
    let mut tags: BTreeMap<String, String> = BTreeMap::from([(tag::FROM.to_string(), format!("box {}", request.of))]);
    tags.extend(seen.commits.iter().map(|(repository, commit)| (format!("{}{repository}", tag::REF_PREFIX), commit.clone())));
    match (request.unapproved, &found.approved) {
        (Some(reason), _) => drop(tags.insert(tag::UNAPPROVED.into(), short(reason))),
        (None, Some(approval)) => drop(tags.insert(tag::APPROVED.into(), short(&format!("{} {}", approval.who, approval.at)))),
        (None, None) => {}
    }
    let dirty = seen.dirty.iter().flat_map(|(repository, files)| files.iter().map(move |file| format!("{repository}/{file}")));
    let dirty: Vec<String> = dirty.collect();
    if !dirty.is_empty() {
        tags.insert(tag::DIRTY.into(), short(&dirty.join(" ")));
    }
    Step::CaptureBox {
        bake: hash.to_string(),
        name: name.to_string(),
        of: request.of.clone(),
        instance: found.id.clone(),
        tags,
        within: request.builder.time_limit,
    }
}

/// As long as the value of a tag may be.
fn short(text: &str) -> String {
    text.chars().take(256).collect()
}
