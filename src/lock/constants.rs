//! Every span the lock depends on, in one place. The lease is also stored in the row, and a waiter uses the row's, so that an old and
//! a new binary agree.

use std::time::Duration;

/// How long a beat is good for. Survives a change of Wi-Fi and five lost beats; a killed CI job blocks the next for 70 s at most.
pub const LEASE: Duration = Duration::from_secs(60);

/// Between two beats, ±10 %: a sixth of the lease, so that one or two lost ones do not matter.
pub const HEARTBEAT: Duration = Duration::from_secs(10);

/// What a waiter adds to the lease before it takes over: clocks that run at different rates, and delivery.
pub const GRACE: Duration = Duration::from_secs(10);

/// The longest an ordinary call may take; the timeout every SDK client has.
pub const CALL: Duration = Duration::from_secs(10);

/// The guard lets a mutating call start only while this much of the lease is left: the call's own timeout, and 5 s. So calls start in
/// the first 45 s after a beat and have landed by 55; a take-over comes at 70 at the earliest: clock rates may differ 1.27 times.
pub const GUARD: Duration = Duration::from_secs(15);

/// Between two looks of a waiter, ±50 %.
pub const POLL: Duration = Duration::from_secs(5);

/// How long a holder goes on proving while DynamoDB does not answer, unless it is told otherwise. Nothing is changed meanwhile: the guard
/// says no.
pub const HOLD: Duration = Duration::from_secs(600);

/// How long an acquire whose outcome is unknown is resent before giving up.
pub const ACQUIRE: Duration = Duration::from_secs(30);

/// Between two attempts of one write, first; doubles up to [`RESEND_MOST`], with jitter.
pub const RESEND_FIRST: Duration = Duration::from_millis(100);

/// Between two attempts of one write, at most.
pub const RESEND_MOST: Duration = Duration::from_secs(3);

/// The longest the holder sleeps without looking at the boot clock: a woken laptop's timers have stopped, so a long sleep would delay
/// the beat that must be its first act.
pub const LOOK: Duration = Duration::from_secs(1);

/// Events are kept this long after they were written (the table's TTL; nothing else expires).
pub const EVENTS_KEPT: Duration = Duration::from_secs(400 * 24 * 3600);

/// Nothing is changed so long after a lock was broken whose holder was heard of to the end: until its next beat tells it, the attempts to
/// send that, and a call that it had just begun.
pub const BROKEN_ANSWERED: Duration = Duration::from_secs(25);

/// The same if the holder was not heard of: as long as if its lease had lapsed.
pub const BROKEN_SILENT: Duration = Duration::from_secs(70);

/// How long somebody who wants to break a lock listens for its holder: a beat and the attempts to send it.
pub const LISTEN: Duration = Duration::from_secs(14);

/// So long after a take-over from a holder that may not know it, a call of it can still arrive: AWS refuses a signature "in most cases"
/// after 5 minutes (*Signature Version 4 signing for API requests*) and always after 15 (`RequestExpired`, *Common Errors*).
pub const HORIZONS: [Duration; 2] = [Duration::from_secs(330), Duration::from_secs(930)];

// The argument of the module above, checked by the compiler.
const _: () = assert!(CALL.as_secs() + 5 == GUARD.as_secs());
const _: () = assert!(LEASE.as_secs() >= 4 * HEARTBEAT.as_secs());
const _: () = assert!(GUARD.as_secs() < LEASE.as_secs());
// A beat at its latest (+10 %), an attempt of 3 s, a call.
const _: () = assert!(BROKEN_ANSWERED.as_secs() > HEARTBEAT.as_secs() + HEARTBEAT.as_secs() / 10 + 3 + CALL.as_secs());
const _: () = assert!(BROKEN_SILENT.as_secs() >= LEASE.as_secs() + GRACE.as_secs());
const _: () = assert!(LISTEN.as_secs() >= HEARTBEAT.as_secs() + HEARTBEAT.as_secs() / 10 + 3);
