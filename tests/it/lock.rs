//! `adstage lock`: what the operator sees of the lock and does about it, typed at the real binary while a real deploy runs. (The lease
//! itself: `lease`; in virtual time: `halted`.)

#![allow(clippy::disallowed_methods, reason = "real processes run in real time")]

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::practice;
use crate::typed::typed;
use crate::workshop::{Said, Workshop};

/// A company whose web service starts only once a gate is open, so that a deploy goes on for as long as a test needs it.
struct Company {
    shop: Workshop,
    gate: std::path::PathBuf,
}

impl Company {
    /// Set up, with an image; the gate is closed.
    fn open() -> Self {
        let folder = tempfile::tempdir().unwrap().keep();
        let gate = folder.join("open");
        std::fs::write(&gate, "").unwrap();
        let wait = format!("until [ -e {} ]; do sleep 0.1; done; exec adstage sandbox shop web", gate.display());
        let shop = Workshop::open(&practice::config("name").replace("exec adstage sandbox shop web", &wait));
        let company = Self { shop, gate };
        practice::next(&company.shop, "one");
        company.types("ana", "setup production --yes").ends(0);
        company.types("ana", "image bake --from-base").ends(0);
        company.close();
        company
    }

    fn close(&self) {
        std::fs::remove_file(&self.gate).unwrap();
    }

    fn release(&self) {
        std::fs::write(&self.gate, "").unwrap();
    }

    fn command(&self, who: &str, line: &str) -> std::process::Command {
        // Spaces inside quotes belong to the word.
        let words: Vec<String> = line.split('"').enumerate().fold(Vec::new(), |mut words, (index, part)| {
            match index % 2 {
                0 => words.extend(part.split_whitespace().map(str::to_string)),
                _ => words.push(part.to_string()),
            }
            words
        });
        let words: Vec<&str> = std::iter::once("--sandbox").chain(words.iter().map(String::as_str)).collect();
        let mut command = self.shop.command(&words);
        command.env("USER", who).env("TZ", "UTC");
        command
    }

    /// A person types a line.
    fn types(&self, who: &str, line: &str) -> Said {
        Said::from(self.command(who, line).output().unwrap())
    }

    fn comes_to_wait(&self) {
        let patience = Instant::now() + Duration::from_secs(600);
        loop {
            let status = self.types("onlooker", "status production --output json").ends(0).json();
            if status["lock"]["state"] == "held" && status["operation"]["stage"] == "await" {
                return;
            }
            assert!(Instant::now() < patience, "never came to wait: {status}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// A person's deploy, under way and waiting for its instances.
    fn deploys(&self, who: &str) -> Child {
        let mut command = self.command(who, "deploy production --confirm production");
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        self.comes_to_wait();
        child
    }

    /// The operation that holds the lock.
    fn operation(&self) -> String {
        let shown = self.types("onlooker", "lock show production --output json").ends(0).json();
        shown["lock"]["operation"].as_str().unwrap_or_else(|| panic!("{shown}")).to_string()
    }
}

/// How a process ended that was started before.
fn ended(child: Child) -> Said {
    Said::from(child.wait_with_output().unwrap())
}

/// What a snapshot can hold: no operation, no machine, no span of time.
fn masked(text: &str) -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let text = text.replace(host.trim(), "[HOST]");
    let mut lines = Vec::new();
    for line in text.lines() {
        let mut words: Vec<String> = Vec::new();
        for word in line.split(' ') {
            let bare = word.trim_end_matches([',', '.', ';', ':', ')']);
            let (bare, tail) = (bare.trim_start_matches('('), &word[bare.len()..]);
            let span = bare.strip_suffix(['s', 'm', 'h']).is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
            let id = bare.len() == 26 && bare.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase());
            let clock = bare.len() == 8 && bare.split(':').count() == 3;
            let head = if word.starts_with('(') { "(" } else { "" };
            match () {
                () if span && words.last().is_some_and(|last| last.ends_with("[SPAN]")) => words.last_mut().unwrap().push_str(tail),
                () if span => words.push(format!("{head}[SPAN]{tail}")),
                () if id => words.push(format!("{head}[OPERATION]{tail}")),
                () if clock => words.push("[TIME]".into()),
                () => words.push(word.to_string()),
            }
        }
        lines.push(words.join(" "));
    }
    lines.join("\n")
}

/// The last words on a screen: from the error, or from the result on.
fn last_words(said: &Said) -> String {
    let error = said.stderr.find("error: ").map_or("", |at| &said.stderr[at..]);
    masked(&format!("exit {}\n{error}{}", said.code, said.stdout))
}

#[test]
fn without_a_running_sandbox_it_says_how_to_start_one() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("adstage.toml"), include_str!("../../examples/adstage.toml")).unwrap();
    assert_snapshot!(typed(folder.path(), "--sandbox lock show production"), @r"
    exit 4
    --- stdout
    --- stderr
    error: no sandbox is running here
    next:  adstage sandbox start --detach
    ");
}

#[test]
fn what_is_dangerous_wants_its_reason_its_operation_and_its_name() {
    let folder = tempfile::tempdir().unwrap();
    for line in [
        "lock break production --reason x",
        "lock break production 01ABC",
        "lock freeze production",
        "lock repair production",
        "lock close production 01ABC --reason x",
        "lock close production 01ABC --as-it-is",
    ] {
        assert_eq!(typed(folder.path(), line).code, 2, "{line}");
    }
}

#[test]
fn a_lock_that_nobody_holds() {
    let company = practice::open("name");
    let free = company.sandbox(&["lock", "show", "production"]).ends(6);
    assert!(free.stderr.contains("setup production"), "no table yet: {}", free.stderr);
    company.sandbox(&["setup", "production", "--yes"]).ends(0);
    let free = company.sandbox(&["lock", "show", "production", "--output", "json"]).ends(0).json();
    assert_eq!((&free["lock"]["state"], &free["lock"]["alive"], &free["next"]), (&json!("free"), &Value::Null, &json!([])));
    let nobody = company.sandbox(&["lock", "halt", "production"]).ends(0);
    assert_eq!(nobody.stdout, "Nobody works on production. Nothing to do.\n");
    let nothing = ["lock", "break", "production", "01ABC", "--reason", "x", "--confirm", "production"];
    assert!(company.sandbox(&nothing).ends(6).stderr.contains("there is nothing to break"));
    let none = ["lock", "close", "production", "01ABC", "--as-it-is", "--reason", "x", "--confirm", "production"];
    assert!(company.sandbox(&none).ends(6).stderr.contains("01ABC is not what is unfinished in production"));
    let not_frozen = company.sandbox(&["lock", "unfreeze", "production"]).ends(0);
    assert_eq!(not_frozen.stdout, "production was not frozen. Nothing to do.\n");
    let unnamed = company.sandbox(&["lock", "repair", "production", "--reason", "x", "--yes"]).ends(6);
    assert!(unnamed.stderr.contains("--confirm production"), "{}", unnamed.stderr);
    let repaired = ["lock", "repair", "production", "--reason", "x", "--confirm", "production", "--output", "json"];
    let repaired = company.sandbox(&repaired).ends(0).json();
    assert!(repaired["lock"]["fence"].as_u64() > repaired["before"]["fence"].as_u64() && repaired["open"].is_null(), "{repaired}");
}

#[test]
fn m31_a_freeze_stops_the_next_deploy_and_says_who_and_why() {
    let company = Company::open();
    let joe = company.deploys("joe");
    let frozen = company.types("maya", "lock freeze production --reason \"year-end close\" --until 2h").ends(0);
    assert!(frozen.stdout.contains("production is frozen until"), "{}", frozen.stdout);
    assert!(frozen.stdout.contains("joe, who is deploying r1 now, is not stopped by it"), "{}", frozen.stdout);
    company.release();
    ended(joe).ends(0);
    let past = company.types("maya", "lock freeze production --reason x --until 2020-01-01 --replace maya").ends(2);
    assert!(past.stderr.contains("--until is over"), "{}", past.stderr);

    let twice = company.types("ana", "lock freeze production --reason mine").ends(5);
    assert!(twice.stderr.contains("frozen already, by maya") && twice.stderr.contains("--replace maya"), "{}", twice.stderr);
    let replaced = company.types("ana", "lock freeze production --reason audit --replace maya --output json").ends(0).json();
    assert_eq!((&replaced["freeze"]["who"], &replaced["replaced"]["who"]), (&json!("ana"), &json!("maya")));

    practice::next(&company.shop, "two");
    company.types("joe", "image bake --from-base").ends(0);
    let stopped = company.types("joe", "deploy production --confirm production --lock-timeout 15m").ends(5);
    assert_snapshot!(last_words(&stopped), @r#"
    exit 5
    error: production is frozen by ana until somebody lifts it
      because  "audit"
      because  a person's freeze is never waited for
    Now serving: r1 100 %
    next:  adstage --sandbox deploy production --override-freeze "…"
           adstage --sandbox lock unfreeze production
    "#);
    let json = company.types("joe", "deploy production --confirm production --output json").ends(5).json();
    assert_eq!((&json["outcome"], &json["error"]["code"]), (&json!("locked"), &json!("locked")));
    assert!(company.types("joe", "status production").ends(0).stdout.contains("frozen by ana"), "status");
    let status = company.types("joe", "status production --output json").ends(0).json();
    assert_eq!((&status["lock"]["state"], &status["lock"]["freeze"]["reason"]), (&json!("frozen"), &json!("audit")));
    let shown = company.types("joe", "lock show production").ends(0);
    assert!(shown.stdout.contains("freeze      by ana until somebody lifts it: \"audit\""), "{}", shown.stdout);

    company.types("joe", "deploy production --confirm production --override-freeze \"login is broken\"").ends(0);
    let history = company.types("joe", "history production r2").ends(0).stdout;
    assert!(history.contains("ana's freeze until somebody lifts it (\"audit\") is overridden: login is broken"), "{history}");
    let back = company.types("joe", "rollback production --yes").ends(0);
    assert!(back.stderr.contains("ana's freeze until somebody lifts it (\"audit\") does not stop a rollback"), "{}", back.stderr);

    let somebody_elses = company.types("joe", "lock unfreeze production").ends(6);
    assert!(somebody_elses.stderr.contains("lock unfreeze production --yes"), "{}", somebody_elses.stderr);
    let lifted = company.types("joe", "lock unfreeze production --yes").ends(0);
    assert!(lifted.stdout.contains("It was ana's, made ") && lifted.stdout.contains("\"audit\""), "{}", lifted.stdout);
    assert_eq!(company.types("joe", "status production --output json").ends(0).json()["lock"]["state"], "free");
}

#[test]
fn m29_a_deploy_is_seen_asked_to_stop_and_left_to_whoever_comes_next() {
    let company = Company::open();
    let joe = company.deploys("joe");
    let operation = company.operation();
    let blocked = company.types("ana", "deploy production --confirm production").ends(5);
    assert!(blocked.stderr.contains(&operation), "{}", blocked.stderr);
    assert_snapshot!(last_words(&blocked), @r"
    exit 5
    error: production is locked: joe is deploying r1
      because  since [SPAN] ago, from [HOST]
      because  at await
      because  operation [OPERATION]
      because  if nobody is there any more, --lock-timeout [SPAN] or longer takes over; shorter ones never do, however often they are repeated
    Now serving: nothing yet
    next:  adstage --sandbox deploy production --lock-timeout [SPAN]
           adstage --sandbox lock halt production
           adstage --sandbox lock show production
    ");
    let shown = company.types("ana", "lock show production").ends(0);
    assert_snapshot!(last_words(&shown), @r"
    exit 0
    production  held: joe is deploying r1
    from        [HOST]
    since       [SPAN] ago
    at          await
    alive       yes: it renewed the lock while we watched
    operation   [OPERATION]
    next:  adstage --sandbox lock halt production
           adstage --sandbox status production
    ");
    let shown = company.types("ana", "lock show production --output json").ends(0).json();
    assert_eq!((&shown["lock"]["state"], &shown["lock"]["alive"], &shown["lock"]["holder"]), (&json!("held"), &json!(true), &json!("joe")));

    // Not somebody else's, not without the name, not while he is at work.
    let other = company.types("ana", "lock break production 01OTHER --reason x --confirm production").ends(5);
    assert!(other.stderr.contains("not 01OTHER's: joe is deploying r1") && other.stderr.contains(&operation), "{}", other.stderr);
    company.types("ana", &format!("lock break production {operation} --reason x --yes")).ends(6);
    company.types("ana", &format!("lock close production {operation} --as-it-is --reason x --confirm production")).ends(5);
    company.types("ana", "lock repair production --reason x --confirm production").ends(5);

    company.types("maya", "lock halt production").ends(6);
    let halted = company.types("maya", "lock halt production --reason \"checkout is down\" --yes").ends(0);
    assert_snapshot!(last_words(&halted), @r"
    exit 0
    joe has stopped deploying r1, at await, and left it to whoever comes next.
      go on    adstage --sandbox resume production
      undo it  adstage --sandbox resume production --abort
      go back  adstage --sandbox rollback production
    Now serving: nothing yet
    ");
    assert_snapshot!(last_words(&ended(joe)), @r"
    exit 11
    error: the deploy of r1 was stopped by maya, at await: checkout is down
      because  nothing was undone: whoever comes next goes on, undoes it, or rolls back
    Now serving: nothing yet
    next:  adstage --sandbox resume production
           adstage --sandbox resume production --abort
           adstage --sandbox rollback production
    ");

    let left = company.types("ana", "lock show production").ends(0);
    assert_snapshot!(last_words(&left), @r"
    exit 0
    production  free, but something is unfinished
    unfinished  joe's deploy r1, begun [SPAN] ago, last seen at: await ([OPERATION])
    next:  adstage --sandbox resume production
           adstage --sandbox resume production --abort
           adstage --sandbox rollback production
    ");
    let unfinished = company.types("ana", "deploy production --confirm production").ends(5);
    assert_snapshot!(last_words(&unfinished), @r"
    exit 5
    error: production: joe's deploy r1 stopped without finishing
      because  it began [SPAN] ago; its last sign was [SPAN] ago, at await
    Now serving: nothing yet
    next:  adstage --sandbox resume production
           adstage --sandbox resume production --abort
           adstage --sandbox rollback production
    ");
    let close = format!("lock close production {operation} --as-it-is --reason \"cleared by hand\" --confirm production");
    let closed = company.types("ana", &close).ends(0);
    assert_snapshot!(last_words(&closed), @r"
    exit 0
    joe's deploy r1 is closed. production is free.
    Now serving: nothing yet
      see  adstage --sandbox status production
    ");
    assert_eq!(company.types("ana", "status production --output json").ends(0).json()["lock"]["state"], "free");
    let history = company.types("ana", "history production").ends(0).stdout;
    assert!(history.contains("stranded") && history.contains("closed as it is by ana: cleared by hand"), "{history}");
}

#[test]
fn m30_a_rollback_halts_the_deploy_that_runs() {
    let company = Company::open();
    company.release();
    company.types("ana", "deploy production --confirm production").ends(0);
    practice::next(&company.shop, "two");
    company.types("ana", "image bake --from-base").ends(0);
    company.close();
    let joe = company.deploys("joe");
    let plan = company.types("maya", "rollback production --plan").ends(0).stdout;
    assert!(plan.starts_with("joe is deploying r2 (await): will be halted first\n"), "{plan}");
    assert!(plan.contains("the deploy of r2 by joe is not through, and has not changed what is served"), "{plan}");
    let back = company.types("maya", "rollback production --yes").ends(0);
    assert!(back.stderr.contains("joe is deploying r2 (await): will be halted first"), "{}", back.stderr);
    assert!(back.stderr.contains("joe stopped at await and handed over"), "{}", back.stderr);
    assert!(back.stdout.contains("r1 serves 100 % of production"), "{}", back.stdout);
    assert_snapshot!(last_words(&ended(joe)), @r"
    exit 11
    error: the deploy of r2 was stopped by maya, at await: rollback
      because  nothing was undone: whoever comes next goes on, undoes it, or rolls back
    Now serving: r1 100 %
    next:  adstage --sandbox resume production
           adstage --sandbox resume production --abort
           adstage --sandbox rollback production
    ");
    let status = company.types("ana", "status production --output json").ends(0).json();
    assert_eq!((&status["live"], &status["lock"]["state"], &status["drift"]), (&json!("r1"), &json!("free"), &json!([])));
}

#[test]
fn m27_a_broken_lock_is_told_to_its_holder_and_to_whoever_comes_next() {
    let company = Company::open();
    let joe = company.deploys("joe");
    let operation = company.operation();
    let broken = company.types("ana", &format!("lock break production {operation} --reason \"runner hangs\" --confirm production")).ends(0);
    assert!(broken.stderr.contains("joe is alive: the lock was renewed while we watched"), "{}", broken.stderr);
    assert_snapshot!(last_words(&broken), @r"
    exit 0
    The lock of production is joe's no more; deploying r1 is unfinished.
      joe learns of it with its next heartbeat and changes nothing after that: whoever comes next changes nothing for [SPAN]
      a call of it that hangs may arrive even later: the weights are checked again after [SPAN] and [SPAN]
      go on    adstage --sandbox resume production
      undo it  adstage --sandbox resume production --abort
      go back  adstage --sandbox rollback production
    ");
    assert_snapshot!(last_words(&ended(joe)), @r"
    exit 8
    error: the deploy of r1 was cut short
      because  the lock was lost: ana took it by force: runner hangs
      because  nothing was undone: what was begun stays for whoever holds the lock, or takes it next
    Now serving: nothing yet
    next:  adstage --sandbox lock show production
           adstage --sandbox status production
           adstage --sandbox rollback production
    ");
    let shown = company.types("ana", "lock show production --output json").ends(0).json();
    assert_eq!((&shown["lock"]["broken"]["who"], &shown["lock"]["broken"]["answered"]), (&json!("ana"), &json!(true)), "{shown}");
    company.release();
    let back = company.types("maya", "rollback production --yes").ends(0);
    assert!(back.stderr.contains("the lock was broken by ana: runner hangs"), "{}", back.stderr);
}
