//! The whole help, as it is read. After a change: `INSTA_UPDATE=always cargo test --test it help`, and read the difference.

use insta::assert_snapshot;

use crate::typed::typed;

/// Every subcommand's long help, without the global options, which are the same everywhere.
fn tree(command: &mut clap::Command, path: &str, text: &mut String) {
    let help = command.clone().term_width(100).render_long_help().to_string();
    let own = if path == "adstage" { help.as_str() } else { help.split("Global options:").next().unwrap_or_default() };
    *text += &format!("=== {path}\n{}\n\n", own.trim_end());
    for inner in command.get_subcommands_mut() {
        let path = format!("{path} {}", inner.get_name());
        tree(inner, &path, text);
    }
}

#[test]
fn the_whole_tree() {
    let mut command = adstage::cli::command();
    command.build();
    let mut text = String::new();
    tree(&mut command, "adstage", &mut text);
    assert_snapshot!(text);
}

#[test]
fn every_subcommand_has_a_test_file_of_its_name() {
    for command in adstage::cli::command().get_subcommands() {
        let file = format!("{}/tests/it/{}.rs", env!("CARGO_MANIFEST_DIR"), command.get_name());
        assert!(std::path::Path::new(&file).exists(), "{file} is missing: every subcommand is tested where it is looked for");
    }
}

#[test]
fn an_unknown_topic_is_answered_with_the_nearest() {
    let folder = tempfile::tempdir().unwrap();
    assert_snapshot!(typed(folder.path(), "help exit-code"), @r"
    exit 2
    --- stdout
    --- stderr
    error: there is no subcommand or topic `exit-code`
      because  did you mean `exit-codes`?
    next:  adstage help
    ");
}

#[test]
fn the_topics_name_only_commands_that_exist() {
    let mut command = adstage::cli::command();
    command.build();
    let folder = tempfile::tempdir().unwrap();
    let texts: String = ["exit-codes", "environment", "locks", "json", "config"]
        .map(|topic| typed(folder.path(), &format!("help {topic}")).stdout)
        .join("\n");
    for words in texts.split("`adstage ").skip(1).map(|rest| rest.split(|c: char| !c.is_ascii_lowercase()).next().unwrap_or_default()) {
        let known = words.is_empty() || command.find_subcommand(words).is_some();
        assert!(known, "the help topics name `adstage {words}`, which does not exist");
    }
}

/// Every text of ours that begins with (or quotes) a command names one that exists: a next step that cannot be typed is worse than none.
#[test]
fn no_message_names_a_command_that_does_not_exist() {
    let command = adstage::cli::command();
    // Sentences about adstage, not commands.
    let prose = ["is", "itself"];
    let known = |word: &str| prose.contains(&word) || command.find_subcommand(word).is_some();
    let mut folders = vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
    let mut wrong = Vec::new();
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let named = ["\"adstage ", "`adstage ", "\"adstage --sandbox ", "`adstage --sandbox "]
                .iter()
                .flat_map(|start| text.split(start).skip(1));
            let words = named.map(|rest| rest.split(|c: char| !c.is_ascii_lowercase()).next().unwrap_or_default());
            wrong.extend(words.filter(|word| !word.is_empty() && !known(word)).map(|word| format!("{}: adstage {word}", path.display())));
        }
    }
    assert_eq!(wrong, [""; 0]);
}
