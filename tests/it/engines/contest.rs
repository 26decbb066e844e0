//! Forty at once, twenty times: one winner each time, and everybody else is told who.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use adstage::aws::dynamodb::Query;
use adstage::clock::Clock;
use adstage::journal;
use adstage::lock::{self, Blocked, Held, Lost};
use adstage::model::{LockRecord, LockState, OperationId, Outcome, sk};
use tokio::sync::Barrier;

use super::proxy::Fault;
use super::server::Engine;
use super::{Ground, on, show};
use crate::lease::{Process, ended, intent, note, scope};

const CONTENDERS: usize = 40;

/// What one contender heard in one round.
#[derive(Debug)]
enum Heard {
    Won(u64),
    /// Who holds it, by owner and name.
    Held(Option<String>, String),
    /// The line was so bad that not even that could be read.
    Nothing(String),
    Odd(String),
}

fn heard(result: &Result<Held, Blocked>) -> Heard {
    match result {
        Ok(held) => Heard::Won(held.fence()),
        Err(Blocked::Held(lock, _)) if lock.state == LockState::Held => Heard::Held(lock.owner.clone(), lock.who.clone()),
        Err(Blocked::Aws(error)) => Heard::Nothing(error.to_string()),
        Err(other) => Heard::Odd(format!("{other:?}")),
    }
}

fn operation(round: usize, contender: usize) -> String {
    format!("01R{round:02}C{contender:02}")
}

/// What the winner does while everybody else has been refused.
async fn work(held: Held) -> Result<(), Lost> {
    held.commit(vec![note("one")], vec![], Some("launch")).await?;
    held.commit(vec![note("two"), note("three")], vec![], None).await?;
    held.release(ended(Outcome::Deployed)).await
}

/// Every round as everybody heard it, by contender.
type Rounds = Vec<BTreeMap<usize, Heard>>;

async fn contend(processes: Vec<Process>, rounds: usize) -> Rounds {
    let gate = Arc::new(Barrier::new(processes.len()));
    let heard_by: Arc<Mutex<Rounds>> = Arc::new(Mutex::new((0..rounds).map(|_| BTreeMap::new()).collect()));
    let mut contenders = tokio::task::JoinSet::new();
    for (number, process) in processes.into_iter().enumerate() {
        let (gate, heard_by) = (gate.clone(), heard_by.clone());
        contenders.spawn(async move {
            for round in 0..rounds {
                gate.wait().await;
                let result = process.acquire(intent(&operation(round, number))).await;
                let mut told = heard(&result);
                // Nobody lets go before everybody has been refused.
                gate.wait().await;
                if let Ok(held) = result
                    && let Err(lost) = work(held).await
                {
                    told = Heard::Odd(format!("won, and then: {lost}"));
                }
                heard_by.lock().unwrap()[round].insert(number, told);
            }
        });
    }
    contenders.join_all().await;
    std::mem::take(&mut *heard_by.lock().unwrap())
}

/// One winner each round, fences without a gap, everybody else told who; answers why anybody heard nothing at all.
fn check_rounds(rounds: &Rounds) -> Vec<String> {
    let mut deaf = Vec::new();
    for (number, round) in rounds.iter().enumerate() {
        let won = |(who, heard): (&usize, &Heard)| if let Heard::Won(fence) = heard { Some((*who, *fence)) } else { None };
        let winners: Vec<(usize, u64)> = round.iter().filter_map(won).collect();
        assert_eq!(winners.len(), 1, "round {number}: {round:?}");
        let (winner, fence) = winners[0];
        assert_eq!(fence, number as u64 + 1, "round {number}");
        for (who, heard) in round {
            match heard {
                Heard::Won(_) => {}
                Heard::Held(owner, name) => {
                    assert_eq!(
                        (owner.as_deref(), name.as_str()),
                        (Some(format!("owner-p{winner}").as_str()), format!("p{winner}").as_str())
                    );
                }
                Heard::Nothing(why) => deaf.push(why.clone()),
                Heard::Odd(what) => panic!("round {number}, p{who}: {what}"),
            }
        }
    }
    deaf
}

/// The table agrees: one operation per round, its events without gap or twin, and the lock free at the end.
async fn check_table(ground: &Ground, rounds: &Rounds) {
    let reader = ground.process("reader").await;
    let rows = reader.db.query(&scope().table, &Query::prefix(&scope().pk, sk::OPERATIONS).having("kind")).await.unwrap();
    assert_eq!(rows.len(), rounds.len(), "whoever lost left nothing behind");
    for (number, round) in rounds.iter().enumerate() {
        let winner = round.iter().find(|(_, heard)| matches!(heard, Heard::Won(_))).map(|(who, _)| *who).unwrap();
        let id = OperationId(operation(number, winner));
        let (row, events) = journal::operation(&reader.db, &scope(), &id).await.unwrap().unwrap();
        assert_eq!((row.fence, row.seq, row.record.ended), (number as u64 + 1, 4, Some(Outcome::Deployed)));
        assert_eq!(events.iter().map(|event| event.seq).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
        assert!(journal::fold(&events).is_ok());
    }
    let lock: LockRecord = lock::read(&reader.db, &scope()).await.unwrap().lock.unwrap();
    assert_eq!((lock.state, lock.fence, &lock.open), (LockState::Free, rounds.len() as u64, &None));
}

async fn contest(ground: &Ground, rounds: usize, seed: u64) -> Vec<String> {
    let mut processes = Vec::new();
    let mut dice = fastrand::Rng::with_seed(seed);
    for number in 0..CONTENDERS {
        let process = ground.process(&format!("p{number}")).await;
        // Nobody's wall clock is right.
        process.clock.step_wall(dice.i64(-7_200_000..7_200_000));
        processes.push(process);
    }
    let (clock, before) = (Clock::real(), ground.line.passed());
    let started = clock.moment();
    let rounds = contend(processes, rounds).await;
    let took = clock.since(started);
    let deaf = check_rounds(&rounds);
    let (calls, faults) = (ground.line.passed() - before, ground.line.done());
    ground.line.weather(seed, Vec::new());
    check_table(ground, &rounds).await;
    show(&format!(
        "{:?}: {CONTENDERS} contenders, {} rounds, {took:.1?}, {calls} calls, {faults:?}, unheard: {deaf:?}",
        ground.engine,
        rounds.len()
    ));
    deaf
}

#[test]
fn m02_forty_at_once_twenty_times_have_one_winner_each_time() {
    on(&[Engine::Ministack], async |ground| {
        let deaf = contest(ground, 20, 1).await;
        assert!(deaf.is_empty(), "{deaf:?}");
    });
}

#[test]
fn m02_forty_at_once_have_one_winner_each_time_on_every_engine() {
    on(&[Engine::Dynoxide, Engine::Sandbox], async |ground| {
        let deaf = contest(ground, 5, 2).await;
        assert!(deaf.is_empty(), "{deaf:?}");
    });
}

#[test]
fn m02_forty_at_once_on_a_bad_line_have_one_winner_and_lose_no_lock_to_nobody() {
    let weather =
        || vec![(Fault::LoseRequest, 7), (Fault::LoseReply, 7), (Fault::Twice, 4), (Fault::TwiceAndAnswerTheSecond, 4), (Fault::Late, 4)];
    on(&[Engine::Ministack], async |ground| {
        ground.line.weather(7, weather());
        let deaf = contest(ground, 20, 3).await;
        let faults = ground.line.done();
        assert!(faults[&Fault::LoseReply] > 50 && faults[&Fault::LoseRequest] > 50, "{faults:?}");
        // Five attempts to read in a row that all fail: one reader in some ten thousand.
        assert!(deaf.len() < 8, "{deaf:?}");
    });
}
