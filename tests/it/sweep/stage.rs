//! Where stories begin: accounts in the state that some operation finds, made once each and copied for every story.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use adstage::clock::Clock;
use adstage::model::{Environment, Hooks, Review, Scaling, Seconds, Shift, TimedCommand};
use adstage::plan::{ScaleRequest, Sizes};
use adstage::sandbox::{Kept, Misfortune, Options, Sandbox, When};
use adstage::steps::{Commands, Finished};

use crate::yard::{Operator, Yard, environment, review};

/// Among the environment's services: the one with visitors on every path.
pub const WEB: usize = 1;

/// The review box of every story about one.
pub const BOX: &str = "blue";

/// Review boxes that outlive a night or two.
pub fn long_lived() -> Review {
    Review { ttl: Seconds(72 * 3_600), ..review() }
}

/// What there is at the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Start {
    /// A table and a proved image, nothing else.
    Bare,
    /// Set up; nothing serves.
    Empty,
    /// The same, and review boxes have their load balancer.
    Boxes,
    /// The same, and a review box is ready and approved.
    BoxReady,
    /// Set up, and there are more images than are needed.
    Shelf,
    /// r2 serves, r1 is warm.
    Live,
    /// The same, where half of web's four instances are spot, and AWS has one more of these to give.
    Scarce,
    /// The same: r3 serves with spot covered by on-demand instances, and AWS has as much as anybody wants again.
    Covered,
    /// r2 serves, r1 is warm; there are hooks, and web's releases have a command of their own.
    Hooked,
    /// The same, where visitors come in two shifts.
    Gradual,
    /// r2 serves, r1 is warm, and a deploy of r3 is cut short: its fleets are launched.
    Launched,
    /// One route has moved, the other has not.
    Between,
    /// All visitors have moved.
    Settling,
    /// Some of every route's visitors have.
    Shifting,
    /// Hooks and all; the candidate is healthy, and its own command has run or is about to.
    Verifying,
}

impl Start {
    pub const ALL: [Self; 15] = [
        Self::Bare,
        Self::Empty,
        Self::Boxes,
        Self::BoxReady,
        Self::Shelf,
        Self::Live,
        Self::Scarce,
        Self::Covered,
        Self::Hooked,
        Self::Gradual,
        Self::Launched,
        Self::Between,
        Self::Settling,
        Self::Shifting,
        Self::Verifying,
    ];

    /// Web buys spot.
    pub fn has_spot(self) -> bool {
        matches!(self, Self::Scarce | Self::Covered)
    }
}

/// An account at one moment, and how old it is.
struct Stage {
    kept: Kept,
    environment: Environment,
    age: Duration,
}

/// The release that came when there was hardly any spot.
pub const COVERED: u64 = 3;

/// A runtime in which time passes only when everybody waits.
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime")
}

/// Two instances instead of one.
fn two_of(service: &str) -> ScaleRequest {
    let to = Sizes::Of { on_demand: Some(2), spot: None };
    ScaleRequest { service: service.parse().expect("a name"), to, wait: true, force: false }
}

/// Two routes and a worker, as small and as impatient as they may be. One of them follows its load, which is never enough to move it.
fn small() -> Environment {
    let mut environment = environment();
    for service in &mut environment.services {
        (service.instances, service.max_instances) = (1, 2);
    }
    let web = environment.services.iter_mut().find(|service| service.name.as_str() == "web").expect("a service");
    web.scaling = Some(Scaling { cpu: Some(100), requests: Some(1_000_000), min: 1, warmup: Seconds(60) });
    let timing = &mut environment.timing;
    (timing.stable_for, timing.watch, timing.drain) = (Seconds(2), Seconds(10), Seconds(10));
    environment
}

impl Start {
    /// A copy of the account, in the runtime this is called in.
    pub fn copy(self) -> Yard {
        let stage = self.stage();
        let clock = Clock::for_tests();
        clock.sleep_machine(stage.age);
        Yard { sandbox: Sandbox::again(&stage.kept), environment: stage.environment.clone(), clock }
    }

    fn stage(self) -> &'static Stage {
        static STAGES: [OnceLock<Stage>; 15] = [const { OnceLock::new() }; 15];
        STAGES[self as usize].get_or_init(|| std::thread::spawn(move || runtime().block_on(self.build())).join().expect("a stage"))
    }

    async fn build(self) -> Stage {
        fastrand::seed(self as u64);
        let clock = Clock::for_tests();
        let (born, mut yard) = (clock.moment(), Yard { sandbox: Sandbox::in_process(Options::default()), environment: small(), clock });
        if self.has_spot() {
            let web = &mut yard.environment.services[WEB];
            (web.spot, web.instances, web.max_instances) = (50, 4, 8);
            // It would soon follow its few visitors down from four.
            web.scaling = None;
        }
        let ana = yard.operator("ana").await;
        ana.aws.dynamodb.create_table(&yard.environment.state_table).await.expect("a table");
        ana.bake("1").await.well();
        if self > Self::Bare {
            ana.setup().await.well();
        }
        if matches!(self, Self::Boxes | Self::BoxReady) {
            ana.setup_review().await.well();
        }
        if self == Self::BoxReady {
            ana.create_box_as(BOX, Some("2"), &long_lived()).await.well();
            ana.approve_box(BOX).await.well();
        }
        if self == Self::Shelf {
            ana.bake("2").await.well();
            ana.bake("3").await.well();
            // Until AWS lists the machines no more on which they were proved.
            yard.clock.sleep(Duration::from_secs(180)).await;
        }
        if self >= Self::Live {
            ana.deploy().await.well();
            greet(&mut yard, "two");
            yard.operator("ana").await.deploy().await.well();
            // Bigger than its smallest size, so that a pin shows.
            yard.operator("ana").await.scale(&two_of("admin")).await.well();
        }
        self.run_short(&mut yard).await;
        if matches!(self, Self::Hooked | Self::Verifying) {
            let timed = |run: &str| Some(TimedCommand { run: run.into(), within: Seconds(60) });
            let [before_deploy, verify, after_cutover, on_failure] = ["before-deploy", "verify", "after-cutover", "on-failure"].map(timed);
            yard.environment.hooks = Hooks { before_deploy, verify, after_cutover, on_failure };
            yard.environment.services[WEB].release_command = timed("bin/migrate");
        }
        if matches!(self, Self::Gradual | Self::Shifting) {
            let shift = |percent| Shift { percent, watch: Seconds(10) };
            yard.environment.timing.watching.shifts = [10, 100].map(shift).into();
        }
        if self > Self::Gradual {
            self.cut_short(&mut yard).await;
        }
        // Until nothing moves any more, and a lease has lapsed.
        yard.clock.sleep(Duration::from_secs(120)).await;
        Stage { kept: yard.sandbox.keep(), environment: yard.environment.clone(), age: yard.clock.passed(born) }
    }
}

impl Start {
    /// AWS has hardly any spot left; or had, when r3 came.
    async fn run_short(self, yard: &mut Yard) {
        let scarce = |yard: &Yard, left| {
            let (account, region) = (&yard.environment.account, &yard.environment.region);
            yard.sandbox.scarce(account, region, true, None, left);
        };
        if self.has_spot() {
            scarce(yard, Some(1));
        }
        if self == Self::Covered {
            greet(yard, "three");
            yard.operator("ana").await.deploy().await.well();
            scarce(yard, None);
        }
    }

    /// A deploy whose process is gone.
    async fn cut_short(self, yard: &mut Yard) {
        greet(yard, "three");
        let before = moved(yard);
        let eve = yard.operator("eve").await;
        let eve = Operator { commands: hooks(&yard.clock, &Ran::default(), "eve"), ..eve };
        if self == Self::Between {
            // Two rules take the candidate in, then one of them moves, and the other is told to come again later.
            yard.sandbox.faults().schedule(When::Action("ModifyRule".into(), 4), Misfortune::Throttle);
        }
        let reached = || match self {
            Self::Launched => eve.saw().iter().any(|line| line == "await …"),
            Self::Between => moved(yard) == before + 4,
            Self::Shifting => eve.saw().iter().any(|line| line == "watch …"),
            Self::Verifying => eve.saw().iter().any(|line| line == "verify …"),
            _ => eve.saw().iter().any(|line| line == "settle …"),
        };
        let watching = async {
            while !reached() {
                yard.clock.sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            went = eve.deploy() => panic!("through before: {went:?}"),
            () = watching => {}
        }
        eve.line.cut(true);
    }
}

/// What ran of hooks: on whose machine, of which operation, which, and whether it came to its end.
pub type Ran = Arc<Mutex<Vec<(String, String, String, bool)>>>;

/// Somebody's machine, where every hook takes a while and passes.
pub fn hooks(clock: &Clock, ran: &Ran, who: &str) -> Commands {
    let (clock, ran, who) = (clock.clone(), ran.clone(), who.to_string());
    Commands::by(move |job| {
        let (clock, ran) = (clock.clone(), ran.clone());
        let run = (who.clone(), job.variables["ADSTAGE_OPERATION"].clone(), job.command.run.clone(), false);
        async move {
            let at = {
                let mut ran = ran.lock().unwrap();
                ran.push(run);
                ran.len() - 1
            };
            clock.sleep(Duration::from_secs(5)).await;
            ran.lock().unwrap()[at].3 = true;
            Ok(Finished { code: Some(0), tail: Vec::new() })
        }
    })
}

fn moved(yard: &Yard) -> usize {
    yard.sandbox.faults().calls().iter().filter(|call| call.action == "ModifyRule").count()
}

/// Another configuration: the next deploy makes another release.
pub fn greet(yard: &mut Yard, greeting: &str) {
    for service in &mut yard.environment.services {
        service.variables.insert("GREETING".into(), greeting.into());
    }
}
