//! Whether this instance is to work: a worker's is held until its tag says that it is active, and finishes what it has when the tag says
//! that it is not any more. Only the tag decides; what the agent cannot learn changes nothing.

use std::time::Duration;

use tokio::sync::watch;

use super::console::Console;
use super::imds::{Imds, ImdsError};
use super::supervisor::told_to_stop;
use crate::clock::Clock;
use crate::model::{ConsoleLine, ServiceName, tag};

/// Between two questions to the metadata service: a hand-over takes about as long.
const LOOK: Duration = Duration::from_secs(1);

/// What the instance's services are to do. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Duty {
    active: watch::Receiver<bool>,
}

/// Whoever tells.
pub(super) type Orders = watch::Sender<bool>;

impl Duty {
    /// What is to be done now, and who will tell when that changes.
    pub fn of(active: bool) -> (Self, Orders) {
        let (tell, told) = watch::channel(active);
        (Self { active: told }, tell)
    }

    /// To work, now.
    pub fn is_active(&self) -> bool {
        *self.active.borrow()
    }

    /// Once it is to work. Never, if it is not and nobody is left who could say so.
    pub async fn begins(&self) {
        self.becomes(true).await;
    }

    /// Once it is to work no longer.
    pub async fn ends(&self) {
        self.becomes(false).await;
    }

    async fn becomes(&self, wanted: bool) {
        let mut active = self.active.clone();
        if active.wait_for(|active| *active == wanted).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// What the tag says; None if there is none.
pub(super) async fn ask(imds: &Imds) -> Result<Option<bool>, ImdsError> {
    Ok(imds.tag(tag::ACTIVE).await?.map(|value| value == tag::YES))
}

/// Asks again and again, tells whenever the answer is another, and says it on the console.
pub(super) async fn follow(imds: Imds, orders: Orders, services: Vec<ServiceName>, console: Console, clock: Clock) {
    say(&console, &services, *orders.borrow());
    loop {
        clock.sleep(LOOK).await;
        match ask(&imds).await {
            Ok(Some(active)) if active != *orders.borrow() => {
                say(&console, &services, active);
                let _ = orders.send(active);
            }
            Ok(_) => {}
            Err(error) => tracing::warn!("whether this instance is active cannot be learnt: {error}"),
        }
    }
}

fn say(console: &Console, services: &[ServiceName], active: bool) {
    let services = services.to_vec();
    console.mark(&if active { ConsoleLine::Active { services } } else { ConsoleLine::Held { services } });
}

/// Told to stop, or to rest.
pub(super) async fn relieved(stop: &mut watch::Receiver<bool>, duty: &Duty) {
    tokio::select! {
        () = told_to_stop(stop) => {}
        () = duty.ends() => {}
    }
}
