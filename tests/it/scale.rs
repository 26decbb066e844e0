//! `adstage scale`, with real processes and visitors. (Kinds of capacity: `spot`.)

#![allow(clippy::disallowed_methods, reason = "real processes run in real time")]

use std::time::Duration;

use serde_json::json;

use crate::practice;
use crate::visitors::{Visitors, all_well};

#[test]
fn up_and_down_under_visitors_and_not_to_nothing() {
    let company = practice::open("yes");
    company.sandbox(&["setup", "production", "--yes"]).ends(0);
    company.sandbox(&["scale", "production", "web", "--on-demand", "2", "--yes"]).ends(6);
    company.sandbox(&["image", "bake", "--from-base"]).ends(0);
    company.sandbox(&["deploy", "production", "--yes"]).ends(0);
    company.sandbox(&["scale", "production", "web"]).ends(2);

    let visitors = Visitors::start(&company.url("acme-production"), 3, Duration::from_millis(25));
    let healthy = || {
        let status = company.sandbox(&["status", "production", "--output", "json"]).ends(0).json();
        let web = status["services"].as_array().unwrap().iter().find(|fleet| fleet["service"] == "web").unwrap().clone();
        (web["healthy"].clone(), web["desired"].clone())
    };
    let planned = company.sandbox(&["scale", "production", "web", "--on-demand", "3", "--plan"]).ends(0);
    assert!(planned.stdout.contains("web-r1 from 1 instance to 3"), "{}", planned.stdout);
    let up = company.sandbox(&["scale", "production", "web", "--on-demand", "3", "--wait", "--yes"]).ends(0);
    assert!(up.stdout.contains("web-r1 has 1 instance now, and 3 instances after"), "{}", up.stdout);
    assert_eq!(healthy(), (json!(3), json!(3)));
    company.sandbox(&["scale", "production", "web", "--on-demand", "1", "--yes"]).ends(0);
    let refused = company.sandbox(&["scale", "production", "web", "--on-demand", "0", "--yes"]).ends(6);
    assert!(refused.stderr.contains("nobody would be left") && refused.stderr.contains("--force"), "{}", refused.stderr);
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(healthy(), (json!(1), json!(1)));
    all_well(&visitors.finish());
    let history = company.sandbox(&["history", "production"]).ends(0);
    assert!(history.stdout.contains("scale"), "{}", history.stdout);
}
