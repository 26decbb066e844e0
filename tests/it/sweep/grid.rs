//! Which stories there are.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use super::stage::Start;
use super::story::{Deed, Story};
use super::wire::{Call, Fault};

/// One operation, and what may be typed after it was cut short.
#[derive(Debug)]
pub struct Family {
    pub start: Start,
    pub deed: Deed,
    pub nexts: &'static [Deed],
    calls: OnceLock<Vec<Call>>,
}

const fn family(start: Start, deed: Deed, nexts: &'static [Deed]) -> Family {
    Family { start, deed, nexts, calls: OnceLock::new() }
}

const SERVING: &[Deed] = &[Deed::Rollback, Deed::Deploy, Deed::Resume, Deed::Abort];
/// What sizes are struck by is answered by the same again, or by whatever else is at hand.
const fn sizing(same: Deed) -> [Deed; 5] {
    [same, Deed::Resume, Deed::Abort, Deed::Rollback, Deed::Deploy]
}
static UP: [Deed; 5] = sizing(Deed::ScaleUp);
static DOWN: [Deed; 5] = sizing(Deed::ScaleDown);
static BACK: [Deed; 5] = sizing(Deed::HandBack);

pub static FAMILIES: [Family; 28] = [
    family(Start::Bare, Deed::Setup, &[Deed::Setup, Deed::Abort]),
    family(Start::Empty, Deed::Bake, &[Deed::Bake]),
    family(Start::Boxes, Deed::ReviewCreate, &[Deed::ReviewCreate, Deed::ReviewDelete]),
    family(Start::BoxReady, Deed::ReviewDelete, &[Deed::ReviewDelete, Deed::ReviewCreate]),
    family(Start::BoxReady, Deed::BakeBox, &[Deed::BakeBox]),
    family(Start::Shelf, Deed::Prune, &[Deed::Prune, Deed::Copy]),
    family(Start::Shelf, Deed::Copy, &[Deed::Copy, Deed::Prune]),
    family(Start::Empty, Deed::Deploy, SERVING),
    family(Start::Live, Deed::Deploy, SERVING),
    family(Start::Live, Deed::Rollback, SERVING),
    // What settles is itself struck.
    family(Start::Launched, Deed::Rollback, SERVING),
    family(Start::Launched, Deed::Resume, SERVING),
    family(Start::Launched, Deed::Abort, SERVING),
    family(Start::Between, Deed::Rollback, SERVING),
    family(Start::Between, Deed::Resume, SERVING),
    family(Start::Between, Deed::Abort, SERVING),
    family(Start::Settling, Deed::Resume, SERVING),
    family(Start::Gradual, Deed::Deploy, SERVING),
    family(Start::Shifting, Deed::Resume, SERVING),
    family(Start::Shifting, Deed::Abort, SERVING),
    family(Start::Shifting, Deed::Rollback, SERVING),
    family(Start::Scarce, Deed::Deploy, SERVING),
    family(Start::Scarce, Deed::ScaleUp, &UP),
    family(Start::Scarce, Deed::ScaleDown, &DOWN),
    family(Start::Covered, Deed::HandBack, &BACK),
    family(Start::Hooked, Deed::Deploy, SERVING),
    family(Start::Verifying, Deed::Resume, SERVING),
    family(Start::Verifying, Deed::Abort, SERVING),
];

impl Family {
    pub fn story(&self, faults: BTreeMap<usize, Fault>, next: Deed) -> Story {
        Story { start: self.start, deed: self.deed, faults, next, seed: 1 }
    }

    /// `live deploy`, as its stories begin.
    pub fn name(&self) -> String {
        format!("{} {}", word(self.start), word(self.deed))
    }

    /// The calls of a run that nothing befalls.
    fn calls(&self) -> &[Call] {
        let clean = || self.story(BTreeMap::new(), self.nexts[0]).play().unwrap_or_else(|problem| panic!("{self:?}: {problem}")).calls;
        self.calls.get_or_init(clean)
    }

    /// Every strike, with every recovery.
    ///
    /// Two strikes are the same if nothing has changed between them. A process killed before a call leaves what it leaves when killed
    /// after the last call that changed something, so it is killed after each of those, and before the first call of all. For the
    /// process itself it matters what it was asking for when it was struck, so of reads of one kind with no change in between the
    /// first is struck.
    pub fn grid(&self) -> Vec<Story> {
        let (mut stories, mut seen, mut changes) = (Vec::new(), BTreeSet::new(), 0);
        for (number, call) in self.calls().iter().enumerate() {
            let fresh = call.changes() || seen.insert((call.service.clone(), call.action.clone(), changes));
            changes += usize::from(call.changes());
            for fault in Fault::ALL {
                let tells = match fault {
                    Fault::KilledBefore => number == 0,
                    Fault::KilledAfter => call.changes(),
                    _ => fresh,
                };
                let nexts = self.nexts.iter().filter(|_| tells);
                stories.extend(nexts.map(|next| self.story(BTreeMap::from([(number, fault)]), *next)));
            }
        }
        stories
    }
}

/// Two strikes by seed: the first on the operation, the second on whatever is under way then, be it the recovery.
pub fn pair(seed: u64) -> Story {
    let mut dice = fastrand::Rng::with_seed(seed);
    let family = &FAMILIES[dice.usize(..FAMILIES.len())];
    let first = dice.usize(..family.calls().len());
    let second = first + 1 + dice.usize(..family.calls().len());
    let faults = [first, second].map(|number| (number, Fault::ALL[dice.usize(..Fault::ALL.len())]));
    Story { seed, ..family.story(faults.into(), family.nexts[dice.usize(..family.nexts.len())]) }
}

/// A name as it is written in a story.
fn word(name: impl fmt::Debug) -> String {
    let camel = format!("{name:?}");
    let dashed = camel.char_indices().flat_map(|(at, letter)| {
        let dash = (at > 0 && letter.is_uppercase()).then_some('-');
        dash.into_iter().chain(letter.to_lowercase())
    });
    dashed.collect()
}

fn named<T: Copy + fmt::Debug>(all: &[T], text: &str) -> Result<T, String> {
    all.iter().copied().find(|one| word(one) == text).ok_or_else(|| format!("{text} is none of {all:?}"))
}

/// `live deploy 37:killed-after then rollback seed 1`.
impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", word(self.start), word(self.deed))?;
        self.faults.iter().try_for_each(|(number, fault)| write!(f, " {number}:{}", word(fault)))?;
        write!(f, " then {} seed {}", word(self.next), self.seed)
    }
}

impl FromStr for Story {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let [start, deed, faults @ .., "then", next, "seed", seed] = words.as_slice() else { return Err(format!("no story: {text}")) };
        let fault = |text: &&str| {
            let (number, fault) = text.split_once(':').ok_or_else(|| format!("no fault: {text}"))?;
            Ok((number.parse().map_err(|_| format!("no number: {number}"))?, named(&Fault::ALL, fault)?))
        };
        Ok(Self {
            start: named(&Start::ALL, start)?,
            deed: named(&Deed::ALL, deed)?,
            faults: faults.iter().map(fault).collect::<Result<_, String>>()?,
            next: named(&Deed::ALL, next)?,
            seed: seed.parse().map_err(|_| format!("no number: {seed}"))?,
        })
    }
}
