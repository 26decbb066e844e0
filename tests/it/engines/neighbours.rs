//! Three environments that share listeners: one holder per conflict, no deadlock, and everybody refused is told all who stand in the way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use adstage::lock::{self, Blocked, Held, Intent};
use adstage::model::{LockRecord, LockState, Outcome, Resource, Scope};
use tokio::sync::Barrier;

use super::proxy::Fault;
use super::server::Engine;
use super::{Ground, on, show};
use crate::lease::{Process, ended, intent, note, scope};

/// What each environment needs besides itself: the middle one conflicts with both others, which do not conflict with each other.
const ENVIRONMENTS: [(&str, &[u16]); 3] = [("staging", &[80]), ("production", &[80, 443]), ("demo", &[443])];

fn environment(which: usize) -> Scope {
    Scope::environment(&scope().table, &"shop".parse().unwrap(), &ENVIRONMENTS[which].0.parse().unwrap())
}

fn in_the_way(one: usize, other: usize) -> bool {
    one == other || ENVIRONMENTS[one].1.iter().any(|port| ENVIRONMENTS[other].1.contains(port))
}

/// Partition and owner of a lease.
type Holder = (String, String);

#[derive(Debug)]
enum Heard {
    Won(u64),
    /// At the first attempt, and again when all winners stood.
    Refused(BTreeSet<Holder>, BTreeSet<Holder>),
    Odd(String),
}

struct Contender {
    process: Process,
    environment: usize,
    number: usize,
}

impl Contender {
    async fn acquire(&self, round: usize) -> Result<Held, Blocked> {
        let (number, which) = (self.number, self.environment);
        let secondaries = ENVIRONMENTS[which].1.iter().map(|port| Resource::listener("shop", *port)).collect();
        let intent = Intent { secondaries, ..intent(&format!("01R{round:02}C{number:02}")) };
        lock::acquire(&self.process.db, &self.process.clock, environment(which), self.process.who.clone(), intent).await
    }

    fn named(&self, blocked: Blocked) -> Result<BTreeSet<Holder>, String> {
        let holder = |pk: &str, lock: &LockRecord| (pk.to_string(), lock.owner.clone().unwrap_or_default());
        match blocked {
            Blocked::Held(lock, _) => Ok([holder(&environment(self.environment).pk, &lock)].into()),
            Blocked::Shared(blockers) => Ok(blockers.iter().map(|blocker| holder(&blocker.scope.pk, &blocker.lock)).collect()),
            other => Err(format!("{other:?}")),
        }
    }

    async fn round(&self, round: usize, gate: &Barrier) -> Heard {
        gate.wait().await;
        let first = self.acquire(round).await;
        gate.wait().await;
        // Nobody lets go before every loser has asked once more.
        let again = match &first {
            Ok(_) => None,
            Err(_) => Some(self.acquire(round).await),
        };
        gate.wait().await;
        match (first, again) {
            (Ok(held), _) => match work(&held).await {
                Ok(()) => Heard::Won(held.fence()),
                Err(lost) => Heard::Odd(format!("won, and then: {lost}")),
            },
            (Err(first), Some(Err(again))) => match (self.named(first), self.named(again)) {
                (Ok(first), Ok(again)) => Heard::Refused(first, again),
                odd => Heard::Odd(format!("{odd:?}")),
            },
            (Err(first), _) => Heard::Odd(format!("got the lock of somebody who holds it, after {first:?}")),
        }
    }
}

async fn work(held: &Held) -> Result<(), lock::Lost> {
    held.commit(vec![note("one")], vec![], Some("launch")).await?;
    held.release(ended(Outcome::Deployed)).await
}

/// Every round as everybody heard it, by contender.
type Rounds = Vec<BTreeMap<usize, Heard>>;

async fn contend(ground: &Ground, contenders: usize, rounds: usize) -> Rounds {
    let gate = Arc::new(Barrier::new(contenders));
    let heard: Arc<Mutex<Rounds>> = Arc::new(Mutex::new((0..rounds).map(|_| BTreeMap::new()).collect()));
    let mut running = tokio::task::JoinSet::new();
    for number in 0..contenders {
        let contender = Contender { process: ground.process(&format!("p{number}")).await, environment: number % 3, number };
        let (gate, heard) = (gate.clone(), heard.clone());
        running.spawn(async move {
            for round in 0..rounds {
                let told = contender.round(round, &gate).await;
                heard.lock().unwrap()[round].insert(number, told);
            }
        });
    }
    running.join_all().await;
    std::mem::take(&mut *heard.lock().unwrap())
}

/// No two winners are in each other's way, and every loser was told of all who are in its own.
fn check(rounds: &Rounds) -> [u64; 3] {
    let mut wins = [0; 3];
    for (number, round) in rounds.iter().enumerate() {
        let winners: Vec<usize> = round.iter().filter(|(_, heard)| matches!(heard, Heard::Won(_))).map(|(who, _)| *who).collect();
        for (at, one) in winners.iter().enumerate() {
            let clash = winners[at + 1..].iter().find(|other| in_the_way(one % 3, **other % 3));
            assert_eq!(clash, None, "round {number}: p{one} holds it, too");
        }
        for (who, heard) in round {
            let standing = winners.iter().filter(|winner| in_the_way(who % 3, **winner % 3));
            let standing: BTreeSet<Holder> = standing.map(|winner| (environment(winner % 3).pk, format!("owner-p{winner}"))).collect();
            match heard {
                Heard::Won(fence) => {
                    wins[who % 3] += 1;
                    assert_eq!(*fence, wins[who % 3], "round {number}: fences have no gap");
                }
                Heard::Refused(first, again) => {
                    assert_eq!(*again, standing, "round {number}, p{who}: everybody in its way, and nobody else");
                    assert!(!first.is_empty() && first.is_subset(&standing), "round {number}, p{who}: {first:?}");
                }
                Heard::Odd(what) => panic!("round {number}, p{who}: {what}"),
            }
        }
    }
    wins
}

async fn contest(ground: &Ground, contenders: usize, rounds: usize) {
    let heard = contend(ground, contenders, rounds).await;
    let wins = check(&heard);
    show(&format!("{:?}: {contenders} contenders, three environments, {rounds} rounds, wins {wins:?}", ground.engine));
    let reader = ground.process("reader").await;
    for (which, wins) in wins.iter().enumerate() {
        let lock = lock::read(&reader.db, &environment(which)).await.unwrap().lock.unwrap_or_default();
        assert_eq!((lock.state, lock.fence, lock.open), (LockState::Free, *wins, None));
    }
    let shared = lock::read_shared(&reader.db, &scope()).await.unwrap();
    assert!(shared.len() == 2 && shared.iter().all(|shared| shared.holder.is_none()), "{shared:?}");
}

#[test]
fn m02_forty_in_three_environments_that_share_listeners_have_one_holder_per_conflict() {
    on(&[Engine::Ministack, Engine::Dynoxide], async |ground| {
        contest(ground, 40, 6).await;
    });
}

#[test]
fn m02_environments_that_share_listeners_keep_order_on_a_line_that_repeats_and_loses_replies() {
    on(&[Engine::Ministack], async |ground| {
        let weather = vec![(Fault::LoseReply, 6), (Fault::Twice, 4), (Fault::TwiceAndAnswerTheSecond, 4)];
        ground.line.weather(11, weather);
        contest(ground, 12, 6).await;
        ground.line.weather(11, Vec::new());
        assert!(ground.line.done()[&Fault::LoseReply] > 10, "{:?}", ground.line.done());
    });
}
