//! The state table: made once, whole, and never somebody else's.

use std::sync::Arc;

use adstage::aws::dynamodb::{Item, Key, Query, TableState, Value, Write, WriteError};
use adstage::aws::{Aws, Connection, ErrorKind};
use adstage::clock::Clock;
use adstage::sandbox::{Misfortune, Options, Sandbox, When};

async fn connect(sandbox: &Sandbox) -> Aws {
    let connection = Connection {
        region: "eu-central-1".into(),
        profile: None,
        endpoint: Some("http://sandbox.invalid".into()),
        account_keys: Some("111122223333".into()),
        http: Some(sandbox.http_client()),
        clock: Clock::for_tests(),
        seed: 1,
    };
    Aws::connect(connection).await
}

fn row(sk: &str, number: u64) -> Item {
    [("pk", Value::from("shop#staging")), ("sk", sk.into()), ("n", number.into())].map(|(name, value)| (name.to_string(), value)).into()
}

#[tokio::test(start_paused = true)]
async fn it_is_made_whole_and_making_it_again_changes_nothing() {
    let sandbox = Sandbox::in_process(Options::default());
    let db = connect(&sandbox).await.dynamodb;
    assert_eq!(db.describe_table("adstage").await.unwrap(), None);
    // The reply to the first attempt is lost: the second finds the table there.
    sandbox.faults().schedule(When::Action("CreateTable".into(), 1), Misfortune::LoseReply);
    db.create_table("adstage").await.unwrap();
    let whole = TableState { active: true, our_keys: true, protected: true, recoverable: true, expires: true };
    assert_eq!(db.describe_table("adstage").await.unwrap(), Some(whole));
    let before = sandbox.faults().calls().len();
    db.create_table("adstage").await.unwrap();
    assert!(sandbox.faults().calls()[before..].iter().all(|call| !call.mutating));
}

#[tokio::test(start_paused = true)]
async fn a_guard_that_says_no_never_stops_the_lock_from_proving_itself() {
    let sandbox = Sandbox::in_process(Options::default());
    let aws = connect(&sandbox).await;
    aws.dynamodb.create_table("adstage").await.unwrap();
    let guarded = aws.guarded(Arc::new(|| Err("the lease is in doubt".into())));
    guarded.dynamodb.write("adstage", &Write::put_new(row("LOCK", 1))).await.unwrap();
    assert_eq!(guarded.ec2.terminate("i-00000000000000001").await.unwrap_err().kind, ErrorKind::Guard);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_brings_the_row_as_it_is() {
    let sandbox = Sandbox::in_process(Options::default());
    let db = connect(&sandbox).await.dynamodb;
    db.create_table("adstage").await.unwrap();
    db.write("adstage", &Write::put_new(row("A", 1))).await.unwrap();
    let Err(WriteError::Refused(reasons)) = db.write("adstage", &Write::put_new(row("A", 2))).await else { panic!("refused") };
    assert_eq!(reasons[0].old, Some(row("A", 1)));
    let both = [Write::put_new(row("B", 1)), Write::put_new(row("A", 2))];
    let Err(WriteError::Refused(reasons)) = db.transact("adstage", &both, "token").await else { panic!("refused") };
    assert_eq!(reasons.iter().map(|reason| reason.refused).collect::<Vec<_>>(), [false, true]);
    assert_eq!(reasons[1].old, Some(row("A", 1)));
    assert_eq!(db.get("adstage", &Key::new("shop#staging", "B")).await.unwrap(), None, "all or nothing");
    let foreign: Item = [("pk".to_string(), Value::from("x")), ("sk".to_string(), Value::Other("SS"))].into();
    assert!(matches!(db.write("adstage", &Write::put(foreign)).await, Err(WriteError::Failed(error)) if error.kind == ErrorKind::Invalid));
}

#[tokio::test(start_paused = true)]
async fn queries_read_page_after_page_in_both_directions() {
    let sandbox = Sandbox::in_process(Options::default());
    let db = connect(&sandbox).await.dynamodb;
    db.create_table("adstage").await.unwrap();
    let long = Value::from("x".repeat(300_000));
    for number in 1..=8 {
        let mut item = row(&format!("OP#{number}"), number);
        item.insert("pad".into(), long.clone());
        if number % 2 == 0 {
            item.insert("kind".into(), "deploy".into());
        }
        db.write("adstage", &Write::put(item)).await.unwrap();
    }
    let numbers = |rows: Vec<Item>| rows.iter().map(|row| row["n"].clone()).map(|n| n.decode::<u64>().unwrap()).collect::<Vec<_>>();
    let all = Query::prefix("shop#staging", "OP#");
    assert_eq!(numbers(db.query("adstage", &all).await.unwrap()), [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(numbers(db.query("adstage", &all.clone().newest(5)).await.unwrap()), [8, 7, 6, 5, 4]);
    assert_eq!(numbers(db.query("adstage", &all.newest(3).having("kind")).await.unwrap()), [8, 6, 4]);
    let between = Query::between("shop#staging", "OP#3", "OP#5");
    assert_eq!(numbers(db.query("adstage", &between).await.unwrap()), [3, 4, 5]);
}
