//! Which misfortune strikes at which moment of a deploy, and what the next operator types: all of it from a number and a seed.

/// The stages of a deploy that replaces a release, in order; a moment may also come before the first.
pub const STAGES: [&str; 8] = ["", "prepare", "launch", "await", "verify", "cut over", "watch", "settle"];

/// What happens to the deploy's process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum How {
    /// SIGKILL.
    Killed,
    /// SIGTERM.
    Terminated,
    /// SIGSTOP, nobody comes, SIGCONT after so many seconds.
    Paused(u64),
    /// SIGSTOP, a colleague takes over, SIGCONT.
    Replaced,
}

/// The one command of whoever comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    Rollback,
    Resume,
    Abort,
}

impl Next {
    pub fn typed(self) -> &'static [&'static str] {
        match self {
            Self::Rollback => &["rollback", "production", "--yes"],
            Self::Resume => &["resume", "production", "--confirm", "production", "--lock-timeout", "5m"],
            Self::Abort => &["resume", "production", "--abort", "--confirm", "production", "--lock-timeout", "5m"],
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moment {
    pub number: u64,
    pub seed: u64,
    pub how: How,
    /// Index into [`STAGES`].
    pub stage: usize,
    /// How far into the stage, by what the stage took in a deploy nobody disturbed.
    pub part: f64,
    pub next: Next,
}

/// The moment of this number. Numbers go round the misfortunes and the stages, so that few moments cover many of both; the seed decides
/// the rest.
pub fn moment(number: u64, seed: u64) -> Moment {
    let mut dice = fastrand::Rng::with_seed(seed.wrapping_mul(1_000_003).wrapping_add(number));
    let how = match number % 6 {
        0 | 3 => How::Killed,
        1 | 4 => How::Terminated,
        // Longer than the lease, or short enough that nobody notices.
        2 if dice.bool() => How::Paused(dice.u64(61..66)),
        2 => How::Paused(dice.u64(1..9)),
        _ => How::Replaced,
    };
    let turn = number / 6 + if number % 6 < 3 { 0 } else { 4 };
    let stage = (turn + seed) as usize % STAGES.len();
    let next = [Next::Rollback, Next::Resume, Next::Abort][((number / 6 + number % 6 / 3) % 3) as usize];
    Moment { number, seed, how, stage, part: dice.f64(), next }
}

#[test]
fn a_moment_is_its_number_and_its_seed() {
    assert_eq!(moment(17, 4), moment(17, 4));
    assert_ne!(moment(17, 4).part, moment(17, 5).part);
    for how in [How::Killed, How::Terminated, How::Replaced] {
        let stages: std::collections::BTreeSet<_> = (0..60).map(|n| moment(n, 1)).filter(|it| it.how == how).map(|it| it.stage).collect();
        assert_eq!(stages.len(), STAGES.len(), "{how:?} meets only {stages:?} in sixty moments");
    }
}
