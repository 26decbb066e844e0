//! Two environments behind one listener, when a lock is broken: whoever takes over what they share waits for the old holder's last call.

use adstage::lock::{self, Held, Intent};
use adstage::model::{OperationId, Outcome, Resource, Scope};

use crate::lease::{Account, Process, ended, intent, scope, seconds};

fn neighbour() -> Scope {
    Scope::environment("adstage", &"shop".parse().unwrap(), &"production".parse().unwrap())
}

fn third() -> Scope {
    Scope::environment("adstage", &"shop".parse().unwrap(), &"training".parse().unwrap())
}

async fn take(process: &Process, scope: Scope, id: &str) -> Held {
    let wanted = Intent { secondaries: vec![Resource("listener.front.443".into())], ..intent(id) };
    lock::acquire(&process.db, &process.clock, scope, process.who.clone(), wanted).await.unwrap()
}

async fn broken(answered: bool) -> (Account, Process) {
    let account = Account::new().await;
    let (ada, grace) = (account.process("ada").await, account.process("grace").await);
    let held = take(&ada, scope(), "01ADA").await;
    let row = lock::read(&grace.db, &scope()).await.unwrap().lock.unwrap();
    let operation = OperationId("01ADA".into());
    lock::break_lock(&grace.db, &grace.clock, &scope(), &operation, &row, answered, &grace.who, "it hangs").await.unwrap();
    assert!(held.guard()().is_ok(), "ada does not know yet");
    drop(held);
    (account, grace)
}

#[tokio::test(start_paused = true)]
async fn a_neighbour_waits_for_the_last_call_of_a_broken_holder() {
    for (answered, wait) in [(true, 25), (false, 70)] {
        let (_account, grace) = broken(answered).await;
        let held = take(&grace, neighbour(), "01GRACE").await;
        assert!(held.guard()().is_err() && held.must_wait() > seconds(wait - 1));
        grace.clock.sleep(seconds(wait)).await;
        assert!(held.guard()().is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn a_neighbour_that_gives_up_before_the_wait_is_over_leaves_it_to_the_next() {
    let (account, grace) = broken(true).await;
    take(&grace, neighbour(), "01GRACE").await.release(ended(Outcome::Refused)).await.unwrap();
    let again = take(&grace, neighbour(), "01AGAIN").await;
    assert!(again.must_wait() > seconds(24), "not forgotten in its own lock");
    again.release(ended(Outcome::Refused)).await.unwrap();
    let held = take(&account.process("linus").await, third(), "01LINUS").await;
    assert!(held.must_wait() > seconds(24), "nor in what is shared");
    grace.clock.sleep(seconds(25)).await;
    held.release(ended(Outcome::Deployed)).await.unwrap();
    let settled = take(&account.process("mary").await, third(), "01MARY").await;
    assert_eq!(settled.must_wait(), seconds(0), "and then it is over");
}
