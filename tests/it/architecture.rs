//! The rules of the house, checked on every file: who may import whom, what the pure modules may not know, which doors are closed, how
//! long files and functions may be. Each rule has a test that shows it biting.

pub mod source;

use source::{Source, functions, named_modules, says};

/// A module may use strictly lower tiers only.
const TIERS: &[(&str, u8)] = &[
    ("model", 0),
    ("clock", 0),
    ("failure", 0),
    ("config", 1),
    ("plan", 1),
    ("aws", 2),
    ("report", 2),
    ("lock", 3),
    ("journal", 3),
    ("health", 3),
    // Runs on an instance: nothing above what a plain AWS client needs.
    ("agent", 3),
    ("observe", 4),
    ("steps", 4),
    ("execute", 5),
    ("cli", 6),
    ("main", 7),
    ("lib", 7),
    // An island: see `island`.
    ("sandbox", 0),
];

/// Files that may name the sandbox: the commands that are about it. Production code has no branch for it.
const SANDBOX_DOORS: &[&str] = &["src/cli/sandbox", "src/cli/demo", "src/cli/shop"];

/// Files longer than 400 lines without their tests, and why.
const LONG_FILES: &[(&str, &str)] = &[("src/plan/step.rs", "one list of everything that may be done, each deed with its reason")];

/// Functions longer than 60 lines, and why.
const LONG_FUNCTIONS: &[(&str, &str)] = &[];

/// Where banned things may be used, and what for: the doors.
const DOORS: &[(&str, &str)] = &[
    ("src/clock.rs", "the door to time"),
    ("src/cli/environment.rs", "the door to environment variables on an operator's machine"),
    ("src/agent/environment.rs", "the door to environment variables on an instance"),
    ("src/sandbox/engine.rs", "the sandbox's own door to time: it is an island"),
    ("src/sandbox/shop.rs", "the practice app: a slow page is slow in real time"),
    ("src/sandbox/host/machine.rs", "a machine's own environment"),
    ("src/report/failure.rs", "failures before any report exists"),
    ("src/report/mod.rs", "the printer"),
    ("tests/it/bench.rs", "real time: instances are real processes"),
    ("tests/it/main.rs", "real time: the modules of the stories, whose processes are real"),
    ("tests/it/conformance.rs", "a skipped test says so"),
    ("tests/it/engines.rs", "real time: the servers are real processes; a skipped engine says so, a contest its figures"),
    ("tests/it/python.rs", "CI says so in an environment variable"),
    ("tests/it/processes.rs", "real time: real processes; how many moments are played is said in environment variables, and shown"),
    ("tests/it/protocol.rs", "a search says how far it went"),
    ("tests/it/lock.rs", "real time: stories run on real processes"),
    ("tests/it/sandbox.rs", "virtual time"),
    ("tests/it/sweep.rs", "how much is swept is said in environment variables; runs are timed for people"),
    ("tests/it/hooks.rs", "real time: the story's hooks and instances are real processes"),
    ("tests/it/secrets.rs", "real time: instances are real processes"),
    ("tests/it/typed.rs", "the real binary in an environment made for it"),
    ("tests/it/workshop.rs", "real time: stories run on real processes"),
    ("tests/it/boxes.rs", "real time: stories run on real processes"),
    ("tests/it/workers.rs", "real time: stories run on real processes"),
    ("tests/it/stores.rs", "real time: stories run on real processes; a skipped database says so"),
    ("tests/it/scale.rs", "real time: its processes are real"),
    ("tests/it/rehearsal.rs", "real time: its processes are real"),
    ("tests/it/stage.rs", "real time: stories run on real processes"),
    ("tests/it/gradual.rs", "real time: stories run on real processes"),
    ("tests/it/visitors.rs", "real time: visitors of real processes"),
];

/// What `clippy.toml` bans outside its doors.
const BANNED: &[&str] = &[
    "std::time::SystemTime::now",
    "std::time::Instant::now",
    "jiff::Timestamp::now",
    "jiff::Zoned::now",
    "tokio::time::sleep",
    "std::thread::sleep",
    "std::env::var",
    "std::env::var_os",
    "std::env::vars",
];

fn tier(module: &str) -> Option<u8> {
    TIERS.iter().find(|(name, _)| *name == module).map(|(_, tier)| *tier)
}

/// Modules below `src`, so that `super` can be followed: `src/lock/row.rs` is two deep, `src/lock/mod.rs` one.
fn depth(path: &str) -> usize {
    let below = path.trim_start_matches("src/");
    let folders = below.matches('/').count();
    if below.ends_with("/mod.rs") || below == "lib.rs" || below == "main.rs" { folders } else { folders + 1 }
}

/// Strictly lower tiers only; the island knows nobody and almost nobody knows it.
fn imports(source: &Source) -> Vec<String> {
    let own = source.module();
    let Some(own_tier) = tier(own) else { return vec![format!("{}: {own} has no tier", source.path)] };
    let complain = |named: String| {
        let allowed = match (own, named.as_str()) {
            (own, named) if own == named => true,
            ("sandbox", _) => false,
            (_, "sandbox") => SANDBOX_DOORS.iter().any(|door| source.path.starts_with(door)),
            (_, named) => tier(named).is_some_and(|tier| tier < own_tier),
        };
        (!allowed).then(|| format!("{}: {own} must not use {named}", source.path))
    };
    named_modules(source.production(), depth(&source.path)).into_iter().filter_map(complain).collect()
}

/// Tests inside the crate may use the sandbox, but the island stays one even in its tests.
fn island(source: &Source) -> Vec<String> {
    if source.module() != "sandbox" {
        return Vec::new();
    }
    let named = named_modules(&source.code, depth(&source.path));
    named.into_iter().filter(|name| name != "sandbox").map(|name| format!("{}: the island uses {name}", source.path)).collect()
}

/// The SDK ends at `aws/`; the in-process door of the sandbox implements the SDK's HTTP client.
fn sdk(source: &Source) -> Vec<String> {
    let traits_only = source.path == "src/sandbox/connector.rs";
    if source.path.starts_with("src/aws/") || source.is_test() {
        return Vec::new();
    }
    let crates = ["aws_sdk_", "aws_config", "aws_credential_types", "aws_smithy_"];
    let named = crates.iter().filter(|name| source.production().contains(*name) && !(traits_only && **name == "aws_smithy_"));
    named.map(|name| format!("{}: names {name}", source.path)).collect()
}

/// What decides does not act, wait, look or roll dice.
fn purity(source: &Source) -> Vec<String> {
    if !["model", "plan"].contains(&source.module()) {
        return Vec::new();
    }
    let impure = ["async", ".await", "tokio", "std::fs", "std::env", "std::net", "std::process", "Instant", "SystemTime", "fastrand"];
    let found = impure.iter().filter(|word| says(source.production(), word));
    found.map(|word| format!("{}: {} knows {word}", source.path, source.module())).collect()
}

/// A file is read in one sitting, a function on one screen.
fn length(source: &Source) -> Vec<String> {
    let excused = |list: &[(&str, &str)], what: &str| list.iter().any(|(excused, _)| *excused == what);
    let lines = source.production().lines().count();
    let mut found = Vec::new();
    if lines > 400 && !excused(LONG_FILES, &source.path) {
        found.push(format!("{}: {lines} lines", source.path));
    }
    for (line, name, lines) in functions(source.production()) {
        let full = format!("{}::{name}", source.path);
        if lines > 60 && !excused(LONG_FUNCTIONS, &full) {
            found.push(format!("{}:{line}: {name} has {lines} lines", source.path));
        }
    }
    found
}

/// What is banned is used behind its door only.
fn doors(source: &Source) -> Vec<String> {
    let opens = ["clippy::disallowed_methods", "clippy::print_stdout", "clippy::print_stderr"];
    let open = opens.iter().filter(|lint| source.code.contains(*lint));
    let listed = DOORS.iter().any(|(door, _)| *door == source.path);
    open.filter(|_| !listed).map(|lint| format!("{}: allows {lint} and is no door", source.path)).collect()
}

/// A name that says nothing, and work that is not done.
fn honesty(source: &Source) -> Vec<String> {
    let unfinished = ["todo!(", "unimplemented!("].iter().filter(|word| source.production().contains(*word));
    let mut found: Vec<String> = unfinished.map(|word| format!("{}: {word}", source.path)).collect();
    let drawers = ["util", "utils", "helper", "helpers", "common", "misc"];
    let stem = source.path.trim_end_matches("/mod.rs").trim_end_matches(".rs").rsplit('/').next().unwrap_or_default();
    if drawers.contains(&stem) {
        found.push(format!("{}: a drawer, not a module", source.path));
    }
    found
}

fn violations(folder: &str, rule: fn(&Source) -> Vec<String>) -> Vec<String> {
    Source::all(folder).iter().flat_map(rule).collect()
}

/// Nothing but an empty list is shown when a rule holds.
fn check(rule: fn(&Source) -> Vec<String>) {
    let found = violations("src", rule);
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

fn bites(rule: fn(&Source) -> Vec<String>, path: &str, text: &str) {
    assert!(!rule(&Source::new(path, text)).is_empty(), "no complaint about {path}: {text}");
}

fn passes(rule: fn(&Source) -> Vec<String>, path: &str, text: &str) {
    let found = rule(&Source::new(path, text));
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn modules_import_lower_tiers_only() {
    check(imports);
}

#[test]
fn the_import_rule_bites() {
    bites(imports, "src/model/fleet.rs", "use crate::clock::Clock;");
    bites(imports, "src/journal/rows.rs", "use crate::lock::Held;");
    bites(imports, "src/plan/mod.rs", "use crate::{model::World, aws};");
    bites(imports, "src/lock/mod.rs", "use super::execute::run;");
    bites(imports, "src/agent/boot.rs", "fn f() { crate::lock::read() }");
    bites(imports, "src/steps/mod.rs", "use crate::sandbox::Sandbox;");
    bites(imports, "src/novel/mod.rs", "");
    bites(imports, "src/sandbox/engine.rs", "use crate::model::World;");
    passes(imports, "src/cli/sandbox/start.rs", "use crate::sandbox::Home;");
    passes(
        imports,
        "src/execute/mod.rs",
        "use crate::{steps::run, lock::Held}; // crate::cli\n\n#[cfg(test)]\nmod tests { use crate::sandbox::Sandbox; }",
    );
}

#[test]
fn the_sandbox_is_an_island() {
    check(island);
}

#[test]
fn the_island_rule_bites() {
    bites(island, "src/sandbox/engine.rs", "use crate::clock::Clock;");
    bites(island, "src/sandbox/ec2/mod.rs", "\n#[cfg(test)]\nmod tests { use crate::aws::Aws; }");
    passes(island, "src/sandbox/ec2/mod.rs", "use crate::sandbox::engine::Engine;");
}

#[test]
fn only_aws_knows_the_sdk() {
    check(sdk);
}

#[test]
fn the_sdk_rule_bites() {
    bites(sdk, "src/steps/launch.rs", "use aws_sdk_ec2::Client;");
    bites(sdk, "src/lock/mod.rs", "fn f(_: aws_smithy_types::Blob) {}");
    bites(sdk, "src/sandbox/connector.rs", "use aws_sdk_ec2::Client;");
    passes(sdk, "src/sandbox/connector.rs", "use aws_smithy_runtime_api::client::http::HttpClient;");
    passes(sdk, "src/lock/mod.rs", "// aws_sdk_dynamodb");
}

#[test]
fn model_and_plan_are_pure() {
    check(purity);
}

#[test]
fn the_purity_rule_bites() {
    bites(purity, "src/plan/deploy.rs", "pub async fn plan() {}");
    bites(purity, "src/model/fleet.rs", "use std::fs::File;");
    passes(purity, "src/model/fleet.rs", "/// async \nfn f() -> &'static str { \"tokio\" }");
}

#[test]
fn files_and_functions_are_short() {
    check(length);
}

#[test]
fn no_excuse_has_outlived_its_reason() {
    let sources = Source::all("src");
    for (path, _) in LONG_FILES {
        let lines = sources.iter().find(|source| source.path == *path).map_or(0, |source| source.production().lines().count());
        assert!(lines > 400, "{path} is short now");
    }
    let long = |source: &Source| {
        let path = source.path.clone();
        let found = functions(source.production()).into_iter().filter(|(_, _, lines)| *lines > 60);
        found.map(move |(_, name, _)| format!("{path}::{name}")).collect::<Vec<_>>()
    };
    let long: Vec<String> = sources.iter().flat_map(long).collect();
    for (function, _) in LONG_FUNCTIONS {
        assert!(long.iter().any(|found| found == function), "{function} is short now");
    }
}

#[test]
fn the_length_rule_bites() {
    bites(length, "src/lock/mod.rs", &"// a line\n".repeat(401));
    bites(length, "src/lock/mod.rs", &format!("fn long() {{\n{}}}\n", "x();\n".repeat(60)));
    passes(length, "src/lock/mod.rs", &format!("fn short() {{}}\n#[cfg(test)]\nmod tests {{\n{}}}\n", "x();\n".repeat(500)));
}

#[test]
fn banned_things_stay_behind_their_doors() {
    check(doors);
    let found = violations("tests", doors);
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
    let clippy = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/clippy.toml")).unwrap();
    let missing: Vec<_> = BANNED.iter().filter(|name| !clippy.contains(&format!("path = \"{name}\""))).collect();
    assert!(missing.is_empty(), "clippy.toml no longer bans {missing:?}");
}

#[test]
fn the_door_rule_bites() {
    bites(doors, "src/steps/launch.rs", "#[allow(clippy::disallowed_methods, reason = \"in a hurry\")]\nfn f() {}");
    bites(doors, "src/cli/deploy.rs", "#[allow(clippy::print_stdout)]\nfn f() {}");
    passes(doors, "src/clock.rs", "#[allow(clippy::disallowed_methods)]\nfn f() {}");
}

#[test]
fn names_say_something_and_work_is_done() {
    check(honesty);
}

#[test]
fn the_honesty_rule_bites() {
    bites(honesty, "src/steps/util.rs", "");
    bites(honesty, "src/lock/common/mod.rs", "");
    bites(honesty, "src/lock/mod.rs", "fn f() { todo!() }");
    passes(honesty, "src/lock/mod.rs", "// todo!()");
}

#[test]
fn every_test_file_is_declared() {
    let main = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/main.rs")).unwrap();
    let stem = |source: &Source| {
        let below = source.path.strip_prefix("tests/it/")?.strip_suffix(".rs")?.to_string();
        (!below.contains('/') && below != "main").then_some(below)
    };
    let forgotten: Vec<_> = Source::all("tests").iter().filter_map(stem).filter(|name| !main.contains(&format!("mod {name};"))).collect();
    assert!(forgotten.is_empty(), "not declared in tests/it/main.rs, so they never run: {forgotten:?}");
}
