//! Sending a write until its outcome is known. A lost reply is settled by resending identical bytes under the same token; nothing that
//! is merely busy is ever taken for a refusal.

use std::time::Duration;

use super::constants::{RESEND_FIRST, RESEND_MOST};
use crate::aws::dynamodb::{Item, Reason, Write, WriteError};
use crate::aws::{Dynamodb, Error, ErrorKind};
use crate::clock::Clock;

/// What became of a write.
#[derive(Debug)]
pub(super) enum Sent {
    /// It was carried out; for a single update, the row as it is now.
    Applied(Option<Item>),
    /// A condition was false: refused, or carried out by an earlier attempt. The reasons tell which.
    Refused(Vec<Reason>),
    /// It was not carried out and never will be.
    Failed(Error),
    /// Time is up and nobody knows.
    Unknown(Error),
}

/// Sends writes, with pauses of its own random numbers between attempts.
#[derive(Debug)]
pub(super) struct Sender {
    pub(super) db: Dynamodb,
    pub(super) clock: Clock,
    pub(super) table: String,
    rng: fastrand::Rng,
    /// Credentials that expired are waited for like an outage: somebody may log in again, and what is held must not be dropped for it.
    waits_for_login: bool,
}

impl Sender {
    /// `seed` makes the pauses differ between processes and repeat in a test.
    pub(super) fn new(db: Dynamodb, clock: Clock, table: &str, seed: &str) -> Self {
        let seed = seed.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
        Self { db, clock, table: table.to_string(), rng: fastrand::Rng::with_seed(seed), waits_for_login: false }
    }

    /// A sender over the same connection for whoever keeps the lock, with random numbers of its own.
    pub(super) fn keeper(&mut self, seed: &str) -> Self {
        let keeper = Self::new(self.db.clone(), self.clock.clone(), &self.table, &format!("{seed}/{}", self.rng.u64(..)));
        Self { waits_for_login: true, ..keeper }
    }

    /// A span of this length, give or take the share.
    pub(super) fn about(&mut self, span: Duration, share: f64) -> Duration {
        span.mul_f64(1.0 - share + 2.0 * share * self.rng.f64())
    }

    /// Sends a transaction for at most `patience` (of waking time: a machine that slept gets to try again).
    pub(super) async fn transact(&mut self, writes: &[Write], token: &str, patience: Duration) -> Sent {
        let (mut unknown, mut busy) = (None, None);
        let attempts = async {
            let mut pause = RESEND_FIRST;
            loop {
                match self.db.transact(&self.table, writes, token).await {
                    Ok(()) => return Sent::Applied(None),
                    Err(WriteError::Refused(reasons)) => return Sent::Refused(reasons),
                    Err(WriteError::Failed(error)) if self.waits_for_login && error.kind == ErrorKind::NotLoggedIn => busy = Some(error),
                    // After an attempt nobody knows about, "it failed" no longer says that nothing happened.
                    Err(WriteError::Failed(error)) if unknown.is_none() => return Sent::Failed(error),
                    Err(WriteError::Busy(error)) => busy = Some(error),
                    Err(WriteError::Unknown(error) | WriteError::Failed(error)) => unknown = Some(error),
                }
                self.clock.sleep(pause.mul_f64(0.5 + self.rng.f64())).await;
                pause = (pause * 2).min(RESEND_MOST);
            }
        };
        match tokio::time::timeout(patience, attempts).await {
            Ok(sent) => sent,
            Err(_) => Sent::Unknown(unknown.or(busy).unwrap_or_else(no_answer)),
        }
    }

    /// Sends one write a few times.
    pub(super) async fn write(&mut self, write: &Write, attempts: u32) -> Sent {
        let mut last = no_answer();
        let mut pause = RESEND_FIRST;
        for _ in 0..attempts {
            match self.db.write(&self.table, write).await {
                Ok(row) => return Sent::Applied(row),
                Err(WriteError::Refused(reasons)) => return Sent::Refused(reasons),
                Err(WriteError::Busy(error) | WriteError::Unknown(error) | WriteError::Failed(error)) => last = error,
            }
            self.clock.sleep(pause.mul_f64(0.5 + self.rng.f64())).await;
            pause = (pause * 2).min(RESEND_MOST);
        }
        Sent::Unknown(last)
    }
}

/// Time was up during the first attempt.
fn no_answer() -> Error {
    Error::new("TransactWriteItems", ErrorKind::Network, "", "AWS did not answer in time")
}
