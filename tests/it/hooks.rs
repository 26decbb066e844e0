//! The company's own commands in a deploy: what they are told, and what their failure does, in virtual time and with real processes.

#![allow(clippy::disallowed_methods, reason = "real processes run in real time")]

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use adstage::failure::End;
use adstage::journal;
use adstage::model::*;
use adstage::steps::{Commands, Finished};

use crate::stage::{DEPLOY, company, config, server};
use crate::visitors::{Visitors, all_well};
use crate::yard::{Operator, Yard, shown};

fn timed(run: &str) -> Option<TimedCommand> {
    Some(TimedCommand { run: run.into(), within: Seconds(60) })
}

/// A company whose r1 serves, whose next release differs, and whose four hooks are all there.
async fn yard() -> Yard {
    let mut yard = Yard::ready().await;
    yard.operator("ana").await.deploy().await.well();
    yard.environment.services[1].variables.insert("GREETING".into(), "two".into());
    let [before_deploy, verify, after_cutover, on_failure] = ["before", "verify", "after", "failed"].map(timed);
    yard.environment.hooks = Hooks { before_deploy, verify, after_cutover, on_failure };
    yard
}

/// How the hook with this command ends.
type Ends = fn(&str) -> Option<i32>;
type Told = Arc<Mutex<Vec<(String, BTreeMap<String, String>)>>>;

/// Somebody on whose machine hooks end as this says; what they were told is kept.
async fn operator(yard: &Yard, name: &str, told: &Told, ends: Ends) -> Operator {
    let (told, clock) = (told.clone(), yard.clock.clone());
    let commands = Commands::by(move |job| {
        let (told, clock) = (told.clone(), clock.clone());
        async move {
            told.lock().unwrap().push((job.command.run.clone(), job.variables));
            (job.said)("at work");
            clock.sleep(Duration::from_secs(5)).await;
            let tail = vec![format!("{} says so", job.command.run)];
            Ok(Finished { code: ends(&job.command.run), tail })
        }
    });
    Operator { commands, ..yard.operator(name).await }
}

fn ran(told: &Told) -> Vec<String> {
    told.lock().unwrap().iter().map(|(run, _)| run.clone()).collect()
}

async fn state(yard: &Yard) -> String {
    shown(&yard.environment, &yard.operator("onlooker").await.world().await)
}

/// Everything the newest operation's events say.
async fn record(yard: &Yard) -> String {
    let onlooker = yard.operator("onlooker").await;
    let world = onlooker.world().await;
    let newest = world.records.operations.first().unwrap().id.clone();
    let (_, events) = journal::operation(&onlooker.aws.dynamodb, &Scope::of(&yard.environment), &newest).await.unwrap().unwrap();
    events.iter().map(|event| format!("{:?}\n", event.entry)).collect()
}

#[tokio::test(start_paused = true)]
async fn every_hook_of_a_good_deploy_runs_once_in_its_place_and_is_told_the_facts() {
    let yard = yard().await;
    let told = Told::default();
    let joe = operator(&yard, "joe", &told, |_| Some(0)).await;
    let plan = joe.deploy().await.well();
    let lines = adstage::plan::render(&plan).join("\n");
    for line in
        ["before-deploy hook here: `before`, within 1m", "verify hook here: `verify`", "if it ends badly, the on-failure hook runs here"]
    {
        assert!(lines.contains(line), "{lines}");
    }
    assert_eq!(ran(&told), ["before", "verify", "after"]);
    let told = told.lock().unwrap().clone();
    let fact = |at: usize, name: &str| told[at].1.get(name).cloned().unwrap_or_default();
    assert_eq!(
        (fact(1, "ADSTAGE_RELEASE"), fact(1, "ADSTAGE_PREVIOUS"), fact(1, "ADSTAGE_HOOK")),
        ("r2".into(), "r1".into(), "verify".into())
    );
    assert_eq!(fact(0, "ADSTAGE_SERVICES"), "admin web worker");
    assert!(fact(0, "ADSTAGE_COMMITS").contains("storefront="), "{}", fact(0, "ADSTAGE_COMMITS"));
    assert_eq!(fact(0, "ADSTAGE_PROBE_VALUE"), "", "nothing is there to be reached yet");
    assert!(fact(1, "ADSTAGE_URL").starts_with("http://"), "{}", fact(1, "ADSTAGE_URL"));
    assert_ne!(fact(1, "ADSTAGE_PROBE_VALUE_WEB"), fact(1, "ADSTAGE_PROBE_VALUE_ADMIN"));
    assert!(!told[1].1.contains_key("ADSTAGE_PROBE_VALUE_WORKER"));
    assert!(record(&yard).await.contains("| verify says so"));
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_fails_or_hangs_before_the_cutover_stops_the_deploy_and_nobody_noticed() {
    let cases: [(Ends, &str, &str); 3] = [
        (|run| Some(if run == "before" { 3 } else { 0 }), "the before-deploy hook exited 3", "r2 untried"),
        (|run| Some(if run == "verify" { 1 } else { 0 }), "the verify hook exited 1", "r2 bad"),
        (|run| (run != "verify").then_some(0), "the verify hook did not end within 1m and was killed", "r2 bad"),
    ];
    for (ends, what, verdict) in cases {
        let yard = yard().await;
        let (before, visitors, told) = (state(&yard).await, yard.visitors(), Told::default());
        let ending = operator(&yard, "joe", &told, ends).await.deploy().await.ending();
        let failure = ending.failure.unwrap();
        assert_eq!((ending.outcome, failure.end, failure.because[0].as_str()), (Outcome::RolledBack, End::RolledBack, what));
        assert_eq!(state(&yard).await, format!("{before}, {verdict}"));
        let seen = visitors.gone().await;
        assert_eq!((seen.failed, seen.groups), (vec![], vec!["shop-production-web-r1".to_string()]));
        let record = record(&yard).await;
        assert!(record.contains(what) && record.contains("says so"), "{record}");
        // Told how it ends, and what it says is in the record too.
        let told = told.lock().unwrap();
        let (last, facts) = told.last().unwrap();
        assert_eq!((last.as_str(), facts["ADSTAGE_OUTCOME"].as_str()), ("failed", "rolled-back"));
        assert!(facts["ADSTAGE_REASON"].contains(what), "{}", facts["ADSTAGE_REASON"]);
        assert!(record.contains("| failed says so"), "{record}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_fails_after_the_cutover_is_trouble_and_the_rest_is_done_all_the_same() {
    let yard = yard().await;
    let told = Told::default();
    let joe = operator(&yard, "joe", &told, |run| Some(if run == "after" { 7 } else { 0 })).await;
    let ending = joe.deploy().await.ending();
    assert_eq!((ending.outcome, ending.failure.unwrap().end), (Outcome::Deployed, End::Trouble));
    assert!(joe.saw().contains(&"settle ok".to_string()), "{:?}", joe.saw());
    assert!(state(&yard).await.contains("web r2"), "{}", state(&yard).await);
    assert_eq!(ran(&told), ["before", "verify", "after", "failed"], "and it is not tried again and again");
}

#[tokio::test(start_paused = true)]
async fn what_the_on_failure_hook_does_changes_nothing() {
    for ends in [(|run: &str| Some(i32::from(run != "before"))) as Ends, |run| (run == "before").then_some(0)] {
        let yard = yard().await;
        let before = state(&yard).await;
        let ending = operator(&yard, "joe", &Told::default(), ends).await.deploy().await.ending();
        assert_eq!((ending.outcome, ending.failure.unwrap().end), (Outcome::RolledBack, End::RolledBack));
        assert_eq!(state(&yard).await, format!("{before}, r2 bad"));
    }
}

#[tokio::test(start_paused = true)]
async fn on_another_machine_what_had_not_finished_runs_again_and_what_proves_too() {
    for (dies_in, again) in [("before", ["before", "verify", "after"]), ("verify", ["verify", "after", ""]), ("after", ["after", "", ""])] {
        let yard = yard().await;
        let told = Told::default();
        let joe = operator(&yard, "joe", &told, |_| Some(0)).await;
        let watching = async {
            while ran(&told).last().map(String::as_str) != Some(dies_in) {
                joe.clock.sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::select! {
            went = joe.deploy() => panic!("{went:?}"),
            () = watching => {}
        }
        joe.line.cut(true);
        let there = Told::default();
        operator(&yard, "maya", &there, |_| Some(0)).await.resume(false).await.well();
        assert_eq!(ran(&there), again.into_iter().filter(|run| !run.is_empty()).collect::<Vec<_>>(), "died in {dies_in}");
    }
}

#[tokio::test(start_paused = true)]
async fn where_hooks_cannot_run_the_release_is_not_to_blame() {
    let yard = yard().await;
    let before = state(&yard).await;
    let ending = yard.operator("joe").await.deploy().await.ending();
    assert_eq!(ending.outcome, Outcome::RolledBack);
    assert_eq!(state(&yard).await, format!("{before}, r2 untried"));
}

/// Real processes: a `verify` hook that reaches the candidate and fails, and one that hangs. Must show 6.
#[test]
fn a_verify_hook_reaches_the_candidate_and_no_visitor_does() {
    let hooks = |verify: &str| {
        let gate = "on-failure = { run = 'echo \"$ADSTAGE_OUTCOME $ADSTAGE_REASON\" > told' }";
        format!("{}\n[env.production.hooks]\nverify = {verify}\n{gate}\n", config(&server(), 2, "30s"))
    };
    let shop = company(&config(&server(), 2, "30s"), "release one");
    shop.sandbox(&DEPLOY).ends(0);
    shop.write("repositories/site/index.html", "release two");
    shop.commit("site");
    shop.sandbox(&["image", "bake", "--from-base"]).ends(0);
    let url = shop.url("acme-production");
    let visitors = Visitors::start(&url, 2, Duration::from_millis(50));

    // The hook waits while the test looks where the hook could.
    let script = "{ run = 'env | grep ^ADSTAGE_ > facts.new; mv facts.new facts; echo smoking; until [ -e go ]; do sleep 0.1; done; exit 3', within = \"60s\" }";
    shop.write("adstage.toml", &hooks(script));
    let mut deploy = shop.command(&[&["--sandbox"], &DEPLOY[..]].concat());
    let deploy = deploy.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let patience = Instant::now() + Duration::from_secs(60);
    while !shop.path().join("facts").exists() {
        assert!(Instant::now() < patience, "the hook never ran");
        std::thread::sleep(Duration::from_millis(50));
    }
    let facts = std::fs::read_to_string(shop.path().join("facts")).unwrap();
    let fact = |name: &str| facts.lines().find_map(|line| line.strip_prefix(&format!("{name}="))).unwrap_or_default().to_string();
    assert_eq!((fact("ADSTAGE_RELEASE"), fact("ADSTAGE_PREVIOUS")), ("r2".into(), "r1".into()));
    assert_eq!(asked(&url, &fact("ADSTAGE_PROBE_HEADER"), &fact("ADSTAGE_PROBE_VALUE")), "release two");
    assert!(fact("ADSTAGE_URL").starts_with("http://"), "{facts}");
    shop.write("go", "");
    let failed = crate::workshop::Said::from(deploy.wait_with_output().unwrap()).ends(7);
    assert!(failed.stderr.contains("the verify hook exited 3") && failed.stderr.contains("| smoking"), "{}", failed.stderr);

    shop.write("adstage.toml", &hooks("{ run = 'echo waiting; sleep 600', within = \"1s\" }"));
    let hung = shop.sandbox(&[&DEPLOY[..], &["--force"]].concat()).ends(7);
    assert!(hung.stderr.contains("the verify hook did not end within 1s and was killed"), "{}", hung.stderr);
    assert!(std::fs::read_to_string(shop.path().join("told")).unwrap().starts_with("rolled-back verify: the verify hook did not end"));

    let visits = visitors.finish();
    assert!(all_well(&visits) > 20);
    assert!(visits.iter().all(|visit| visit.got.as_ref().is_ok_and(|(_, body)| body.trim() == "release one")), "somebody saw release two");
    for (release, line) in [("r2", "| smoking"), ("r3", "| waiting")] {
        let history = shop.sandbox(&["history", "production", release]).ends(0);
        assert!(history.stdout.contains(line), "{}", history.stdout);
    }
}

/// What a request with this header gets.
fn asked(url: &str, header: &str, value: &str) -> String {
    use std::io::{Read, Write};
    let authority = url.strip_prefix("http://").unwrap();
    let mut stream = std::net::TcpStream::connect(authority).unwrap();
    write!(stream, "GET / HTTP/1.1\r\nHost: {authority}\r\n{header}: {value}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.trim().to_string()
}

/// The same company, whose next release has something to do once.
async fn migrating(script: &str) -> Yard {
    let mut yard = Yard::ready().await;
    yard.operator("ana").await.deploy().await.well();
    yard.environment.services[1].variables.insert("SANDBOX_SCRIPT".into(), script.into());
    yard.environment.services[1].release_command = timed("bin/migrate");
    yard
}

/// Instances of r2 that were told to run the release's command.
async fn told_to_migrate(yard: &Yard) -> Vec<String> {
    let onlooker = yard.operator("onlooker").await;
    let tags = [(tag::RELEASE.to_string(), "r2".to_string()), (tag::SERVICES.to_string(), "web".to_string())].into();
    let found = onlooker.aws.ec2.instances_tagged(&tags).await.unwrap();
    found.into_iter().filter(|found| found.tags.contains_key(tag::RELEASE_COMMAND)).map(|found| found.id).collect()
}

#[tokio::test(start_paused = true)]
async fn the_release_command_runs_on_one_instance_before_visitors_come_and_its_log_is_kept() {
    let yard = migrating("").await;
    let plan = yard.operator("joe").await.deploy().await.well();
    assert!(adstage::plan::render(&plan).join("\n").contains("once on one instance of web-r2: `bin/migrate`, within 1m"));
    assert_eq!(told_to_migrate(&yard).await.len(), 1, "of two");
    assert!(record(&yard).await.contains("| migrated"));
}

#[tokio::test(start_paused = true)]
async fn a_release_command_that_fails_or_hangs_stops_the_deploy_and_nobody_noticed() {
    for (script, what) in [
        ("release-failed", "the release command of web-r2 exited 3"),
        ("release-hangs", "web-r2: nothing was heard of the release command on "),
    ] {
        let yard = migrating(script).await;
        let (before, visitors) = (state(&yard).await, yard.visitors());
        let ending = yard.operator("joe").await.deploy().await.ending();
        let failure = ending.failure.unwrap();
        assert_eq!((ending.outcome, failure.end), (Outcome::RolledBack, End::RolledBack));
        assert!(failure.because[0].starts_with(what), "{failure:?}");
        assert_eq!(state(&yard).await, format!("{before}, r2 bad"));
        let seen = visitors.gone().await;
        assert_eq!((seen.failed, seen.groups), (vec![], vec!["shop-production-web-r1".to_string()]));
        let record = record(&yard).await;
        assert!(record.contains(what) && (script != "release-failed" || record.contains("| no such table: orders")), "{record}");
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_resumes_asks_the_same_instance() {
    let yard = migrating("release-hangs").await;
    let joe = yard.operator("joe").await;
    let watching = async {
        while told_to_migrate(&yard).await.is_empty() {
            joe.clock.sleep(Duration::from_millis(500)).await;
        }
    };
    tokio::select! {
        went = joe.deploy() => panic!("{went:?}"),
        () = watching => {}
    }
    joe.line.cut(true);
    let told = told_to_migrate(&yard).await;
    let maya = yard.operator("maya").await;
    let ends = async {
        while !maya.saw().contains(&"verify …".to_string()) {
            maya.clock.sleep(Duration::from_millis(500)).await;
        }
        maya.clock.sleep(Duration::from_secs(20)).await;
        assert_eq!(told_to_migrate(&yard).await, told);
        maya.aws.ec2.terminate(&told[0]).await.unwrap();
    };
    let (went, ()) = tokio::join!(maya.resume(false), ends);
    let ending = went.ending();
    assert_eq!(ending.outcome, Outcome::RolledBack);
    let what = format!("{} ended while it ran the release command of web-r2", told[0]);
    assert_eq!(ending.failure.unwrap().because[0], what);
}

/// Real processes: once per release, with the service's own variables; a failing one changes nothing for visitors. And when a release whose
/// variables changed is rolled back, the running process has the old ones (must show 6 and 7).
#[test]
fn a_release_command_runs_once_and_variables_go_back_with_the_release() {
    let run = format!("echo \"$GREETING\" > index.html; {}", server());
    let with = |greeting: &str, release: &str| {
        let table = format!(
            "[services.web]\nvariables = {{ GREETING = \"{greeting}\" }}\nrelease-command = {{ run = '''{release}''', within = \"30s\" }}"
        );
        config(&run, 2, "30s").replace("[services.web]", &table)
    };
    let log = tempfile::NamedTempFile::new().unwrap();
    let migrate = format!("echo \"migrating for $GREETING\"; echo \"$ADSTAGE_RELEASE $GREETING\" >> '{}'", log.path().display());
    let shop = company(&with("good day", &migrate), "no greeting");
    shop.sandbox(&DEPLOY).ends(0);
    let url = shop.url("acme-production");
    let visitors = Visitors::start(&url, 2, Duration::from_millis(50));
    shop.write("adstage.toml", &with("good evening", &migrate));
    shop.sandbox(&DEPLOY).ends(0);
    assert_eq!(asked(&url, "x-any", "thing"), "good evening");
    shop.sandbox(&["rollback", "production", "--yes"]).ends(0);
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(asked(&url, "x-any", "thing"), "good day", "config and code go back together");
    assert_eq!(std::fs::read_to_string(log.path()).unwrap(), "r1 good day\nr2 good evening\n", "once per release, of two instances");

    shop.write("adstage.toml", &with("good night", "echo 'relation orders exists' >&2; exit 4"));
    let failed = shop.sandbox(&DEPLOY).ends(7);
    assert!(
        failed.stderr.contains("the release command of web-r3 exited 4") && failed.stderr.contains("| relation orders exists"),
        "{}",
        failed.stderr
    );
    let visits = visitors.finish();
    assert!(all_well(&visits) > 50);
    assert!(visits.iter().all(|visit| visit.got.as_ref().is_ok_and(|(_, body)| body.trim() != "good night")));
    for (release, line) in [("r2", "| migrating for good evening"), ("r3", "| relation orders exists")] {
        let history = shop.sandbox(&["history", "production", release]).ends(0);
        assert!(history.stdout.contains(line), "{}", history.stdout);
    }
}
