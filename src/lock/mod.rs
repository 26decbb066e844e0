//! One writer per scope: the lease.
mod constants;
mod row;
pub use row::Identity;
