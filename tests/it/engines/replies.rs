//! Lost and repeated requests, one at a time: a lost reply is recognised as our own doing, and what arrives twice is done once.

use adstage::aws::dynamodb::{Item, Query};
use adstage::journal;
use adstage::lock::{self, Held, Intent, Release};
use adstage::model::{LockRecord, OperationId, Outcome, sk};
use std::time::Duration;

use super::proxy::Fault;
use super::{ALL, Ground, everything, on};
use crate::lease::{Process, ended, intent, note, scope};

/// Every row there is.
async fn rows(process: &Process) -> Vec<Item> {
    process.db.query(&scope().table, &everything(&scope().pk)).await.unwrap()
}

async fn lock_row(process: &Process) -> LockRecord {
    lock::read(&process.db, &scope()).await.unwrap().lock.unwrap()
}

/// A heartbeat becomes due at once, because the machine slept; waits until it is in the row.
async fn beat(process: &Process, held: &Held) {
    let before = lock_row(process).await.beat;
    process.clock.sleep_machine(Duration::from_secs(15));
    for _ in 0..100 {
        process.clock.sleep(Duration::from_millis(100)).await;
        if lock_row(process).await.beat > before && held.guard()().is_ok() {
            return;
        }
    }
    panic!("no heartbeat for ten seconds: {:?}", held.lost());
}

async fn sequence(process: &Process, id: &str) -> Vec<u64> {
    let (_, events) = journal::operation(&process.db, &scope(), &OperationId(id.into())).await.unwrap().unwrap();
    assert!(journal::fold(&events).is_ok());
    events.iter().map(|event| event.seq).collect()
}

/// A whole life: acquire, journal, heartbeat, release unfinished; another one takes over, settles, works, releases.
async fn two_lives(ground: &Ground, name: &str) {
    let (ada, grace) = (ground.process(&format!("{name}-ada")).await, ground.process(&format!("{name}-grace")).await);
    let (first, second) = (format!("01{name}A"), format!("01{name}B"));
    let before = lock::read(&ada.db, &scope()).await.unwrap().lock.map_or(0, |lock| lock.fence);
    let held = ada.acquire(intent(&first)).await.unwrap();
    assert_eq!(held.fence(), before + 1);
    held.commit(vec![note("one")], vec![], Some("launch")).await.unwrap();
    beat(&ada, &held).await;
    held.commit(vec![note("two"), note("three")], vec![], None).await.unwrap();
    held.release(Release::default()).await.unwrap();
    let held = grace.acquire(Intent { settles: true, ..intent(&second) }).await.unwrap();
    assert_eq!((held.fence(), held.unfinished()), (before + 2, Some(OperationId(first.clone()))));
    let refused = ended(Outcome::Refused);
    held.settle(refused.events, refused.ended.unwrap()).await.unwrap();
    held.commit(vec![note("four")], vec![], None).await.unwrap();
    held.release(ended(Outcome::Deployed)).await.unwrap();
    let calm = ground.process("reader").await;
    assert_eq!(sequence(&calm, &first).await, [0, 1, 2, 3, 4, 5], "{name}");
    assert_eq!(sequence(&calm, &second).await, [0, 1, 2], "{name}");
    let lock = lock_row(&calm).await;
    assert_eq!((lock.fence, lock.open), (before + 2, None), "{name}");
}

#[test]
fn m03_m32_replies_lost_by_every_kind_of_write_are_recognised_as_ours() {
    on(&ALL, async |ground| {
        for forgotten in [false, true] {
            ground.line.forget_tokens(forgotten);
            let ada = ground.process(&format!("ada-{forgotten}")).await;
            let (id, fence) = (format!("01ADA{forgotten}"), u64::from(forgotten) + 1);
            let lose = |action| ground.line.next(action, Fault::LoseReply);
            lose("TransactWriteItems");
            let held = ada.acquire(intent(&id)).await.unwrap();
            assert_eq!(held.fence(), fence, "row 3");
            lose("TransactWriteItems");
            held.commit(vec![note("one")], vec![], Some("launch")).await.unwrap();
            // Twice in a row is bad luck, not a verdict.
            lose("TransactWriteItems");
            lose("TransactWriteItems");
            held.commit(vec![note("two"), note("three")], vec![], None).await.unwrap();
            assert_eq!((held.lost(), held.guard()()), (None, Ok(())));
            lose("TransactWriteItems");
            held.release(ended(Outcome::Deployed)).await.unwrap();
            assert_eq!(sequence(&ada, &id).await, [0, 1, 2, 3, 4], "no twin, no gap; tokens forgotten: {forgotten}");
        }
        assert_eq!(ground.line.done()[&Fault::LoseReply], 10);
    });
}

#[test]
fn m06_a_beat_whose_reply_is_lost_keeps_the_lock_on_every_engine() {
    on(&ALL, async |ground| {
        let ada = ground.process("ada").await;
        let held = ada.acquire(intent("01ADA")).await.unwrap();
        for lost in 1..=3 {
            ground.line.next("UpdateItem", Fault::LoseReply);
            beat(&ada, &held).await;
            assert_eq!((held.lost(), held.guard()()), (None, Ok(())));
            assert_eq!((ground.line.done()[&Fault::LoseReply], lock_row(&ada).await.beat), (lost, lost));
        }
        held.release(ended(Outcome::Deployed)).await.unwrap();
    });
}

#[test]
fn m07_m08_what_is_delivered_again_later_changes_nothing() {
    on(&ALL, async |ground| {
        let (ada, grace) = (ground.process("ada").await, ground.process("grace").await);
        ground.line.keep();
        let held = ada.acquire(intent("01ADA")).await.unwrap();
        beat(&ada, &held).await;
        beat(&ada, &held).await;
        let before = rows(&ada).await;
        let answers = ground.line.deliver_again(Some("UpdateItem")).await;
        assert!(answers.len() == 2 && answers.iter().all(|status| status.as_u16() == 400), "{answers:?}");
        assert_eq!(rows(&ada).await, before, "row 7: older than the newest beat, or the same");
        held.commit(vec![note("one")], vec![], Some("launch")).await.unwrap();
        held.release(ended(Outcome::Deployed)).await.unwrap();
        for (forgotten, status) in [(false, 200), (true, 400)] {
            ground.line.forget_tokens(forgotten);
            let before = rows(&ada).await;
            let answers = ground.line.deliver_again(Some("TransactWriteItems")).await;
            assert_eq!(answers.iter().map(|status| status.as_u16()).collect::<Vec<_>>(), [status; 3], "tokens forgotten: {forgotten}");
            ground.line.deliver_again(None).await;
            assert_eq!(rows(&ada).await, before, "row 8: after the release");
        }
        let next = grace.acquire(intent("01GRACE")).await.unwrap();
        let before = rows(&ada).await;
        ground.line.deliver_again(None).await;
        let late = rows(&ada).await;
        ground.line.forget_tokens(false);
        ground.line.deliver_again(None).await;
        // Only the newcomer's own acquire is among what was kept, and it is its own.
        assert_eq!((late, rows(&ada).await), (before.clone(), before), "row 8: after somebody else took it");
        next.release(ended(Outcome::Deployed)).await.unwrap();
        assert_eq!(lock_row(&ada).await.fence, 2);
    });
}

#[test]
fn what_arrives_twice_is_done_once_whichever_answer_is_heard() {
    on(&ALL, async |ground| {
        for (name, fault, forgotten) in [
            ("TWICE", Fault::Twice, false),
            ("SECOND", Fault::TwiceAndAnswerTheSecond, false),
            // Nothing but the rows themselves can tell that it was us.
            ("FORGOT", Fault::TwiceAndAnswerTheSecond, true),
        ] {
            ground.line.always(Some(fault));
            ground.line.forget_tokens(forgotten);
            two_lives(ground, name).await;
        }
        let operations = ground.process("reader").await.db;
        let rows = operations.query(&scope().table, &Query::prefix(&scope().pk, sk::OPERATIONS).having("kind")).await.unwrap();
        assert_eq!(rows.len(), 6);
    });
}
