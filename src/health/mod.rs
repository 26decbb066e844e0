//! Is a fleet well? [`probe`] gathers evidence from AWS, [`judge`] (pure) makes a verdict of it, [`poll_until`] asks again until there
//! is one that counts or the time is up.

mod judge;
mod poll;
mod probe;

pub use judge::{Ended, Evidence, Verdict, judge};
pub use poll::{Look, Stop, Waiting, poll_until};
pub use probe::{Probe, ProbeTarget};
