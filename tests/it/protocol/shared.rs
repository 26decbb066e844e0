//! What two environments share, and locks that are broken: who may change the shared thing, and from when on.
//!
//! Processes 0 and 2 work on environment 0, process 1 on environment 1; each takes its environment's lease and the shared lock in one
//! transaction. Late requests and lost replies are looked at in [`super::lease`]; here every request is answered at once, but for a break,
//! which may arrive whenever it likes. A holder renews on time unless it is dead or cut off from the table; cut off, it can still change
//! what is shared.

use adstage::lock::constants;
use stateright::{Model, Property};

use super::spans::{FIVES, SECONDS, SMALL, Spans};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// As the lock is built.
    Built,
    /// Whoever takes a broken lock acts at once.
    NoWait,
    /// Whoever takes what a broken lock of another environment had acts at once.
    NeighbourDoesNotWait,
    /// A release before the wait is over forgets that there was one.
    ForgetsWait,
    /// The shared lock is taken without asking whether its lease is alive.
    NoProof,
    /// A break names the operation and not the fence.
    AnyFence,
}

/// How long things take around a broken lock, in ticks.
#[derive(Debug, Clone, Copy)]
pub struct Waits {
    pub spans: Spans,
    /// A living holder has renewed, or heard that it cannot, within this.
    pub notice: u8,
    /// How long a breaker listens.
    pub listen: u8,
    pub answered: u8,
    pub silent: u8,
}

pub const REAL: Waits = Waits { spans: SECONDS, notice: 14, listen: 14, answered: 25, silent: 70 };
/// In ticks of five seconds, rounded up.
pub const ROUNDED: Waits = Waits { spans: FIVES, notice: 3, listen: 3, answered: 6, silent: 14 };
/// The smallest that relate to each other as the real ones do.
pub const FEW: Waits = Waits { spans: SMALL, notice: 1, listen: 1, answered: 3, silent: 4 };

#[derive(Debug, Clone)]
pub struct Shared {
    pub variant: Variant,
    pub waits: Waits,
    /// The highest fence of a lease.
    pub grants: u8,
    /// Environment 1 wants the shared thing too.
    pub neighbour: bool,
    /// A holder can be cut off from the table just after somebody has heard it.
    pub cut_after_answer: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Lease {
    held: bool,
    fence: u8,
    /// Since its last change.
    quiet: u8,
    /// Broken, and whether its holder had been heard of.
    broken: Option<bool>,
}

/// The shared lock: the lease it belongs to, and a fence of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Secondary {
    owner: Option<(u8, u8)>,
    fence: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Process {
    Idle,
    Listening {
        fence: u8,
        left: u8,
        heard: bool,
    },
    Breaking {
        fence: u8,
        heard: bool,
    },
    /// `shared`: the fence of the shared lock. Changes nothing for as long as `wait`.
    Holding {
        fence: u8,
        shared: u8,
        age: u8,
        wait: u8,
        cut: bool,
    },
    Gone,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    leases: [Lease; 2],
    shared: Secondary,
    processes: [Process; 3],
    /// On the way: fence of the shared lock, and age.
    calls: [Option<(u8, u8)>; 3],
    /// The highest fence of the shared lock under which a call was sent.
    touched: u8,
    /// A call landed after a later holder had begun to change things.
    late: bool,
    /// A break hit somebody else than it was meant for.
    struck: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    Tick,
    Take(u8),
    Beat(u8),
    Call(u8),
    Land(u8),
    Release(u8),
    Crash(u8),
    Cut(u8),
    Listen(u8),
    Break(u8),
    BreakArrives(u8),
}

fn environment(who: u8) -> usize {
    usize::from(who == 1)
}

impl Shared {
    fn lapsed(&self, lease: &Lease) -> bool {
        lease.quiet >= self.waits.spans.lease + self.waits.spans.grace
    }

    /// Whether this process may take its lease and the shared lock, and for how long it then waits.
    fn may_take(&self, state: &State, who: u8) -> Option<u8> {
        let own = &state.leases[environment(who)];
        let other = &state.leases[1 - environment(who)];
        if own.fence >= self.grants || (own.held && !self.lapsed(own)) {
            return None;
        }
        let others = state.shared.owner.filter(|(lease, _)| usize::from(*lease) != environment(who));
        let alive = others.is_some_and(|(_, fence)| other.held && other.fence == fence && !self.lapsed(other));
        if alive && self.variant != Variant::NoProof {
            return None;
        }
        let wait = |lease: &Lease| match (lease.held, lease.broken) {
            (false, Some(true)) => self.waits.answered,
            (false, Some(false)) => self.waits.silent,
            _ => 0,
        };
        let neighbours = if others.is_some() && self.variant != Variant::NeighbourDoesNotWait { wait(other) } else { 0 };
        Some(if self.variant == Variant::NoWait { 0 } else { wait(own).max(neighbours) })
    }

    fn take(&self, state: &mut State, who: u8, wait: u8) {
        let (own, other) = (environment(who), 1 - environment(who));
        // The lapsed lease of another environment is ended with what it shared.
        let ends = state.shared.owner.is_some_and(|(lease, fence)| usize::from(lease) == other && state.leases[other].fence == fence);
        if ends && state.leases[other].held && self.variant != Variant::NoProof {
            let fence = state.leases[other].fence + 1;
            state.leases[other] = Lease { held: false, fence, quiet: 0, broken: Some(false) };
        }
        let before = state.leases[own];
        let fence = before.fence + 1;
        // What has to be waited for is written down, for whoever comes after.
        let broken = match wait {
            0 => before.broken,
            wait => Some(wait <= self.waits.answered),
        };
        state.leases[own] = Lease { held: true, fence, quiet: 0, broken };
        state.shared = Secondary { owner: Some((own as u8, fence)), fence: state.shared.fence + 1 };
        state.processes[who as usize] = Process::Holding { fence, shared: state.shared.fence, age: 0, wait, cut: false };
    }

    fn passes_guard(&self, process: &Process) -> bool {
        let Process::Holding { age, wait: 0, .. } = process else { return false };
        age + self.waits.spans.guard <= self.waits.spans.lease
    }

    fn tick(&self, state: &mut State) {
        let spans = &self.waits.spans;
        for lease in &mut state.leases {
            lease.quiet = (lease.quiet + 1).min(spans.lease + spans.grace);
        }
        for process in &mut state.processes {
            match process {
                Process::Listening { left, .. } => *left = left.saturating_sub(1),
                Process::Holding { age, wait, .. } => (*age, *wait) = ((*age + 1).min(spans.lease), wait.saturating_sub(1)),
                _ => {}
            }
        }
        for call in &mut state.calls {
            *call = call.map(|(fence, age)| (fence, age + 1)).filter(|(_, age)| *age <= spans.call);
        }
    }

    fn acts(&self, state: &State, who: u8, actions: &mut Vec<Action>) {
        let lease = &state.leases[environment(who)];
        let process = &state.processes[who as usize];
        match process {
            Process::Idle => {
                if self.may_take(state, who).is_some() {
                    actions.push(Action::Take(who));
                }
                if who != 1 && lease.held && lease.fence < self.grants {
                    actions.push(Action::Listen(who));
                }
            }
            Process::Listening { left, heard, .. } if *heard || *left == 0 => actions.push(Action::Break(who)),
            Process::Breaking { .. } => actions.push(Action::BreakArrives(who)),
            Process::Holding { cut, .. } => {
                let calls = state.calls[who as usize].is_some();
                if !cut {
                    actions.push(Action::Beat(who));
                    let heard = |process: &Process| {
                        matches!(process, Process::Listening { heard: true, .. } | Process::Breaking { heard: true, .. })
                    };
                    if self.cut_after_answer || !(state.processes.iter().any(heard) || lease.broken == Some(true)) {
                        actions.push(Action::Cut(who));
                    }
                    if !calls {
                        actions.push(Action::Release(who));
                    }
                }
                if !calls && self.passes_guard(process) {
                    actions.push(Action::Call(who));
                }
                actions.push(Action::Crash(who));
            }
            _ => {}
        }
    }

    /// A holder's write to its lease: carried out, or it hears that the lock is not its own any more.
    fn keep(&self, state: &mut State, who: u8, fence: u8, released: bool) {
        let own = environment(who);
        let lease = &mut state.leases[own];
        let mine = lease.held && lease.fence == fence;
        let process = &mut state.processes[who as usize];
        match (mine, released, &mut *process) {
            (false, ..) => *process = Process::Gone,
            (true, false, Process::Holding { age, .. }) => {
                *age = 0;
                lease.quiet = 0;
                for (other, process) in state.processes.iter_mut().enumerate() {
                    if let Process::Listening { fence: seen, heard, .. } = process
                        && environment(other as u8) == own
                    {
                        *heard |= *seen == fence;
                    }
                }
            }
            (true, true, Process::Holding { wait, .. }) => {
                let settled = *wait == 0 || self.variant == Variant::ForgetsWait;
                let broken = if settled { None } else { lease.broken };
                *lease = Lease { held: false, fence, quiet: 0, broken };
                *process = Process::Idle;
                if settled && state.shared.owner == Some((own as u8, fence)) {
                    state.shared.owner = None;
                }
            }
            _ => {}
        }
    }
}

impl Model for Shared {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let second = if self.neighbour { Process::Idle } else { Process::Gone };
        vec![State {
            leases: [Lease { held: false, fence: 0, quiet: 0, broken: None }; 2],
            shared: Secondary { owner: None, fence: 0 },
            processes: [Process::Idle, second, Process::Idle],
            calls: [None; 3],
            touched: 0,
            late: false,
            struck: false,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        // A holder that is alive and can reach the table has renewed by then.
        let due = |process: &Process| matches!(process, Process::Holding { age, cut: false, .. } if *age >= self.waits.notice);
        if !state.processes.iter().any(due) {
            actions.push(Action::Tick);
        }
        for who in 0..3 {
            self.acts(state, who, actions);
            if state.calls[who as usize].is_some() {
                actions.push(Action::Land(who));
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Tick => self.tick(&mut state),
            Action::Take(who) => {
                let wait = self.may_take(&state, who)?;
                self.take(&mut state, who, wait);
            }
            Action::Land(who) => {
                let (fence, _) = state.calls[who as usize].take()?;
                state.late |= fence < state.touched;
            }
            Action::Crash(who) => state.processes[who as usize] = Process::Gone,
            Action::Listen(who) => {
                let fence = state.leases[environment(who)].fence;
                state.processes[who as usize] = Process::Listening { fence, left: self.waits.listen, heard: false };
            }
            Action::Break(who) => {
                let Process::Listening { fence, heard, .. } = state.processes[who as usize] else { return None };
                state.processes[who as usize] = Process::Breaking { fence, heard };
            }
            Action::BreakArrives(who) => {
                let Process::Breaking { fence, heard } = state.processes[who as usize] else { return None };
                state.processes[who as usize] = Process::Idle;
                let lease = &mut state.leases[environment(who)];
                if lease.held && (lease.fence == fence || self.variant == Variant::AnyFence) {
                    state.struck |= lease.fence != fence;
                    *lease = Lease { held: false, fence: lease.fence + 1, quiet: 0, broken: Some(heard) };
                }
            }
            Action::Beat(who) | Action::Call(who) | Action::Release(who) | Action::Cut(who) => {
                let Process::Holding { fence, shared, cut, .. } = &mut state.processes[who as usize] else { return None };
                let (fence, shared) = (*fence, *shared);
                match action {
                    Action::Cut(_) => *cut = true,
                    Action::Call(_) => {
                        state.calls[who as usize] = Some((shared, 0));
                        state.touched = state.touched.max(shared);
                    }
                    released => self.keep(&mut state, who, fence, matches!(released, Action::Release(_))),
                }
            }
        }
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(ONE_WRITER, |model: &Self, state: &State| {
                state.processes.iter().filter(|process| model.passes_guard(process)).count() <= 1
            }),
            Property::always(NOT_AFTER, |_, state: &State| !state.late),
            Property::always(MEANT, |_, state: &State| !state.struck),
        ]
    }
}

pub const ONE_WRITER: &str = "at most one process may change what is shared";
pub const NOT_AFTER: &str = "no call lands after a later holder began to change things";
pub const MEANT: &str = "a break hits whom it was meant for";

#[test]
fn the_waits_are_the_locks_own() {
    let real = [constants::LISTEN, constants::BROKEN_ANSWERED, constants::BROKEN_SILENT].map(|span| span.as_secs());
    assert_eq!(real, [REAL.listen, REAL.answered, REAL.silent].map(u64::from));
    // The latest beat, and one attempt to send it.
    let notice = constants::HEARTBEAT.as_secs() * 11 / 10 + constants::RESEND_MOST.as_secs();
    assert_eq!(notice, u64::from(REAL.notice));
    for waits in [REAL, ROUNDED, FEW] {
        let spans = waits.spans;
        assert!(waits.listen >= waits.notice && waits.answered > waits.notice + spans.call && waits.silent >= spans.lease + spans.grace);
    }
}
