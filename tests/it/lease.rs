//! The lock and the journal against DynamoDB in the sandbox, in virtual time: what must happen when replies get lost, machines sleep,
//! holders vanish and two people are equally fast.

use std::sync::Arc;
use std::time::Duration;

use adstage::aws::dynamodb::{Dynamodb, Item, Key, Value, Write};
use adstage::aws::{Aws, Connection, ErrorKind};
use adstage::clock::Clock;
use adstage::journal::{self, Entry, StepKey, StepStatus};
use adstage::lock::{self, Blocked, Held, Identity, Intent, Lost, Release, Wait};
use adstage::model::{FORMAT, FreezeRecord, Head, LockRecord, LockState, OperationId, OperationKind, OperationRecord, Outcome, Scope, sk};
use adstage::sandbox::{Misfortune, Options, Sandbox, When};

use crate::line::Line;

pub fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

pub fn scope() -> Scope {
    Scope::environment("adstage", &"shop".parse().unwrap(), &"staging".parse().unwrap())
}

/// An AWS account with a state table.
pub struct Account {
    pub sandbox: Sandbox,
}

/// One process of adstage: its own clock, its own network.
pub struct Process {
    pub db: Dynamodb,
    pub clock: Clock,
    pub line: Arc<Line>,
    pub who: Identity,
}

impl Account {
    pub async fn new() -> Self {
        let account = Self { sandbox: Sandbox::in_process(Options::default()) };
        account.process("setup").await.db.create_table(&scope().table).await.unwrap();
        account
    }

    pub async fn process(&self, name: &str) -> Process {
        let (clock, line) = (Clock::for_tests(), Arc::new(Line::default()));
        let connection = Connection {
            region: "eu-central-1".into(),
            profile: None,
            endpoint: Some("http://sandbox.invalid".into()),
            account_keys: Some("111122223333".into()),
            http: Some(line.through(self.sandbox.http_client())),
            clock: clock.clone(),
            seed: 1,
        };
        let who = Identity {
            owner: format!("owner-{name}"),
            who: name.into(),
            host: format!("{name}-laptop"),
            via: "laptop".into(),
            arn: format!("arn:aws:sts::111122223333:assumed-role/deploy/{name}"),
            cli: "0.1.0".into(),
        };
        Process { db: Aws::connect(connection).await.dynamodb, clock, line, who }
    }

    /// The n-th next call of this action is carried out, but nobody hears of it.
    pub fn lose_reply(&self, action: &str, n: usize) {
        self.sandbox.faults().schedule(When::Action(action.into(), n), Misfortune::LoseReply);
    }

    pub async fn rows(&self) -> (LockRecord, Vec<journal::Logged>) {
        let db = self.process("reader").await.db;
        let lock = lock::read(&db, &scope()).await.unwrap().lock.unwrap();
        let operation = lock.open.clone().or_else(|| lock.operation.clone()).unwrap();
        (lock, journal::operation(&db, &scope(), &operation).await.unwrap().unwrap().1)
    }
}

pub fn record(id: &str) -> OperationRecord {
    OperationRecord {
        id: OperationId(id.into()),
        kind: OperationKind::Deploy,
        release: None,
        previous: None,
        by: "ada".into(),
        at: "2026-11-22T10:00:00Z".into(),
        ended_at: None,
        ended: None,
        stage: String::new(),
        reason: None,
    }
}

pub fn intent(id: &str) -> Intent {
    Intent {
        operation: OperationId(id.into()),
        doing: format!("deploying {id}"),
        record: journal::operation_body(&record(id), "adstage deploy staging", "0.1.0", None).unwrap(),
        began: Entry::Began { text: "deploy".into() }.item(),
        writes: Vec::new(),
        settles: false,
        passes_freeze: false,
        secondaries: Vec::new(),
        hold: lock::constants::HOLD,
    }
}

pub fn note(text: &str) -> Item {
    Entry::Note { text: text.into() }.item()
}

pub fn ended(outcome: Outcome) -> Release {
    let event = Entry::Ended { outcome, reason: None }.item();
    Release { events: vec![event], ended: Some(journal::ended(outcome, None, "2026-11-22T10:09:00Z")), writes: Vec::new() }
}

impl Process {
    pub async fn acquire(&self, intent: Intent) -> Result<Held, Blocked> {
        lock::acquire(&self.db, &self.clock, scope(), self.who.clone(), intent).await
    }

    pub async fn acquire_within(&self, timeout: u64, intent: Intent) -> Result<Held, Blocked> {
        let wait = Wait { timeout: seconds(timeout), tell: &|_, _| () };
        lock::acquire_within(&self.db, &self.clock, scope(), self.who.clone(), intent, wait).await
    }

    pub async fn put(&self, item: Item) {
        self.db.write(&scope().table, &Write::put(item)).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn twenty_at_once_have_one_winner_and_everybody_else_is_told_who() {
    let account = Account::new().await;
    let mut tries = tokio::task::JoinSet::new();
    for number in 0..20 {
        let process = account.process(&format!("p{number}")).await;
        tries.spawn(async move { (process.who.who.clone(), process.acquire(intent(&format!("01OP{number:02}"))).await) });
    }
    let results = tries.join_all().await;
    let winners: Vec<_> = results.iter().filter(|(_, result)| result.is_ok()).map(|(who, _)| who.clone()).collect();
    assert_eq!(winners.len(), 1);
    for (_, result) in &results {
        match result {
            Ok(held) => assert_eq!(held.fence(), 1),
            Err(Blocked::Held(lock, _)) => assert_eq!((&lock.who, &lock.state), (&winners[0], &LockState::Held)),
            Err(other) => panic!("{other:?}"),
        }
    }
}

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
async fn a_vanished_holder_is_taken_over_after_seventy_seconds_of_silence_and_not_before() {
    let account = Account::new().await;
    let (ada, grace) = (account.process("ada").await, account.process("grace").await);
    let held = ada.acquire(intent("01ADA")).await.unwrap();
    held.commit(vec![Entry::started(StepKey::new("launch", "fleet web-r42")).item()], vec![], Some("launch")).await.unwrap();
    // The process is gone: nobody beats any more.
    drop(held);
    let started = grace.clock.moment();
    let early = grace.acquire_within(69, Intent { settles: true, ..intent("01GRACE") }).await;
    assert!(matches!(early, Err(Blocked::Held(lock, _)) if lock.stage == "launch"));
    assert_eq!(grace.clock.passed(started).as_secs(), 69);
    // A waiter that comes anew has seen nothing yet.
    let started = grace.clock.moment();
    let unsettled = grace.acquire_within(120, intent("01GRACE")).await.map(|_| ());
    assert_eq!(unsettled, Err(Blocked::Unfinished(OperationId("01ADA".into()))), "a lapse frees the mutex, not the environment");
    assert!(grace.clock.passed(started) >= seconds(70));
    let started = grace.clock.moment();
    let held = grace.acquire_within(120, Intent { settles: true, ..intent("01GRACE") }).await.unwrap();
    assert!((70..80).contains(&grace.clock.passed(started).as_secs()));
    assert_eq!((held.fence(), held.unfinished()), (2, Some(OperationId("01ADA".into()))));
    let (lock, events) = account.rows().await;
    assert_eq!(lock.open, Some(OperationId("01ADA".into())), "open stays");
    let Entry::TakenOver { from, to, why } = &events[2].entry else { panic!("{:?}", events[2]) };
    assert_eq!((from.as_str(), to.as_str()), ("owner-ada", "owner-grace (grace on grace-laptop)"));
    assert!(why.contains("no renewal for 7"), "{why}");
    let status = journal::fold(&events).unwrap();
    assert_eq!(status.status(&StepKey::new("launch", "fleet web-r42")), Some(StepStatus::Started));
}

#[tokio::test(start_paused = true)]
async fn what_was_taken_over_is_settled_and_then_the_own_operation_begins() {
    let account = Account::new().await;
    let (ada, grace) = (account.process("ada").await, account.process("grace").await);
    ada.acquire(intent("01ADA")).await.unwrap().release(Release::default()).await.unwrap();
    assert_eq!(grace.acquire(intent("01GRACE")).await.map(|_| ()), Err(Blocked::Unfinished(OperationId("01ADA".into()))));
    let held = grace.acquire(Intent { settles: true, ..intent("01GRACE") }).await.unwrap();
    assert_eq!(held.operation(), OperationId("01ADA".into()));
    let end = Entry::Ended { outcome: Outcome::Refused, reason: Some("no step was started".into()) };
    held.settle(vec![end.item()], journal::ended(Outcome::Refused, Some("no step was started"), "2026-11-22T10:01:00Z")).await.unwrap();
    assert_eq!((held.operation(), held.unfinished()), (OperationId("01GRACE".into()), None));
    held.commit(vec![note("hello")], vec![], None).await.unwrap();
    let (old, events) = journal::operation(&grace.db, &scope(), &OperationId("01ADA".into())).await.unwrap().unwrap();
    assert_eq!((old.record.ended, old.fence), (Some(Outcome::Refused), 2));
    assert_eq!(journal::fold(&events).unwrap().ended, Some(Outcome::Refused));
    let (lock, events) = account.rows().await;
    assert_eq!((lock.open.unwrap().0.as_str(), events.len()), ("01GRACE", 2));
    held.release(ended(Outcome::Deployed)).await.unwrap();
    let operations = journal::read(&grace.db, &scope()).await.unwrap().operations;
    assert_eq!(operations.iter().map(|row| row.id.0.as_str()).collect::<Vec<_>>(), ["01GRACE", "01ADA"], "newest first");
    assert!(ada.acquire(intent("01ADB")).await.is_ok());
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
    assert!(guard().unwrap_err().contains("grace on grace-laptop holds it"));
    assert!(held.release(ended(Outcome::Deployed)).await.is_err());
    assert_eq!(successor.fence(), 2);
    let (lock, events) = account.rows().await;
    assert_eq!((lock.who.as_str(), lock.fence), ("grace", 2));
    assert!(journal::fold(&events).is_ok() && events.len() == 2);
}

#[tokio::test(start_paused = true)]
async fn a_short_outage_is_sat_out() {
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
async fn an_outage_without_end_leaves_the_operation_open() {
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
async fn lost_replies_are_recognised_as_our_own_doing() {
    let account = Account::new().await;
    let ada = account.process("ada").await;
    account.lose_reply("TransactWriteItems", 1);
    let held = ada.acquire(intent("01ADA")).await.unwrap();
    for beat in 1..=5 {
        account.lose_reply("UpdateItem", beat);
    }
    ada.clock.sleep(seconds(60)).await;
    assert_eq!(held.lost(), None);
    account.lose_reply("TransactWriteItems", 1);
    held.commit(vec![note("one")], vec![], Some("launch")).await.unwrap();
    held.commit(vec![note("two"), note("three")], vec![], None).await.unwrap();
    let (lock, events) = account.rows().await;
    assert_eq!((lock.fence, lock.stage.as_str()), (1, "launch"));
    assert_eq!(events.iter().map(|event| event.seq).collect::<Vec<_>>(), [0, 1, 2, 3], "no duplicate, no gap");
    account.lose_reply("TransactWriteItems", 1);
    held.release(ended(Outcome::Deployed)).await.unwrap();
    let next = account.process("grace").await.acquire(intent("01GRACE")).await.unwrap();
    assert_eq!(next.fence(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_lost_release_is_found_in_the_journal_even_when_somebody_else_has_the_lock_by_then() {
    let account = Account::new().await;
    let (ada, grace) = (account.process("ada").await, account.process("grace").await);
    let held = ada.acquire(intent("01ADA")).await.unwrap();
    ada.line.lose_next_reply_and_cut();
    let releasing = tokio::spawn(async move { held.release(ended(Outcome::Deployed)).await });
    let next = grace.acquire_within(60, intent("01GRACE")).await.unwrap();
    ada.line.forget_tokens(true);
    ada.line.cut(false);
    assert_eq!(releasing.await.unwrap(), Ok(()));
    assert_eq!(next.fence(), 2);
}

#[tokio::test(start_paused = true)]
async fn whoever_gives_up_acquiring_leaves_no_packet_that_could_still_win() {
    let account = Account::new().await;
    let ada = account.process("ada").await;
    ada.line.hold(Some("TransactWriteItems"));
    let Err(Blocked::Aws(error)) = ada.acquire(intent("01ADA")).await else { panic!("blocked") };
    assert_eq!(error.kind, ErrorKind::Network);
    let view = lock::read(&ada.db, &scope()).await.unwrap();
    assert_eq!(view.lock.map(|lock| (lock.state, lock.fence)), Some((LockState::Free, 1)), "bumped");
    let late = ada.line.deliver_held().await;
    assert!(late > 0, "the straggler arrives");
    let view = lock::read(&ada.db, &scope()).await.unwrap();
    assert_eq!(view.lock.map(|lock| (lock.state, lock.fence)), Some((LockState::Free, 1)), "and changes nothing");
    ada.line.hold(None);
    assert_eq!(ada.acquire(intent("01ADB")).await.unwrap().fence(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_take_over_that_arrives_after_the_holder_woke_up_is_refused() {
    let account = Account::new().await;
    let (ada, grace) = (account.process("ada").await, account.process("grace").await);
    let held = ada.acquire(intent("01ADA")).await.unwrap();
    ada.line.cut(true);
    grace.line.hold(Some("TransactWriteItems"));
    assert!(grace.acquire_within(300, Intent { settles: true, ..intent("01GRACE") }).await.is_err());
    ada.line.cut(false);
    held.proved(seconds(30)).await.unwrap();
    assert!(grace.line.deliver_held().await > 0);
    held.commit(vec![note("still mine")], vec![], None).await.unwrap();
    assert_eq!(account.rows().await.0.fence, 1);
}

#[tokio::test(start_paused = true)]
async fn beats_that_arrive_late_change_nothing() {
    let account = Account::new().await;
    let (ada, grace) = (account.process("ada").await, account.process("grace").await);
    let held = ada.acquire(intent("01ADA")).await.unwrap();
    ada.line.hold(Some("UpdateItem"));
    ada.clock.sleep(seconds(14)).await;
    ada.line.hold(None);
    held.proved(seconds(30)).await.unwrap();
    ada.clock.sleep(seconds(30)).await;
    let before = account.rows().await.0;
    assert!(ada.line.deliver_held().await > 0, "older than the newest");
    assert_eq!(account.rows().await.0, before);
    ada.line.hold(Some("UpdateItem"));
    ada.clock.sleep(seconds(12)).await;
    ada.line.hold(None);
    held.release(ended(Outcome::Deployed)).await.unwrap();
    let next = grace.acquire(intent("01GRACE")).await.unwrap();
    let before = account.rows().await.0;
    ada.line.deliver_held().await;
    assert_eq!(account.rows().await.0, before, "after a release and another holder");
    assert!(next.guard()().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_slept_beats_first_and_goes_on_if_nobody_came() {
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
async fn a_machine_that_slept_too_long_stops_and_names_the_new_holder() {
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
async fn wall_clocks_that_people_set_change_nothing() {
    let account = Account::new().await;
    let (ada, grace) = (account.process("ada").await, account.process("grace").await);
    let held = ada.acquire(intent("01ADA")).await.unwrap();
    grace.clock.step_wall(3_600_000);
    assert!(matches!(grace.acquire_within(30, intent("01GRACE")).await, Err(Blocked::Held(..))));
    ada.clock.step_wall(3_600_000);
    assert!(held.guard()().is_err(), "a forward step costs a beat");
    held.proved(seconds(5)).await.unwrap();
    ada.clock.step_wall(-7_200_000);
    ada.clock.sleep(seconds(30)).await;
    assert!(held.guard()().is_ok());
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
async fn a_freeze_stops_a_deploy_until_its_end_and_never_a_rollback() {
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
async fn a_lock_that_was_restored_from_a_backup_is_not_believed() {
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
async fn a_busy_row_is_never_taken_for_a_held_lock() {
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
async fn a_request_to_halt_arrives_with_the_next_beat() {
    let account = Account::new().await;
    let (ada, grace) = (account.process("ada").await, account.process("grace").await);
    let held = ada.acquire(intent("01ADA")).await.unwrap();
    let halt: Item = [("who".to_string(), Value::from("grace")), ("why".to_string(), "rollback".into())].into();
    let ask = Write::set(Key::new(scope().pk, sk::LOCK), [("halt".to_string(), halt.into())].into());
    grace.db.write(&scope().table, &ask).await.unwrap();
    let asked = grace.clock.moment();
    held.halted_or_lost().await;
    assert!(grace.clock.passed(asked) <= seconds(14));
    assert_eq!(held.halted().map(|halt| (halt.who, halt.why)), Some(("grace".into(), "rollback".into())));
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
