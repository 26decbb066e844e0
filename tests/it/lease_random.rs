//! Random acts of three processes on one lock, against a small reference of what must come of each: who holds it under which fence, what
//! is unfinished, what is refused. The same acts are played on the real lock in virtual time; a failing sequence is shrunk and kept in
//! `tests/it/lease_random.txt`.

use std::time::Duration;

use adstage::journal::{self, Entry};
use adstage::lock::{self, Blocked, Held, Intent, Release};
use adstage::model::{LockState, OperationId, Outcome};
use adstage::sandbox::{Misfortune, When};
use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence};

use crate::lease::{Account, Process, ended, intent, note, scope, seconds};

/// Processes.
const WHO: usize = 3;

#[derive(Debug, Clone, Copy)]
enum Act {
    /// Takes the lock at once, or waits for it so long; settles what is unfinished, or does not.
    Acquire {
        who: usize,
        wait: u64,
        settles: bool,
    },
    Commit(usize),
    /// Gives it back, the operation being ended or not.
    Release(usize, bool),
    Crash(usize),
    /// Its line is cut, or restored.
    Cut(usize, bool),
    /// The reply to the next write of this kind is lost.
    LoseReply(&'static str),
    Pass(u64),
    /// The machine sleeps: its boot clock jumps, its timers do not.
    Sleep(usize, u64),
    /// Asks the holder to halt, which then hands over.
    Halt(usize),
    Break(usize),
}

fn act() -> impl Strategy<Value = Act> {
    let (who, yes) = (0..WHO, any::<bool>());
    prop_oneof![
        5 => (who.clone(), prop_oneof![Just(0), Just(30), Just(150)], yes).prop_map(|(who, wait, settles)| Act::Acquire { who, wait, settles }),
        4 => who.clone().prop_map(Act::Commit),
        2 => (who.clone(), yes).prop_map(|(who, ended)| Act::Release(who, ended)),
        1 => who.clone().prop_map(Act::Crash),
        3 => (who.clone(), yes).prop_map(|(who, cut)| Act::Cut(who, cut)),
        3 => prop_oneof![Just("TransactWriteItems"), Just("UpdateItem")].prop_map(Act::LoseReply),
        3 => (1..200u64).prop_map(Act::Pass),
        1 => (who.clone(), 1..30_000u64).prop_map(|(who, span)| Act::Sleep(who, span)),
        1 => who.clone().prop_map(Act::Halt),
        1 => who.prop_map(Act::Break),
    ]
}

/// What must be so. `handles`: under which fence a process believes to hold the lock.
#[derive(Debug, Default)]
struct Reference {
    fence: u64,
    held: bool,
    open: bool,
    handles: [Option<u64>; WHO],
    cut: [bool; WHO],
}

/// What must come of an acquire.
#[derive(Debug, PartialEq, Eq)]
enum Taking {
    Taken(u64),
    Held,
    Unfinished,
    NoLine,
}

impl Reference {
    /// The row is this process's.
    fn owns(&self, who: usize) -> bool {
        self.held && self.handles[who] == Some(self.fence)
    }

    /// Somebody renews it.
    fn renewed(&self) -> bool {
        (0..WHO).any(|who| self.owns(who) && !self.cut[who])
    }

    fn acquire(&mut self, who: usize, wait: u64, settles: bool) -> Taking {
        let lapses = wait > 70 && !self.renewed();
        match (self.cut[who], self.held && !lapses, self.open) {
            (true, ..) => Taking::NoLine,
            (_, true, _) => Taking::Held,
            (.., true) if !settles => Taking::Unfinished,
            _ => {
                (self.fence, self.held, self.open) = (self.fence + 1, true, true);
                self.handles[who] = Some(self.fence);
                Taking::Taken(self.fence)
            }
        }
    }

    /// A write of a holder; whoever has no line gives up for good.
    fn write(&mut self, who: usize) -> bool {
        let written = self.owns(who) && !self.cut[who];
        if !written {
            self.handles[who] = None;
        }
        written
    }

    fn release(&mut self, who: usize, ended: bool) -> bool {
        let written = self.write(who);
        if written {
            (self.held, self.open, self.handles[who]) = (false, !ended, None);
        }
        written
    }
}

/// The real lock, and what was begun with it.
struct Played {
    account: Account,
    processes: Vec<Process>,
    held: [Option<Held>; WHO],
    begun: Vec<String>,
    reference: Reference,
}

impl Played {
    async fn new() -> Self {
        let account = Account::new().await;
        let mut processes = Vec::new();
        for who in 0..WHO {
            processes.push(account.process(&format!("p{who}")).await);
        }
        Self { account, processes, held: Default::default(), begun: Vec::new(), reference: Reference::default() }
    }

    async fn play(&mut self, act: Act) {
        match act {
            Act::Acquire { who, wait, settles } if self.held[who].is_none() => self.acquire(who, wait, settles).await,
            Act::Commit(who) => {
                let Some(held) = &self.held[who] else { return };
                let done = held.commit(vec![note("a word")], vec![], None).await;
                assert_eq!(done.is_ok(), self.reference.write(who), "{done:?}");
                if done.is_err() {
                    self.held[who] = None;
                }
            }
            Act::Release(who, whole) => {
                let Some(held) = self.held[who].take() else { return };
                let release = if whole { ended(Outcome::Deployed) } else { Release::default() };
                let done = held.release(release).await;
                assert_eq!(done.is_ok(), self.reference.release(who, whole), "{done:?}");
                self.reference.handles[who] = None;
            }
            Act::Crash(who) => (self.held[who], self.reference.handles[who]) = (None, None),
            Act::Cut(who, cut) => {
                self.processes[who].line.cut(cut);
                self.reference.cut[who] = cut;
            }
            Act::LoseReply(action) => self.account.sandbox.faults().schedule(When::Action(action.into(), 1), Misfortune::LoseReply),
            Act::Pass(span) => self.processes[0].clock.sleep(seconds(span)).await,
            Act::Sleep(who, span) => {
                self.processes[who].clock.sleep_machine(seconds(span));
                let guard = self.held[who].as_ref().map(|held| held.guard()());
                assert!(span < 60 || guard.is_none_or(|guard| guard.is_err()), "nothing is changed before the first beat");
            }
            Act::Halt(who) if !self.reference.cut[who] => self.halt(who).await,
            Act::Break(who) if !self.reference.cut[who] => self.break_it(who).await,
            _ => {}
        }
    }

    async fn acquire(&mut self, who: usize, wait: u64, settles: bool) {
        let id = format!("01OP{:04}", self.begun.len());
        let wanted = Intent { settles, hold: seconds(20), ..intent(&id) };
        let taken = self.processes[who].acquire_within(wait, wanted).await;
        let found = match &taken {
            Ok(held) => Taking::Taken(held.fence()),
            Err(Blocked::Held(..)) => Taking::Held,
            Err(Blocked::Unfinished(..)) => Taking::Unfinished,
            Err(Blocked::Aws(_)) => Taking::NoLine,
            Err(other) => panic!("{other:?}"),
        };
        assert_eq!(found, self.reference.acquire(who, wait, settles));
        let Ok(held) = taken else { return };
        if held.unfinished().is_some() {
            let end = Entry::Ended { outcome: Outcome::Refused, reason: None }.item();
            held.settle(vec![end], journal::ended(Outcome::Refused, None, "2026-11-22T10:01:00Z")).await.unwrap();
        }
        assert_eq!(held.operation().0, id);
        self.begun.push(id);
        self.held[who] = Some(held);
    }

    async fn halt(&mut self, who: usize) {
        let Some(row) = self.row(who).await.filter(|row| row.state == LockState::Held) else { return };
        let (process, operation) = (&self.processes[who], row.operation.unwrap());
        lock::halt(&process.db, &process.clock, &scope(), &operation, "p", "a rollback").await.unwrap();
        let Some(holder) = (0..WHO).find(|who| self.reference.owns(*who) && !self.reference.cut[*who]) else { return };
        let held = self.held[holder].take().unwrap();
        tokio::time::timeout(seconds(15), held.halted_or_lost()).await.expect("heard of with the next beat");
        held.release(Release::default()).await.unwrap();
        assert!(self.reference.release(holder, false));
    }

    async fn break_it(&mut self, who: usize) {
        let Some(row) = self.row(who).await.filter(|row| row.state == LockState::Held) else { return };
        let (process, operation) = (&self.processes[who], row.operation.clone().unwrap());
        let broken =
            lock::break_lock(&process.db, &process.clock, &scope(), &operation, &row, false, &process.who, "it hangs").await.unwrap();
        assert_eq!(broken, lock::Breaking::Broken);
        (self.reference.fence, self.reference.held) = (self.reference.fence + 1, false);
    }

    async fn row(&self, who: usize) -> Option<adstage::model::LockRecord> {
        lock::read(&self.processes[who].db, &scope()).await.unwrap().lock
    }

    /// After every act: the row is as it must be, and at most one process may change anything.
    async fn check(&self) {
        let reader = self.account.process("reader").await;
        let row = lock::read(&reader.db, &scope()).await.unwrap().lock;
        let found = row.map_or((0, false, false), |row| (row.fence, row.state == LockState::Held, row.open.is_some()));
        assert_eq!(found, (self.reference.fence, self.reference.held, self.reference.open));
        let guarded: Vec<usize> = (0..WHO).filter(|who| self.held[*who].as_ref().is_some_and(|held| held.guard()().is_ok())).collect();
        assert!(guarded.len() <= 1, "{guarded:?} may all change things");
    }

    /// In the end: every operation's events are there, numbered without gaps, and make sense.
    async fn check_journal(&self) {
        let reader = self.account.process("reader").await;
        for id in &self.begun {
            let (_, events) = journal::operation(&reader.db, &scope(), &OperationId(id.clone())).await.unwrap().unwrap();
            assert!(events.iter().map(|event| event.seq).eq(0..events.len() as u64), "{id}");
            journal::fold(&events).unwrap();
        }
    }
}

async fn play(acts: Vec<Act>) {
    let mut played = Played::new().await;
    for act in acts {
        played.play(act).await;
        played.check().await;
    }
    // Whatever is on its way, such as a last beat, arrives.
    played.processes[0].clock.sleep(Duration::from_secs(1)).await;
    played.check_journal().await;
}

proptest! {
    #![proptest_config(Config {
        cases: 8,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct("tests/it/lease_random.txt"))),
        ..Config::default()
    })]

    #[test]
    fn random_acts_come_out_as_the_reference_says(acts in prop::collection::vec(act(), 1..25)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(play(acts));
    }
}
