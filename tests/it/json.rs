//! With `--output json`, stdout carries one JSON value and nothing else, in every command, however it ends.

use serde_json::Value;

use crate::typed::typed;

/// Every leaf of the tree with made-up arguments.
fn lines(command: &clap::Command, path: &str) -> Vec<String> {
    let inner: Vec<&clap::Command> = command.get_subcommands().collect();
    if inner.is_empty() {
        let needed = command.get_positionals().filter(|argument| argument.is_required_set());
        let value = |argument: &clap::Arg| match argument.get_possible_values().first() {
            Some(first) => first.get_name().to_string(),
            None => "production".to_string(),
        };
        return vec![format!("{path} {}", needed.map(value).collect::<Vec<_>>().join(" "))];
    }
    inner.iter().flat_map(|inner| lines(inner, &format!("{path} {}", inner.get_name()))).collect()
}

#[test]
fn stdout_is_one_json_value_whatever_happens() {
    let folder = tempfile::tempdir().unwrap();
    let endless = ["agent", "sandbox start", "sandbox demo"];
    for line in lines(&adstage::cli::command(), "").into_iter().filter(|line| !endless.iter().any(|name| line.trim().starts_with(name))) {
        for line in [format!("--output json{line}"), format!("{line} --output=json --no-such-flag")] {
            let said = typed(folder.path(), &line);
            let value: Result<Value, _> = serde_json::from_str(&said.stdout);
            let value = value.unwrap_or_else(|error| panic!("adstage {line}: {error}\n{said}"));
            if said.code != 0 {
                assert_eq!(value["exit"], said.code, "adstage {line}");
                assert!(value["error"]["what"].is_string(), "adstage {line}");
            }
        }
    }
}

#[test]
fn the_variable_asks_for_it_too() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_adstage")).arg("nonsense").env("ADSTAGE_OUTPUT", "json").output().unwrap();
    assert!(serde_json::from_slice::<Value>(&output.stdout).is_ok());
}
