//! A company that is about to have bad luck: two services behind one load balancer, two releases deployed, visitors at the door.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::typing::Running;
use crate::visitors::{Visit, Visitors, get};
use crate::workshop::{Said, Workshop, processes_of};

/// What the services are and how patient a deploy is. `gate`: a file without which no instance of a release becomes healthy.
fn config(page: u32, gate: Option<&str>) -> String {
    let wait = gate.map(|gate| format!("until [ -e {gate} ]; do sleep 0.1; done; ")).unwrap_or_default();
    let run = |name: &str| {
        format!("{wait}echo \"$PAGE\" > page-{name}; exec adstage sandbox shop web --listen \"$HOST:$PORT\" --page page-{name} --release r")
    };
    format!(
        r#"
app = "acme"
state-table = "adstage"

[image]
base = "ami-00000000000000001"
instance-type = "t3.medium"
environment = "production"
repositories.site.path = "repositories/site"

[services.web]
repository = "site"
run = '''{web}'''
port = 8001

[services.api]
repository = "site"
run = '''{api}'''
port = 8002

[env.production]
account = "123456789012"
region = "eu-central-1"
subnets = ["subnet-0000000000000000a", "subnet-0000000000000000b"]
security-groups = ["sg-00000000000000001"]
confirm = "name"

[env.production.variables]
PAGE = "page {page}"

[env.production.load-balancer]
port = 8080

[env.production.services.web]
instances = 2
instance-type = "t3.micro"
route = {{ priority = 20, paths = ["/*"] }}

[env.production.services.api]
instances = 1
instance-type = "t3.micro"
route = {{ priority = 10, paths = ["/api/*"] }}

[env.production.deploy]
healthy-within = "15m"
stable-for = "2s"
watch = "2s"
drain = "2s"
keep-warm = 1
"#,
        web = run("web"),
        api = run("api"),
    )
}

/// Instances that each service has, with the priority of its rule.
const SERVICES: [(&str, usize, &str); 2] = [("web", 2, "20"), ("api", 1, "10")];

pub const DEPLOY: [&str; 4] = ["deploy", "production", "--confirm", "production"];

pub struct Shop {
    pub workshop: Workshop,
    pub url: String,
    endpoint: String,
    page: Cell<u32>,
    typed: Cell<u32>,
    /// What never changes: rules and images.
    fixed: RefCell<BTreeSet<String>>,
    /// How long each stage of a deploy takes here if nobody disturbs it; the first entry is the time before the first.
    pub rhythm: RefCell<Vec<(String, Duration)>>,
    /// What everybody typed and saw.
    story: RefCell<String>,
}

impl Shop {
    /// Set up, an image baked, one release deployed.
    pub fn open() -> Self {
        let workshop = Workshop::open(&config(1, None));
        workshop.write("repositories/site/README", "pages are variables here");
        workshop.commit("site");
        workshop.sandbox(&["setup", "production", "--confirm", "production"]).ends(0);
        workshop.sandbox(&["image", "bake", "--from-base"]).ends(0);
        let (url, endpoint) = (workshop.url("acme-production"), workshop.status()["endpoint"].as_str().unwrap().to_string());
        let shop = Self {
            workshop,
            url,
            endpoint,
            page: Cell::new(1),
            typed: Cell::new(0),
            fixed: RefCell::default(),
            rhythm: RefCell::default(),
            story: RefCell::default(),
        };
        shop.say("ana", &DEPLOY).ends(0);
        shop.fixed.replace(shop.inventory().into_iter().filter(|line| is_fixed(line)).collect());
        shop
    }

    /// Starts what `who` types.
    pub fn start(&self, who: &str, args: &[&str]) -> Running {
        let mut command = self.workshop.command(&[&["--sandbox"], args].concat());
        command.env("USER", who);
        let number = self.typed.replace(self.typed.get() + 1);
        Running::start(command, self.workshop.path().join(format!("said/{number:03}-{}", args[0])))
    }

    /// What `who` types, to its end.
    pub fn say(&self, who: &str, args: &[&str]) -> Said {
        let running = self.start(who, args);
        self.tell(who, args, running.end())
    }

    /// Keeps for the story how a command went.
    pub fn tell(&self, who: &str, args: &[&str], said: Said) -> Said {
        let text = format!("{who}$ adstage {}\n{}{}[{}]\n\n", args.join(" "), said.stderr, said.stdout, said.code);
        *self.story.borrow_mut() += &text;
        said
    }

    pub fn note(&self, text: &str) {
        *self.story.borrow_mut() += &format!("    ({text})\n\n");
    }

    /// The story so far; another begins.
    pub fn story(&self) -> String {
        self.story.take()
    }

    /// Another page, so that the next deploy is of another release.
    pub fn turn_the_page(&self, gate: Option<&str>) -> u32 {
        self.page.set(self.page.get() + 1);
        self.workshop.write("adstage.toml", &config(self.page.get(), gate));
        self.page.get()
    }

    /// A deploy that nobody disturbs, and what its stages took.
    pub fn deploy_in_peace(&self) {
        self.turn_the_page(None);
        let began = jiff::Timestamp::now();
        let deploy = self.start("ana", &DEPLOY);
        let (mut last, mut rhythm, mut name) = (began, Vec::new(), String::new());
        let ended = self.workshop.path().join(format!("said/{:03}-deploy.events", self.typed.get() - 1));
        self.tell("ana", &DEPLOY, deploy.end()).ends(0);
        for event in std::fs::read_to_string(ended).unwrap().lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
            if !["stage-started", "result"].contains(&event["type"].as_str().unwrap()) {
                continue;
            }
            let at: jiff::Timestamp = event["ts"].as_str().unwrap().parse().unwrap();
            rhythm.push((std::mem::take(&mut name), Duration::try_from(at.duration_since(last)).unwrap_or_default()));
            (last, name) = (at, event["stage"].as_str().unwrap_or_default().to_string());
        }
        self.rhythm.replace(rhythm);
        self.rests();
    }

    /// Ready for a deploy that can be undone or rolled back: an earlier release is warm, and nothing else is left of earlier misfortunes.
    pub fn make_ready(&self) {
        let status = self.status();
        let (live, warm) = (number(&status["live"]), status["warm"].as_array().unwrap());
        let ready = warm.len() == 1 && number(&warm[0]) < live && self.surplus().is_empty();
        if self.rhythm.borrow().is_empty() || !ready {
            self.deploy_in_peace();
        }
    }

    /// `status production` for programs.
    pub fn status(&self) -> Value {
        self.workshop.sandbox(&["status", "production", "--output", "json"]).ends(0).json()
    }

    pub fn visitors(&self) -> Visitors {
        Visitors::at(&self.url, &["/", "/api/stock"], 2, Duration::from_millis(50))
    }

    pub fn inventory(&self) -> BTreeSet<String> {
        self.workshop.by_hand(async |account| account.inventory().await)
    }

    /// Every row of the state table.
    pub fn rows(&self) -> BTreeSet<String> {
        self.workshop.by_hand(async |account| account.rows("adstage").await)
    }

    /// Every call the sandbox got, from that number on.
    pub fn calls_from(&self, number: usize) -> Vec<Value> {
        let (status, body) = get(self.endpoint.strip_prefix("http://").unwrap(), &format!("/_sandbox/calls?from={number}")).unwrap();
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }

    /// How many calls the sandbox got.
    pub fn calls(&self) -> usize {
        self.calls_from(0).len()
    }

    /// The same once whatever was sent has arrived, for a stopped sender.
    pub fn calls_once_quiet(&self) -> usize {
        let mut before = self.calls();
        loop {
            std::thread::sleep(Duration::from_millis(400));
            let now = self.calls();
            if now == before {
                return now;
            }
            before = now;
        }
    }

    /// One release has every visitor, by the load balancer and by the records; nobody holds the lock and nothing is unfinished. What else
    /// there is, is whole, or older than what serves: a rollback is in a hurry and retires nothing, so what the deploy it puts an end to
    /// was about to retire is there until the next deploy. Answers which release serves.
    #[track_caller]
    pub fn is_whole(&self) -> String {
        let status = self.status();
        let live = status["live"].as_str().unwrap_or_else(|| panic!("nothing is live: {status:#}")).to_string();
        assert_eq!(status["serving"][&live], 100, "{status:#}");
        assert_eq!(status["lock"]["state"], "free", "{status:#}");
        assert_eq!(status.get("operation"), None, "{status:#}");
        assert_eq!(status["drift"], serde_json::json!([]), "{status:#}");
        let history = self.workshop.sandbox(&["history", "production", "--output", "json"]).ends(0).json();
        let open: Vec<_> = history["operations"].as_array().unwrap().iter().filter(|operation| operation["ended"].is_null()).collect();
        assert!(open.is_empty(), "{open:#?}");
        for (service, count, priority) in SERVICES {
            let group = format!("acme-production-{service}-{live}");
            let weights = self.workshop.by_hand(async |account| account.weights(priority).await);
            let weighty: Vec<_> = weights.into_iter().filter(|(_, weight)| *weight > 0).map(|(name, _)| name).collect();
            assert_eq!(weighty, std::slice::from_ref(&group), "the rule of {service}");
            let health = self.workshop.by_hand(async |account| account.health(&group).await);
            assert_eq!(health, vec!["healthy"; count], "{group}");
        }
        for line in self.surplus() {
            let release = line.rsplit_once("-r").and_then(|(_, number)| number.parse::<u32>().ok());
            assert!(release.is_some_and(|release| release < number(&status["live"])), "{line} is left behind: {status:#}");
        }
        live
    }

    /// What the account has, read with the plain SDK, beyond the fixed things and the fleets that serve or are warm. Those are whole.
    #[track_caller]
    fn surplus(&self) -> BTreeSet<String> {
        let status = self.status();
        let mut wanted = self.fixed.borrow().clone();
        for release in status["warm"].as_array().unwrap().iter().chain([&status["live"]]) {
            for (service, ..) in SERVICES {
                let name = format!("acme-production-{service}-{}", release.as_str().unwrap());
                wanted.extend(["group", "target group", "template"].map(|kind| format!("{kind} {name}")));
            }
        }
        let there: BTreeSet<_> = self.inventory().into_iter().filter(|line| is_fixed(line) || !is_counted(line)).collect();
        let missing: Vec<_> = wanted.difference(&there).collect();
        assert!(missing.is_empty(), "{missing:?} missing: {status:#}");
        there.difference(&wanted).cloned().collect()
    }

    /// After a deploy that nobody disturbs there is what serves and what is warm, and nothing else at all.
    #[track_caller]
    fn rests(&self) {
        let live = self.is_whole();
        let status = self.status();
        let warm: Vec<String> = status["warm"].as_array().unwrap().iter().map(|warm| warm.as_str().unwrap().to_string()).collect();
        assert_eq!((self.surplus(), warm.len()), (BTreeSet::new(), 1), "{status:#}");
        let (rules, instances): (BTreeSet<_>, BTreeSet<_>) =
            self.inventory().into_iter().filter(|line| is_counted(line)).partition(|line| line.starts_with("rule "));
        self.rules_lead_to(&rules, &live, &warm);
        let each: usize = SERVICES.iter().map(|(_, count, _)| count).sum();
        assert_eq!(instances.len(), each * (1 + warm.len()), "{status:#}: {instances:?}");
    }

    /// Every rule but those of the routes is some fleet's test rule, one each.
    #[track_caller]
    fn rules_lead_to(&self, rules: &BTreeSet<String>, live: &str, warm: &[String]) {
        let leads_to = |rule: &String| {
            let priority = rule.split(' ').nth(1).unwrap();
            self.workshop.by_hand(async |account| account.weights(priority).await).remove(0).0
        };
        let led_to: Vec<String> = rules.iter().map(leads_to).collect();
        let releases = warm.iter().map(String::as_str).chain([live]);
        let fleets = releases.flat_map(|release| SERVICES.map(|(service, ..)| format!("acme-production-{service}-{release}")));
        assert_eq!(led_to.len(), (1 + warm.len()) * SERVICES.len(), "{led_to:?}");
        assert_eq!(led_to.into_iter().collect::<BTreeSet<_>>(), fleets.collect::<BTreeSet<_>>());
    }

    /// Every node of the load balancer knows the weights by now: everybody gets one page.
    #[track_caller]
    pub fn shows_one_page(&self) -> String {
        std::thread::sleep(Duration::from_secs(2));
        let pages: BTreeSet<String> = (0..20).map(|_| get(self.url.strip_prefix("http://").unwrap(), "/").unwrap().1).collect();
        assert_eq!(pages.len(), 1, "{pages:?}");
        pages.into_iter().next().unwrap()
    }

    /// The sandbox is stopped, and no process of its machines is left.
    pub fn leaves_nothing(self) {
        let id = self.workshop.status()["id"].as_str().unwrap().to_string();
        assert!(!processes_of(&id).is_empty(), "no machine was ever here: this proves nothing");
        self.workshop.adstage(&["sandbox", "stop"]).ends(0);
        assert_eq!(processes_of(&id), Vec::<u32>::new());
    }
}

/// The rules of the routes and of everything else, and the image.
fn is_fixed(line: &str) -> bool {
    ["rule 10 ", "rule 20 ", "rule default ", "image "].iter().any(|start| line.starts_with(start))
}

/// Test rules and instances: their lines do not say whose they are.
fn is_counted(line: &str) -> bool {
    !is_fixed(line) && ["rule ", "instance "].iter().any(|start| line.starts_with(start))
}

/// 7 of `r7`.
fn number(release: &Value) -> u32 {
    release.as_str().unwrap()[1..].parse().unwrap()
}

/// Looks until it is so. How long that takes is the machine's affair; what never comes fails.
#[track_caller]
pub fn until(what: &str, mut so: impl FnMut() -> bool) {
    let patience = Instant::now() + Duration::from_secs(900);
    while !so() {
        assert!(Instant::now() < patience, "it never came that {what}");
        std::thread::sleep(Duration::from_millis(3));
    }
}

/// Requests that failed, and how many there were in all.
pub fn failed(visits: &[Visit]) -> (Vec<String>, usize) {
    let failed = visits.iter().filter_map(|visit| match &visit.got {
        Ok((200, _)) => None,
        other => Some(format!("{other:?}")),
    });
    (failed.collect(), visits.len())
}
