//! The lease: one writer per environment.
//!
//! A lock is a row that is never deleted. It carries a `fence`, which grows with each holder, and a `beat`, which grows with each renewal.
//! Whoever waits takes over only after seeing the same fence and beat for lease + grace on its *own* clock. The lapse of a lease frees the
//! mutex, never the environment: `open` keeps naming the unfinished operation, and whoever comes next settles that first. Every journal
//! write is one transaction that proves and renews the lease; every call that changes something in AWS passes [`Held::guard`] at the last
//! hook before the socket.
//!
//! Where is what: [`constants`] the spans and why they are so · `row` the row as a value · `transactions` who may write what under which
//! condition · `resend` and `outcome` what a lost reply or a refusal means · `acquire`, `way`, `taker` and `lapse` taking it · `shared` what
//! is taken with it · `holder` the one writer · `held` the handle. What people do from outside: `halt`, `force`, `freeze`, each with its row
//! of `audit`. Nothing here knows what an event says: bodies come from the caller.

mod acquire;
mod audit;
pub mod constants;
mod force;
mod freeze;
mod halt;
mod held;
mod holder;
mod lapse;
mod listen;
mod outcome;
mod resend;
mod row;
mod shared;
mod taker;
mod transactions;
mod way;

pub use acquire::{Intent, View, Wait, acquire, acquire_seen, acquire_within, read, wait_until_settled};
pub use force::{Breaking, Repaired, break_lock, repair};
pub use freeze::{Freezing, freeze, freeze_item, in_force, parse_freeze, unfreeze};
pub use halt::{Halting, halt};
pub use held::{Halt, Held, Release, TakeOver, TakeOverKind};
pub use lapse::{Watch, lapsed, lapses_in};
pub use listen::{Sign, listen};
pub use outcome::{Blocked, Lost};
pub use row::{Identity, lock_item, parse_lock};
pub use shared::{Blocker, Holding, Shared, read_shared};
