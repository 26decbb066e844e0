//! Events in, text out.

use std::collections::BTreeMap;

use insta::assert_snapshot;
use jiff::tz::TimeZone;
use serde_json::json;

use super::*;
use crate::model::{Mark, Outcome, ReleaseNumber, Seconds, Serving};

/// A stream a test can read.
#[derive(Clone, Default)]
struct Tape(Arc<Mutex<Vec<u8>>>);

impl Write for Tape {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Tape {
    fn text(&self) -> String {
        anstream::adapter::strip_str(&String::from_utf8(self.0.lock().unwrap().clone()).unwrap()).to_string()
    }
}

fn at(seconds: u64) -> Now {
    let wall = jiff::Timestamp::from_second(1_795_000_000 + seconds as i64).unwrap();
    Now { elapsed: Duration::from_secs(seconds), wall }
}

fn progress(text: &str, details: &[&str]) -> Event {
    Event::StageProgress { stage: "await".into(), text: text.into(), details: details.iter().map(ToString::to_string).collect() }
}

/// A deploy that goes well until the health checks do not, with when each thing happened.
fn story() -> Vec<(u64, Event)> {
    let hello = Event::Hello {
        tool: "0.1.0".into(),
        command: "deploy".into(),
        app: "shop".into(),
        environment: Some("production".into()),
        account: "444455556666".into(),
        region: "eu-central-1".into(),
        caller: "ana".into(),
    };
    vec![
        (0, hello),
        (1, Event::Plan { lines: vec!["r42 would replace r41".into()] }),
        (2, Event::StageStarted { stage: "launch".into(), steps: vec!["fleet web-r42, 3 instances".into()] }),
        (60, Event::StageFinished { stage: "launch".into(), text: "3 instances".into(), took: Seconds(58) }),
        (60, Event::StageStarted { stage: "await".into(), steps: vec!["3 of 3 healthy in web-r42".into()] }),
        (70, progress("web 1/3 healthy", &["i-0a91c initial"])),
        (75, progress("web 1/3 healthy", &["i-0a91c initial"])),
        (130, Event::StageFailed { stage: "await".into(), text: "i-0a91c exited three times".into(), took: Seconds(70) }),
        (130, Event::UnwindStarted { reason: "await failed".into() }),
        (150, Event::UnwindFinished { text: "everything begun is removed".into(), took: Seconds(20) }),
        (150, Event::Said { mark: Mark::Warning, text: "r42 is remembered as bad".into() }),
        (
            150,
            Event::Result {
                outcome: Outcome::RolledBack,
                release: Some(ReleaseNumber(42)),
                previous: Some(ReleaseNumber(41)),
                serving: Serving(BTreeMap::from([(ReleaseNumber(41), 100)])),
                seconds: 150,
                exit: 7,
            },
        ),
    ]
}

/// Plays the story with a tick every second.
fn play(mut face: impl Face) {
    let mut now = 0;
    for (when, event) in story() {
        while now < when {
            now += 1;
            face.tick(at(now));
        }
        face.event(&event, at(when));
    }
}

#[test]
fn plain_progress_is_one_line_per_change_and_a_heartbeat_in_silence() {
    let tape = Tape::default();
    play(plain::Plain::new(Box::new(tape.clone()), false, TimeZone::UTC));
    assert_snapshot!(tape.text(), @r"
    adstage 0.1.0 deploy shop → production, account 444455556666, eu-central-1, as ana
    r42 would replace r41
    11:07:10 #1  launch    still at it, 28s: fleet web-r42, 3 instances
    11:07:40 #1  launch    still at it, 58s: fleet web-r42, 3 instances
    11:07:40 #1  launch    ok 58s, 3 instances
    11:07:50 #2  await     web 1/3 healthy  [i-0a91c initial]
    11:08:20 #2  await     still at it, 40s: i-0a91c initial
    11:08:50 #2  await     still at it, 1m 10s: i-0a91c initial
    11:08:50 #2  await     failed after 1m 10s: i-0a91c exited three times
    11:08:50 #3  undo      going back: await failed
    11:09:10 #3  undo      ok 20s, everything begun is removed
    warning: r42 is remembered as bad
    ");
}

#[test]
fn github_folds_the_plan() {
    let tape = Tape::default();
    let mut face = plain::Plain::new(Box::new(tape.clone()), true, TimeZone::UTC);
    face.event(&story()[1].1, at(0));
    assert_eq!(tape.text(), "::group::plan\nr42 would replace r41\n::endgroup::\n");
}

#[test]
fn ndjson_numbers_its_lines_and_carries_every_event() {
    let tape = Tape::default();
    play(ndjson::Ndjson::new(Box::new(tape.clone())));
    let text = tape.text();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), story().len());
    assert!(lines.iter().enumerate().all(|(seq, line)| line["v"] == 1 && line["seq"] == seq));
    assert_snapshot!(text.lines().last().unwrap(), @r#"{"exit":7,"outcome":"rolled-back","previous":"r41","release":"r42","seconds":150,"seq":11,"serving":{"r41":100},"ts":"2026-11-18T11:09:10.000Z","type":"result","v":1}"#);
}

fn example() -> Failure {
    Failure::new(End::RolledBack, "r42 did not start, so the deploy was undone")
        .because("the app exits at boot on every web instance")
        .evidence("i-0c77d  last 2 of 48 lines\n| KeyError: STRIPE_KEY is not set\n| exit status 1")
        .serving("r41, 100 %, never interrupted")
        .next("adstage history production r42")
        .next("adstage config show production")
}

#[test]
fn a_failure_has_five_parts_in_one_order() {
    assert_snapshot!(anstream::adapter::strip_str(&failure::text(&example())), @r"
    error: r42 did not start, so the deploy was undone
      because  the app exits at boot on every web instance
               i-0c77d  last 2 of 48 lines
               | KeyError: STRIPE_KEY is not set
               | exit status 1
    Now serving: r41, 100 %, never interrupted
    next:  adstage history production r42
           adstage config show production
    ");
}

#[test]
fn github_gets_one_line() {
    let said = failure::annotation(&example());
    assert_eq!(said, "::error title=adstage::r42 did not start, so the deploy was undone. Now serving: r41, 100 %25, never interrupted\n");
}

#[test]
fn a_failure_as_json_keeps_the_fields_of_its_command() {
    let mut attached = Map::new();
    attached.insert("outcome".into(), json!("rolled-back"));
    assert_snapshot!(failure::json(&example(), attached), @r#"
    {
      "error": {
        "because": [
          "the app exits at boot on every web instance"
        ],
        "code": "rolled-back",
        "evidence": [
          "i-0c77d  last 2 of 48 lines\n| KeyError: STRIPE_KEY is not set\n| exit status 1"
        ],
        "next": [
          "adstage history production r42",
          "adstage config show production"
        ],
        "serving": "r41, 100 %, never interrupted",
        "what": "r42 did not start, so the deploy was undone"
      },
      "exit": 7,
      "outcome": "rolled-back"
    }
    "#);
}
