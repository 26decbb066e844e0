//! `adstage setup`.

use crate::practice;
use crate::typed::typed;

#[test]
fn what_is_missing_is_shown_asked_for_made_and_then_left_alone() {
    let company = practice::open("yes");
    let shown = company.sandbox(&["setup", "production", "--plan", "--exit-code"]).ends(10);
    assert!(shown.stdout.starts_with("create state table adstage in 123456789012, eu-central-1"), "{}", shown.stdout);
    let refused = company.sandbox(&["setup", "production"]).ends(6);
    assert!(refused.stderr.contains("next:  adstage --sandbox setup production --yes"), "{}", refused.stderr);
    company.sandbox(&["setup", "production", "--yes"]).ends(0);
    let again = company.sandbox(&["setup", "production"]).ends(0);
    assert_eq!(again.stdout, "production is set up already. Nothing to do.\n");
    assert_eq!(company.sandbox(&["setup"]).ends(0).stdout, "The state table is there. Nothing to do.\n");
    company.sandbox(&["setup", "production", "--plan", "--exit-code"]).ends(0);
}

#[test]
fn an_unknown_environment_is_wrong_usage() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("adstage.toml"), practice::config("none")).unwrap();
    let said = typed(folder.path(), "--sandbox setup prod");
    assert!(said.code == 2 && said.stderr.contains("did you mean `production`?"), "{said}");
}
