//! The README tells the truth: its commands exist, its two commands are what CI runs, its links lead somewhere.

use std::path::Path;

use toml::{Table, Value};

use crate::typed::typed as type_in;

const README: &str = include_str!("../../README.md");
const CI: &str = include_str!("../../.ci/run");

/// What is typed after `$ ` in the README's console blocks, comments cut off.
fn typed() -> Vec<&'static str> {
    let commands = README.lines().filter_map(|line| line.strip_prefix("$ "));
    commands.map(|line| line.split(" #").next().unwrap_or(line).trim()).collect()
}

#[test]
fn every_adstage_command_in_it_is_one() {
    let ours: Vec<_> = typed().into_iter().filter_map(|line| line.strip_prefix("adstage ")).collect();
    assert!(ours.len() >= 6, "the six commands of daily life are in it: {ours:?}");
    for line in ours {
        let words = std::iter::once("adstage").chain(line.split_whitespace());
        let parsed = adstage::cli::command().try_get_matches_from(words);
        assert!(parsed.is_ok(), "`adstage {line}`: {}", parsed.unwrap_err());
    }
}

#[test]
fn its_two_commands_are_what_ci_runs() {
    let cargo: Vec<_> = typed().into_iter().filter(|line| line.starts_with("cargo ")).collect();
    assert_eq!(cargo, ["cargo run -- sandbox demo", "cargo test"]);
    for command in cargo {
        let locked = command.replacen("cargo run", "cargo run --locked", 1).replacen("cargo test", "cargo test --locked", 1);
        assert!(CI.lines().any(|line| line == locked), ".ci/run does not run `{locked}`");
    }
}

#[test]
fn its_links_lead_somewhere() {
    let links = README.split("](").skip(1).filter_map(|rest| rest.split(')').next()).filter(|link| !link.contains("://"));
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dead: Vec<_> = links.filter(|link| !root.join(link).exists()).collect();
    assert!(dead.is_empty(), "{dead:?}");
}

/// What a table says on top of another one.
fn put_on(below: &mut Table, above: Table) {
    for (key, value) in above {
        match (below.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => put_on(below, above),
            (_, value) => _ = below.insert(key, value),
        }
    }
}

#[test]
fn its_settings_are_settings() {
    let block = README.split("### What a deploy goes by").nth(1).unwrap().split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let mut file: Table = include_str!("../../examples/adstage.toml").parse().unwrap();
    put_on(&mut file, block.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("adstage.toml"), toml::to_string(&file).unwrap()).unwrap();
    let said = type_in(folder.path(), "config check");
    assert_eq!(said.code, 0, "{said}");
}
