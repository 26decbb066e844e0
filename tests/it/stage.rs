//! Stories with real processes, real sockets and steady visitors: the company's own program is baked, deployed, replaced, broken, rolled
//! back, by commands typed one at a time.

#![allow(clippy::disallowed_methods, reason = "real processes run in real time")]

use std::process::Command;
use std::time::{Duration, Instant};

use crate::visitors::{Visitors, all_well, get};
use crate::workshop::{Said, Workshop, processes_of};

/// One web service at three instances, from a repository `site`. The instances and spans are the only things that vary.
pub fn config(run: &str, instances: u32, healthy_within: &str) -> String {
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
run = '''{run}'''
port = 8001

[env.production]
account = "123456789012"
region = "eu-central-1"
subnets = ["subnet-0000000000000000a", "subnet-0000000000000000b"]
security-groups = ["sg-00000000000000001"]
confirm = "name"

[env.production.load-balancer]
port = 8080

[env.production.services.web]
instances = {instances}
instance-type = "t3.micro"
route = {{ priority = 10, paths = ["/*"] }}

[env.production.deploy]
healthy-within = "{healthy_within}"
stable-for = "2s"
watch = "3s"
drain = "5s"
keep-warm = 1
"#
    )
}

/// A server every machine the tests run on has: Python's, or adstage's own practice program serving the same page.
pub fn server() -> String {
    let python = Command::new("python3").arg("--version").output().is_ok_and(|output| output.status.success());
    match python {
        true => "exec python3 -m http.server --bind \"$HOST\" \"$PORT\"".into(),
        false => "exec adstage sandbox shop web --listen \"$HOST:$PORT\" --page index.html --release \"$ADSTAGE_RELEASE\"".into(),
    }
}

/// Started, with what it says kept for the test.
fn piped(mut command: Command) -> std::process::Child {
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap()
}

pub const DEPLOY: [&str; 4] = ["deploy", "production", "--confirm", "production"];

/// A company whose `site` says `page`, with image and load balancer made.
pub fn company(config: &str, page: &str) -> Workshop {
    let shop = Workshop::open(config);
    shop.write("repositories/site/index.html", page);
    shop.commit("site");
    shop.sandbox(&["setup", "production", "--confirm", "production"]).ends(0);
    shop.sandbox(&["image", "bake", "--from-base"]).ends(0);
    shop
}

/// Releases in the order visitors met them, without repetitions.
fn seen(visits: &[crate::visitors::Visit]) -> Vec<String> {
    let mut pages: Vec<String> =
        visits.iter().filter_map(|visit| visit.got.as_ref().ok().map(|(_, body)| body.trim().to_string())).collect();
    pages.dedup();
    pages
}

#[test]
fn a_real_program_is_deployed_replaced_and_rolled_back_under_visitors() {
    let shop = company(&config(&server(), 3, "30s"), "release one");
    shop.sandbox(&DEPLOY).ends(0);
    let url = shop.url("acme-production");
    assert_eq!(get(url.strip_prefix("http://").unwrap(), "/"), Ok((200, "release one".into())));

    let visitors = Visitors::start(&url, 4, Duration::from_millis(25));
    shop.write("repositories/site/index.html", "release two");
    shop.commit("site");
    shop.sandbox(&["image", "bake", "--from-base"]).ends(0);
    let deployed = shop.sandbox(&[&DEPLOY[..], &["--output", "json"]].concat()).ends(0).json();
    assert_eq!((deployed["outcome"].as_str(), &deployed["serving"]["r2"]), (Some("deployed"), &100.into()));
    let settled = Instant::now();
    std::thread::sleep(Duration::from_secs(2));
    let back_begins = Instant::now();
    let back = shop.sandbox(&["rollback", "production", "--yes", "--output", "json"]).ends(0).json();
    assert_eq!(back["serving"]["r1"], 100);
    // The load balancer's nodes learn of a weight at different moments; a rollback does not watch for that, its operator is in a hurry.
    let back_settled = Instant::now() + Duration::from_secs(2);
    std::thread::sleep(Duration::from_secs(4));
    let visits = visitors.finish();

    assert!(all_well(&visits) > 300, "only {} visits: too few to prove anything", visits.len());
    let between = |from, to| visits.iter().filter(|visit| visit.at >= from && visit.at < to).cloned().collect::<Vec<_>>();
    assert_eq!(seen(&between(settled, back_begins)), ["release two"], "never mixed once the cutover has settled");
    assert_eq!(seen(&between(back_settled, Instant::now())), ["release one"]);

    drift_is_said(&shop);
    a_release_that_never_becomes_healthy_changes_nothing(&shop);
}

/// `status` believes the load balancer, and says so when the records disagree.
fn drift_is_said(shop: &Workshop) {
    let calm = shop.sandbox(&["status", "production", "--output", "json"]).ends(0).json();
    assert_eq!((calm["live"].as_str(), calm["drift"].as_array().map(Vec::len)), (Some("r1"), Some(0)), "{calm}");
    assert_eq!(calm["warm"], serde_json::json!(["r2"]));
    let (one, two) = ("acme-production-web-r1", "acme-production-web-r2");
    shop.by_hand(async |account| account.set_weights_by_hand("10", &[(one, 0), (two, 100)]).await);
    let drifted = shop.sandbox(&["status", "production", "--output", "json"]).ends(0).json();
    assert_eq!(drifted["live"], "r2", "{drifted}");
    let sentence = drifted["drift"][0].as_str().unwrap();
    assert!(sentence.contains("r1") && sentence.contains("r2"), "{sentence}");
    shop.by_hand(async |account| account.set_weights_by_hand("10", &[(one, 100), (two, 0)]).await);
    std::thread::sleep(Duration::from_secs(2));
}

/// Exit 7, the reason on screen, production untouched, nothing left behind.
fn a_release_that_never_becomes_healthy_changes_nothing(shop: &Workshop) {
    shop.write("adstage.toml", &config("echo 'STRIPE_KEY is not set' >&2; exit 1", 3, "30s"));
    let before = shop.by_hand(async |account| account.inventory().await);
    let visitors = Visitors::start(&shop.url("acme-production"), 2, Duration::from_millis(50));
    let failed = shop.sandbox(&DEPLOY).ends(7);
    assert!(failed.stderr.contains("STRIPE_KEY is not set"), "{}", failed.stderr);
    assert!(failed.stderr.contains("Now serving: r1"), "{}", failed.stderr);
    let visits = visitors.finish();
    all_well(&visits);
    assert_eq!(seen(&visits), ["release one"]);
    assert_eq!(shop.by_hand(async |account| account.inventory().await), before);
}

/// The winner's release starts only when the gate opens, and the gate opens when the other nineteen have their answer: however slow the
/// machine is, all twenty meet one running deploy.
#[test]
fn m01_of_twenty_simultaneous_deploys_one_proceeds_and_nineteen_name_it() {
    let gate = tempfile::NamedTempFile::new().unwrap().into_temp_path();
    let run = format!("until [ -e '{}' ]; do sleep 0.1; done; {}", gate.display(), server());
    let shop = company(&config(&run, 1, "5m"), "hello");
    std::fs::remove_file(&gate).unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    for _ in 0..20 {
        let (deploy, tell) = (piped(shop.command(&[&["--sandbox"], &DEPLOY[..]].concat())), tell.clone());
        std::thread::spawn(move || tell.send(Said::from(deploy.wait_with_output().unwrap())));
    }
    let blocked: Vec<Said> = told.iter().take(19).collect();
    std::fs::write(&gate, "").unwrap();
    for end in blocked {
        let end = end.ends(5);
        assert!(end.stderr.contains("production is locked") && end.stderr.contains("deploying r1"), "{}", end.stderr);
    }
    told.recv().unwrap().ends(0);
}

#[test]
fn a_killed_sandbox_and_a_killed_deploy_leave_no_process() {
    let shop = company(&config(&server(), 2, "30s"), "hello");
    let mut deploy = shop.command(&[&["--sandbox"], &DEPLOY[..]].concat()).spawn().unwrap();
    let id = shop.status()["id"].as_str().unwrap().to_string();
    let patience = Instant::now() + Duration::from_secs(30);
    while processes_of(&id).is_empty() {
        assert!(Instant::now() < patience, "the deploy launched nothing");
        std::thread::sleep(Duration::from_millis(100));
    }
    deploy.kill().unwrap();
    deploy.wait().unwrap();
    let pid = shop.status()["pid"].as_u64().unwrap().to_string();
    assert!(Command::new("kill").args(["-9", &pid]).status().unwrap().success());
    shop.adstage(&["sandbox", "stop"]).ends(0);
    assert_eq!(processes_of(&id), Vec::<u32>::new());
}
