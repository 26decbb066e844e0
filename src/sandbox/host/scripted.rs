//! Scripted machines: no processes, only what an agent on them would have said by now. All of it follows from the time since boot, so
//! a run in virtual time is exact and costs nothing while nobody looks.
//!
//! A machine does what its user data says, as the agent would: with JSON it boots the services its tags name, becomes ready, answers
//! health checks; with a builder's script it provisions the commits the script spells out, and its fuse burns.
//!
//! What goes wrong is scripted by the variable `SANDBOX_SCRIPT` of a service (for a builder: anywhere in its script):
//!
//! | value | the service, or the builder |
//! |---|---|
//! | `unhealthy` | runs, but its health path answers 503 for ever |
//! | `hang` | runs, but its health path never answers |
//! | `crash` | exits as soon as it is started, again and again |
//! | `late` | is up only after [`LATE`] |
//! | `sick-after=SECONDS` | is well for so long after boot, then answers 503 |
//! | `fails=COUNT` | is well, but one in so many of its visitors' requests gets a 500: what health checks do not see |
//! | `cpu=MILLISECONDS` | is well, and each request takes so much processor time (5 ms otherwise) |
//! | `boot-failed` | the agent cannot start anything |
//! | `provision-failed` | the first repository's build fails |
//! | `release-failed`, `release-hangs` | is well, but the release's own command fails, or is never heard of |
//! | `checkout-failed` | on a review box: the first repository that is not as on the image cannot be built |
//!
//! Nothing befalls services while the tag `adstage:active` says `no`; what does is counted from when it says `yes`.
//!
//! A review box is up once it has checked out and built what is not as on its image, and ends when the moment in its tag
//! `adstage:expires` has come, wherever that was moved meanwhile.

mod kept;
mod play;
mod scene;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Host, Machine, ProbeError, ProbeFuture};
use crate::sandbox::engine::{Engine, pause};
use crate::sandbox::latency::Speed;
use play::{active, play};

pub(in crate::sandbox) use kept::Kept;

/// When a `late` service is up, after boot.
pub(in crate::sandbox) const LATE: Duration = Duration::from_secs(120);

/// The agent's port; it answers for all services together.
const AGENT_PORT: u16 = 7600;

/// A host of scripted machines.
pub(in crate::sandbox) struct Scripted {
    boot: Duration,
    provision: Duration,
    machines: Mutex<BTreeMap<String, Scene>>,
    images: Mutex<BTreeMap<String, ()>>,
    next_address: AtomicU32,
    /// Visitors' requests to services scripted to fail some.
    visits: AtomicU32,
    engine: OnceLock<Weak<Engine>>,
}

/// One machine's play.
#[derive(Clone)]
struct Scene {
    started: Instant,
    stopped: Option<Instant>,
    /// When the fuse of a builder or a review box burns through.
    fuse: Option<Duration>,
    play: Play,
    /// Whether its services were told to work, since when, after power on. Empty: they work from the first moment.
    orders: Vec<(Duration, bool)>,
    /// Console of earlier boots.
    before: String,
    /// Processor time used.
    worked: Duration,
}

#[derive(Clone)]
enum Play {
    /// An empty machine: a base image, or nothing adstage wrote.
    Nothing,
    Builder {
        commits: Value,
        fails: bool,
    },
    Services {
        services: BTreeMap<String, Service>,
        /// Of a review box: what is not to be as on the image.
        checkouts: BTreeMap<String, Checkout>,
    },
    /// An agent that cannot boot.
    Lost,
}

#[derive(Clone, Deserialize)]
struct Checkout {
    #[serde(rename = "ref")]
    reference: String,
    commit: String,
}

#[derive(Clone, Deserialize)]
struct Service {
    #[serde(default)]
    port: Option<u16>,
    #[serde(default)]
    variables: BTreeMap<String, String>,
    #[serde(default)]
    release_command: Option<Value>,
}

impl Service {
    fn script(&self) -> &str {
        self.variables.get("SANDBOX_SCRIPT").map(String::as_str).unwrap_or_default()
    }

    /// What a health check gets this long after boot; None: no answer at all.
    fn health(&self, after_boot: Duration) -> Result<u16, ProbeError> {
        let sick_after = self.script().strip_prefix("sick-after=").and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
        match self.script() {
            "crash" | "boot-failed" => Err(ProbeError::Refused),
            "hang" => Err(ProbeError::Timeout),
            "late" if after_boot < LATE => Err(ProbeError::Refused),
            "unhealthy" => Ok(503),
            _ if sick_after.is_some_and(|sick| after_boot >= sick) => Ok(503),
            _ => Ok(200),
        }
    }
}

impl Scripted {
    /// Boot takes as long as the speed says.
    pub fn new(speed: Speed) -> Self {
        let (boot, provision) = match speed {
            Speed::Quick => (Duration::from_millis(800), Duration::from_secs(1)),
            Speed::Lifelike => (Duration::from_secs(37), Duration::from_secs(90)),
        };
        Self {
            boot,
            provision,
            machines: Mutex::default(),
            images: Mutex::default(),
            next_address: AtomicU32::new(u32::from(Ipv4Addr::new(127, 77, 0, 1))),
            visits: AtomicU32::default(),
            engine: OnceLock::new(),
        }
    }

    fn machines(&self) -> MutexGuard<'_, BTreeMap<String, Scene>> {
        self.machines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn console_of(&self, scene: &Scene) -> String {
        let up = scene.uptime();
        let mut console = scene.before.clone();
        let mut say = |at: Duration, line: Value| {
            if up >= at {
                console.push_str(&format!("adstage-agent {line}\n"));
            }
        };
        match &scene.play {
            Play::Nothing => {}
            Play::Builder { commits, fails } => {
                let failed = json!({ "event": "provision-failed", "repository": null, "what": "build exited 1", "tail": ["make: *** [all] Error 1"] });
                let done = json!({ "event": "provisioned", "commits": commits });
                say(self.boot + self.provision, if *fails { failed } else { done });
            }
            Play::Services { services, checkouts } => {
                if self.check_out(services, checkouts, &mut say) {
                    self.narrate(services, self.begins(checkouts), &scene.orders, &mut say);
                }
            }
            Play::Lost => say(self.boot, json!({ "event": "boot-failed", "what": "no tags in the instance metadata" })),
        }
        console
    }

    /// When the services of a machine start, after power on.
    fn begins(&self, checkouts: &BTreeMap<String, Checkout>) -> Duration {
        if checkouts.is_empty() { self.boot } else { self.boot + self.provision }
    }

    /// False if that fails.
    fn check_out(
        &self,
        services: &BTreeMap<String, Service>,
        checkouts: &BTreeMap<String, Checkout>,
        say: &mut impl FnMut(Duration, Value),
    ) -> bool {
        let fails = services.values().any(|service| service.script() == "checkout-failed");
        for (name, Checkout { reference, commit }) in checkouts {
            say(self.boot, json!({ "event": "fetching", "repository": name, "ref": reference, "commit": commit }));
            if fails {
                let tail = ["make: *** [all] Error 1"];
                let line = json!({ "event": "checkout-failed", "repository": name, "what": "build exited 1", "tail": tail });
                say(self.begins(checkouts), line);
                return false;
            }
            say(self.begins(checkouts), json!({ "event": "built", "repository": name, "commit": commit }));
        }
        true
    }

    fn narrate(
        &self,
        services: &BTreeMap<String, Service>,
        begins: Duration,
        orders: &[(Duration, bool)],
        say: &mut impl FnMut(Duration, Value),
    ) {
        let names: Vec<&String> = services.keys().collect();
        if services.values().any(|service| service.script() == "boot-failed") {
            return say(begins, json!({ "event": "boot-failed", "what": "no such repository on this image" }));
        }
        say(begins, json!({ "event": "booted", "services": names }));
        for (at, active) in orders {
            say(begins.max(*at), json!({ "event": if *active { "active" } else { "held" }, "services": names }));
        }
        let begins = match orders.last() {
            Some((_, false)) => return,
            Some((at, true)) => begins.max(*at),
            None => begins,
        };
        let mut ready = Some(begins);
        for (name, service) in services {
            let tail = ["starting", "panic: scripted to crash"];
            match service.script() {
                "crash" => {
                    // The agent's backoff: 1, 2, 4 seconds; after the third restart it calls it a loop.
                    for (restarts, after) in [(0, 0), (1, 1), (2, 3)] {
                        let line = json!({ "event": "exited", "service": name, "code": 1, "restarts": restarts, "tail": tail });
                        say(begins + Duration::from_secs(after), line);
                    }
                    let line = json!({ "event": "crash-looping", "service": name, "restarts": 3, "tail": tail });
                    say(begins + Duration::from_secs(7), line);
                    ready = None;
                }
                "unhealthy" | "hang" => ready = None,
                "late" => ready = ready.map(|_| begins + LATE),
                _ => {}
            }
        }
        if let Some(at) = ready {
            say(at, json!({ "event": "ready", "services": names }));
        }
    }

    /// What a visitor of any page but the health path gets.
    fn page(&self, id: &str, port: u16) -> Result<u16, ProbeError> {
        let health = self.health(id, port)?;
        if let Some(scene) = self.machines().get_mut(id) {
            scene.work(port);
        }
        let fails = |scene: &Scene| match &scene.play {
            Play::Services { services, .. } => {
                let service = services.values().find(|service| service.port == Some(port))?;
                service.script().strip_prefix("fails=")?.parse::<u32>().ok()
            }
            _ => None,
        };
        let Some(every) = self.machines().get(id).and_then(fails) else { return Ok(health) };
        let count = self.visits.fetch_add(1, Ordering::Relaxed);
        Ok(if count.is_multiple_of(every) { 500 } else { health })
    }

    fn health(&self, id: &str, port: u16) -> Result<u16, ProbeError> {
        let scene = self.machines().get(id).cloned().filter(Scene::on).ok_or(ProbeError::Timeout)?;
        let Play::Services { services, checkouts } = &scene.play else { return Err(ProbeError::Refused) };
        let after_boot = scene.uptime().checked_sub(self.begins(checkouts)).ok_or(ProbeError::Refused)?;
        if services.values().any(|service| ["boot-failed", "checkout-failed"].contains(&service.script())) {
            return Err(ProbeError::Refused);
        }
        let after_boot = match scene.orders.last() {
            // The agent vouches for what it holds.
            Some((_, false)) => return if port == AGENT_PORT { Ok(200) } else { Err(ProbeError::Refused) },
            Some((at, true)) => after_boot.min(scene.uptime().saturating_sub(*at)),
            None => after_boot,
        };
        if port == AGENT_PORT {
            let well = services.values().all(|service| service.health(after_boot) == Ok(200));
            return Ok(if well { 200 } else { 503 });
        }
        let service = services.values().find(|service| service.port == Some(port)).ok_or(ProbeError::Refused)?;
        service.health(after_boot)
    }
}

impl Host for Scripted {
    fn attach(&self, engine: Weak<Engine>) {
        let _ = self.engine.set(engine);
    }

    fn real(&self) -> bool {
        false
    }

    fn address(&self) -> IpAddr {
        Ipv4Addr::from(self.next_address.fetch_add(1, Ordering::Relaxed)).into()
    }

    fn copy_image(&self, _from: &str, to: &str) {
        self.seed_image(to);
    }

    fn seed_image(&self, image: &str) {
        self.images.lock().unwrap_or_else(PoisonError::into_inner).insert(image.to_string(), ());
    }

    fn start(&self, machine: Machine) {
        let (play, fuse) = play(&machine.user_data, machine.tags.as_ref());
        let before = self.machines().get(&machine.id).map(|scene| self.console_of(scene)).unwrap_or_default();
        // cloud-init runs a builder's script only once in the life of a machine.
        let (play, fuse) = if machine.first_boot || matches!(play, Play::Services { .. }) { (play, fuse) } else { (Play::Nothing, None) };
        let orders = machine.tags.as_ref().and_then(active).map(|active| (Duration::ZERO, active)).into_iter().collect();
        self.machines()
            .insert(machine.id, Scene { started: Instant::now(), stopped: None, fuse, play, orders, before, worked: Duration::ZERO });
    }

    fn tagged(&self, id: &str, tags: &BTreeMap<String, String>, wall: jiff::Timestamp) {
        if let (Some(active), Some(scene)) = (active(tags), self.machines().get_mut(id).filter(|scene| scene.on()))
            && scene.orders.last().is_some_and(|(_, before)| *before != active)
        {
            let now = scene.uptime();
            scene.orders.push((now, active));
        }
        let expires = tags.get("adstage:expires").and_then(|at| at.parse::<jiff::Timestamp>().ok());
        if let Some(expires) = expires
            && let Some(scene) = self.machines().get_mut(id).filter(|scene| scene.on())
        {
            let left = Duration::try_from(expires.duration_since(wall)).unwrap_or_default();
            scene.fuse = Some(scene.started.elapsed() + left);
        }
        if let Some(operation) = tags.get("adstage:release-command")
            && let Some(scene) = self.machines().get_mut(id).filter(|scene| scene.on())
        {
            scene.run_release_command(operation);
        }
    }

    fn stop(&self, id: &str) {
        if let Some(scene) = self.machines().get_mut(id).filter(|scene| scene.on()) {
            scene.stopped = Some(Instant::now());
        }
    }

    fn terminate(&self, id: &str) {
        // The console outlives the machine, as EC2 keeps it.
        self.stop(id);
    }

    fn worked(&self) -> BTreeMap<String, Duration> {
        let machines = self.machines();
        machines.iter().filter(|(_, scene)| scene.on()).map(|(id, scene)| (id.clone(), scene.worked)).collect()
    }

    fn running(&self, id: &str) -> bool {
        self.machines().get(id).is_some_and(Scene::on)
    }

    fn console(&self, id: &str) -> Vec<u8> {
        let scene = self.machines().get(id).cloned();
        scene.map(|scene| self.console_of(&scene).into_bytes()).unwrap_or_default()
    }

    fn capture(&self, _id: &str, image: &str) {
        self.seed_image(image);
    }

    fn captured(&self, image: &str) -> Option<Result<(), String>> {
        let images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
        Some(images.get(image).copied().ok_or_else(|| "the copy is gone".to_string()))
    }

    fn delete_image(&self, image: &str) {
        self.images.lock().unwrap_or_else(PoisonError::into_inner).remove(image);
    }

    fn probe(&self, id: &str, port: u16, path: &str, timeout: Duration) -> ProbeFuture {
        let result = if path == "/up" { self.health(id, port) } else { self.page(id, port) };
        Box::pin(async move {
            if result == Err(ProbeError::Timeout) {
                pause(timeout).await;
            }
            result
        })
    }
}
