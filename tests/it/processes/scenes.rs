//! One deploy under visitors, one misfortune of its process, one command of whoever comes next; then everything must be whole.

use std::fmt;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use super::moments::{How, Moment, Next, STAGES};
use super::shop::{DEPLOY, Shop, failed, until};
use super::typing::{BEFORE, Running};

/// How a moment went.
pub struct Played {
    pub moment: Moment,
    /// Where the deploy was, by its own events.
    pub hit: String,
    /// How it ended, and what was typed then.
    pub went: String,
    pub visits: usize,
    pub took: Duration,
}

impl fmt::Display for Played {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Moment { number, how, .. } = self.moment;
        write!(f, "{number:>3} {:<12} {:<22} {} · {} visits · {:.1?}", format!("{how:?}"), self.hit, self.went, self.visits, self.took)
    }
}

pub fn play(shop: &Shop, moment: Moment) -> Played {
    shop.make_ready();
    let (began, visitors) = (Instant::now(), shop.visitors());
    shop.turn_the_page(None);
    let mut deploy = shop.start("joe", &DEPLOY);
    wait_for(shop, &moment, &mut deploy);
    let (hit, went) = match deploy.is_over() {
        true => ("after the end".to_string(), {
            shop.tell("joe", &DEPLOY, deploy.end()).ends(0);
            "deployed".to_string()
        }),
        false => strike(shop, &moment, deploy),
    };
    let live = shop.is_whole();
    let page = shop.shows_one_page();
    let (failed, visits) = failed(&visitors.finish());
    assert_eq!(failed, [""; 0], "of {visits} visits");
    assert!(visits > 50, "only {visits} visits prove nothing");
    Played { moment, hit, went: format!("{went}; {live} shows {}", page.trim()), visits, took: began.elapsed() }
}

/// Until the stage has begun, and then for its part of what the stage takes. However slow the machine is, the stage is hit or nearly hit.
fn wait_for(shop: &Shop, moment: &Moment, deploy: &mut Running) {
    let stage = STAGES[moment.stage];
    if moment.stage > 0 {
        until(&format!("{stage} begins"), || deploy.is_over() || deploy.stages().iter().any(|began| began == stage));
    }
    let rhythm = shop.rhythm.borrow();
    let (_, takes) = rhythm.iter().find(|(name, _)| name == stage).unwrap();
    std::thread::sleep(takes.mul_f64(moment.part));
}

fn strike(shop: &Shop, moment: &Moment, deploy: Running) -> (String, String) {
    match moment.how {
        How::Killed => m12_killed(shop, moment, deploy),
        How::Terminated => terminated(shop, deploy),
        How::Paused(seconds) => m13_paused(shop, seconds, deploy),
        How::Replaced => m14_replaced(shop, moment, deploy),
    }
}

/// SIGKILL; the next operator's one command waits for the lease to lapse.
fn m12_killed(shop: &Shop, moment: &Moment, deploy: Running) -> (String, String) {
    deploy.signal(Signal::KILL);
    let hit = deploy.place();
    shop.tell("joe", &DEPLOY, deploy.end()).ends(-9);
    shop.note(&format!("killed at: {hit}"));
    let went = settle(shop, moment, &hit);
    (hit, format!("killed, {went}"))
}

/// The one command, if there is anything to settle.
fn settle(shop: &Shop, moment: &Moment, hit: &str) -> String {
    let status = shop.status();
    if status["lock"]["state"] == "free" && status.get("operation").is_none() {
        return "nothing was open".to_string();
    }
    // Once an older fleet is being removed, nothing is undone any more.
    let next = if moment.next == Next::Abort && hit == "settle" { Next::Resume } else { moment.next };
    shop.say("maya", next.typed()).ends(0);
    format!("{next:?}").to_lowercase()
}

/// SIGTERM: it settles everything by itself.
fn terminated(shop: &Shop, deploy: Running) -> (String, String) {
    deploy.signal(Signal::TERM);
    let hit = deploy.place();
    let said = shop.tell("joe", &DEPLOY, deploy.end());
    shop.note(&format!("SIGTERM at: {hit}"));
    // Before it takes the lock it does not listen, and ends as any process does.
    assert!([0, 143].contains(&said.code) || (said.code == -15 && hit == BEFORE), "{} at {hit}\n{}", said.code, said.stderr);
    let live = shop.is_whole();
    (hit, format!("{} with {live} live", said.code))
}

/// SIGSTOP, nobody comes, SIGCONT: the first change proves the lease, and the deploy goes on to its end.
fn m13_paused(shop: &Shop, seconds: u64, deploy: Running) -> (String, String) {
    deploy.signal(Signal::STOP);
    let hit = deploy.place();
    let calls = shop.calls_once_quiet();
    std::thread::sleep(Duration::from_secs(seconds));
    assert_eq!(mutations(&shop.calls_from(calls)), Vec::<Value>::new(), "of a stopped process");
    deploy.signal(Signal::CONT);
    shop.note(&format!("stopped at: {hit}; continued after {seconds} s"));
    shop.tell("joe", &DEPLOY, deploy.end()).ends(0);
    let mutations = mutations(&shop.calls_from(calls));
    // A beat, or the journal write it was about to send; before the lock is taken there is nothing to prove.
    if seconds > 30 && hit != BEFORE {
        assert_eq!(mutations[0]["service"], "dynamodb", "a woken holder proves its lease first: {:#?}", &mutations[..2]);
        assert_eq!(mutations[0]["refused"], Value::Null, "{:#?}", &mutations[..2]);
    }
    (hit, format!("went on after {seconds} s, {} changes", mutations.len()))
}

/// SIGSTOP, a colleague takes over, SIGCONT: not one change gets through any more.
fn m14_replaced(shop: &Shop, moment: &Moment, deploy: Running) -> (String, String) {
    deploy.signal(Signal::STOP);
    let hit = deploy.place();
    shop.note(&format!("stopped at: {hit}"));
    let went = settle(shop, moment, &hit);
    let (inventory, calls) = (shop.inventory(), shop.calls_once_quiet());
    let rows = shop.rows();
    deploy.signal(Signal::CONT);
    shop.note("continued");
    let said = shop.tell("joe", &DEPLOY, deploy.end());
    let mutations = mutations(&shop.calls_from(calls));
    if went == "nothing was open" {
        return (hit, format!("{went}, then {}", said.code));
    }
    // What it sends to the state table is refused, or is the copy of a write whose answer it never read: that changes nothing either.
    assert!(mutations.iter().all(|call| call["service"] == "dynamodb"), "{mutations:#?}");
    assert!(mutations.iter().any(|call| !call["refused"].is_null()), "{mutations:#?}");
    assert_eq!((shop.inventory(), shop.rows()), (inventory, rows));
    assert_ne!(said.code, 0, "{}", said.stderr);
    assert!(said.stderr.contains("the lock was lost"), "{}", said.stderr);
    (hit, format!("{went}, then {} and {} vain writes", said.code, mutations.len()))
}

/// Calls that change something.
pub fn mutations(calls: &[Value]) -> Vec<Value> {
    calls.iter().filter(|call| call["mutating"] == true).cloned().collect()
}
