//! What must hold in every state of [`super::lease`], and what must be reachable.

use stateright::Property;

use super::lease::{Lease, State};
use super::row::{ROLLBACK, Request, Table};

/// What a state remembers of how it was reached.
pub mod mark {
    /// A call landed although somebody else has the lock by then.
    pub const LATE: u32 = 1;
    /// A call landed after one of a later holder.
    pub const OVERTAKEN: u32 = 1 << 1;
    /// A process gave up a lock that is its own.
    pub const DROPPED: u32 = 1 << 2;
    /// An old call landed after the newcomer's last look.
    pub const MISSED: u32 = 1 << 3;
    /// An operation began while another was unfinished.
    pub const TWO_OPEN: u32 = 1 << 4;
    /// An operation that is no rollback began in a freeze.
    pub const FREEZE_PASSED: u32 = 1 << 5;

    // Good things, remembered by a witness only.
    pub const TOOK_OVER: u32 = 1 << 8;
    pub const TAKE_FOUND: u32 = 1 << 9;
    pub const BEAT_FOUND: u32 = 1 << 10;
    pub const BUMPED: u32 = 1 << 11;
    pub const STRAGGLER: u32 = 1 << 12;
    pub const OLD_BEAT: u32 = 1 << 13;
    pub const STRANGE_BEAT: u32 = 1 << 14;
    pub const RIVAL: u32 = 1 << 15;
    pub const SETTLED: u32 = 1 << 16;
    pub const HANDED_OVER: u32 = 1 << 17;
    pub const ROLLED_BACK: u32 = 1 << 18;

    /// All marks or none.
    pub fn when(really: bool) -> u32 {
        if really { u32::MAX } else { 0 }
    }
}

/// Marks for a change of the table that must never happen.
pub fn of_table(before: &Table, after: &Table, request: Request) -> u32 {
    let begun = after.unended & !before.unended;
    let two = mark::when(begun != 0 && after.unended.count_ones() > 1) & mark::TWO_OPEN;
    let frozen = match request {
        Request::Take { by, .. } => before.frozen && by != ROLLBACK,
        _ => false,
    };
    two | mark::when(frozen) & mark::FREEZE_PASSED
}

/// Marks for what a witness shall see.
pub fn of_arrival(before: &Table, carried_out: bool, request: Request) -> u32 {
    let Some(row) = before.row else { return mark::when(matches!(request, Request::Bump { .. })) & mark::BUMPED };
    match (request, carried_out) {
        (Request::Take { beat: Some(_), .. }, true) => mark::TOOK_OVER,
        (Request::Take { beat: None, open, by, .. }, true) => {
            let rolled_back = mark::when(before.frozen && by == ROLLBACK) & mark::ROLLED_BACK;
            mark::when(open != 0) & mark::HANDED_OVER | rolled_back
        }
        (Request::Take { fence, beat: None, .. }, false) => {
            mark::when(row.held && row.fence == fence + 1) & mark::RIVAL | mark::when(!row.held && row.fence == fence + 1) & mark::STRAGGLER
        }
        (Request::Beat { settles: true, .. }, true) => mark::SETTLED,
        (Request::Beat { fence, beat, .. }, false) => {
            let strange = !row.held || row.fence > fence;
            mark::when(strange) & mark::STRANGE_BEAT | mark::when(!strange && row.beat > beat) & mark::OLD_BEAT
        }
        (Request::Bump { .. }, true) => mark::BUMPED,
        _ => 0,
    }
}

pub const STRICT: &str = "no call lands after a take-over";
pub const ONE_LEASE: &str = "at most one lease is live";
pub const FENCE: &str = "the fence never falls";
pub const KEPT: &str = "nobody gives up a lock of its own";
pub const ONE_OPEN: &str = "nothing begins while something is unfinished";
pub const FROZEN: &str = "nothing but a rollback begins in a freeze";
pub const FOUND: &str = "what lands late is found";
pub const IN_ORDER: &str = "no call lands after a later holder's";

/// A state in which what was sought has happened.
pub const SOUGHT: &str = "what is sought happens";

/// All that is claimed for a model.
pub fn of<const N: usize>(model: &Lease<N>) -> Vec<Property<Lease<N>>> {
    let mut claims: Vec<Property<Lease<N>>> = vec![
        Property::always(ONE_LEASE, |model: &Lease<N>, state: &State<N>| {
            state.processes.iter().filter(|process| model.passes_guard(process)).count() <= 1
        }),
        Property::always(FENCE, |_, state: &State<N>| state.table.fence() == state.top),
        Property::always(KEPT, |_, state: &State<N>| state.marks & mark::DROPPED == 0),
        Property::always(STRICT, |_, state: &State<N>| state.marks & mark::LATE == 0),
    ];
    if model.opens {
        claims.push(Property::always(ONE_OPEN, |_, state: &State<N>| state.marks & mark::TWO_OPEN == 0));
    }
    if model.freezes {
        claims.push(Property::always(FROZEN, |_, state: &State<N>| state.marks & mark::FREEZE_PASSED == 0));
    }
    if model.variant.freezes() {
        claims.push(Property::always(FOUND, |_, state: &State<N>| state.marks & mark::MISSED == 0));
        claims.push(Property::always(IN_ORDER, |_, state: &State<N>| state.marks & mark::OVERTAKEN == 0));
    }
    if model.seeks != 0 {
        claims.push(Property::sometimes(SOUGHT, |model: &Lease<N>, state: &State<N>| state.marks & model.seeks != 0));
    }
    claims
}
