//! Which release of a worker works. A worker that is held until it is made active says so by tags ([`Activity`]), so the world shows it and
//! the records need not be asked. One that is not (`overlap = true`, or launched before there was such a thing) works whenever it has
//! instances, and stops only by being put to sleep.
//!
//! A hand-over makes the next release active, then the others inactive, so that there is always one that works, and waits until the next
//! one has come up: it was healthy while it was held, which proves less.

use crate::model::{Activity, DeployTiming, ReleaseNumber, Seconds, ServiceName};

use super::draft::Draft;
use super::situation::Standing;
use super::{StageName, Step};

/// An agent reads its tag, and starts or stops what it holds, within so long.
const HEEDED: Seconds = Seconds(5);

impl Standing<'_> {
    fn activity(&self, release: ReleaseNumber) -> Option<Activity> {
        self.fleet(release)?.activity()
    }

    /// Its fleets are held and made active by tags.
    pub(super) fn is_held(&self, release: ReleaseNumber) -> bool {
        self.activity(release).is_some()
    }

    /// Releases of which something works, oldest first.
    fn at_work(&self) -> Vec<ReleaseNumber> {
        let works = |release: &ReleaseNumber| {
            let working = || self.activity(*release).map_or(self.desired(*release) > 0, Activity::works);
            self.stands(*release) && working()
        };
        self.fleets.iter().map(|fleet| fleet.key.release).filter(works).collect()
    }

    /// The release of a worker that works: by its tags if they say so. None while several do, or one does in part.
    pub(super) fn working(&self) -> Option<ReleaseNumber> {
        if !self.fleets.iter().any(|fleet| self.is_held(fleet.key.release)) {
            return self.awake();
        }
        match self.at_work().as_slice() {
            [] => self.recorded().filter(|release| self.stands(*release)),
            [one] => Some(*one).filter(|one| self.activity(*one) != Some(Activity::Mixed)),
            _ => None,
        }
    }

    /// As recorded, unless that one sleeps while another is awake.
    fn awake(&self) -> Option<ReleaseNumber> {
        let awake = |release: &ReleaseNumber| self.desired(*release) > 0;
        let recorded = self.recorded().filter(|release| self.stands(*release))?;
        let newest_awake = || self.fleets.iter().rev().map(|fleet| fleet.key.release).find(awake);
        if awake(&recorded) { Some(recorded) } else { newest_awake().or(Some(recorded)) }
    }

    /// Several releases of a worker work, or one does in part.
    pub(super) fn divided(&self) -> bool {
        self.rule.is_none() && self.live.is_none() && !self.at_work().is_empty()
    }

    /// Exactly this release works, wholly.
    pub(super) fn works_alone(&self, release: ReleaseNumber) -> bool {
        self.rule.is_some() || !self.is_held(release) || (self.activity(release) == Some(Activity::Active) && self.at_work() == [release])
    }

    /// For people: `r41 and r42`.
    pub(super) fn at_work_said(&self) -> String {
        self.at_work().iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
    }

    /// Makes a release active, if it is held.
    fn activation(&self, release: ReleaseNumber, launched_held: bool) -> Option<Step> {
        let wanted = launched_held || matches!(self.activity(release), Some(Activity::Held | Activity::Mixed));
        wanted.then(|| Step::SetActive { fleet: self.key(release), active: true })
    }

    /// Makes every other release inactive that can be held and works.
    fn rests(&self, next: ReleaseNumber) -> Vec<Step> {
        let others = self.at_work().into_iter().filter(|release| *release != next && self.is_held(*release));
        others.map(|release| Step::SetActive { fleet: self.key(release), active: false }).collect()
    }
}

/// One worker whose work goes to another release.
pub(super) struct HandOver<'a, 'w> {
    pub standing: &'a Standing<'w>,
    pub to: ReleaseNumber,
    /// Instances that must come up.
    pub count: u32,
    /// Launched by this very plan, to be held.
    pub launched_held: bool,
}

impl HandOver<'_, '_> {
    /// Held by an operation that was cut short, it is looked at once more before it is made active.
    pub fn is_well(&self, timing: &DeployTiming) -> Option<Step> {
        let fleet = self.standing.key(self.to);
        let step = || Step::AwaitHealthy { fleet, count: self.count, within: timing.healthy_within, stable_for: Seconds(0) };
        self.standing.activation(self.to, false).map(|_| step())
    }
}

/// Active first, then inactive, then waited for.
pub(super) fn hand_over(all: &[HandOver], stage: StageName, timing: &DeployTiming, draft: &mut Draft) {
    let moved = |one: &&HandOver| one.standing.activation(one.to, one.launched_held).is_some();
    draft.wave(stage, all.iter().filter_map(|one| one.standing.activation(one.to, one.launched_held)));
    draft.wave(stage, all.iter().flat_map(|one| one.standing.rests(one.to)));
    draft.wave(stage, all.iter().filter(moved).map(|one| came_up(one, timing)));
}

/// At least until its agents have started it and seen it run.
fn came_up(one: &HandOver, timing: &DeployTiming) -> Step {
    let stable_for = timing.stable_for.max(HEEDED);
    let within = timing.healthy_within.max(Seconds(stable_for.0 * 2));
    Step::AwaitHealthy { fleet: one.standing.key(one.to), count: one.count, within, stable_for }
}

/// What the operator should know of a worker that goes from one release to another.
pub(super) fn said(name: &ServiceName, number: ReleaseNumber, live: ReleaseNumber, held: bool, live_is_held: bool) -> String {
    match (held, live_is_held) {
        (true, true) => format!("{name}-{number} is held until the cutover makes it active; {live} then finishes what it has and rests"),
        (true, false) => {
            format!("{name}-{number} is held until the cutover makes it active; {live} works beside it until it is put to sleep at the end")
        }
        (false, _) => {
            format!("{name} has no visitors to move: both releases work side by side until {live} is put to sleep at the end")
        }
    }
}
