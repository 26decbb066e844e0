//! The sandbox and a stranger's server are asked the same, in the same random order, and must answer the same.

use adstage::aws::dynamodb::{Dynamodb, Item, Key, Value, Write, WriteError};
use adstage::lock::{self, Blocked, Held, Intent, Lost, Release};
use adstage::model::{FreezeRecord, LockRecord, LockState, Outcome, sk};

use super::server::Engine;
use super::{Ground, everything, on};
use crate::lease::{Account, Process, ended, intent, note, scope};

const STRANGERS: [Engine; 2] = [Engine::Ministack, Engine::Dynoxide];

/// One move of one of three people.
#[derive(Debug, Clone)]
enum Move {
    Acquire { settles: bool, passes_freeze: bool },
    Commit { events: usize, stage: bool },
    Settle,
    Release { ended: bool },
    Forget,
    Freeze(Option<u64>),
    Thaw,
    FreeByHand,
    DeleteByHand,
}

fn any_move(dice: &mut fastrand::Rng) -> Move {
    match dice.u32(..20) {
        0..6 => Move::Acquire { settles: dice.u32(..3) == 0, passes_freeze: dice.bool() },
        6..11 => Move::Commit { events: dice.usize(..3), stage: dice.bool() },
        11..13 => Move::Settle,
        13..16 => Move::Release { ended: dice.u32(..3) > 0 },
        16 => Move::Forget,
        17 => Move::Freeze([None, Some(1_000_000_000), Some(4_000_000_000)][dice.usize(..3)]),
        18 => Move::Thaw,
        _ if dice.u32(..4) == 0 => Move::DeleteByHand,
        _ => Move::FreeByHand,
    }
}

/// Three people on one server.
struct Side {
    people: Vec<Process>,
    held: Vec<Option<Held>>,
}

fn timeless(lock: &LockRecord) -> LockRecord {
    LockRecord { since: String::new(), arn: String::new(), ..lock.clone() }
}

fn lost(result: Result<(), Lost>) -> String {
    match result {
        Ok(()) => "done".into(),
        Err(Lost::TakenOver(lock)) => format!("taken over: {:?}", timeless(&lock)),
        Err(Lost::Aws(error)) => format!("{:?} {}", error.kind, error.code),
        Err(other) => format!("{other:?}"),
    }
}

impl Side {
    async fn act(&mut self, who: usize, number: usize, act: &Move) -> String {
        let (process, held) = (&self.people[who], self.held[who].clone());
        match act {
            Move::Acquire { settles, passes_freeze } => {
                let intent = Intent { settles: *settles, passes_freeze: *passes_freeze, ..intent(&format!("01OP{number:03}")) };
                match process.acquire(intent).await {
                    Ok(held) => {
                        let told = format!("{} {:?} {:?}", held.fence(), held.operation(), held.unfinished());
                        self.held[who] = Some(held);
                        told
                    }
                    Err(Blocked::Held(lock, _)) => format!("held: {:?}", timeless(&lock)),
                    Err(Blocked::Aws(error)) => format!("{:?} {}", error.kind, error.code),
                    Err(other) => format!("{other:?}"),
                }
            }
            Move::Commit { events, stage } => match held {
                Some(held) => {
                    let events = (0..*events).map(|event| note(&format!("{number}.{event}"))).collect();
                    lost(held.commit(events, vec![], stage.then_some("launch")).await)
                }
                None => "holds nothing".into(),
            },
            Move::Settle => match held {
                Some(held) => {
                    let refused = ended(Outcome::Refused);
                    lost(held.settle(refused.events, refused.ended.unwrap()).await)
                }
                None => "holds nothing".into(),
            },
            Move::Release { ended: over } => match held {
                Some(held) => lost(held.release(if *over { ended(Outcome::Deployed) } else { Release::default() }).await),
                None => "holds nothing".into(),
            },
            Move::Forget => {
                self.held[who] = None;
                String::new()
            }
            Move::Freeze(until) => {
                let until = until.map(|end| jiff::Timestamp::from_second(end as i64).unwrap().to_string());
                let freeze = FreezeRecord { who: "grace".into(), reason: "fair".into(), made: "2026-11-22T10:00:00Z".into(), until };
                written(process.db.write(&scope().table, &Write::put(lock::freeze_item(&scope(), &freeze).unwrap())).await)
            }
            Move::Thaw => written(process.db.write(&scope().table, &Write::delete(Key::new(scope().pk, sk::FREEZE))).await),
            Move::FreeByHand => {
                let free = LockRecord { state: LockState::Free, fence: number as u64, lease_ms: 60_000, ..LockRecord::default() };
                written(process.db.write(&scope().table, &Write::put(lock::lock_item(&scope(), &free))).await)
            }
            Move::DeleteByHand => written(process.db.write(&scope().table, &Write::delete(Key::new(scope().pk, sk::LOCK))).await),
        }
    }

    /// The whole table but its times.
    async fn rows(&self) -> Vec<Item> {
        let mut rows = self.people[0].db.query(&scope().table, &everything(&scope().pk)).await.unwrap();
        for row in &mut rows {
            row.retain(|name, _| !["at", "since", "expires", "arn"].contains(&name.as_str()));
        }
        rows
    }
}

fn written(result: Result<Option<Item>, WriteError>) -> String {
    match result {
        Ok(row) => format!("{row:?}"),
        Err(WriteError::Failed(error)) => format!("failed: {:?} {}", error.kind, error.code),
        Err(WriteError::Busy(error)) => format!("busy: {:?} {}", error.kind, error.code),
        Err(other) => format!("{other:?}"),
    }
}

async fn sides(ground: &Ground) -> (Side, Side) {
    let account = Account::new().await;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for name in ["ada", "grace", "joan"] {
        ours.push(account.process(name).await);
        theirs.push(ground.process(name).await);
    }
    let side = |people| Side { people, held: vec![None, None, None] };
    (side(ours), side(theirs))
}

#[test]
fn the_lock_gives_the_same_answers_in_the_sandbox_and_elsewhere() {
    on(&STRANGERS, async |ground| {
        let (mut ours, mut theirs) = sides(ground).await;
        let seed = 20_261_122;
        let mut dice = fastrand::Rng::with_seed(seed);
        let mut tally = std::collections::BTreeMap::new();
        for number in 0..250 {
            let (who, act) = (dice.usize(..3), any_move(&mut dice));
            let (here, there) = (ours.act(who, number, &act).await, theirs.act(who, number, &act).await);
            assert_eq!(here, there, "seed {seed}, move {number}: {act:?} by {who}, in the sandbox and on {:?}", ground.engine);
            *tally.entry(here.split([' ', ':', '(', '{']).next().unwrap_or_default().to_string()).or_insert(0) += 1;
            if number % 50 == 49 {
                assert_eq!(ours.rows().await, theirs.rows().await, "seed {seed}, after move {number}");
            }
        }
        assert!(tally.len() >= 8 && tally["done"] >= 15, "the moves are too tame: {tally:?}");
    });
}

/// Conditions as the lock writes them, with what they mention.
fn any_condition(write: Write, dice: &mut fastrand::Rng) -> Write {
    let number = |dice: &mut fastrand::Rng| dice.u64(..2);
    let (first, second) = (number(dice), number(dice));
    let free = |write: Write| write.name("#st", "st").value(":free", "free");
    match dice.u32(..7) {
        0 => write,
        1 => write.only_if("attribute_not_exists(pk)"),
        2 => {
            let condition = "attribute_not_exists(pk) OR (#st = :free AND fence = :f AND attribute_not_exists(#open))";
            free(write.only_if(condition)).name("#open", "open").value(":f", first)
        }
        3 => write
            .only_if("fence = :f AND #owner = :me AND #st = :held AND beat < :b")
            .name("#owner", "owner")
            .name("#st", "st")
            .value(":me", "owner-1")
            .value(":held", "held")
            .value(":f", first)
            .value(":b", second),
        4 => free(write.only_if("#st = :free AND fence = :f AND #open = :o")).name("#open", "open").value(":f", first).value(":o", "01OP"),
        5 => write.only_if("attribute_not_exists(pk) OR fence <= :f").value(":f", first),
        _ => write.only_if("attribute_exists(pk) AND #until < :b").name("#until", "until").value(":b", second),
    }
}

fn any_write(key: Key, dice: &mut fastrand::Rng, alone: bool) -> Write {
    let text = |name: &str, value: Value| (name.to_string(), value);
    let write = match dice.u32(..8) {
        0..3 => {
            let mut item: Item = [text("pk", key.pk.as_str().into()), text("sk", key.sk.as_str().into())].into();
            item.extend([text("fence", dice.u64(..2).into()), text("beat", dice.u64(..2).into())]);
            let (held, owner) = (dice.bool(), format!("owner-{}", dice.u32(..2)));
            item.insert("st".into(), if held { "held" } else { "free" }.into());
            let optional = [("owner", owner.into()), ("open", "01OP".into()), ("until", dice.u64(..2).into())];
            item.extend(optional.into_iter().filter(|_| dice.bool()).map(|(name, value): (_, Value)| text(name, value)));
            Write::put(item)
        }
        3 => Write::update(key, "SET beat = :new").value(":new", dice.u64(..2)),
        4 => Write::update(key, "SET #state = :to REMOVE #who, #left")
            .name("#state", "st")
            .name("#who", "owner")
            .name("#left", "open")
            .value(":to", "free"),
        5 => Write::update(key, "SET #next = :new, serving = if_not_exists(serving, :none)")
            .name("#next", "next")
            .value(":new", dice.u64(..2))
            .value(":none", Item::new()),
        6 => Write::delete(key),
        // Alone, a check is no write.
        _ if alone => Write::delete(key),
        _ => return any_condition(Write::check(key, "attribute_exists(pk)"), dice),
    };
    any_condition(write, dice)
}

async fn send(db: &Dynamodb, writes: &[Write]) -> String {
    match writes {
        [one] => written(db.write(&scope().table, one).await),
        several => written(db.transact(&scope().table, several, "").await.map(|()| None)),
    }
}

#[test]
fn conditional_writes_and_transactions_give_the_same_answers_in_the_sandbox_and_elsewhere() {
    on(&STRANGERS, async |ground| {
        let (ours, theirs) = sides(ground).await;
        let (ours, theirs) = (&ours.people[0].db, &theirs.people[0].db);
        let (seed, keys) = (7, ["LOCK", "HEAD", "FREEZE", "OP#01OP", "OP#01OP#00000001"]);
        let mut dice = fastrand::Rng::with_seed(seed);
        let mut refused = 0;
        for number in 0..600 {
            let count = if dice.bool() { 1 } else { dice.usize(2..=4) };
            let mut left = keys.to_vec();
            let writes: Vec<Write> = (0..count)
                .map(|_| {
                    let key = Key::new("p", left.swap_remove(dice.usize(..left.len())));
                    any_write(key, &mut dice, count == 1)
                })
                .collect();
            let (here, there) = (send(ours, &writes).await, send(theirs, &writes).await);
            assert_eq!(here, there, "seed {seed}, write {number}, in the sandbox and on {:?}: {writes:#?}", ground.engine);
            refused += usize::from(here.starts_with("Refused"));
        }
        assert!((100..500).contains(&refused), "{refused} of 600 refused");
        let all = everything("p");
        assert_eq!(ours.query(&scope().table, &all).await, theirs.query(&scope().table, &all).await);
    });
}
