//! The lock and the journal against DynamoDB in the sandbox, in virtual time: what must happen when replies get lost, machines sleep,
//! holders vanish and two people are equally fast.

use std::sync::Arc;
use std::time::Duration;

use adstage::aws::dynamodb::{Dynamodb, Item, Write};
use adstage::aws::{Aws, Connection, ErrorKind};
use adstage::clock::Clock;
use adstage::journal::{self, Entry, StepKey, StepStatus};
use adstage::lock::{self, Blocked, Held, Identity, Intent, Release, Wait};
use adstage::model::{LockRecord, LockState, OperationId, OperationKind, OperationRecord, Outcome, Scope};
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
        self.process_with(name, Clock::for_tests()).await
    }

    pub async fn process_with(&self, name: &str, clock: Clock) -> Process {
        let line = Arc::new(Line::default());
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
        eta_s: None,
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
async fn m01_of_twenty_in_the_same_millisecond_one_wins_and_everybody_else_is_told_who() {
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
async fn m05_whoever_gives_up_acquiring_leaves_no_packet_that_could_still_win() {
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
async fn m05_a_take_over_that_arrives_after_the_holder_woke_up_is_refused() {
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
async fn m03_an_acquire_whose_reply_is_lost_is_recognised() {
    let account = Account::new().await;
    let (ada, grace) = (account.process("ada").await, account.process("grace").await);
    for forgotten in [false, true] {
        ada.line.forget_tokens(forgotten);
        let began = ada.clock.moment();
        for n in 1..=3 {
            account.lose_reply("TransactWriteItems", n);
        }
        let held = ada.acquire(intent(&format!("01ADA{forgotten}"))).await.unwrap();
        assert!(ada.clock.passed(began) < seconds(10), "not kept out by itself");
        assert!(matches!(grace.acquire(intent("01GRACE")).await, Err(Blocked::Held(lock, _)) if lock.who == "ada"), "one holder");
        held.commit(vec![note("mine")], vec![], None).await.unwrap();
        held.release(ended(Outcome::Deployed)).await.unwrap();
    }
    // The same for a take-over.
    ada.line.forget_tokens(false);
    ada.acquire(intent("01LEFT")).await.unwrap().release(Release::default()).await.unwrap();
    account.lose_reply("TransactWriteItems", 1);
    let held = grace.acquire(Intent { settles: true, ..intent("01GRACE") }).await.unwrap();
    let (lock, events) = account.rows().await;
    assert_eq!((held.fence(), lock.fence, events.len()), (4, 4, 2), "taken over once");
}

#[tokio::test(start_paused = true)]
async fn m05_a_packet_that_could_not_even_be_made_harmless_lapses_like_a_crash() {
    let account = Account::new().await;
    let (ada, grace) = (account.process("ada").await, account.process("grace").await);
    ada.acquire(intent("01ADA")).await.unwrap().release(ended(Outcome::Deployed)).await.unwrap();
    // With a row there already, the fence is counted on.
    ada.line.hold(Some("TransactWriteItems"));
    assert!(ada.acquire(intent("01ADB")).await.is_err());
    assert_eq!(lock::read(&ada.db, &scope()).await.unwrap().lock.unwrap().fence, 2);
    assert!(ada.line.deliver_held().await > 0);
    assert_eq!(lock::read(&ada.db, &scope()).await.unwrap().lock.unwrap().state, LockState::Free);
    // The bump does not get through either.
    let giving_up = tokio::spawn(async move { (ada.acquire(intent("01ADC")).await.is_err(), ada) });
    grace.clock.sleep(seconds(10)).await;
    account.sandbox.faults().schedule(When::Action("UpdateItem".into(), 1), Misfortune::Throttle);
    account.sandbox.faults().schedule(When::Action("UpdateItem".into(), 2), Misfortune::Throttle);
    account.sandbox.faults().schedule(When::Action("UpdateItem".into(), 3), Misfortune::Throttle);
    let (gave_up, ada) = giving_up.await.unwrap();
    assert!(gave_up && ada.line.deliver_held().await > 0);
    let orphan = lock::read(&grace.db, &scope()).await.unwrap().lock.unwrap();
    assert_eq!((orphan.state, orphan.who.as_str(), orphan.fence), (LockState::Held, "ada", 3), "nobody holds it any more");
    let began = grace.clock.moment();
    let held = grace.acquire_within(120, Intent { settles: true, ..intent("01GRACE") }).await.unwrap();
    assert!((70..78).contains(&grace.clock.passed(began).as_secs()));
    assert_eq!((held.fence(), held.unfinished()), (4, Some(OperationId("01ADC".into()))));
}

#[tokio::test(start_paused = true)]
async fn m11_with_dynamodb_away_nothing_is_assumed() {
    let account = Account::new().await;
    let ada = account.process("ada").await;
    ada.line.dynamodb_away(true);
    let before = account.sandbox.faults().calls().len();
    let blocked = ada.acquire_within(600, Intent { settles: true, passes_freeze: true, ..intent("01ADA") }).await;
    assert!(matches!(blocked, Err(Blocked::Aws(error)) if error.kind == ErrorKind::Network));
    assert_eq!(account.sandbox.faults().calls().len(), before, "nothing arrived anywhere");
    ada.line.dynamodb_away(false);
    assert_eq!(lock::read(&ada.db, &scope()).await.unwrap().lock, None);
}

/// When the guard of somebody who was cut off last let a call go, and when somebody with a clock of this rate took over.
async fn cut_off_and_taken_over(rate: f64) -> (Duration, Duration) {
    let account = Account::new().await;
    let (ada, grace) = (account.process("ada").await, account.process_with("grace", Clock::at_rate(rate)).await);
    let held = ada.acquire(intent("01ADA")).await.unwrap();
    let (guard, began, clock) = (held.guard(), ada.clock.moment(), ada.clock.clone());
    ada.line.cut(true);
    let waiting = tokio::spawn(async move {
        let held = grace.acquire_within(600, Intent { settles: true, ..intent("01GRACE") }).await.unwrap();
        (clock.passed(began), held)
    });
    let mut last = Duration::ZERO;
    while !waiting.is_finished() {
        if guard().is_ok() {
            last = ada.clock.passed(began);
        }
        ada.clock.sleep(Duration::from_millis(50)).await;
    }
    (last, waiting.await.unwrap().0)
}

#[tokio::test(start_paused = true)]
async fn m18_no_call_lands_after_a_take_over_by_somebody_whose_clock_is_a_quarter_too_fast() {
    for rate in [0.8, 1.0, 1.25] {
        let (last, taken_over) = cut_off_and_taken_over(rate).await;
        assert!(last >= seconds(44), "the guard is not more timid than it must be: {last:?}");
        assert!(last + lock::constants::CALL < taken_over, "at {rate}: {last:?}, {taken_over:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn m19_whoever_starts_again_every_half_minute_never_takes_over() {
    let account = Account::new().await;
    let ada = account.process("ada").await;
    drop(ada.acquire(intent("01ADA")).await.unwrap());
    for round in 0..20 {
        // A new process each time: it has seen nothing yet.
        let job = account.process(&format!("job{round}")).await;
        let blocked = job.acquire_within(30, Intent { settles: true, ..intent(&format!("01JOB{round}")) }).await;
        assert!(matches!(blocked, Err(Blocked::Held(lock, quiet)) if lock.who == "ada" && quiet <= seconds(30)));
    }
    let patient = account.process("patient").await;
    assert_eq!(patient.acquire_within(75, Intent { settles: true, ..intent("01PATIENT") }).await.unwrap().fence(), 2);
}
