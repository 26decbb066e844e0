//! What was meant and what was done: releases, operations and their events, as rows of the state table.
//!
//! Row builders and readers only. Nothing here writes: every write goes through the holder of the lock, which alone knows the fence and
//! the number of the next event.

mod begun;
mod entry;
mod fold;
mod read;
mod rows;

pub use crate::model::{Direction, StepStatus};
pub use begun::{Begun, Unreadable, begun};
pub use entry::{Asked, Deed, Entry, Logged, StepKey, outcome_word};
pub use fold::{Illegal, OperationStatus, fold};
pub use read::{Journal, began_something, head, operation, read, release};
pub use rows::{Operation, and_checked, checked, create_release, ended, judge, next_release, operation as operation_body, serve};
