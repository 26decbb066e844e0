//! What people do to a lock from outside: halt, break, freeze, repair, in virtual time; and rows that somebody edited or restored.

use std::time::Duration;

use adstage::aws::dynamodb::{Item, Key, Query, Value, Write};
use adstage::journal;
use adstage::lock::{self, Blocked, Breaking, Freezing, Halting, Intent, Lost, Release, Repaired, TakeOverKind};
use adstage::model::{FORMAT, FreezeRecord, LockRecord, LockState, OperationId, Outcome, sk};

use crate::lease::{Account, Process, ended, intent, note, scope, seconds};

async fn audits(process: &Process) -> Vec<Item> {
    process.db.query(&scope().table, &Query::prefix(scope().pk, sk::AUDITS)).await.unwrap()
}

fn text<'i>(item: &'i Item, name: &str) -> &'i str {
    match &item[name] {
        Value::S(text) => text,
        other => panic!("{name} is {other:?}"),
    }
}

fn op(id: &str) -> OperationId {
    OperationId(id.into())
}

impl Process {
    async fn lock(&self) -> LockRecord {
        lock::read(&self.db, &scope()).await.unwrap().lock.unwrap()
    }

    async fn break_lock(&self, id: &str, seen: &LockRecord, answered: bool) -> Breaking {
        lock::break_lock(&self.db, &self.clock, &scope(), &op(id), seen, answered, &self.who, "hangs").await.unwrap()
    }

    async fn halt(&self, id: &str) -> Halting {
        lock::halt(&self.db, &self.clock, &scope(), &op(id), &self.who.who, "rollback").await.unwrap()
    }

    async fn repair(&self) -> Result<Repaired, Blocked> {
        lock::repair(&self.db, &self.clock, &scope(), &self.who, "restored from a backup").await
    }
}

#[tokio::test(start_paused = true)]
async fn m31_a_freeze_stops_a_deploy_until_its_end_and_never_a_rollback() {
    let account = Account::new().await;
    let ada = account.process("ada").await;
    let until = (ada.db.now() + jiff::SignedDuration::from_hours(2)).to_string();
    let freeze = FreezeRecord { who: "grace".into(), reason: "trade fair".into(), made: ada.db.now().to_string(), until: Some(until) };
    ada.put(lock::freeze_item(&scope(), &freeze).unwrap()).await;
    let Err(Blocked::Frozen(found)) = ada.acquire_within(600, intent("01ADA")).await else { panic!("frozen") };
    assert_eq!(found.reason, "trade fair");
    let rollback = ada.acquire(Intent { passes_freeze: true, ..intent("01BACK") }).await.unwrap();
    rollback.release(ended(Outcome::Deployed)).await.unwrap();
    ada.clock.sleep(seconds(7_300)).await;
    assert!(ada.acquire(intent("01ADB")).await.is_ok(), "it is over by itself");
}

#[tokio::test(start_paused = true)]
async fn m38_a_lock_that_was_restored_from_a_backup_is_not_believed() {
    let account = Account::new().await;
    let ada = account.process("ada").await;
    let held = ada.acquire(intent("01ADA")).await.unwrap();
    let none = std::collections::BTreeMap::new();
    let mut release = ended(Outcome::Deployed);
    release.writes.push(journal::serve(&scope(), &none, &none, held.fence() + 4));
    // As if four more holders had come and gone and only the lock were restored: `HEAD` is ahead of it.
    release.writes[0].values.insert(":f".into(), 5u64.into());
    held.release(release).await.unwrap();
    let blocked = ada.acquire(intent("01ADB")).await.map(|_| ());
    assert_eq!(blocked, Err(Blocked::Rewound { lock: 1, recorded: 5 }));
    ada.db.write(&scope().table, &Write::delete(Key::new(scope().pk, sk::LOCK))).await.unwrap();
    let blocked = ada.acquire(intent("01ADC")).await.map(|_| ());
    assert_eq!(blocked, Err(Blocked::Rewound { lock: 0, recorded: 5 }), "a deleted row cannot count again from 1");
}

#[tokio::test(start_paused = true)]
async fn m37_a_row_of_a_newer_format_is_read_and_never_written() {
    let account = Account::new().await;
    let (ada, grace) = (account.process("ada").await, account.process("grace").await);
    let held = LockRecord {
        state: LockState::Held,
        fence: 3,
        lease_ms: 60_000,
        operation: Some(OperationId("01NEW".into())),
        open: Some(OperationId("01NEW".into())),
        who: "grace".into(),
        cli: "0.9.0".into(),
        ..LockRecord::default()
    };
    let mut item = lock::lock_item(&scope(), &held);
    item.insert("v".into(), (FORMAT + 1).into());
    item.insert("quorum".into(), 5u64.into());
    grace.put(item.clone()).await;
    let seen = lock::read(&ada.db, &scope()).await.unwrap().lock.unwrap();
    assert_eq!((seen.who.as_str(), seen.newer.as_deref()), ("grace", Some("0.9.0")), "read as far as it is understood");
    let head: Item = [("pk", scope().pk.into()), ("sk", sk::HEAD.into()), ("v", (FORMAT + 1).into()), ("next", 4u64.into())]
        .into_iter()
        .chain([("fence", 3u64.into()), ("colour", "green".into())])
        .map(|(name, value): (&str, Value)| (name.to_string(), value))
        .collect();
    grace.put(head).await;
    assert_eq!(journal::read(&ada.db, &scope()).await.unwrap().head.map(|head| head.next), Some(4));
    // However long it waits: neither taken over, nor halted, broken or repaired.
    let needs = |error: &adstage::aws::Error| assert!(error.message.ends_with("it needs adstage 0.9.0 or newer"), "{error}");
    let Err(Blocked::Aws(error)) = ada.acquire_within(600, Intent { settles: true, ..intent("01ADA") }).await else { panic!("taken") };
    needs(&error);
    let operation = OperationId("01NEW".into());
    needs(&lock::halt(&ada.db, &ada.clock, &scope(), &operation, "ada", "why").await.unwrap_err());
    needs(&lock::break_lock(&ada.db, &ada.clock, &scope(), &operation, &seen, false, &ada.who, "why").await.unwrap_err());
    let Err(Blocked::Aws(error)) = lock::repair(&ada.db, &ada.clock, &scope(), &ada.who, "why").await else { panic!("repaired") };
    needs(&error);
    let row = ada.db.get(&scope().table, &Key::new(scope().pk, sk::LOCK)).await.unwrap();
    assert_eq!(row, Some(item), "untouched");
}

#[tokio::test(start_paused = true)]
async fn m29_a_request_to_halt_arrives_with_the_next_beat_and_says_so_if_there_is_nobody_to_ask() {
    let account = Account::new().await;
    let (ada, grace) = (account.process("ada").await, account.process("grace").await);
    assert_eq!(grace.halt("01ADA").await, Halting::Free(None), "nobody ever had it");
    let held = ada.acquire(intent("01ADA")).await.unwrap();
    account.lose_reply("UpdateItem", 1);
    let asked = grace.clock.moment();
    assert!(matches!(grace.halt("01ADA").await, Halting::Delivered(row) if row.who == "ada"));
    held.halted_or_lost().await;
    assert!(grace.clock.passed(asked) <= seconds(14));
    assert_eq!(held.halted().map(|halt| (halt.who, halt.why)), Some(("grace".into(), "rollback".into())));
    // Handed over: whoever asked goes on at once, and nothing has to be waited for.
    held.release(Release::default()).await.unwrap();
    assert!(matches!(grace.halt("01ADA").await, Halting::Free(Some(row)) if row.open == Some(op("01ADA")) && row.halt.is_none()));
    let next = grace.acquire(Intent { settles: true, ..intent("01GRACE") }).await.unwrap();
    assert_eq!(next.take_over().map(|take_over| take_over.kind), Some(TakeOverKind::HandedOver));
    assert_eq!((next.must_wait(), next.guard()()), (Duration::ZERO, Ok(())));
    assert!(matches!(ada.halt("01ADB").await, Halting::PassedOn(row) if row.who == "grace"), "not for this operation");
    assert_eq!(next.halted(), None);
}

#[tokio::test(start_paused = true)]
async fn m26_of_two_who_break_the_same_lock_one_succeeds_and_the_other_sees_that_it_moved() {
    let account = Account::new().await;
    let (ada, grace, joe) = (account.process("ada").await, account.process("grace").await, account.process("joe").await);
    let _held = ada.acquire(intent("01ADA")).await.unwrap();
    let seen = grace.lock().await;
    account.lose_reply("TransactWriteItems", 1);
    let results = tokio::join!(grace.break_lock("01ADA", &seen, true), joe.break_lock("01ADA", &seen, true));
    let (winner, loser) = match results {
        (Breaking::Broken, loser) => (&grace, loser),
        (loser, Breaking::Broken) => (&joe, loser),
        other => panic!("{other:?}"),
    };
    let Breaking::Moved(Some(row)) = loser else { panic!("{loser:?}") };
    let broken = row.broken.clone().unwrap();
    assert_eq!((row.state, row.fence, row.open.clone(), row.owner.clone()), (LockState::Free, 2, Some(op("01ADA")), None));
    assert_eq!((broken.who, broken.why.as_str(), broken.answered), (winner.who.who.clone(), "hangs", true));
    let audits = audits(&ada).await;
    assert_eq!(audits.len(), 1, "only what was done is written down");
    assert_eq!((text(&audits[0], "did"), text(&audits[0], "who"), text(&audits[0], "why")), ("break", winner.who.who.as_str(), "hangs"));
    let Value::Map(row) = &audits[0]["row"] else { panic!("the broken row") };
    assert_eq!(lock::parse_lock(row).unwrap(), seen);
}

#[tokio::test(start_paused = true)]
async fn m27_the_holder_of_a_broken_lock_has_stopped_before_the_next_one_changes_anything() {
    for alive in [true, false] {
        let account = Account::new().await;
        let (ada, grace) = (account.process("ada").await, account.process("grace").await);
        let held = ada.acquire(intent("01ADA")).await.unwrap();
        held.commit(vec![note("at work")], vec![], None).await.unwrap();
        ada.clock.sleep(seconds(20)).await;
        ada.line.cut(!alive);
        let seen = grace.lock().await;
        let answered = lock::listen(&grace.db, &grace.clock, &scope(), &|_| ()).await.unwrap().alive == Some(true);
        assert_eq!(answered, alive);
        let broken_at = grace.clock.moment();
        assert_eq!(grace.break_lock("01ADA", &seen, answered).await, Breaking::Broken);
        let next = grace.acquire(Intent { settles: true, ..intent("01GRACE") }).await.unwrap();
        assert_eq!(next.take_over().map(|take_over| take_over.kind), Some(TakeOverKind::Broken { answered }));
        let wait = if alive { 25 } else { 70 };
        assert!(next.must_wait() <= seconds(wait) && next.must_wait() >= seconds(wait - 1), "{:?}", next.must_wait());
        let (old, new) = (held.guard(), next.guard());
        let (mut last_old, mut first_new) = (Duration::ZERO, None);
        while first_new.is_none() {
            let now = grace.clock.passed(broken_at);
            if old().is_ok() {
                last_old = now;
            }
            first_new = new().is_ok().then_some(now);
            grace.clock.sleep(Duration::from_millis(100)).await;
        }
        assert!(last_old <= seconds(if alive { 14 } else { 45 }), "{last_old:?}");
        assert!(first_new.unwrap() >= last_old + lock::constants::CALL, "what was begun last has landed: {last_old:?}, {first_new:?}");
        assert!(first_new.unwrap() >= seconds(wait));
        assert_eq!(alive, matches!(held.lost(), Some(Lost::TakenOver(_))), "the living one knows");
        next.proved(seconds(1)).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn that_a_lock_was_broken_is_remembered_until_nothing_of_its_holder_can_be_under_way() {
    let account = Account::new().await;
    let (ada, grace) = (account.process("ada").await, account.process("grace").await);
    let _held = ada.acquire(intent("01ADA")).await.unwrap();
    assert_eq!(grace.break_lock("01ADA", &grace.lock().await, true).await, Breaking::Broken);
    // Closed at once: the next one waits all the same, though nothing is unfinished.
    let closing = grace.acquire(Intent { settles: true, ..intent("01GRACE") }).await.unwrap();
    closing.settle(vec![], journal::ended(Outcome::Refused, None, "2026-11-22T10:01:00Z")).await.unwrap();
    closing.release(ended(Outcome::Refused)).await.unwrap();
    assert!(grace.lock().await.broken.is_some());
    let next = grace.acquire(intent("01NEXT")).await.unwrap();
    assert!(next.take_over().is_none() && next.guard()().unwrap_err().contains("its holder may not know yet"));
    next.proved(seconds(30)).await.unwrap();
    assert_eq!(next.guard()(), Ok(()));
    next.release(ended(Outcome::Deployed)).await.unwrap();
    assert_eq!(grace.lock().await.broken, None);
    let after = grace.acquire(intent("01AFTER")).await.unwrap();
    assert_eq!((after.must_wait(), after.guard()()), (Duration::ZERO, Ok(())));
}

#[tokio::test(start_paused = true)]
async fn m28_a_lock_that_was_passed_on_meanwhile_is_not_broken() {
    let account = Account::new().await;
    let (ada, grace) = (account.process("ada").await, account.process("grace").await);
    let held = ada.acquire(intent("01ADA")).await.unwrap();
    let seen = grace.lock().await;
    held.release(ended(Outcome::Deployed)).await.unwrap();
    assert!(matches!(grace.break_lock("01ADA", &seen, false).await, Breaking::Moved(Some(row)) if row.state == LockState::Free));
    let held = ada.acquire(intent("01ADB")).await.unwrap();
    assert!(matches!(grace.break_lock("01ADA", &seen, false).await, Breaking::Moved(Some(row)) if row.operation == Some(op("01ADB"))));
    // Nor by the right operation and a fence of yesterday, nor by the right fence and another operation.
    assert!(matches!(grace.break_lock("01ADB", &seen, false).await, Breaking::Moved(Some(_))));
    assert!(matches!(grace.break_lock("01ADA", &grace.lock().await, false).await, Breaking::Moved(Some(_))));
    held.commit(vec![note("mine")], vec![], None).await.unwrap();
    assert!(audits(&ada).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn after_a_take_over_that_its_holder_may_not_know_of_somebody_looks_again() {
    let account = Account::new().await;
    let (ada, grace, joe) = (account.process("ada").await, account.process("grace").await, account.process("joe").await);
    let none = std::collections::BTreeMap::new();
    let held = ada.acquire(intent("01ADA")).await.unwrap();
    let mut release = ended(Outcome::Deployed);
    release.writes.push(journal::serve(&scope(), &none, &none, held.fence()));
    held.release(release).await.unwrap();
    let later = async || journal::read(&ada.db, &scope()).await.unwrap().head.unwrap().check_after;
    ada.acquire(intent("01ADB")).await.unwrap().release(Release::default()).await.unwrap();
    let handed_over = ada.acquire(Intent { settles: true, ..intent("01ADC") }).await.unwrap();
    assert!(later().await.is_empty(), "handed over: its holder knows");
    drop(handed_over);
    let lapsed = grace.acquire_within(120, Intent { settles: true, ..intent("01GRACE") }).await.unwrap();
    assert_eq!(lapsed.take_over().map(|take_over| take_over.kind), Some(TakeOverKind::Lapsed));
    assert_eq!(lapsed.must_wait(), Duration::ZERO, "the lapse was the wait");
    let now = grace.db.now().as_second().cast_unsigned();
    assert_eq!(later().await.iter().map(|time| time - now).collect::<Vec<_>>(), [330, 930]);
    let left = [later().await[1]];
    lapsed.commit(vec![note("looked")], vec![journal::checked(&scope(), &left, lapsed.fence())], None).await.unwrap();
    assert_eq!(later().await, left);
    assert_eq!(joe.break_lock("01ADB", &joe.lock().await, false).await, Breaking::Broken);
    let _broken = joe.acquire(Intent { settles: true, ..intent("01JOE") }).await.unwrap();
    assert_eq!(later().await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn m31_a_freeze_is_one_persons_until_it_is_lifted_and_both_are_written_down() {
    let account = Account::new().await;
    let (ada, grace) = (account.process("ada").await, account.process("grace").await);
    let freeze = |who: &str, until: Option<String>| FreezeRecord { who: who.into(), reason: "fair".into(), made: "now".into(), until };
    let put = async |process: &Process, record: &FreezeRecord| {
        lock::freeze(&process.db, &process.clock, &scope(), &process.who, record, None).await.unwrap()
    };
    let held = ada.acquire(intent("01ADA")).await.unwrap();
    account.lose_reply("TransactWriteItems", 1);
    assert_eq!(put(&grace, &freeze("grace", None)).await, Freezing::Frozen, "though the reply was lost");
    held.commit(vec![note("goes on")], vec![], None).await.unwrap();
    held.release(ended(Outcome::Deployed)).await.unwrap();
    assert_eq!(ada.acquire(intent("01ADB")).await.map(|_| ()), Err(Blocked::Frozen(freeze("grace", None))));
    assert_eq!(put(&ada, &freeze("ada", None)).await, Freezing::Already(freeze("grace", None)), "not quietly replaced");
    let lift = async || lock::unfreeze(&ada.db, &ada.clock, &scope(), &ada.who).await.unwrap();
    assert_eq!((lift().await, lift().await), (Some(freeze("grace", None)), None));
    assert_eq!(lock::read(&ada.db, &scope()).await.unwrap().freeze, None);
    ada.acquire(intent("01ADC")).await.unwrap().release(ended(Outcome::Deployed)).await.unwrap();
    // One that is over by itself does not stand in the way of a new one.
    let soon = Some((ada.db.now() + jiff::SignedDuration::from_secs(60)).to_string());
    assert_eq!(put(&ada, &freeze("ada", soon)).await, Freezing::Frozen);
    ada.clock.sleep(seconds(120)).await;
    lock::read(&ada.db, &scope()).await.unwrap();
    assert_eq!(put(&ada, &freeze("ada", None)).await, Freezing::Frozen);
    let did = audits(&ada).await;
    let did: Vec<_> = did.iter().map(|row| (text(row, "did"), text(row, "who"))).collect();
    let expected = [("freeze", "grace"), ("unfreeze", "ada"), ("freeze", "ada"), ("freeze", "ada")];
    assert_eq!(did, expected);
}

#[tokio::test(start_paused = true)]
async fn m38_a_repair_counts_above_every_fence_that_was_ever_seen_and_keeps_what_is_unfinished() {
    let account = Account::new().await;
    let (ada, grace) = (account.process("ada").await, account.process("grace").await);
    for id in ["01A", "01B"] {
        ada.acquire(intent(id)).await.unwrap().release(ended(Outcome::Deployed)).await.unwrap();
    }
    let old = ada.db.get(&scope().table, &Key::new(scope().pk, sk::LOCK)).await.unwrap().unwrap();
    let held = ada.acquire(intent("01C")).await.unwrap();
    assert!(matches!(grace.repair().await, Err(Blocked::Held(lock, _)) if lock.who == "ada"), "somebody is at work");
    // The table is restored to before: the operation's row is newer than the lock.
    grace.put(old).await;
    ada.clock.sleep(seconds(14)).await;
    assert!(matches!(held.lost(), Some(Lost::TakenOver(_))), "its holder stops");
    let repaired = grace.repair().await.unwrap();
    assert_eq!(repaired.before.map(|lock| (lock.fence, lock.open)), Some((2, None)));
    assert_eq!((repaired.now.fence, repaired.now.open.clone()), (4, Some(op("01C"))), "above 3, which only the operation knew");
    assert_eq!(grace.lock().await, repaired.now);
    assert_eq!(grace.acquire(intent("01D")).await.map(|_| ()), Err(Blocked::Unfinished(op("01C"))));
    let settling = grace.acquire(Intent { settles: true, ..intent("01D") }).await.unwrap();
    assert_eq!((settling.fence(), settling.must_wait() > seconds(60)), (5, true), "its old holder may still be at work");
    settling.settle(vec![], journal::ended(Outcome::Stranded, None, "2026-11-22T10:01:00Z")).await.unwrap();
    settling.release(ended(Outcome::Deployed)).await.unwrap();
    // A deleted row, and one that nobody can read.
    for broken in [None, Some(("st", Value::from("maybe"))), Some(("fence", Value::from("7")))] {
        let row = match broken {
            None => Write::delete(Key::new(scope().pk, sk::LOCK)),
            Some((name, value)) => Write::set(Key::new(scope().pk, sk::LOCK), [(name.to_string(), value)].into()),
        };
        grace.db.write(&scope().table, &row).await.unwrap();
        let repaired = grace.repair().await.unwrap();
        assert_eq!((repaired.before, repaired.now.fence >= 6, repaired.now.open), (None, true, None));
    }
    let next = grace.acquire(intent("01E")).await.unwrap();
    assert!(next.fence() >= 7);
    assert_eq!(audits(&grace).await.iter().filter(|row| text(row, "did") == "repair").count(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_repair_does_not_overwrite_what_came_meanwhile() {
    let account = Account::new().await;
    let (ada, grace) = (account.process("ada").await, account.process("grace").await);
    ada.acquire(intent("01A")).await.unwrap().release(ended(Outcome::Deployed)).await.unwrap();
    grace.line.hold(Some("TransactWriteItems"));
    let repairing = tokio::spawn(async move { (grace.repair().await.is_err(), grace) });
    ada.clock.sleep(seconds(10)).await;
    let held = ada.acquire(intent("01B")).await.unwrap();
    let (failed, grace) = repairing.await.unwrap();
    assert!(failed && grace.line.deliver_held().await > 0);
    held.commit(vec![note("still mine")], vec![], None).await.unwrap();
}
