//! The ways onto a review box: `ssh`, `exec`, `logs`. (The boxes' own story: `boxes`.)

use std::io::Write;
use std::process::Stdio;

use crate::practice;
use crate::typed::typed;
use crate::workshop::{Said, Workshop};

const REVIEW: &str = r#"
[review]
environment = "production"
domain = "review.localhost"
security-groups = ["sg-00000000000000009"]
load-balancer.port = 8081

[backing.store]
run = "sleep 1000"
ready = "true"
"#;

/// A machine that looks like a box to whoever asks EC2, with logs as an agent writes them.
const MACHINE: &str = "#!/bin/sh\nlogs=$ADSTAGE_ROOT/var/log/adstage; mkdir -p $logs\nprintf 'one\\ntwo\\n' >$logs/web.log\n\
     echo ready >$logs/store.log\necho up\nwhile sleep 0.3; do echo tick >>$logs/web.log; done\n";

/// A company with one box, `blue`, made by hand.
fn company() -> Workshop {
    let company = Workshop::open(&format!("{}{REVIEW}", practice::config("name")));
    company.by_hand(async |account| {
        account.launch_by_hand(MACHINE, &[("app", "acme"), ("env", "review"), ("mode", "review"), ("box", "blue")]).await
    });
    let written = || company.sandbox(&["review", "exec", "blue", "--", "grep", "-q", "ready", "var/log/adstage/store.log"]).code == 0;
    assert!((0..200).any(|_| written()), "the machine never wrote its logs");
    company
}

#[test]
fn a_box_is_entered_and_asked_and_read() {
    let company = company();
    let script = "printf '%s\\n' \"$1\"; cat; echo complaint >&2; exit 3";
    let mut exec = company.command(&["--sandbox", "review", "exec", "blue", "--", "sh", "-c", script, "x", "it's $HOME"]);
    let mut child = exec.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"from here\n").unwrap();
    let said = Said::from(child.wait_with_output().unwrap()).ends(3);
    assert_eq!((said.stdout.as_str(), said.stderr.as_str()), ("it's $HOME\nfrom here\n", "complaint\n"));
    let json = company.sandbox(&["review", "exec", "blue", "--output", "json", "--", "sh", "-c", "pwd; exit 4"]).ends(4).json();
    assert_eq!((json["box"].as_str(), json["exit"].as_u64()), (Some("blue"), Some(4)));
    assert!(json["stdout"].as_str().unwrap().ends_with("/root\n"), "{json}");

    let mut shell = company.command(&["--sandbox", "review", "ssh", "blue"]);
    let mut child = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"cat var/log/adstage/store.log; exit 5\n").unwrap();
    assert_eq!(Said::from(child.wait_with_output().unwrap()).ends(5).stdout, "ready\n");

    let logs = company.sandbox(&["review", "logs", "blue"]).ends(0).stdout;
    assert!(logs.starts_with("web | one\nweb | two\n") && logs.contains("\nstore | ready\n"), "{logs}");
    assert_eq!(company.sandbox(&["review", "logs", "blue", "store"]).ends(0).stdout, "ready\n");
    let json = company.sandbox(&["review", "logs", "blue", "--lines", "1", "--output", "json"]).ends(0).json();
    assert_eq!(json["logs"]["store"], serde_json::json!(["ready"]));
    let mut follow = company.command(&["--sandbox", "review", "logs", "blue", "web", "--follow", "-n", "1"]);
    let mut child = follow.stdout(Stdio::piped()).spawn().unwrap();
    let lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    assert_eq!(lines.take(3).map(Result::unwrap).collect::<Vec<_>>(), ["tick"; 3]);
    child.kill().unwrap();
    child.wait().unwrap();

    let unknown = company.sandbox(&["review", "exec", "blu", "--", "true"]).ends(6);
    assert!(unknown.stderr.contains("there is no review box blu") && unknown.stderr.contains("did you mean `blue`?"), "{}", unknown.stderr);
    let unknown = company.sandbox(&["review", "logs", "blue", "wep"]).ends(2);
    assert!(unknown.stderr.contains("did you mean `web`?"), "{}", unknown.stderr);
}

#[test]
fn without_review_boxes_in_the_file_there_is_no_way_onto_one() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(typed(folder.path(), "review exec blue").code, 2, "a command is missing");
    assert_eq!(typed(folder.path(), "review exec Blue -- true").code, 2, "no name of a box");
    std::fs::write(folder.path().join("adstage.toml"), practice::config("name")).unwrap();
    let refused = typed(folder.path(), "review ssh blue");
    assert!(refused.code == 3 && refused.stderr.contains("[review]"), "{refused}");
}
