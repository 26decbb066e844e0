//! What was meant and what was done: releases, operations and their events, as rows of the state table.
//!
//! Row builders and readers only. Nothing here writes: every write goes through the holder of the lock, which alone knows the fence and
//! the number of the next event.

mod entry;
mod fold;
mod read;
mod rows;

pub use entry::{Asked, Deed, Entry, Logged, StepKey};
pub use fold::{Direction, Illegal, OperationStatus, StepStatus, fold};
pub use read::{Journal, operation, read, release};
pub use rows::{Operation, and_checked, checked, create_release, ended, judge, next_release, operation as operation_body, serve};
