//! `adstage image`.

use insta::assert_snapshot;

use crate::practice;
use crate::typed::typed;

#[test]
fn a_wrong_reference_is_refused_before_anything_is_paid_for() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("adstage.toml"), practice::config("none")).unwrap();
    assert_snapshot!(typed(folder.path(), "--sandbox image bake --from-base --ref sit=main"), @r"
    exit 2
    --- stdout
    --- stderr
    error: there is no repository `sit` in [image.repositories]
      because  did you mean `site`?
    ");
    let said = typed(folder.path(), "--sandbox image bake --from-base --ref site=no-such-branch");
    assert!(said.code == 6 && said.stderr.contains("site: `no-such-branch` cannot be found in [FOLDER]/repositories/site"), "{said}");
    assert_eq!(typed(folder.path(), "image bake").code, 2);
}

#[test]
fn the_same_bake_twice_is_one_proved_image() {
    let company = practice::open("none");
    company.sandbox(&["setup", "production"]).ends(0);
    assert!(company.sandbox(&["image", "list"]).ends(0).stdout.starts_with("There is no image yet."));
    let baked = company.sandbox(&["image", "bake", "--from-base", "--output", "json"]).ends(0).json();
    assert_eq!(baked["image"]["provenance"], "verified");
    let again = company.sandbox(&["image", "bake", "--from-base", "--ref", "site=main"]).ends(0);
    assert!(again.stdout.starts_with("Nothing to do."), "{}", again.stdout);
    let listed = company.sandbox(&["image", "list", "--output", "json"]).ends(0).json();
    assert_eq!(listed.as_array().map(Vec::len), Some(1));
    assert_eq!(listed[0]["name"], baked["image"]["name"]);
}
