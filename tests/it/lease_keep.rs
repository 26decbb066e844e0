//! Keeping the lock: beats, journal writes and the release while replies get lost, packets are late, machines sleep and DynamoDB is away,
//! in virtual time.

use std::time::Duration;

use adstage::aws::ErrorKind;
use adstage::aws::dynamodb::{Key, Value, Write};
use adstage::clock::Clock;
use adstage::journal;
use adstage::lock::{self, Blocked, Intent, Lost, Release, Wait};
use adstage::model::{Head, LockRecord, LockState, OperationId, Outcome, sk};
use adstage::sandbox::{Misfortune, When};

use crate::lease::{Account, ended, intent, note, scope, seconds};

#[tokio::test(start_paused = true)]
async fn the_heartbeat_keeps_the_lock_for_as_long_as_it_takes() {
    let account = Account::new().await;
    let (ada, grace) = (account.process("ada").await, account.process("grace").await);
    let held = ada.acquire(intent("01ADA")).await.unwrap();
    let told = std::sync::Mutex::new(Vec::new());
    let tell = |lock: &LockRecord, _: Duration| told.lock().unwrap().push(lock.who.clone());
    let wait = Wait { timeout: seconds(600), tell: &tell };
    let blocked = lock::acquire_within(&grace.db, &grace.clock, scope(), grace.who.clone(), intent("01GRACE"), wait).await;
    assert!(matches!(blocked, Err(Blocked::Held(lock, quiet)) if lock.who == "ada" && quiet < seconds(20)));
    assert_eq!(*told.lock().unwrap(), ["ada"], "told once, and again only on change or long silence");
    assert!(held.guard()().is_ok() && held.lost().is_none());
    let (lock, _) = account.rows().await;
    assert!((55..=67).contains(&lock.beat), "{} beats in ten minutes", lock.beat);
}

#[tokio::test(start_paused = true)]
async fn a_zombie_is_stopped_by_its_own_guard_first_and_by_the_fence_after() {
    let account = Account::new().await;
    let (ada, grace) = (account.process("ada").await, account.process("grace").await);
    let held = ada.acquire(intent("01ADA")).await.unwrap();
    let (guard, started) = (held.guard(), ada.clock.moment());
    ada.line.cut(true);
    let successor = tokio::spawn(async move {
        let held = grace.acquire_within(300, Intent { settles: true, ..intent("01GRACE") }).await.unwrap();
        (held, grace.clock.moment())
    });
    while guard().is_ok() {
        ada.clock.sleep(Duration::from_millis(100)).await;
    }
    assert!((35..=46).contains(&ada.clock.passed(started).as_secs()), "{:?}", ada.clock.passed(started));
    let (successor, taken_at) = successor.await.unwrap();
    assert!(ada.clock.passed(started) - ada.clock.passed(taken_at) >= seconds(60));
    assert_eq!(held.lost(), None, "cut off, it does not know yet");
    ada.line.cut(false);
    let lost = held.commit(vec![note("I am back")], vec![], None).await.unwrap_err();
    assert!(matches!(&lost, Lost::TakenOver(lock) if lock.who == "grace" && lost.is_final()));
    assert!(guard().unwrap_err().contains("grace on grace-laptop has it now"));
    assert!(held.release(ended(Outcome::Deployed)).await.is_err());
    assert_eq!(successor.fence(), 2);
    let (lock, events) = account.rows().await;
    assert_eq!((lock.who.as_str(), lock.fence), ("grace", 2));
    assert!(journal::fold(&events).is_ok() && events.len() == 2);
}

#[tokio::test(start_paused = true)]
async fn m09_a_short_outage_is_sat_out() {
    let account = Account::new().await;
    let ada = account.process("ada").await;
    let held = ada.acquire(intent("01ADA")).await.unwrap();
    ada.line.cut(true);
    ada.clock.sleep(seconds(58)).await;
    assert!(held.guard()().is_err());
    ada.line.cut(false);
    held.proved(seconds(30)).await.unwrap();
    held.commit(vec![note("back")], vec![], None).await.unwrap();
    assert!(held.guard()().is_ok());
}

#[tokio::test(start_paused = true)]
async fn m10_an_outage_without_end_leaves_the_operation_open() {
    let account = Account::new().await;
    let (ada, started) = (account.process("ada").await, Clock::for_tests());
    let held = ada.acquire(intent("01ADA")).await.unwrap();
    let began = started.moment();
    ada.line.cut(true);
    let lost = held.commit(vec![note("anybody?")], vec![], None).await.unwrap_err();
    assert!(matches!(&lost, Lost::Aws(error) if error.kind == ErrorKind::Network), "{lost:?}");
    assert_eq!(started.passed(began).as_secs(), 600);
    assert!(held.guard()().is_err());
    assert_eq!(account.rows().await.0.open, Some(OperationId("01ADA".into())));
}

#[tokio::test(start_paused = true)]
async fn m32_a_lost_release_is_found_in_the_journal_even_when_somebody_else_has_the_lock_by_then() {
    let account = Account::new().await;
    let (ada, grace) = (account.process("ada").await, account.process("grace").await);
    let held = ada.acquire(intent("01ADA")).await.unwrap();
    let guard = held.guard();
    assert!(guard().is_ok());
    ada.line.lose_next_reply_and_cut();
    let releasing = tokio::spawn(async move { held.release(ended(Outcome::Deployed)).await });
    let next = grace.acquire_within(60, intent("01GRACE")).await.unwrap();
    assert!(guard().is_err() && next.guard()().is_ok(), "what is being given back changes nothing any more");
    ada.line.forget_tokens(true);
    ada.line.cut(false);
    assert_eq!(releasing.await.unwrap(), Ok(()));
    assert_eq!(next.fence(), 2);
}

#[tokio::test(start_paused = true)]
async fn m15_a_machine_that_slept_beats_first_and_goes_on_if_nobody_came() {
    let account = Account::new().await;
    let ada = account.process("ada").await;
    let held = ada.acquire(intent("01ADA")).await.unwrap();
    ada.clock.sleep(seconds(3)).await;
    ada.clock.sleep_machine(seconds(720));
    assert!(held.guard()().unwrap_err().contains("last renewed 72"), "before anything else, the guard says no");
    let before = account.sandbox.faults().calls().len();
    held.commit(vec![note("slept 12 min, still ours")], vec![], None).await.unwrap();
    let calls = account.sandbox.faults().calls();
    assert_eq!(calls[before].action, "UpdateItem", "the first act is a beat");
    assert!(held.guard()().is_ok());
}

#[tokio::test(start_paused = true)]
async fn m15_a_machine_that_slept_too_long_stops_and_names_the_new_holder() {
    let account = Account::new().await;
    let (ada, grace) = (account.process("ada").await, account.process("grace").await);
    let held = ada.acquire(intent("01ADA")).await.unwrap();
    // For everybody else, eight hours pass without a word from ada.
    ada.line.cut(true);
    let successor = grace.acquire_within(300, Intent { settles: true, ..intent("01GRACE") }).await.unwrap();
    ada.clock.sleep_machine(seconds(28_800));
    ada.line.cut(false);
    held.halted_or_lost().await;
    assert!(matches!(held.lost(), Some(Lost::TakenOver(lock)) if lock.who == "grace"));
    drop(successor);
}

#[tokio::test(start_paused = true)]
async fn m17_wall_clocks_that_people_set_change_nothing() {
    let account = Account::new().await;
    let (ada, grace) = (account.process("ada").await, account.process("grace").await);
    let held = ada.acquire(intent("01ADA")).await.unwrap();
    // The waiter's jumps while it waits: an hour on is not an hour of silence, an hour back no reason to wait longer.
    let wall = grace.clock.clone();
    let stepping = async {
        for step in [3_600_000, -7_200_000, 3_600_000] {
            wall.sleep(seconds(8)).await;
            wall.step_wall(step);
        }
    };
    let (blocked, ()) = tokio::join!(grace.acquire_within(30, intent("01GRACE")), stepping);
    assert!(matches!(blocked, Err(Blocked::Held(_, quiet)) if quiet < seconds(15)), "{blocked:?}");
    // The holder's.
    ada.clock.step_wall(3_600_000);
    assert!(held.guard()().is_err(), "a forward step costs a beat");
    held.proved(seconds(5)).await.unwrap();
    ada.clock.step_wall(-7_200_000);
    ada.clock.sleep(seconds(30)).await;
    assert!(held.guard()().is_ok());
    ada.line.cut(true);
    ada.clock.sleep(seconds(20)).await;
    ada.clock.step_wall(-3_600_000);
    ada.clock.sleep(seconds(30)).await;
    assert!(held.guard()().is_err(), "a step back does not make the lease younger");
}

#[tokio::test(start_paused = true)]
async fn nobody_can_release_what_somebody_else_holds() {
    let account = Account::new().await;
    let (ada, grace) = (account.process("ada").await, account.process("grace").await);
    let held = ada.acquire(intent("01ADA")).await.unwrap();
    ada.line.cut(true);
    let successor = grace.acquire_within(300, Intent { settles: true, ..intent("01GRACE") }).await.unwrap();
    ada.line.cut(false);
    let lost = held.release(Release::default()).await.unwrap_err();
    assert!(matches!(lost, Lost::TakenOver(lock) if lock.who == "grace"));
    assert!(successor.guard()().is_ok());
    successor.commit(vec![note("still mine")], vec![], None).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn m33_a_busy_row_is_never_taken_for_a_held_lock() {
    let account = Account::new().await;
    let ada = account.process("ada").await;
    let conflict = || Misfortune::Refuse(400, "TransactionConflictException".into());
    for n in 1..=4 {
        account.sandbox.faults().schedule(When::Action("TransactWriteItems".into(), n), conflict());
    }
    let held = ada.acquire(intent("01ADA")).await.unwrap();
    for n in 1..=4 {
        account.sandbox.faults().schedule(When::Action("TransactWriteItems".into(), n), conflict());
    }
    held.commit(vec![note("busy")], vec![], None).await.unwrap();
    assert_eq!(held.fence(), 1);
}

#[tokio::test(start_paused = true)]
async fn fences_never_fall_and_releases_are_numbered_without_gaps() {
    let account = Account::new().await;
    let ada = account.process("ada").await;
    for round in 1..=5u64 {
        let held = ada.acquire(intent(&format!("01OP{round}"))).await.unwrap();
        assert_eq!(held.fence(), round);
        let head = journal::read(&ada.db, &scope()).await.unwrap().head;
        let number = journal::next_release(head.as_ref());
        let row = crate::records::release(number, &held.operation());
        let writes = journal::create_release(&scope(), &row, held.fence()).unwrap();
        held.commit(vec![note("made")], writes.clone(), None).await.unwrap();
        let again = held.commit(vec![note("twice")], writes, None).await.unwrap_err();
        assert!(matches!(&again, Lost::Refused(rows) if rows.len() == 2 && !again.is_final()), "{again:?}");
        held.commit(vec![note("the lock is still ours")], vec![], None).await.unwrap();
        held.release(ended(Outcome::Deployed)).await.unwrap();
    }
    let journal = journal::read(&ada.db, &scope()).await.unwrap();
    assert_eq!(journal.releases.iter().map(|row| row.release.number.0).collect::<Vec<_>>(), [5, 4, 3, 2, 1]);
    assert_eq!(journal.head, Some(Head { next: 6, fence: 5, ..Head::default() }));
    assert!(journal.operations.iter().all(|row| row.ended == Some(Outcome::Deployed)));
}

#[tokio::test(start_paused = true)]
async fn m06_beats_whose_replies_are_lost_are_recognised() {
    let account = Account::new().await;
    let ada = account.process("ada").await;
    let held = ada.acquire(intent("01ADA")).await.unwrap();
    for beat in (1..=40).step_by(2) {
        account.lose_reply("UpdateItem", beat);
    }
    let mut doubtful = Duration::ZERO;
    for _ in 0..1_200 {
        ada.clock.sleep(Duration::from_millis(100)).await;
        doubtful += if held.guard()().is_ok() { Duration::ZERO } else { Duration::from_millis(100) };
    }
    assert_eq!((held.lost(), doubtful), (None, Duration::ZERO), "kept, and proved all the time");
    let (lock, _) = account.rows().await;
    assert_eq!(lock.fence, 1);
    assert!((11..=14).contains(&lock.beat), "{} beats in two minutes: none was given up for a new one", lock.beat);
}

#[tokio::test(start_paused = true)]
async fn m32_journal_writes_and_the_release_whose_replies_are_lost_are_recognised() {
    let account = Account::new().await;
    let (ada, grace) = (account.process("ada").await, account.process("grace").await);
    let held = ada.acquire(intent("01ADA")).await.unwrap();
    ada.line.forget_tokens(true);
    account.lose_reply("TransactWriteItems", 1);
    held.commit(vec![note("one")], vec![], Some("launch")).await.unwrap();
    held.commit(vec![note("two"), note("three")], vec![], None).await.unwrap();
    let (lock, events) = account.rows().await;
    assert_eq!((lock.fence, lock.stage.as_str()), (1, "launch"));
    assert_eq!(events.iter().map(|event| event.seq).collect::<Vec<_>>(), [0, 1, 2, 3], "no duplicate, no gap");
    let before = grace.clock.moment();
    for _ in 0..3 {
        account.lose_reply("TransactWriteItems", 1);
        account.lose_reply("TransactWriteItems", 2);
    }
    held.release(ended(Outcome::Deployed)).await.unwrap();
    let next = grace.acquire(intent("01GRACE")).await.unwrap();
    assert_eq!(next.fence(), 2);
    assert!(grace.clock.passed(before) < seconds(10), "at once");
    // One that hands over something unfinished writes no last event: the freed row alone tells.
    grace.line.forget_tokens(true);
    account.lose_reply("TransactWriteItems", 1);
    next.release(Release::default()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn m34_a_journal_write_resent_after_its_token_is_forgotten_is_found_and_not_repeated() {
    let account = Account::new().await;
    let ada = account.process("ada").await;
    let held = ada.acquire(Intent { hold: seconds(1_800), ..intent("01ADA") }).await.unwrap();
    ada.line.lose_next_reply_and_cut();
    let (writer, clock) = (held.clone(), ada.clock.clone());
    let writing = tokio::spawn(async move { writer.commit(vec![note("once")], vec![], None).await });
    clock.sleep(seconds(660)).await;
    assert!(!writing.is_finished());
    ada.line.forget_tokens(true);
    ada.line.cut(false);
    writing.await.unwrap().unwrap();
    held.commit(vec![note("twice")], vec![], None).await.unwrap();
    let (_, events) = account.rows().await;
    assert_eq!(events.iter().map(|event| event.seq).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(journal::fold(&events).is_ok() && held.guard()().is_ok());
}

#[tokio::test(start_paused = true)]
async fn m07_a_beat_that_arrives_after_a_newer_one_changes_nothing() {
    let account = Account::new().await;
    let ada = account.process("ada").await;
    let held = ada.acquire(intent("01ADA")).await.unwrap();
    ada.line.hold(Some("UpdateItem"));
    ada.clock.sleep(seconds(14)).await;
    ada.line.hold(None);
    held.proved(seconds(30)).await.unwrap();
    ada.clock.sleep(seconds(30)).await;
    let before = account.rows().await.0;
    assert!(ada.line.deliver_held().await > 0, "older than the newest");
    assert_eq!(account.rows().await.0, before);
    ada.clock.sleep(seconds(60)).await;
    assert_eq!((held.lost(), held.guard()()), (None, Ok(())), "the holder does not notice");
}

#[tokio::test(start_paused = true)]
async fn m08_a_beat_that_arrives_after_a_release_or_a_take_over_changes_nothing() {
    let account = Account::new().await;
    let (ada, grace) = (account.process("ada").await, account.process("grace").await);
    let late = async |what: &str| {
        let before = account.rows().await.0;
        assert!(ada.line.deliver_held().await > 0, "{what}");
        assert_eq!(account.rows().await.0, before, "{what}");
    };
    let held = ada.acquire(intent("01ADA")).await.unwrap();
    ada.line.hold(Some("UpdateItem"));
    ada.clock.sleep(seconds(12)).await;
    ada.line.hold(None);
    held.release(Release::default()).await.unwrap();
    late("after a release").await;
    let held = ada.acquire(Intent { settles: true, ..intent("01ADB") }).await.unwrap();
    ada.line.hold(Some("UpdateItem"));
    ada.clock.sleep(seconds(12)).await;
    ada.line.cut(true);
    let next = grace.acquire_within(120, Intent { settles: true, ..intent("01GRACE") }).await.unwrap();
    late("after a take-over").await;
    assert!(next.guard()().is_ok() && held.guard()().is_err());
}

#[tokio::test(start_paused = true)]
async fn m10_how_long_a_holder_goes_on_is_for_its_operator_to_say_and_one_outage_is_not_waited_for_twice() {
    let account = Account::new().await;
    let ada = account.process("ada").await;
    let held = ada.acquire(Intent { hold: seconds(120), ..intent("01ADA") }).await.unwrap();
    assert_eq!(held.hold(), seconds(120));
    let began = ada.clock.moment();
    ada.line.cut(true);
    assert!(held.proved(held.hold()).await.is_ok(), "not in doubt yet");
    ada.clock.sleep(seconds(46)).await;
    assert!(held.proved(held.hold()).await.is_err());
    let lost = held.commit(vec![note("anybody?")], vec![], None).await.unwrap_err();
    assert!(lost.to_string().contains("nothing could be written down for"), "{lost}");
    assert!((196..=200).contains(&ada.clock.passed(began).as_secs()), "{:?}", ada.clock.passed(began));
}

#[tokio::test(start_paused = true)]
async fn m35_credentials_that_expire_are_waited_for_like_an_outage() {
    let account = Account::new().await;
    let ada = account.process("ada").await;
    let held = ada.acquire(intent("01ADA")).await.unwrap();
    ada.line.log_out(true);
    let (writer, clock) = (held.clone(), ada.clock.clone());
    let writing = tokio::spawn(async move { writer.commit(vec![note("once")], vec![], None).await });
    clock.sleep(seconds(300)).await;
    assert!(!writing.is_finished() && held.guard()().is_err());
    ada.line.log_out(false);
    writing.await.unwrap().unwrap();
    // It counts from when that was first sent, so it takes a beat.
    held.proved(seconds(15)).await.unwrap();
    // Whoever does not hold anything yet is told at once.
    held.release(ended(Outcome::Deployed)).await.unwrap();
    ada.line.log_out(true);
    let began = ada.clock.moment();
    assert!(matches!(ada.acquire(intent("01ADB")).await, Err(Blocked::Aws(error)) if error.kind == ErrorKind::NotLoggedIn));
    assert!(ada.clock.passed(began) < seconds(5));
}

#[tokio::test(start_paused = true)]
async fn m41_a_lock_that_somebody_frees_by_hand_is_lost_with_the_next_beat() {
    let account = Account::new().await;
    let (ada, grace) = (account.process("ada").await, account.process("grace").await);
    let held = ada.acquire(intent("01ADA")).await.unwrap();
    let edit = Write::set(Key::new(scope().pk, sk::LOCK), [("st".to_string(), Value::from("free"))].into());
    grace.db.write(&scope().table, &edit).await.unwrap();
    let edited = grace.clock.moment();
    tokio::time::timeout(seconds(60), held.halted_or_lost()).await.expect("it is told");
    assert!(grace.clock.passed(edited) <= seconds(14));
    assert!(matches!(held.lost(), Some(Lost::TakenOver(lock)) if lock.state == LockState::Free));
    assert!(held.guard()().unwrap_err().contains("somebody freed it"));
    assert!(held.commit(vec![note("mine?")], vec![], None).await.unwrap_err().is_final());
    let (lock, events) = account.rows().await;
    assert_eq!((lock.state, lock.open, events.len()), (LockState::Free, Some(OperationId("01ADA".into())), 1), "what was begun stays open");
}

#[tokio::test(start_paused = true)]
async fn m33_a_transaction_that_meets_another_one_is_sent_again_whatever_its_other_reasons_say() {
    let account = Account::new().await;
    let ada = account.process("ada").await;
    ada.line.conflict(3);
    let held = ada.acquire(intent("01ADA")).await.unwrap();
    ada.line.conflict(5);
    held.commit(vec![note("busy")], vec![], None).await.unwrap();
    ada.line.conflict(5);
    held.release(ended(Outcome::Deployed)).await.unwrap();
    ada.line.conflict(3);
    assert_eq!(ada.acquire(intent("01ADB")).await.unwrap().fence(), 2);
}
