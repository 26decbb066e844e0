//! `adstage image`.

use insta::assert_snapshot;

use crate::practice;
use crate::typed::typed;
use crate::workshop::Workshop;

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

/// Production asks for its name; staging does not.
fn two_places() -> String {
    let config = practice::config("name");
    let (head, production) = config.split_at(config.find("[env.production]").unwrap());
    let staging =
        production.replace("env.production", "env.staging").replace("confirm = \"name\"", "confirm = \"none\"").replace("8080", "8081");
    format!("{head}{staging}\n{production}")
}

#[test]
fn an_image_serves_staging_before_production_takes_it_unnamed_and_says_where_it_is() {
    let company = Workshop::open(&two_places());
    practice::next(&company, "one");
    company.sandbox(&["setup", "production", "--yes"]).ends(0);
    company.sandbox(&["setup", "staging", "--yes"]).ends(0);
    let baked = company.sandbox(&["image", "bake", "--from-base", "--output", "json"]).ends(0).json();
    let name = baked["image"]["name"].as_str().unwrap();
    let refused = company.sandbox(&["deploy", "production", "--plan"]).ends(6);
    assert!(refused.stderr.contains("has not served in any other environment yet (staging)"), "{}", refused.stderr);
    assert!(refused.stderr.contains(&format!("next:  adstage --sandbox deploy staging --image {name}")), "{}", refused.stderr);
    company.sandbox(&["deploy", "production", "--plan", "--image", name]).ends(0);

    company.sandbox(&["deploy", "staging"]).ends(0);
    company.sandbox(&["deploy", "production", "--plan"]).ends(0);
    let listed = company.sandbox(&["image", "list"]).ends(0).stdout;
    assert!(listed.contains("\tbase\tverified\tsite ") && listed.trim_end().ends_with("\tstaging live (r1)"), "{listed}");
    let hash = name.rsplit_once('-').unwrap().1;
    let shown = company.sandbox(&["image", "show", &hash[..4], "--against", "staging"]).ends(0).stdout;
    assert!(shown.contains("  release    r1 of staging: live") && shown.contains("r1, live in staging: the same code"), "{shown}");
    let shown = company.sandbox(&["image", "show", name, "--output", "json"]).ends(0).json();
    assert_eq!((&shown["condition"], &shown["against"]["environment"]), (&"verified".into(), &"production".into()));
    assert_eq!(company.sandbox(&["image", "show", "no-such"]).code, 6);

    let nothing = company.sandbox(&["image", "prune", "--keep", "0", "--yes"]).ends(0);
    assert!(nothing.stdout.starts_with("Nothing to do"), "{}", nothing.stdout);
    practice::next(&company, "two");
    let other = company.sandbox(&["image", "bake", "--from-base", "--output", "json"]).ends(0).json();
    let other = other["image"]["name"].as_str().unwrap();
    company.sandbox(&["image", "copy", other, "--to", "us-east-1"]).ends(0);
    company.sandbox(&["image", "copy", other, "--to", "eu-central-1"]).ends(6);
    company.sandbox(&["image", "share", other, "--with", "444455556666", "--yes"]).ends(0);
    assert_eq!(company.sandbox(&["image", "share", other, "--with", "nobody"]).code, 2);
    assert_eq!(company.sandbox(&["image", "bake", "--from", "blue"]).code, 3, "there is no [review]");
    assert!(company.sandbox(&["image", "prune", "--keep", "0", "--plan"]).ends(0).stdout.contains("staging"), "and its proof refers to it");
}

/// An account for each environment, as companies do: production gets its own copy of what staging has proved.
#[test]
fn an_image_reaches_production_in_another_account() {
    let (head, production) = (two_places(), "444455556666");
    let head = head.replacen("environment = \"production\"", "environment = \"staging\"", 1);
    let (head, rest) = head.split_at(head.find("[env.production]").unwrap());
    let company = Workshop::open(&format!("{head}{}", rest.replacen("123456789012", production, 1)));
    practice::next(&company, "one");
    company.sandbox(&["setup", "staging", "--yes"]).ends(0);
    company.sandbox(&["setup", "production", "--yes"]).ends(0);
    let baked = company.sandbox(&["image", "bake", "--from-base", "--output", "json"]).ends(0).json();
    let name = baked["image"]["name"].as_str().unwrap();
    company.sandbox(&["deploy", "staging"]).ends(0);
    let refused = company.sandbox(&["deploy", "production"]).ends(6).stderr;
    assert!(refused.contains("because  staging has it, in account 123456789012, eu-central-1"), "{refused}");
    let next = format!("image copy {name} --env staging --to production");
    assert!(refused.contains(&format!("next:  adstage --sandbox {next}")), "{refused}");
    let typed: Vec<&str> = next.split(' ').collect();
    let planned = company.sandbox(&[&typed[..], &["--plan"]].concat()).ends(0).stdout;
    assert!(planned.contains(&format!("copy {name} from account 123456789012")), "{planned}");
    company.sandbox(&typed).ends(6);
    company.sandbox(&[&typed[..], &["--yes"]].concat()).ends(0);
    let again = company.sandbox(&typed).ends(0);
    assert!(again.stdout.contains("Nothing to do") || again.stdout.contains("is in production too"), "{}", again.stdout);
    let listed = company.sandbox(&["image", "list", "--env", "production"]).ends(0).stdout;
    assert!(listed.contains(name) && listed.contains("\tverified\t"), "{listed}");
    company.sandbox(&["deploy", "production", "--confirm", "production"]).ends(0);
    let status = company.sandbox(&["status", "production"]).ends(0).stdout;
    assert!(status.contains(name), "{status}");
}
