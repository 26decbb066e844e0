//! Is a fleet well? [`probe`] gathers evidence from AWS, [`judge`] (pure) makes a verdict of it, [`poll_until`] asks again until there
//! is one that counts or the time is up.

mod judge;
mod metrics;
mod poll;
mod probe;
mod traffic;
mod utilization;

pub use judge::{Ended, Evidence, Verdict, judge};
pub use metrics::{Against, LAG, Metrics, MetricsTarget, Seen};
pub use poll::{Look, Stop, Waiting, poll_until};
pub use probe::{Probe, ProbeTarget};
pub use traffic::{Served, Traffic, served};
pub use utilization::{Compared, Need, Utilization, before, since};
