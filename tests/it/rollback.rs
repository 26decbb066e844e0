//! `adstage rollback`. (With visitors: `stage`.)

use serde_json::json;

use crate::practice;

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
