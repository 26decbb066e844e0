//! `adstage config`.

use insta::assert_snapshot;
use serde_json::Value;

use crate::typed::typed;

const EXAMPLE: &str = include_str!("../../examples/adstage.toml");

fn folder(config: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("adstage.toml"), config).unwrap();
    folder
}

#[test]
fn a_mistake_is_shown_with_its_line_and_ends_3() {
    let folder = folder(&EXAMPLE.replace("confirm = \"name\"", "confrim = \"name\""));
    assert_snapshot!(typed(folder.path(), "config check"), @r#"
    exit 3
    --- stdout
    --- stderr
    error[config::unknown-key]: unknown key `confrim` in [env.production]
       --> adstage.toml:107:1
        |
    107 | confrim = "name"
        | ^^^^^^^ not a key adstage knows
        |
    help: did you mean `confirm`?
        |
    107 - confrim = "name"
    107 + confirm = "name"
        |

    error: [FOLDER]/adstage.toml has one mistake
    "#);
}

#[test]
fn mistakes_as_json_are_on_stdout_alone() {
    let folder = folder("app = 3\n");
    let said = typed(folder.path(), "config check --output json");
    let value: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!((said.code, said.stderr.as_str()), (3, ""));
    assert_eq!(value["error"]["code"], "config");
    assert!(!said.stdout.contains('\u{1b}'));
}

#[test]
fn the_file_is_found_from_a_folder_below_and_its_effect_is_shown() {
    let folder = folder(EXAMPLE);
    let below = folder.path().join("deep/below");
    std::fs::create_dir_all(&below).unwrap();
    let said = typed(&below, "config show staging");
    assert_eq!(said.code, 0, "{said}");
    assert!(said.stdout.lines().any(|line| line.starts_with("deploy.drain = \"30s\"") && line.ends_with("# built in")), "{said}");
    assert!(said.stdout.lines().any(|line| line.starts_with("region = \"eu-central-1\"") && line.contains("# line ")), "{said}");
}

#[test]
fn without_a_file_it_says_where_it_looked() {
    let folder = tempfile::tempdir().unwrap();
    assert_snapshot!(typed(folder.path(), "config check"), @r"
    exit 3
    --- stdout
    --- stderr
    error: there is no adstage.toml here or in any folder above
      because  looked from [FOLDER] upwards
    next:  adstage help config
    ");
}

#[test]
fn an_unknown_environment_is_wrong_usage() {
    let folder = folder(EXAMPLE);
    assert_snapshot!(typed(folder.path(), "config show prod"), @r"
    exit 2
    --- stdout
    --- stderr
    error: there is no environment `prod` in [FOLDER]/adstage.toml
      because  did you mean `production`?
    ");
}
