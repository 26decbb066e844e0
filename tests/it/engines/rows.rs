//! Every kind of row, written by the real code and read back through a server that is not ours.

use std::collections::BTreeMap;

use adstage::aws::dynamodb::{Item, Key, Query, Value, Write, WriteError};
use adstage::journal::{self, Asked, Deed, Entry, StepKey};
use adstage::lock;
use adstage::model::{FreezeRecord, Head, LockState, OperationId, Outcome, ReleaseNumber, Verdict};

use super::server::Engine;
use super::{ALL, everything, on};
use crate::lease::{ended, intent, scope};

fn entries() -> Vec<Entry> {
    let step = || StepKey::new("launch", "fleet web-r1 (ß, 東京, \"quoted\")");
    let text = "one line".to_string();
    let deeds = [
        Deed::Started { attempt: 2, before: Some("nothing".into()), after: Some("2 machines".into()) },
        Deed::Succeeded { found: None },
        Deed::Succeeded { found: Some("done already".into()) },
        Deed::Failed { error: "refused".into() },
        Deed::UndoStarted,
        Deed::UndoFinished { found: None },
        Deed::UndoFailed { error: "x".repeat(15_000) },
    ];
    let mut entries: Vec<Entry> = deeds.into_iter().map(|deed| Entry::Step(step(), deed)).collect();
    entries.extend([
        Entry::Halted { by: "grace".into(), why: "rollback".into() },
        Entry::Asked { what: Asked::Unwind, by: "grace".into() },
        Entry::Asked { what: Asked::Superseded, by: "grace".into() },
        Entry::Verdict { text: text.clone() },
        Entry::Note { text },
    ]);
    entries
}

#[test]
fn our_own_create_table_makes_the_table_and_finds_nothing_left_to_do() {
    on(&[Engine::Ministack, Engine::Sandbox], async |ground| {
        let db = ground.process("again").await.db;
        assert!(db.describe_table(&scope().table).await.unwrap().unwrap().complete());
        db.create_table(&scope().table).await.unwrap();
    });
}

#[test]
fn every_kind_of_row_comes_back_as_it_was_written() {
    on(&ALL, async |ground| {
        let ada = ground.process("ada").await;
        let held = ada.acquire(intent("01ADA")).await.unwrap();
        let lock = lock::read(&ada.db, &scope()).await.unwrap().lock.unwrap();
        let open = Some(OperationId("01ADA".into()));
        assert_eq!((lock.state, lock.fence, lock.beat, lock.lease_ms), (LockState::Held, 1, 0, 60_000));
        assert_eq!((&lock.operation, &lock.open, lock.owner.as_deref()), (&open, &open, Some("owner-ada")));
        assert_eq!((&lock.who, &lock.host, &lock.doing, &lock.cli), (&ada.who.who, &ada.who.host, &"deploying 01ADA".into(), &ada.who.cli));

        held.commit(entries().iter().map(Entry::item).collect(), vec![], Some("launch")).await.unwrap();
        let record = crate::records::release(ReleaseNumber(1), &held.operation());
        held.commit(vec![], journal::create_release(&scope(), &record, held.fence()).unwrap(), None).await.unwrap();
        let bad = Verdict::Bad { reason: "it was slow".into() };
        held.commit(vec![], vec![journal::judge(&scope(), ReleaseNumber(1), &bad)], None).await.unwrap();
        let serving: BTreeMap<_, _> = [("web".parse().unwrap(), ReleaseNumber(1))].into();
        let mut release = ended(Outcome::RolledBack);
        release.writes.push(journal::serve(&scope(), &serving, &BTreeMap::new(), held.fence()));
        held.release(release).await.unwrap();

        let (operation, events) = journal::operation(&ada.db, &scope(), &OperationId("01ADA".into())).await.unwrap().unwrap();
        let last = events.len() as u64 - 1;
        assert_eq!((operation.fence, operation.seq, operation.record.ended), (1, last, Some(Outcome::RolledBack)));
        assert_eq!((operation.record.stage.as_str(), operation.request.as_str()), ("launch", "adstage deploy staging"));
        let read: Vec<Entry> = events.iter().map(|event| event.entry.clone()).collect();
        assert_eq!(read[1..read.len() - 1], entries());
        assert_eq!(events.iter().map(|event| event.seq).collect::<Vec<_>>(), (0..=last).collect::<Vec<_>>());
        let journal = journal::read(&ada.db, &scope()).await.unwrap();
        assert_eq!(journal.head, Some(Head { serving, fence: 1, next: 2, ..Head::default() }));
        assert_eq!((&journal.releases[0].release, &journal.releases[0].verdict), (&record.release, &bad));
        assert_eq!(journal.operations, [operation.record]);
        let until = Some("2031-01-01T00:00:00Z".to_string());
        let freeze = FreezeRecord { who: "grace".into(), reason: "trade fair".into(), made: "2026-11-22T10:00:00Z".into(), until };
        ada.put(lock::freeze_item(&scope(), &freeze).unwrap()).await;
        let view = lock::read(&ada.db, &scope()).await.unwrap();
        assert_eq!(view.freeze, Some(freeze));
        let free = view.lock.unwrap();
        assert_eq!((free.state, free.fence, free.owner, free.operation, free.open), (LockState::Free, 1, None, None, None));
    });
}

#[test]
fn every_type_of_value_survives_and_pages_are_put_together() {
    on(&ALL, async |ground| {
        let db = ground.process("ada").await.db;
        let deep: Item = [
            ("text", Value::from("ß 東京 \u{1f680} \"\\\n")),
            ("empty", "".into()),
            ("number", u64::MAX.into()),
            ("yes", true.into()),
            ("none", Value::Null),
            ("list", Value::List(vec![1u64.into(), "two".into(), Value::Map(Item::new()), Value::List(vec![])])),
        ]
        .map(|(name, value)| (name.to_string(), value))
        .into();
        let mut row: Item =
            [("pk", Value::from("p")), ("sk", "row".into()), ("map", deep.clone().into())].map(|(n, v)| (n.to_string(), v)).into();
        row.extend(deep);
        db.write(&scope().table, &Write::put(row.clone())).await.unwrap();
        assert_eq!(db.get(&scope().table, &Key::new("p", "row")).await.unwrap(), Some(row));
        assert_eq!(db.get(&scope().table, &Key::new("p", "none")).await.unwrap(), None);
        // More than one page of a megabyte.
        for number in 0..6u64 {
            let page: Item = [("pk", Value::from("p")), ("sk", format!("page#{number}").into()), ("text", "x".repeat(300_000).into())]
                .map(|(name, value)| (name.to_string(), value))
                .into();
            db.write(&scope().table, &Write::put(page)).await.unwrap();
        }
        let rows = db.query(&scope().table, &Query::prefix("p", "page#").newest(5)).await.unwrap();
        let keys: Vec<_> = rows.iter().map(|row| row["sk"].clone()).collect();
        assert_eq!(keys, ["page#5", "page#4", "page#3", "page#2", "page#1"].map(Value::from));
        assert_eq!(db.query(&scope().table, &Query::prefix("p", "page#")).await.unwrap().len(), 6);
        assert_eq!(db.query(&scope().table, &everything("p").having("map")).await.unwrap().len(), 1);
    });
}

#[test]
fn a_token_is_good_for_one_transaction_only() {
    on(&ALL, async |ground| {
        let db = ground.process("ada").await.db;
        let key = || Key::new("p", "counter");
        let add = |more: u64| vec![Write::update(key(), "ADD beat :n").value(":n", more)];
        let token = format!("{}-token", ground.account);
        db.transact(&scope().table, &add(1), &token).await.unwrap();
        db.transact(&scope().table, &add(1), &token).await.unwrap();
        let row = db.get(&scope().table, &key()).await.unwrap().unwrap();
        assert_eq!(row["beat"], 1u64.into(), "the second is an answer, not a deed");
        let Err(WriteError::Failed(error)) = db.transact(&scope().table, &add(2), &token).await else { panic!("other content") };
        assert_eq!(error.code, "IdempotentParameterMismatchException");
        db.transact(&scope().table, &add(2), "").await.unwrap();
        let row = db.get(&scope().table, &key()).await.unwrap().unwrap();
        assert_eq!(row["beat"], 3u64.into());
    });
}

#[test]
fn a_refusal_shows_the_rows_that_refused() {
    on(&ALL, async |ground| {
        let db = ground.process("ada").await.db;
        let row = |sk: &str, fence: u64| -> Item {
            [("pk", Value::from("p")), ("sk", sk.into()), ("fence", fence.into())].map(|(name, value)| (name.to_string(), value)).into()
        };
        db.write(&scope().table, &Write::put(row("a", 7))).await.unwrap();
        db.write(&scope().table, &Write::put(row("b", 8))).await.unwrap();
        let only = |sk: &str, fence: u64| Write::check(Key::new("p", sk), "fence = :f").value(":f", fence);
        let writes = [only("a", 7), only("b", 9), Write::put_new(row("c", 1)), only("absent", 1)];
        let Err(WriteError::Refused(reasons)) = db.transact(&scope().table, &writes, "").await else { panic!("refused") };
        let refused: Vec<bool> = reasons.iter().map(|reason| reason.refused).collect();
        assert_eq!(refused, [false, true, false, true]);
        assert_eq!((&reasons[1].old, &reasons[3].old), (&Some(row("b", 8)), &None));
        assert_eq!(db.get(&scope().table, &Key::new("p", "c")).await.unwrap(), None, "all or nothing");
        let update = Write::update(Key::new("p", "a"), "SET fence = :n").only_if("fence = :f").value(":n", 2u64).value(":f", 1u64);
        for write in [Write::put_new(row("a", 1)), update] {
            let Err(WriteError::Refused(reasons)) = db.write(&scope().table, &write).await else { panic!("refused: {write:?}") };
            assert_eq!(reasons[0].old, Some(row("a", 7)));
        }
    });
}
