//! The lock's row and the requests about it: which are carried out, and what they change. As in the table of the lock's transactions,
//! with processes as owners and a number per operation.

/// What is different from how the lock is built. Each of these is wrong, or weaker, and the search must find out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Variant {
    /// As the lock is built.
    Built,
    /// A holder's clock stops while its machine sleeps.
    ClockStops,
    /// A take-over does not ask whether the holder has renewed meanwhile.
    AnyBeat,
    /// The lease counts from the last resend of a beat.
    FromResend,
    /// A release deletes the row.
    Deletes,
    /// Every beat has a random version and must find the one before; none is recognised after a lost reply.
    RandomBeats,
    /// An acquire is not recognised after a lost reply.
    AcquireForgets,
    /// An old beat may follow a newer one.
    BeatsInAnyOrder,
    /// A beat does not ask whose the row is.
    BeatsForAnybody,
    /// A process can freeze between the guard and the socket, for as long as AWS honours the signature.
    Freezes,
    /// The same, and what the call changes refuses an older fence than it has seen.
    FreezesFenced,
    /// The same, and the newcomer looks again before the last old signature has run out.
    FreezesHasty,
    /// An acquire does not ask whether an operation is unfinished.
    OpenIgnored,
    /// An acquire asks for a person's freeze when it reads, not in the transaction.
    FreezeReadBefore,
    /// A holder that is asked to halt hands over while a call is on its way.
    HandsOverEarly,
}

impl Variant {
    /// Whether a call can land for as long as AWS honours its signature.
    pub fn freezes(self) -> bool {
        matches!(self, Self::Freezes | Self::FreezesFenced | Self::FreezesHasty)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Row {
    pub held: bool,
    pub fence: u8,
    pub beat: u8,
    pub owner: u8,
    /// The unfinished operation; 0: none. An operation has the number of its process, from 1.
    pub open: u8,
    pub halt: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Request {
    /// Takes a row that is free with this fence and nothing (0) or this unfinished, or, if there is a beat, one whose lease has lapsed.
    Take {
        by: u8,
        fence: u8,
        beat: Option<u8>,
        open: u8,
    },
    /// Renews; or renews, ends what was unfinished and begins the own operation. `after` is the newest beat known to have arrived.
    Beat {
        by: u8,
        fence: u8,
        beat: u8,
        after: u8,
        settles: bool,
    },
    Release {
        by: u8,
        fence: u8,
        ended: bool,
    },
    Bump {
        by: u8,
        fence: u8,
    },
    /// Asks whoever works on this operation to halt.
    Halt {
        open: u8,
    },
}

impl Request {
    pub fn sender(self) -> Option<u8> {
        match self {
            Self::Take { by, .. } | Self::Beat { by, .. } | Self::Release { by, .. } | Self::Bump { by, .. } => Some(by),
            Self::Halt { .. } => None,
        }
    }
}

/// The table, as far as the lock goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Table {
    pub row: Option<Row>,
    /// A person's freeze.
    pub frozen: bool,
    /// Operations begun and not ended, a bit each.
    pub unended: u8,
}

impl Table {
    /// The row is this process's, under this fence.
    pub fn is_held_by(&self, by: u8, fence: u8) -> bool {
        self.row.is_some_and(|row| row.held && row.owner == by && row.fence == fence)
    }

    pub fn fence(&self) -> u8 {
        self.row.map_or(0, |row| row.fence)
    }

    /// The table after this request, or none if its condition is false.
    pub fn after(&self, request: Request, variant: Variant, opens: bool) -> Option<Self> {
        let mut table = *self;
        match (request, self.row) {
            (Request::Take { by, fence, beat, open }, found) => {
                let fits = found.is_none_or(|row| match beat {
                    None => !row.held && row.fence == fence && row.open == open,
                    Some(beat) => row.held && row.fence == fence && (row.beat == beat || variant == Variant::AnyBeat),
                });
                if !fits || (self.frozen && by != ROLLBACK && variant != Variant::FreezeReadBefore) {
                    return None;
                }
                let begins = opens && (open == 0 || variant == Variant::OpenIgnored);
                if begins {
                    table.unended |= bit(by + 1);
                }
                let open = if begins { by + 1 } else { open };
                table.row = Some(Row { held: true, fence: fence + 1, beat: 0, owner: by, open, halt: false });
            }
            (Request::Beat { by, fence, beat, after, settles }, Some(row)) => {
                let mine = row.held && (variant == Variant::BeatsForAnybody || row.fence == fence && row.owner == by);
                let in_order = match variant {
                    Variant::RandomBeats => row.beat == after,
                    Variant::BeatsInAnyOrder => row.beat != beat,
                    _ => row.beat < beat,
                };
                if !mine || !in_order {
                    return None;
                }
                let mut row = Row { beat, ..row };
                if settles {
                    table.unended = table.unended & !bit(row.open) | bit(by + 1);
                    (row.open, row.halt) = (by + 1, false);
                }
                table.row = Some(row);
            }
            (Request::Release { by, fence, ended }, Some(row)) if self.is_held_by(by, fence) => {
                let open = if ended { 0 } else { row.open };
                if ended {
                    table.unended &= !bit(row.open);
                }
                let free = Row { held: false, fence, beat: 0, owner: 0, open, halt: false };
                table.row = (variant != Variant::Deletes).then_some(free);
            }
            (Request::Bump { .. }, None) => table.row = Some(Row { held: false, fence: 1, beat: 0, owner: 0, open: 0, halt: false }),
            (Request::Bump { fence, .. }, Some(row)) if !row.held && row.fence == fence => {
                table.row = Some(Row { fence: fence + 1, ..row })
            }
            (Request::Halt { open }, Some(row)) if row.held && row.open == open && !row.halt => table.row = Some(Row { halt: true, ..row }),
            _ => return None,
        }
        Some(table)
    }

    /// Whether the request could still change the row, now or later. As long as fences and beats only grow, an older one cannot.
    pub fn may_yet_change(&self, request: Request, variant: Variant) -> bool {
        let Some(row) = self.row else { return true };
        let grows = !matches!(variant, Variant::Deletes | Variant::BeatsInAnyOrder | Variant::BeatsForAnybody);
        let (fence, beat) = match request {
            Request::Take { fence, beat, .. } => (fence, beat.unwrap_or(u8::MAX)),
            Request::Beat { fence, beat, .. } => (fence, beat - 1),
            Request::Release { fence, .. } | Request::Bump { fence, .. } => (fence, u8::MAX),
            Request::Halt { .. } => return true,
        };
        let renewed = variant != Variant::AnyBeat && row.held && row.beat > beat;
        let freed = matches!(request, Request::Beat { .. } | Request::Release { .. }) && !row.held;
        !grows || row.fence < fence || (row.fence == fence && !renewed && !freed)
    }
}

/// The process whose operation is a rollback: a freeze does not stop it.
pub const ROLLBACK: u8 = 0;

fn bit(operation: u8) -> u8 {
    1 << operation
}
