use std::collections::BTreeMap;

use super::*;
use crate::model::{BoxName, ImageId};

fn boxed() -> ReviewBox {
    let instance = BoxInstance {
        id: "i-1".into(),
        state: "running".into(),
        address: None,
        instance_type: "t3.micro".into(),
        image: ImageId("ami-1".into()),
        owner: "ana".into(),
        launched: String::new(),
        expires: String::new(),
        commits: BTreeMap::new(),
        asked: BTreeMap::new(),
        approved: None,
    };
    ReviewBox { name: BoxName::new("blue").unwrap(), instance: Some(instance), rules: Vec::new(), target_groups: Vec::new() }
}

fn way<'w>(on: &'w ReviewBox, run: &[&str]) -> Way<'w> {
    let run = run.iter().map(ToString::to_string).collect();
    let instance = on.instance.as_ref().unwrap();
    Way { on, instance, region: "eu-central-1", profile: Some("shop".into()), shell: Vec::new(), run }
}

async fn ran(run: &[&str], command: &[&str]) -> Result<(u8, String), Failure> {
    let on = boxed();
    let mut printed = Vec::new();
    let code = way(&on, run).run(command, Stdio::null(), |piece| printed.extend(piece), |_| ()).await?;
    Ok((code, String::from_utf8(printed).unwrap()))
}

const SH: [&str; 3] = ["sh", "-c", "{command}"];

#[tokio::test]
async fn words_arrive_as_they_are_and_nothing_in_them_is_run() {
    let words = ["two words", "it's", "\"quoted\"", "a\nb", "$(touch /nowhere)", "`id`", "$HOME", "*", "", ";", "{instance}", "–é"];
    let command = [&["printf", "<%s>"], &words[..]].concat();
    let expected: String = words.iter().map(|word| format!("<{word}>")).collect();
    assert_eq!(ran(&SH, &command).await, Ok((0, expected.clone())));
    // A second shell in between, as `ssh` has one, and greetings around it, as Session Manager has.
    let around = ["sh", "-c", "echo Starting; sh -c \"$1\"; echo Exiting; exit 0", "x", "{command}"];
    assert_eq!(ran(&around, &command).await, Ok((0, expected)));
}

#[tokio::test]
async fn the_exit_code_is_the_commands_even_if_the_way_there_keeps_it() {
    let around = ["sh", "-c", "sh -c \"$1\"; exit 0", "x", "{command}"];
    assert_eq!(ran(&around, &["sh", "-c", "echo out; exit 3"]).await, Ok((3, "out\n".into())));
    assert_eq!(ran(&SH, &["exit", "4"]).await, Ok((4, String::new())));
    assert_eq!(ran(&SH, &["no-such-program-here"]).await, Ok((127, String::new())));
}

#[tokio::test]
async fn session_managers_parameters_are_json() {
    let on = boxed();
    let text = way(&on, &[]).command(&["{command-json}".into()], Some("echo \"a'b\"")).unwrap();
    assert_eq!(text.get_program(), r#"{"command":["echo \"a'b\""]}"#);
}

#[tokio::test]
async fn the_child_knows_region_and_profile_and_the_box() {
    let script = "echo \"told $AWS_REGION $AWS_PROFILE $1 $2\" >&2; exit 9";
    let failed = ran(&["sh", "-c", script, "x", "{instance}", "{box}"], &["true"]).await.unwrap_err();
    assert!(failed.what.starts_with("blue cannot be reached: `sh` ended with"), "{}", failed.what);
    assert_eq!(failed.next, ["adstage review show blue"]);
    let on = boxed();
    let mut told = Vec::new();
    let way = way(&on, &["sh", "-c", script, "x", "{instance}", "{box}"]);
    way.run(&["true"], Stdio::null(), |_| (), |piece| told.extend(piece)).await.unwrap_err();
    assert_eq!(String::from_utf8(told).unwrap(), "told eu-central-1 shop i-1 blue\n");
}

#[tokio::test]
async fn a_way_that_is_not_there_says_what_to_install_or_to_set() {
    let failed = ran(&["no-such-program-here", "{command}"], &["true"]).await.unwrap_err();
    assert_eq!((failed.end, failed.because.len()), (End::Refused, 2));
    assert_eq!(failed.because[1], "`review.run` in adstage.toml names it");
    let failed = ran(&["ssh", "admin@{address}", "{command}"], &["true"]).await.unwrap_err();
    assert_eq!(failed.what, "the box blue has no address yet");
    let cut = ran(&["sh", "-c", "sh -c \"$1\" | head -n 1; exit 255", "x", "{command}"], &["echo", "one"]).await.unwrap_err();
    assert!(cut.what.starts_with("the connection to blue was lost"), "{}", cut.what);
}

#[test]
fn braces_that_are_no_placeholder_stay() {
    let value = |name: &str| (name == "box").then(|| Some("blue".to_string()));
    assert_eq!(fill("{\"a\":{box}} {{box}} {", value), Ok("{\"a\":blue} {blue} {".to_string()));
}
