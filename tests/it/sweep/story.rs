//! One story: somebody does something, a call or two of theirs are struck, and whoever comes next recovers.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use adstage::aws::Guard;
use adstage::model::{Scope, drift};
use adstage::plan::{ScaleRequest, Sizes};

use super::invariants;
use super::stage::{self, BOX, COVERED, Ran, Start, WEB, greet, hooks, long_lived};
use super::wire::{Call, Fault, Wires};
use crate::yard::{Operator, Went, Yard};

/// What somebody types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deed {
    Setup,
    Bake,
    Deploy,
    Rollback,
    Resume,
    Abort,
    /// One on-demand instance more of web.
    ScaleUp,
    /// One fewer.
    ScaleDown,
    /// Web's instances shared as configured.
    HandBack,
    ReviewCreate,
    ReviewDelete,
    /// Of the review box.
    BakeBox,
    /// All images but the newest.
    Prune,
    /// The newest image, to another Region.
    Copy,
}

impl Deed {
    pub const ALL: [Self; 14] = [
        Self::Setup,
        Self::Bake,
        Self::Deploy,
        Self::Rollback,
        Self::Resume,
        Self::Abort,
        Self::ScaleUp,
        Self::ScaleDown,
        Self::HandBack,
        Self::ReviewCreate,
        Self::ReviewDelete,
        Self::BakeBox,
        Self::Prune,
        Self::Copy,
    ];
}

/// All of a story that matters: the same again is the same again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Story {
    pub start: Start,
    pub deed: Deed,
    pub faults: BTreeMap<usize, Fault>,
    /// What whoever comes next types.
    pub next: Deed,
    pub seed: u64,
}

/// What a story shows when nothing is wrong.
#[derive(Debug)]
pub struct Told {
    pub calls: Vec<Call>,
    /// Nobody had to come.
    pub by_itself: bool,
    pub struck: Vec<(usize, Fault)>,
}

/// Where the Region of a copy is.
pub const ELSEWHERE: &str = "us-east-1";
/// How often workers are looked at.
const WORKERS_LOOK: Duration = Duration::from_secs(5);
/// How long two may work at once although no operation is open: what was sent late has landed, and somebody has yet to look.
const WORKERS_LONGEST: Duration = Duration::from_secs(180);

/// So many instances of web are of each kind, where some are spot.
pub const HALF: u32 = 2;

/// Operators in the order in which they come.
const NAMES: [&str; 6] = ["joe", "maya", "zoe", "kim", "lou", "max"];

impl Story {
    /// Plays it; the error says what should not be.
    pub fn play(&self) -> Result<Told, String> {
        let played = std::panic::catch_unwind(|| {
            fastrand::seed(self.seed);
            stage::runtime().block_on(async {
                let ended = tokio::time::timeout(Duration::from_secs(48 * 3_600), self.played()).await;
                ended.unwrap_or_else(|_| Err("it never ends".into()))
            })
        });
        played.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
            Err(format!("panic: {}", text.unwrap_or_default()))
        })
    }

    async fn played(&self) -> Result<Told, String> {
        let mut scene = Scene::new(self).await;
        let went = scene.act(0, self.deed).await;
        let by_itself = !self.deed.is_to_be_repeated(&went) && scene.well().await;
        let mut said = vec![went];
        if !by_itself {
            said.extend(scene.recover(self.next).await);
        }
        let problems = invariants::all(&mut scene).await;
        let told = Told { calls: scene.wires.calls(), by_itself, struck: scene.wires.struck() };
        match problems.is_empty() {
            true => Ok(told),
            false => Err(format!("{}\n  said: {}\n  {}", problems.join("\n"), said.join("\n  said: "), scene.log().join("\n  "))),
        }
    }
}

/// A story under way.
pub struct Scene {
    pub yard: Yard,
    pub wires: Arc<Wires>,
    pub scopes: Vec<String>,
    next: Deed,
    came: usize,
    pub guards: Guards,
    pub trouble: Arc<Mutex<Vec<String>>>,
    pub visitors: Option<crate::yard::Visitors>,
    /// Review boxes are there, or may be.
    has_boxes: bool,
    /// Whether there must be a review box, by what was said last.
    pub boxed: Option<bool>,
    /// How many instances of web there may be: as many as before, and as many as somebody asked for.
    sizes: BTreeSet<u32>,
    /// Spot of the release that serves at first may be handed back.
    hands_back: bool,
    /// What ran of hooks.
    pub ran: Ran,
}

/// One list per process: the guards of every lock it ever held.
pub type Guards = Arc<Mutex<Vec<Arc<Mutex<Vec<(String, Guard)>>>>>>;

type Acting<'a> = Pin<Box<dyn Future<Output = String> + 'a>>;

impl Scene {
    async fn new(story: &Story) -> Self {
        let mut yard = story.start.copy();
        greet(&mut yard, "next");
        let environment = &yard.environment;
        let place = [&environment.account, &environment.region, &environment.state_table].map(Clone::clone);
        let any = yard.operator("any").await;
        let (table, app) = (&environment.state_table, &environment.app);
        let mut scopes = vec![
            format!("{app}#{}", environment.name),
            any.bake_scope("2").pk,
            Scope::images(table, app).pk,
            Scope::review(table, app, &BOX.parse().expect("a name")).pk,
        ];
        if story.start == Start::BoxReady {
            scopes.push(any.box_bake_scope(BOX).await.pk);
        }
        let wires = Wires::new(&yard.sandbox, &yard.clock, place, scopes.clone());
        wires.arm(story.faults.clone());
        let (guards, trouble) = (Arc::default(), Arc::default());
        let visitors = (story.start >= Start::Live).then(|| yard.visitors());
        let has_boxes = [Start::Boxes, Start::BoxReady].contains(&story.start);
        let deeds = [story.deed, story.next];
        let mut sizes: BTreeSet<u32> = deeds.into_iter().filter_map(Deed::on_demand).map(|own| own + HALF).collect();
        sizes.insert(yard.environment.services[WEB].instances);
        let hands_back = deeds.contains(&Deed::HandBack);
        let (next, ran) = (story.next, Ran::default());
        let scene = Self { yard, wires, scopes, next, came: 0, guards, trouble, visitors, has_boxes, boxed: None, sizes, hands_back, ran };
        scene.watch_guards();
        scene.watch_workers();
        scene
    }

    /// At no instant may two processes believe that they hold one lock.
    fn watch_guards(&self) {
        let (guards, trouble, clock) = (self.guards.clone(), self.trouble.clone(), self.yard.clock.clone());
        let scopes = self.scopes.clone();
        tokio::spawn(async move {
            loop {
                let passing = |scope: &String| {
                    let passes = |own: &&Arc<Mutex<Vec<(String, Guard)>>>| {
                        own.lock().unwrap().iter().any(|(of, guard)| of == scope && guard().is_ok())
                    };
                    guards.lock().unwrap().iter().filter(passes).count()
                };
                for scope in scopes.iter().filter(|scope| passing(scope) > 1) {
                    trouble.lock().unwrap().push(format!("several processes pass the guard of {scope} at once"));
                }
                clock.sleep(Duration::from_millis(500)).await;
            }
        });
    }

    /// Two releases of a worker work side by side only while a hand-over is under way, or until whoever comes next sees that one was cut
    /// short.
    fn watch_workers(&self) {
        let (sandbox, environment, clock) = (self.yard.sandbox.clone(), self.yard.environment.clone(), self.yard.clock.clone());
        let (scope, trouble) = (self.scopes[0].clone(), self.trouble.clone());
        tokio::spawn(async move {
            let environment = &environment;
            let place = [&environment.account, &environment.region].map(String::as_str);
            let mut since = None;
            loop {
                clock.sleep(WORKERS_LOOK).await;
                let lock = sandbox.item(place[0], place[1], &environment.state_table, [&scope, "LOCK"]);
                let open = lock.is_some_and(|row| row["st"]["S"] != "free" || !row["open"]["S"].is_null());
                let inventory = sandbox.inventory(place[0], place[1]);
                let workers = environment.services.iter().filter(|service| service.held());
                let several = workers.map(|service| invariants::at_work(environment, service, &inventory)).find(|all| all.len() > 1);
                match several {
                    Some(all) if !open => {
                        let began = *since.get_or_insert_with(|| clock.moment());
                        if clock.since(began) > WORKERS_LONGEST {
                            trouble.lock().unwrap().push(format!("{all:?} work at once, and no operation is open"));
                            return;
                        }
                    }
                    _ => since = None,
                }
            }
        });
    }

    /// How many instances of web this release may have. In a hand-back what grows grows first, and a release that takes over then is as big
    /// as what it takes over from; the release that is handed back itself never stays so.
    pub fn sizes(&self, release: u64) -> BTreeSet<u32> {
        let between = (self.hands_back && release != COVERED).then_some(HALF * 2 + 1);
        self.sizes.iter().copied().chain(between).collect()
    }

    pub fn row(&self, scope: &str, sk: &str) -> Option<serde_json::Value> {
        let environment = &self.yard.environment;
        self.yard.sandbox.item(&environment.account, &environment.region, &environment.state_table, [scope, sk])
    }

    /// Nobody holds a lock, and no operation is unfinished.
    pub fn settled(&self) -> bool {
        self.scopes.iter().filter_map(|scope| self.row(scope, "LOCK")).all(|row| row["st"]["S"] == "free" && row["open"]["S"].is_null())
    }

    /// Nothing is left for anybody to do: neither says the lock so, nor `status`, nor `review list`.
    async fn well(&self) -> bool {
        let onlooker = self.yard.operator("onlooker").await;
        self.settled() && self.no_box_is_left(&onlooker).await && self.drifts(&onlooker).await.is_empty()
    }

    /// What `status` reports, but for spot that is covered: that is as it should be, as long as it is said.
    pub async fn drifts(&self, onlooker: &Operator) -> Vec<String> {
        let found = drift(&self.yard.environment, &onlooker.world().await).into_iter().map(|drift| drift.0);
        found.filter(|text| !text.contains("--hand-back")).collect()
    }

    /// Once every call has landed that was on its way: what one leaves after a box is gone is for the next command.
    async fn no_box_is_left(&self, onlooker: &Operator) -> bool {
        if !self.has_boxes {
            return true;
        }
        self.yard.clock.sleep(Duration::from_secs(120)).await;
        onlooker.boxes().await.iter().all(|found| found.instance.is_some())
    }

    async fn operator(&self, number: usize) -> Operator {
        let (name, clock) = (NAMES[number], self.yard.clock.another());
        let operator = self.yard.operator_over(name, clock.clone(), self.wires.of(name, &clock)).await;
        let operator = Operator { commands: hooks(&clock, &self.ran, name), ..operator };
        self.guards.lock().unwrap().push(operator.guards.clone());
        operator
    }

    /// One process, from its start to its end. If its line freezes, others come meanwhile.
    fn act(&mut self, number: usize, deed: Deed) -> Acting<'_> {
        Box::pin(async move {
            self.came = self.came.max(number + 1);
            let (name, wires) = (NAMES[number], self.wires.clone());
            let operator = self.operator(number).await;
            let going = async {
                tokio::select! {
                    biased;
                    () = wires.killed(name) => "killed".to_string(),
                    went = deed.done_by(&operator) => told(&went),
                }
            };
            let mut going = Box::pin(going);
            let went = tokio::select! {
                biased;
                went = &mut going => Some(went),
                () = wires.frozen(name) => None,
            };
            let went = match went {
                Some(went) => {
                    if matches!(deed, Deed::ReviewCreate | Deed::ReviewDelete) && went == "Deployed" {
                        self.boxed = Some(deed == Deed::ReviewCreate);
                    }
                    went
                }
                None => {
                    let next = self.next;
                    let others = async {
                        let said = self.recover(next).await;
                        wires.thaw(name);
                        said
                    };
                    let (went, said) = tokio::join!(going, others);
                    // Who of them had the last word is not said.
                    self.boxed = None;
                    format!("{went} (meanwhile {})", said.join("; "))
                }
            };
            format!("{name} {deed:?}: {went}")
        })
    }

    /// Whoever comes next does what can be done until all is settled.
    fn recover(&mut self, first: Deed) -> Pin<Box<dyn Future<Output = Vec<String>> + '_>> {
        Box::pin(async move {
            let (mut said, mut deed) = (Vec::new(), first);
            while self.came < NAMES.len() {
                let went = self.act(self.came, deed).await;
                deed = deed.after(&went);
                // Of one that took another one's place and failed in turn, something may be left until it is tried again, or the fuse burns.
                let again = first.is_superseding() && !went.contains("Deployed") && !went.contains("already");
                said.push(went);
                if !again && self.well().await {
                    break;
                }
            }
            said
        })
    }

    fn log(&self) -> Vec<String> {
        let line = |(number, call): (usize, &Call)| {
            format!("{number:4} {:>9.3}s {:5} {} {}", call.at.as_secs_f64(), call.by, call.service, call.action)
        };
        let (calls, struck) = (self.wires.calls(), self.wires.struck());
        let near = |number: usize| struck.iter().any(|(at, _)| number.abs_diff(*at) < 4);
        calls.iter().enumerate().filter(|(number, call)| call.acts() || near(*number)).map(line).collect()
    }
}

fn told(went: &Went) -> String {
    match went {
        Went::Ran(_, ending) => match &ending.failure {
            None => format!("{:?}", ending.outcome),
            Some(failure) => format!("{:?}: {} ({}) next: {:?}", ending.outcome, failure.what, failure.because.join("; "), failure.next),
        },
        other => format!("{other:?}"),
    }
}

impl Deed {
    /// Its successor takes its place, whatever it left.
    fn is_superseding(self) -> bool {
        matches!(self, Self::Bake | Self::ReviewCreate | Self::ReviewDelete | Self::BakeBox | Self::Prune | Self::Copy)
    }

    /// What it did before it failed is not undone, and it says that it can be repeated.
    fn is_to_be_repeated(self, went: &str) -> bool {
        matches!(self, Self::ReviewDelete | Self::Prune) && (went.contains("RolledBack") || went.contains("Failed("))
    }

    /// What is typed after this did not settle it: what the answer says.
    fn after(self, went: &str) -> Self {
        let says = |text: &str| went.contains(text);
        match self {
            // Half of a box is gone: a failed deletion is asked for once more.
            Self::ReviewCreate if says("some rules are gone") => Self::ReviewDelete,
            _ if self.is_superseding() => self,
            _ if says("Unfinished(") => Self::Resume,
            Self::Resume if says("--abort") => Self::Abort,
            Self::Abort if says("adstage resume") => Self::Resume,
            _ if says("adstage rollback") => Self::Rollback,
            Self::Setup => self,
            // It is over, and left something that the next one clears.
            _ if says("Deployed") || says("RolledBack") => Self::Deploy,
            // Where nothing served before, there is only the way forward.
            Self::Rollback if says("Refused(") => Self::Resume,
            same => same,
        }
    }

    /// How many on-demand instances of web it asks for.
    fn on_demand(self) -> Option<u32> {
        match self {
            Self::ScaleUp => Some(HALF + 1),
            Self::ScaleDown => Some(HALF - 1),
            _ => None,
        }
    }

    async fn done_by(self, operator: &Operator) -> Went {
        match self {
            Self::Setup => operator.setup().await,
            Self::Bake => operator.bake("2").await,
            Self::ReviewCreate => operator.create_box_as(BOX, Some("2"), &long_lived()).await,
            Self::ReviewDelete => operator.delete_box(BOX).await,
            Self::BakeBox => operator.bake_box(BOX).await,
            Self::Prune => operator.prune(1).await,
            Self::Copy => operator.copy(ELSEWHERE).await,
            Self::Deploy => operator.deploy().await,
            Self::Rollback => operator.rollback().await,
            Self::ScaleUp | Self::ScaleDown | Self::HandBack => {
                let to = self.on_demand().map_or(Sizes::HandBack, |own| Sizes::Of { on_demand: Some(own), spot: None });
                operator.scale(&ScaleRequest { service: "web".parse().expect("a name"), to, wait: true, force: false }).await
            }
            Self::Resume | Self::Abort => match operator.resume(self == Self::Abort).await {
                // As the command does.
                Went::Nothing => operator.reassert().await,
                went => went,
            },
        }
    }
}
