//! A day with `deploy`, and the look at it afterwards: what people and programs are told at every turn. (Visitors: `stage`; every misfortune: `deploy`.)

use serde_json::json;

use crate::practice;
use crate::typed::typed;

#[test]
fn a_release_is_planned_confirmed_deployed_and_told_from_the_weights() {
    let company = practice::open("name");
    company.sandbox(&["setup", "production", "--yes"]).ends(0);
    let refused = company.sandbox(&["deploy", "production", "--output", "json"]).ends(6).json();
    assert_eq!((&refused["outcome"], &refused["error"]["code"]), (&json!("refused"), &json!("refused")));
    company.sandbox(&["image", "bake", "--from-base"]).ends(0);

    let plan = company.sandbox(&["deploy", "production", "--plan", "--exit-code", "--output", "json"]).ends(10).json();
    assert_eq!((&plan["changes"], &plan["plan"]["kind"]), (&json!(true), &json!("deploy")));
    let unanswered = company.sandbox(&["deploy", "production", "--yes"]).ends(6);
    assert!(unanswered.stderr.contains("next:  adstage --sandbox deploy production --confirm production"), "{}", unanswered.stderr);
    company.sandbox(&["deploy", "production", "--confirm", "staging"]).ends(6);

    let events = company.path().join("events.ndjson");
    let typed = ["deploy", "production", "--confirm", "production", "--output", "json", "--events-file", "events.ndjson"];
    let deployed = company.sandbox(&typed).ends(0).json();
    assert_eq!((&deployed["outcome"], &deployed["serving"], &deployed["exit"]), (&json!("deployed"), &json!({ "r1": 100 }), &json!(0)));
    let events = std::fs::read_to_string(events).unwrap();
    assert!(events.lines().next().is_some_and(|line| line.contains("\"type\":\"hello\"")) && events.contains("\"type\":\"result\""));

    let again = company.sandbox(&["deploy", "production"]).ends(0);
    assert_eq!(again.stdout, "Nothing to do. production serves r1 100 %.\n");

    let status = company.sandbox(&["status", "production", "--output", "json"]).ends(0).json();
    assert_eq!((&status["live"], &status["lock"]["state"], &status["drift"]), (&json!("r1"), &json!("free"), &json!([])));
    company.by_hand(async |account| account.set_weights_by_hand("10", &[("acme-production-web-r1", 0)]).await);
    let status = company.sandbox(&["status", "production", "--output", "json"]).ends(0).json();
    assert_eq!(status["drift"], json!(["web: visitors get no release, but the records say r1"]));
    let history = company.sandbox(&["history", "production", "r1"]).ends(0);
    assert!(history.stdout.contains("ended deployed"), "{}", history.stdout);
}

#[test]
fn a_deploy_without_an_environment_is_wrong_usage() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(typed(folder.path(), "deploy").code, 2);
}
