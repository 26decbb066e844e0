//! `adstage help`: a subcommand's help, or one of the topics that belong to none. Reads no file and no network.

use super::Global;
use crate::failure::{End, Failure};

/// Explain a subcommand, or a topic: exit-codes, environment, locks, json, config
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A subcommand, or a topic
    #[arg(value_name = "COMMAND|TOPIC")]
    about: Vec<String>,
}

/// The topics and their texts.
pub const TOPICS: [(&str, &str); 5] = [
    ("exit-codes", include_str!("topics/exit-codes.txt")),
    ("environment", include_str!("topics/environment.txt")),
    ("locks", include_str!("topics/locks.txt")),
    ("json", include_str!("topics/json.txt")),
    ("config", include_str!("topics/config.txt")),
];

pub async fn run(args: Args, global: &Global) -> Result<(), Failure> {
    let topic = match args.about.as_slice() {
        [one] => TOPICS.iter().find(|(name, _)| name == one).map(|(_, text)| (*text).to_string()),
        _ => None,
    };
    let text = match topic {
        Some(text) => text,
        None => subcommand(&args.about)?.render_long_help().ansi().to_string(),
    };
    global.report.result(&serde_json::json!({ "help": text }), || text.clone())
}

/// The subcommand these words name; the whole tree for none.
pub fn subcommand(words: &[String]) -> Result<clap::Command, Failure> {
    let mut command = super::command();
    command.build();
    for word in words {
        let names: Vec<String> = command.get_subcommands().map(|sub| sub.get_name().to_string()).collect();
        command = match command.find_subcommand(word) {
            Some(found) => found.clone(),
            None => return Err(unknown(word, &names, words.len() == 1)),
        };
    }
    Ok(command)
}

fn unknown(word: &str, names: &[String], topics_too: bool) -> Failure {
    let topics = TOPICS.iter().map(|(name, _)| (*name).to_string()).filter(|_| topics_too);
    let known: Vec<String> = names.iter().cloned().chain(topics).collect();
    let mut failure = Failure::new(End::Usage, format!("there is no subcommand or topic `{word}`"));
    if let Some(near) = crate::model::nearest(word, known.iter().map(String::as_str)) {
        failure = failure.because(format!("did you mean `{near}`?"));
    }
    failure.next("adstage help")
}
