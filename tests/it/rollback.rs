//! `adstage rollback`. (With visitors: `stage`.)

use serde_json::json;

use crate::practice;
use crate::yard::Yard;

#[test]
fn with_nothing_to_go_back_to_it_is_refused_and_else_it_takes_one_enter() {
    let company = practice::open("yes");
    company.sandbox(&["setup", "production", "--yes"]).ends(0);
    company.sandbox(&["rollback", "production", "--yes"]).ends(6);
    company.sandbox(&["image", "bake", "--from-base"]).ends(0);
    company.sandbox(&["deploy", "production", "--yes"]).ends(0);
    practice::next(&company, "two");
    company.sandbox(&["image", "bake", "--from-base"]).ends(0);
    company.sandbox(&["deploy", "production", "--yes"]).ends(0);

    let unanswered = company.sandbox(&["rollback", "production"]).ends(6);
    assert!(unanswered.stderr.contains("next:  adstage --sandbox rollback production --yes"), "{}", unanswered.stderr);
    let back = company.sandbox(&["rollback", "production", "--yes", "--output", "json"]).ends(0).json();
    assert_eq!((&back["outcome"], &back["serving"], &back["previous"]), (&json!("deployed"), &json!({ "r1": 100 }), &json!("r2")));
    let status = company.sandbox(&["status", "production", "--output", "json"]).ends(0).json();
    assert_eq!((&status["live"], &status["warm"]), (&json!("r1"), &json!(["r2"])));
    let refused = company.sandbox(&["deploy", "production", "--yes"]).ends(6);
    assert!(refused.stderr.contains("marked bad"), "{}", refused.stderr);
}

/// In virtual time: the old worker's machine takes as long to end as AWS's do, and the fleet it belongs to is woken meanwhile.
#[tokio::test(start_paused = true)]
async fn right_after_a_deploy_a_worker_that_is_still_ending_is_no_crash() {
    let mut yard = Yard::lifelike().await;
    yard.operator("ana").await.deploy().await.well();
    yard.environment.services[1].variables.insert("GREETING".into(), "two".into());
    yard.operator("joe").await.deploy().await.well();
    yard.operator("ana").await.rollback().await.well();
}
