//! What a person who rehearses makes happen to spot in the sandbox, with real processes and visitors. (Virtual time: `spot`.)

#![allow(clippy::disallowed_methods, reason = "real processes run in real time")]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::practice;
use crate::visitors::{Visitors, all_well, get};
use crate::workshop::Workshop;

/// The company with so many instances of web, eight of ten of them spot.
fn company(instances: u32, watch: &str) -> Workshop {
    let web = format!("[env.production.services.web]\ninstances = {instances}\nspot = 80\n");
    let config = practice::config("yes").replacen("[env.production.services.web]\ninstances = 1\n", &web, 1);
    let company = Workshop::open(&config.replacen("watch = \"1s\"", &format!("watch = \"{watch}\""), 1));
    practice::next(&company, "one");
    company.sandbox(&["setup", "production", "--yes"]).ends(0);
    company.sandbox(&["image", "bake", "--from-base"]).ends(0);
    company.sandbox(&["deploy", "production", "--yes"]).ends(0);
    company
}

/// Ids of web's running instances of one release: on-demand, spot.
fn running(company: &Workshop, release: &str) -> [BTreeSet<String>; 2] {
    let status = company.status();
    let web = |found: &&Value| {
        found["services"] == serde_json::json!(["web"])
            && found["release"] == release
            && found["mode"] == "fleet"
            && found["state"] == "running"
    };
    let found: Vec<&Value> = status["instances"].as_array().unwrap().iter().filter(web).collect();
    let ids = |spot: bool| found.iter().filter(move |found| found["spot"] == spot).map(|found| found["id"].as_str().unwrap().to_string());
    [ids(false).collect(), ids(true).collect()]
}

/// Looks until it is so.
#[track_caller]
fn until(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(120), "{what}: not within two minutes");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// What of web's fleets `status` says: healthy and wanted.
fn healthy(company: &Workshop, release: &str) -> (Value, Value) {
    let status = company.sandbox(&["status", "production", "--output", "json"]).ends(0).json();
    let fleets = status["services"].as_array().unwrap().clone();
    let web = fleets.iter().find(|fleet| fleet["service"] == "web" && fleet["release"] == release).unwrap();
    (web["healthy"].clone(), web["desired"].clone())
}

fn reclaim(company: &Workshop, release: &str) -> BTreeSet<String> {
    let args = ["sandbox", "reclaim", "production", "web", "--percent", "30", "--release", release, "--output", "json"];
    let told = company.adstage(&args).ends(0).json();
    assert_eq!((told["of"].as_u64(), told["seconds"].as_u64()), (Some(8), Some(12)), "{told}");
    told["reclaimed"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_string()).collect()
}

#[test]
fn m02_three_of_ten_instances_are_taken_back_during_a_deploy_and_no_visitor_notices() {
    let company = company(10, "20s");
    practice::next(&company, "two");
    company.sandbox(&["image", "bake", "--from-base"]).ends(0);
    let visitors = Visitors::start(&company.url("acme-production"), 4, Duration::from_millis(25));
    let (deployed, taken, later) = std::thread::scope(|scope| {
        let deploy = scope.spawn(|| company.sandbox(&["deploy", "production", "--yes"]));
        // While the candidate boots, three of the ten that serve; and once it has all visitors, three of its own.
        until("a candidate", || deploy.is_finished() || !running(&company, "r2")[1].is_empty());
        let taken = reclaim(&company, "r1");
        let url = company.url("acme-production");
        until("a cutover", || {
            deploy.is_finished() || get(url.strip_prefix("http://").unwrap(), "/").is_ok_and(|(_, body)| body.trim() == "two")
        });
        let disturbed = !deploy.is_finished();
        let later = reclaim(&company, "r2");
        let deployed = deploy.join().unwrap().ends(0);
        assert!(disturbed, "the deploy was over before it could be disturbed: {}", deployed.stderr);
        (deployed, taken, later)
    });
    assert_eq!((taken.len(), later.len()), (3, 3), "{}", deployed.stderr);
    until("both fleets are whole again", || {
        let whole = |release: &str, gone: &BTreeSet<String>| {
            let [own, spot] = running(&company, release);
            own.len() == 2 && spot.len() == 8 && spot.is_disjoint(gone) && healthy(&company, release) == (10.into(), 10.into())
        };
        whole("r1", &taken) && whole("r2", &later)
    });
    let visits = visitors.finish();
    all_well(&visits);
    for page in ["one", "two"] {
        assert!(visits.iter().filter(|visit| visit.got.as_ref().is_ok_and(|(_, body)| body.trim() == page)).count() > 100, "{page}");
    }
}

#[test]
fn spot_runs_short_as_long_as_one_says_and_a_deploy_gets_through() {
    let company = company(2, "1s");
    let scarce = company.adstage(&["sandbox", "shortage", "spot", "--for", "10m"]).ends(0);
    assert_eq!(scarce.stdout.trim_end(), "No more spot can be had for 10m. To end it: adstage sandbox shortage spot --end");
    let one = company.adstage(&["sandbox", "shortage", "on-demand", "m7i.xlarge", "--left", "3"]).ends(0);
    let said =
        "Only 3 more on-demand m7i.xlarge can be had, until it is ended. To end it: adstage sandbox shortage on-demand m7i.xlarge --end";
    assert_eq!(one.stdout.trim_end(), said);
    let shown = company.status()["shortages"].clone();
    let markets: Vec<_> = shown.as_array().unwrap().iter().map(|found| (found["market"].clone(), found["left"].clone())).collect();
    assert_eq!(markets, [("on-demand".into(), 3.into()), ("spot".into(), 0.into())], "{shown}");

    practice::next(&company, "two");
    company.sandbox(&["image", "bake", "--from-base"]).ends(0);
    let covered = company.sandbox(&["deploy", "production", "--yes"]).ends(0);
    assert!(covered.stderr.contains("only 0 of 1 spot instances can be had"), "{}", covered.stderr);
    assert_eq!(running(&company, "r2").map(|ids| ids.len()), [2, 0]);
    let status = company.sandbox(&["status", "production"]).ends(0);
    assert!(status.stdout.contains("--hand-back"), "{}", status.stdout);

    let over = company.adstage(&["sandbox", "shortage", "spot", "--end"]).ends(0);
    assert_eq!(over.stdout.trim_end(), "As much spot can be had as anybody wants.");
    company.sandbox(&["scale", "production", "web", "--hand-back", "--wait", "--yes"]).ends(0);
    until("the share is as configured", || running(&company, "r2").map(|ids| ids.len()) == [1, 1]);
}

#[test]
fn m05_sizes_go_up_and_down_and_on_demand_stands_in_for_spot_under_visitors() {
    let company = company(2, "1s");
    let visitors = Visitors::start(&company.url("acme-production"), 3, Duration::from_millis(25));
    let scale = |more: &[&str]| company.sandbox(&[&["scale", "production", "web"], more, &["--yes"]].concat());
    let sizes = || running(&company, "r1").map(|ids| ids.len());
    scale(&["--on-demand", "2", "--spot", "2", "--wait"]).ends(0);
    assert_eq!(sizes(), [2, 2]);
    scale(&["--on-demand", "1", "--spot", "1", "--wait"]).ends(0);
    until("it is smaller", || sizes() == [1, 1]);

    company.adstage(&["sandbox", "shortage", "spot"]).ends(0);
    scale(&["--spot", "3"]).ends(0);
    until("it is said, with the command", || company.sandbox(&["status", "production"]).ends(0).stdout.contains("--fallback"));
    scale(&["--fallback", "--wait"]).ends(0);
    assert_eq!(sizes(), [3, 1]);
    let refused = scale(&["--on-demand", "0", "--spot", "0"]).ends(6);
    assert!(refused.stderr.contains("nobody would be left") && refused.stderr.contains("--force"), "{}", refused.stderr);

    company.adstage(&["sandbox", "shortage", "spot", "--end"]).ends(0);
    scale(&["--hand-back", "--wait"]).ends(0);
    until("the share is as configured", || sizes() == [1, 3]);
    std::thread::sleep(Duration::from_secs(3));
    assert!(all_well(&visitors.finish()) > 500);
}

#[test]
fn what_the_sandbox_does_not_have_is_not_taken() {
    let company = practice::open("yes");
    let none = company.adstage(&["sandbox", "reclaim", "production", "web", "--percent", "30"]).ends(6);
    assert!(none.stderr.contains("web in production has no spot instance that runs"), "{}", none.stderr);
    company.adstage(&["sandbox", "reclaim", "produktion", "web"]).ends(2);
    let unknown = company.adstage(&["sandbox", "shortage", "spot", "m7i.huge"]).ends(6);
    assert!(unknown.stderr.contains("no instance type `m7i.huge`"), "{}", unknown.stderr);
    company.adstage(&["sandbox", "shortage", "spot", "--for", "1s"]).ends(0);
    until("it ends by itself", || company.status()["shortages"] == serde_json::json!([]));
    company.adstage(&["sandbox", "stop"]).ends(0);
    company.adstage(&["sandbox", "shortage", "spot"]).ends(6);
}
