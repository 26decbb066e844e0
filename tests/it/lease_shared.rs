//! What several environments share and only one may change at a time: taken with the lock in one transaction, lost with it at once.

use std::time::Duration;

use adstage::aws::dynamodb::{Item, Key, Query, Value, Write};
use adstage::journal;
use adstage::lock::{self, Blocked, Blocker, Held, Intent, Release, TakeOverKind, Wait};
use adstage::model::{LockRecord, LockState, OperationId, Outcome, Resource, Scope, sk};
use adstage::sandbox::{Misfortune, When};

use crate::lease::{Account, Process, ended, intent, note, seconds};

fn environment(name: &str) -> Scope {
    Scope::environment("adstage", &"shop".parse().unwrap(), &name.parse().unwrap())
}

fn things(names: &str) -> Vec<Resource> {
    names.split_whitespace().map(|name| Resource(name.into())).collect()
}

impl Process {
    async fn take(&self, place: &str, id: &str, wanted: &str, timeout: u64) -> Result<Held, Blocked> {
        let intent = Intent { settles: true, secondaries: things(wanted), ..intent(id) };
        let wait = Wait { timeout: seconds(timeout), tell: &|_, _| () };
        lock::acquire_within(&self.db, &self.clock, environment(place), self.who.clone(), intent, wait).await
    }

    async fn lock_of(&self, place: &str) -> LockRecord {
        lock::read(&self.db, &environment(place)).await.unwrap().lock.unwrap()
    }

    /// Who has what: `listener: staging 01ADA`.
    async fn shared(&self) -> Vec<String> {
        let rows = lock::read_shared(&self.db, &environment("staging")).await.unwrap();
        let line = |row: &lock::Shared| match &row.holder {
            None => format!("{}: free", row.resource),
            Some(holding) => format!("{}: {} {} at {}", row.resource, holding.lease_pk, holding.operation, holding.fence),
        };
        rows.iter().map(line).collect()
    }
}

fn blockers(blocked: Result<Held, Blocked>) -> Vec<(Option<String>, String, String)> {
    let Err(Blocked::Shared(blockers)) = blocked else { panic!("{blocked:?}") };
    let named = |blocker: &Blocker| {
        (blocker.resource.as_ref().map(ToString::to_string), blocker.scope.name().to_string(), blocker.lock.who.clone())
    };
    blockers.iter().map(named).collect()
}

#[tokio::test(start_paused = true)]
async fn environments_with_one_listener_wait_for_each_other_and_are_told_for_whom() {
    let account = Account::new().await;
    let (ada, grace) = (account.process("ada").await, account.process("grace").await);
    let held = ada.take("staging", "01ADA", "listener", 0).await.unwrap();
    assert_eq!(ada.shared().await, ["listener: shop#staging 01ADA at 1"]);
    let blocked = grace.take("production", "01GRACE", "listener", 0).await;
    assert_eq!(blockers(blocked), [(Some("listener".into()), "staging".into(), "ada".into())]);
    assert!(lock::read(&grace.db, &environment("production")).await.unwrap().lock.is_none(), "all or nothing");
    let free = grace.take("production", "01OTHER", "other", 0).await.unwrap();
    free.release(ended(Outcome::Deployed)).await.unwrap();
    // Everybody in the way is named, the own lock's holder first.
    let _other = account.process("joe").await.take("joes", "01JOE", "other", 0).await.unwrap();
    let blocked = grace.take("staging", "01GRACE", "listener other", 0).await;
    let expected = [(None, "staging", "ada"), (Some("other".to_string()), "joes", "joe")];
    assert_eq!(blockers(blocked), expected.map(|(thing, place, who)| (thing, place.into(), who.into())));
    let waiting = tokio::spawn(async move { grace.take("production", "01GRACF", "listener", 300).await });
    ada.clock.sleep(seconds(100)).await;
    assert!(!waiting.is_finished(), "it beats, so it is waited for");
    held.release(ended(Outcome::Deployed)).await.unwrap();
    waiting.await.unwrap().unwrap();
    assert_eq!(ada.shared().await[0], "listener: shop#production 01GRACF at 2");
}

#[tokio::test(start_paused = true)]
async fn a_zombie_loses_all_its_locks_at_once() {
    let account = Account::new().await;
    let (ada, grace) = (account.process("ada").await, account.process("grace").await);
    let held = ada.take("staging", "01ADA", "listener image", 0).await.unwrap();
    ada.line.cut(true);
    assert!(grace.take("production", "01GRACE", "listener", 69).await.is_err());
    let began = grace.clock.moment();
    let next = grace.take("production", "01GRACF", "listener", 120).await.unwrap();
    assert!((70..78).contains(&grace.clock.passed(began).as_secs()), "watched anew: {:?}", grace.clock.passed(began));
    assert_eq!((next.fence(), next.take_over(), next.guard()()), (1, None, Ok(())));
    // Its lease is over too, with what it had not finished, and that is written down.
    let lock = grace.lock_of("staging").await;
    assert_eq!((lock.state, lock.fence, lock.open.clone()), (LockState::Free, 2, Some(OperationId("01ADA".into()))));
    let broken = lock.broken.unwrap();
    assert!(broken.why.contains("no renewal for 7") && !broken.answered, "{}", broken.why);
    let audits = grace.db.query("adstage", &Query::prefix("shop#staging", sk::AUDITS)).await.unwrap();
    assert_eq!(audits.iter().map(|row| &row["did"]).collect::<Vec<_>>(), [&Value::from("lapse")]);
    ada.line.cut(false);
    let lost = held.commit(vec![note("back")], vec![], None).await.unwrap_err();
    assert!(lost.is_final());
    // Whoever comes next in staging needs the listener for what it left.
    let blocked = ada.take("staging", "01ADB", "image", 0).await;
    assert_eq!(blockers(blocked), [(Some("listener".into()), "production".into(), "grace".into())]);
    next.release(ended(Outcome::Deployed)).await.unwrap();
    let settling = ada.take("staging", "01ADB", "image", 0).await.unwrap();
    assert_eq!(settling.take_over().map(|take_over| take_over.kind), Some(TakeOverKind::Broken { answered: false }));
    assert_eq!(ada.shared().await, ["image: shop#staging 01ADA at 3", "listener: shop#staging 01ADA at 3"]);
}

#[tokio::test(start_paused = true)]
async fn what_was_taken_over_and_settled_takes_what_is_shared_along() {
    let account = Account::new().await;
    let (ada, grace) = (account.process("ada").await, account.process("grace").await);
    drop(ada.take("staging", "01ADA", "listener", 0).await.unwrap());
    let held = grace.take("staging", "01GRACE", "listener image", 120).await.unwrap();
    assert_eq!(ada.shared().await, ["image: shop#staging 01ADA at 2", "listener: shop#staging 01ADA at 2"]);
    held.settle(vec![], journal::ended(Outcome::Refused, None, "2026-11-22T10:01:00Z")).await.unwrap();
    assert_eq!(ada.shared().await, ["image: shop#staging 01GRACE at 2", "listener: shop#staging 01GRACE at 2"]);
    assert_eq!(ada.lock_of("staging").await.shared, things("listener image"));
    held.release(ended(Outcome::Deployed)).await.unwrap();
    assert_eq!(ada.shared().await, ["image: free", "listener: free"]);
    assert_eq!(ada.lock_of("staging").await.shared, []);
}

#[tokio::test(start_paused = true)]
async fn what_belongs_to_a_lease_that_is_over_is_free_whatever_its_row_says() {
    let account = Account::new().await;
    let (ada, grace) = (account.process("ada").await, account.process("grace").await);
    let held = ada.take("staging", "01ADA", "listener", 0).await.unwrap();
    let seen = ada.lock_of("staging").await;
    let operation = OperationId("01ADA".into());
    lock::break_lock(&grace.db, &grace.clock, &environment("staging"), &operation, &seen, true, &grace.who, "hangs").await.unwrap();
    assert_eq!(ada.shared().await, ["listener: shop#staging 01ADA at 1"], "its row is as it was");
    let next = grace.take("production", "01GRACE", "listener", 0).await.unwrap();
    held.halted_or_lost().await;
    assert!(held.release(ended(Outcome::Deployed)).await.is_err());
    assert_eq!(ada.shared().await, ["listener: shop#production 01GRACE at 1"]);
    // Until then, a call of ada's may still arrive.
    grace.clock.sleep(next.must_wait()).await;
    next.release(ended(Outcome::Deployed)).await.unwrap();
    // Handed over with something unfinished: free as well.
    let held = grace.take("production", "01HALF", "listener", 0).await.unwrap();
    held.release(Release::default()).await.unwrap();
    assert_eq!(ada.shared().await, ["listener: free"]);
}

#[tokio::test(start_paused = true)]
async fn m05_what_is_taken_from_a_lease_that_came_back_to_life_is_not_taken() {
    let account = Account::new().await;
    let (ada, grace) = (account.process("ada").await, account.process("grace").await);
    let held = ada.take("staging", "01ADA", "listener", 0).await.unwrap();
    ada.line.cut(true);
    grace.line.hold(Some("TransactWriteItems"));
    // Nor can it be made harmless when it is given up.
    for n in 1..=3 {
        account.sandbox.faults().schedule(When::Action("PutItem".into(), n), Misfortune::Throttle);
    }
    assert!(grace.take("production", "01GRACE", "listener", 300).await.is_err());
    ada.line.cut(false);
    held.proved(seconds(30)).await.unwrap();
    assert!(grace.line.deliver_held().await > 0);
    held.commit(vec![note("still mine")], vec![], None).await.unwrap();
    assert_eq!(ada.shared().await, ["listener: shop#staging 01ADA at 1"]);
}

#[tokio::test(start_paused = true)]
async fn a_row_that_somebody_edited_does_not_keep_the_lock_from_being_given_back() {
    let account = Account::new().await;
    let ada = account.process("ada").await;
    let held = ada.take("staging", "01ADA", "image listener", 0).await.unwrap();
    let edit: Item = [("op_fence".to_string(), Value::from(9u64))].into();
    ada.db.write("adstage", &Write::set(Key::new("shop#shared", "LOCK#image"), edit)).await.unwrap();
    held.release(ended(Outcome::Deployed)).await.unwrap();
    assert_eq!(ada.lock_of("staging").await.state, LockState::Free);
    assert_eq!(ada.shared().await, ["image: shop#staging 01ADA at 9", "listener: free"]);
    ada.take("staging", "01ADB", "image listener", 0).await.unwrap();
}

/// Three environments, each of which shares something with both others.
const PLACES: [(&str, &str); 3] = [("red", "x y"), ("green", "y z"), ("blue", "z x")];

#[tokio::test(start_paused = true)]
async fn m02_of_forty_in_three_environments_that_overlap_one_wins_and_all_others_name_it() {
    let account = Account::new().await;
    let mut tries = tokio::task::JoinSet::new();
    for number in 0..40 {
        let (process, (place, wanted)) = (account.process(&format!("p{number}")).await, PLACES[number % 3]);
        tries.spawn(async move { (process.who.who.clone(), process.take(place, &format!("01OP{number:02}"), wanted, 0).await) });
    }
    let results = tries.join_all().await;
    let winners: Vec<_> = results.iter().filter(|(_, result)| result.is_ok()).map(|(who, _)| who.clone()).collect();
    assert_eq!(winners.len(), 1);
    for (_, result) in results {
        match result {
            Ok(_) => {}
            Err(Blocked::Held(lock, _)) => assert_eq!(lock.who, winners[0]),
            Err(Blocked::Shared(blockers)) => assert!(blockers.iter().all(|blocker| blocker.lock.who == winners[0])),
            Err(other) => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn m02_all_who_wait_get_their_turn_and_never_two_at_once() {
    let account = Account::new().await;
    let (mut tries, busy) = (tokio::task::JoinSet::new(), std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0)));
    for number in 0..15 {
        let (process, (place, wanted)) = (account.process(&format!("p{number}")).await, PLACES[number % 3]);
        let busy = busy.clone();
        tries.spawn(async move {
            let held = process.take(place, &format!("01OP{number:02}"), wanted, 1_200).await.unwrap();
            assert_eq!(busy.fetch_add(1, std::sync::atomic::Ordering::SeqCst), 0);
            process.clock.sleep(Duration::from_secs(3)).await;
            busy.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
            held.release(ended(Outcome::Deployed)).await.unwrap();
        });
    }
    tries.join_all().await;
    let reader = account.process("reader").await;
    assert_eq!(reader.shared().await, ["x: free", "y: free", "z: free"]);
}
