//! Misfortunes of a process that have a moment of their own. Each story has a shop to itself; they are played side by side, because what
//! they do mostly is wait for a lease to lapse.

use rustix::process::Signal;
use serde_json::Value;

use super::scenes::mutations;
use super::shop::{DEPLOY, Shop, failed, until};
use super::typing::{BEFORE, Running};

/// All of them; a failure names its story by its place here.
pub const ALL: &[fn(&Shop)] = &[
    a_deploy_terminated_right_after_its_acquire_gives_the_lock_back,
    m04_a_deploy_killed_right_after_its_acquire_is_closed_silently,
    m42_the_second_ctrl_c_leaves_at_once_and_the_next_command_offers_every_way,
    m29_a_deploy_halted_at_await_is_handed_over_and_resumed,
    m27_a_holder_whose_lock_is_broken_stops_and_the_next_one_waits_before_it_changes_anything,
];

/// A deploy is under way, at await, and stays there until the gate is opened.
fn waiting_deploy(shop: &Shop) -> (Running, std::path::PathBuf) {
    let gate = shop.workshop.path().join("gate");
    shop.turn_the_page(gate.to_str());
    let mut deploy = shop.start("joe", &DEPLOY);
    until("the deploy waits", || deploy.is_over() || deploy.place() == "await");
    assert!(!deploy.is_over(), "{}", deploy.end().stderr);
    (deploy, gate)
}

/// How often a story may be too late for its moment.
const TRIES: usize = 5;

/// A deploy as it was right after its first write: it has the lock.
fn locked_deploy(shop: &Shop) -> Running {
    let calls = shop.calls();
    shop.turn_the_page(None);
    let mut deploy = shop.start("joe", &DEPLOY);
    let took = |call: &Value| call["action"] == "TransactWriteItems";
    until("the lock is taken", || deploy.is_over() || shop.calls_from(calls).iter().any(took));
    deploy
}

/// A deploy that is told to stop when it has the lock and nothing else gives it back at once.
pub fn a_deploy_terminated_right_after_its_acquire_gives_the_lock_back(shop: &Shop) {
    let deploy = locked_deploy(shop);
    deploy.signal(Signal::TERM);
    let said = shop.tell("joe", &DEPLOY, deploy.end()).ends(143);
    assert!(said.stderr.contains("terminated"), "{}", said.stderr);
    shop.is_whole();
}

/// A deploy that is killed when it has the lock and nothing else leaves an operation without a step; whoever deploys next closes it without
/// a word.
pub fn m04_a_deploy_killed_right_after_its_acquire_is_closed_silently(shop: &Shop) {
    for _ in 0..TRIES {
        let deploy = locked_deploy(shop);
        deploy.signal(Signal::KILL);
        let place = deploy.place();
        shop.tell("joe", &DEPLOY, deploy.end()).ends(-9);
        if place != BEFORE {
            // The machine was elsewhere for a moment. Settle it, and again.
            shop.say("maya", &["rollback", "production", "--yes", "--lock-timeout", "5m"]).ends(0);
            continue;
        }
        let operation = shop.status()["operation"]["id"].as_str().unwrap().to_string();
        let next = shop.say("maya", &[&DEPLOY[..], &["--lock-timeout", "5m"]].concat()).ends(0);
        assert!(!next.stderr.contains("warning") && !next.stderr.contains(&operation), "{}", next.stderr);
        let history = shop.workshop.sandbox(&["history", "production", "--output", "json"]).ends(0).json();
        let closed = history["operations"].as_array().unwrap().iter().find(|record| record["id"] == operation.as_str()).unwrap();
        assert_eq!(closed["ended"], "refused", "{closed:#}");
        shop.is_whole();
        return;
    }
    panic!("{TRIES} times the first step was begun before the lock was seen");
}

/// The first Ctrl-C goes back, the second leaves at once, and the next command is told of every way on.
pub fn m42_the_second_ctrl_c_leaves_at_once_and_the_next_command_offers_every_way(shop: &Shop) {
    let visitors = shop.visitors();
    let (deploy, _gate) = waiting_deploy(shop);
    deploy.signal(Signal::INT);
    until("the first is answered", || deploy.events().iter().any(|event| event["type"] == "said" && event["mark"] == "warning"));
    deploy.signal(Signal::INT);
    let left = shop.tell("joe", &DEPLOY, deploy.end()).ends(130);
    assert!(!left.stderr.contains("it was undone"), "there was nothing left to leave:\n{}", left.stderr);
    let next = shop.say("maya", &[&DEPLOY[..], &["--lock-timeout", "5m"]].concat()).ends(5);
    for way in ["resume production", "resume production --abort", "rollback production"] {
        assert!(next.stderr.contains(&format!("adstage --sandbox {way}")), "{way} is not offered:\n{}", next.stderr);
    }
    shop.say("maya", &["resume", "production", "--abort", "--confirm", "production", "--lock-timeout", "5m"]).ends(0);
    shop.is_whole();
    let (failed, visits) = failed(&visitors.finish());
    assert_eq!(failed, [""; 0], "of {visits} visits");
}

/// A deploy that a colleague halts before its cutover hands over at once; whoever resumes it carries it to its end.
pub fn m29_a_deploy_halted_at_await_is_handed_over_and_resumed(shop: &Shop) {
    let visitors = shop.visitors();
    let (deploy, gate) = waiting_deploy(shop);
    shop.say("maya", &["lock", "halt", "production", "--reason", "the fair begins", "--yes"]).ends(0);
    let halted = shop.tell("joe", &DEPLOY, deploy.end()).ends(11);
    assert!(halted.stderr.contains("maya") && halted.stderr.contains("the fair begins"), "{}", halted.stderr);
    let inventory = shop.inventory();
    assert!(inventory.iter().any(|line| line == "group acme-production-web-r2"), "it went back: {inventory:?}");
    std::fs::write(gate, "").unwrap();
    let resumed = shop.say("maya", &["resume", "production", "--confirm", "production"]).ends(0);
    assert!(!resumed.stderr.contains("waiting for joe"), "{}", resumed.stderr);
    assert_eq!(shop.is_whole(), "r2");
    let (failed, visits) = failed(&visitors.finish());
    assert_eq!(failed, [""; 0], "of {visits} visits");
}

/// A lock is broken although its holder is well: the holder stops by itself and changes nothing more, and whoever comes next leaves it the
/// time to do so before anything is changed.
pub fn m27_a_holder_whose_lock_is_broken_stops_and_the_next_one_waits_before_it_changes_anything(shop: &Shop) {
    let visitors = shop.visitors();
    let (deploy, _gate) = waiting_deploy(shop);
    let operation = shop.status()["operation"]["id"].as_str().unwrap().to_string();
    let breaking = ["lock", "break", "production", &operation, "--reason", "joe's train is in a tunnel", "--confirm", "production"];
    shop.say("maya", &breaking).ends(0);
    let broken = shop.calls();
    let stopped = shop.tell("joe", &DEPLOY, deploy.end());
    assert_eq!(stopped.code, 8, "{}", stopped.stderr);
    let after = mutations(&shop.calls_from(broken));
    assert!(after.iter().all(|call| call["service"] == "dynamodb" && !call["refused"].is_null()), "{after:#?}");

    let calls = shop.calls();
    shop.say("maya", &["rollback", "production", "--yes"]).ends(0);
    let changes = mutations(&shop.calls_from(calls));
    let at = |call: &Value| call["at_ms"].as_u64().unwrap();
    let taken = changes.iter().find(|call| call["action"] == "TransactWriteItems" && call["refused"].is_null()).unwrap();
    let first = changes.iter().find(|call| call["service"] != "dynamodb").unwrap();
    // The sandbox stamps arrivals, and a confirmation is later than that: never shorter than what the holder waited.
    assert!(at(first) >= at(taken) + 25_000, "{} ms after the lock was taken: {first:#}", at(first) - at(taken));
    shop.is_whole();
    let (failed, visits) = failed(&visitors.finish());
    assert_eq!(failed, [""; 0], "of {visits} visits");
}
