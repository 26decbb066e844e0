//! The lease: one row, the processes that want it, and what they do to AWS meanwhile, as a state machine small enough to be searched
//! whole.
//!
//! What can happen, in any order: requests arrive late, twice or never; replies get lost; processes die, sleep, give up, halt; calls that
//! change something are under way meanwhile. Spans are whole ticks; several things may happen within one tick. Three shortcuts, all on the
//! safe side: a request and its reply travel together (a late reply is a late request); a waiter looks at the row whenever it changes (one
//! that looks less often only takes over later); and a request, once sent, stays on the way for ever and may arrive any number of times,
//! unless it can neither change the row any more nor be awaited by its sender. A sleep needs no act of its own where the boot clock
//! counts: it is time that passes while a process does nothing.

use stateright::{Model, Property};

use super::properties::{self, mark};
use super::row::{ROLLBACK, Request, Table, Variant};
use super::spans::Spans;

/// The protocol, within bounds.
#[derive(Debug, Clone)]
pub struct Lease<const N: usize> {
    pub variant: Variant,
    pub spans: Spans,
    /// The highest fence anybody takes the lock under.
    pub grants: u8,
    /// Beats per holder.
    pub beats: u8,
    /// Only what clocks decide: the last process holds the lock from the start, and nobody releases it, gives up or dies.
    pub clocks_only: bool,
    /// The clock of process 0 gains a tick every so many.
    pub gains_every: Option<u8>,
    /// A lapse or a release may leave an operation unfinished, and somebody settles it.
    pub opens: bool,
    /// Holders are asked to halt.
    pub halts: bool,
    /// People freeze the environment.
    pub freezes: bool,
    /// Remember these marks too, and forget no request, to prove that the rare can happen at all. 0: nothing is sought.
    pub seeks: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State<const N: usize> {
    pub table: Table,
    /// Sorted, each once.
    sent: Vec<Request>,
    pub processes: [Process; N],
    /// Calls to AWS on the way: fence, and age since the guard let them pass.
    calls: [Option<(u8, u8)>; N],
    /// The highest fence there ever was.
    pub top: u8,
    /// The highest fence under which a call has landed (where freezing is possible).
    touched: u8,
    /// Since the newest take-over: how long ago it was, until the newcomer has looked again (where freezing is possible).
    unchecked: Option<u8>,
    /// Where the fast clock is between two gains.
    phase: u8,
    pub marks: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Process {
    /// Looks at the row, which has not changed for so long by its own clock. `fresh`: has never acted.
    Waiting {
        quiet: u8,
        fresh: bool,
    },
    /// Has sent a request that takes the row from this fence (and beat, if lapsed), first so long ago.
    Taking {
        fence: u8,
        beat: Option<u8>,
        open: u8,
        age: u8,
    },
    /// Gives up taking, and makes the straggler's condition false.
    Bumping {
        fence: u8,
        age: u8,
    },
    Holding(Holding),
    Releasing {
        fence: u8,
    },
    Gone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Holding {
    fence: u8,
    /// The newest beat that was sent.
    beat: u8,
    /// The newest that was confirmed (where that matters).
    confirmed: u8,
    /// Since the first send of the newest confirmed one.
    age: u8,
    /// Since the first send of one that is on its way, and whether it settles.
    pending: Option<(u8, bool)>,
    /// Its own operation has begun; otherwise it still has somebody else's to settle.
    own: bool,
    /// Has heard that it shall halt.
    asked: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Time passes; the machines with these bits sleep.
    Tick(u8),
    /// Sends a request that takes the lock, or takes it over.
    Take(u8),
    GiveUp(u8),
    Beat(u8),
    Settle(u8),
    Resend(u8),
    /// Gives the lock back, the operation being ended or not.
    Release(u8, bool),
    /// The request arrives, and its sender hears of it or not.
    Arrive(Request, bool),
    /// Passes the guard and sends a call that changes something.
    Call(u8),
    Land(u8),
    /// The newcomer looks whether anybody else has changed something since it took over.
    Check(u8),
    Crash(u8),
    /// Somebody asks the holder to halt.
    Ask,
    /// Somebody sets or lifts a freeze.
    Freeze(bool),
}

impl<const N: usize> State<N> {
    fn send(&mut self, request: Request) {
        if let Err(place) = self.sent.binary_search(&request) {
            self.sent.insert(place, request);
        }
    }

    fn awaited(&self, request: Request) -> bool {
        let Some(sender) = request.sender() else { return false };
        match (request, self.processes[sender as usize]) {
            (Request::Take { fence, beat, open, .. }, Process::Taking { fence: f, beat: b, open: o, .. }) => {
                (fence, beat, open) == (f, b, o)
            }
            (Request::Beat { fence, beat, .. }, Process::Holding(now)) => (fence, beat) == (now.fence, now.beat) && now.pending.is_some(),
            (Request::Release { fence, .. }, Process::Releasing { fence: f }) => fence == f,
            (Request::Bump { fence, .. }, Process::Bumping { fence: f, .. }) => fence == f,
            _ => false,
        }
    }

    fn mark(&mut self, mark: u32, really: bool) {
        if really {
            self.marks |= mark;
        }
    }

    fn tick(&mut self, asleep: u8, model: &Lease<N>) {
        let spans = &model.spans;
        let extra = model.gains_every.is_some_and(|every| self.phase + 1 == every);
        self.phase = model.gains_every.map_or(0, |every| (self.phase + 1) % every);
        for who in 0..N {
            let passed = if asleep & (1 << who) != 0 { 0 } else { 1 + u8::from(extra && who == 0) };
            let grow = |age: &mut u8, most: u8| *age = (*age + passed).min(most);
            match &mut self.processes[who] {
                Process::Waiting { quiet, .. } => grow(quiet, spans.lease + spans.grace),
                Process::Taking { age, .. } | Process::Bumping { age, .. } => grow(age, spans.lease),
                Process::Holding(now) => {
                    grow(&mut now.age, spans.lease);
                    if let Some((age, _)) = &mut now.pending {
                        grow(age, spans.lease);
                    }
                }
                Process::Releasing { .. } | Process::Gone => {}
            }
            let life = if model.variant.freezes() { spans.horizon } else { spans.call };
            self.calls[who] = self.calls[who].map(|(fence, age)| (fence, age + 1)).filter(|(_, age)| *age <= life);
        }
        self.unchecked = self.unchecked.map(|age| (age + 1).min(spans.horizon + 1));
    }

    fn arrive(&mut self, request: Request, heard: bool, model: &Lease<N>) {
        let before = self.table;
        let after = before.after(request, model.variant, model.opens);
        if let Some(table) = after {
            self.table = table;
            for process in &mut self.processes {
                if let Process::Waiting { quiet, .. } = process {
                    *quiet = 0;
                }
            }
            self.top = self.top.max(table.fence());
            let over = matches!(request, Request::Take { beat: Some(_), .. });
            if over && model.variant.freezes() {
                self.unchecked = Some(0);
            }
            self.marks |= properties::of_table(&before, &table, request);
        }
        self.marks |= model.seeks & properties::of_arrival(&before, after.is_some(), request);
        if heard {
            self.hear(request, after.is_some(), model);
        }
    }

    /// What the sender concludes from the reply.
    fn hear(&mut self, request: Request, carried_out: bool, model: &Lease<N>) {
        let Some(who) = request.sender() else { return };
        let recovers = model.variant != Variant::RandomBeats;
        let (row, found) = (self.table.row, mark::when(!carried_out) & model.seeks);
        let (mut marks, mine) = (0, |fence| self.table.is_held_by(who, fence));
        let mut dropped = |fence| marks |= if mine(fence) { mark::DROPPED } else { 0 };
        let next = match (request, self.processes[who as usize]) {
            (Request::Take { fence, open, .. }, Process::Taking { age, .. }) => {
                match carried_out || (mine(fence + 1) && model.variant != Variant::AcquireForgets) {
                    true => {
                        marks |= found & mark::TAKE_FOUND;
                        let beat = row.map_or(0, |row| row.beat);
                        let own = open == 0 || !model.opens;
                        Process::Holding(Holding { fence: fence + 1, beat, confirmed: beat, age, pending: None, own, asked: false })
                    }
                    false => {
                        dropped(fence + 1);
                        Process::Waiting { quiet: 0, fresh: false }
                    }
                }
            }
            (Request::Beat { fence, beat, settles, .. }, Process::Holding(now)) => {
                let arrived = mine(fence) && recovers && row.is_some_and(|row| row.beat >= beat);
                match now.pending {
                    Some((age, _)) if carried_out || arrived => {
                        marks |= found & mark::BEAT_FOUND;
                        let confirmed = if recovers { 0 } else { beat };
                        let asked = now.asked || row.is_some_and(|row| row.halt);
                        Process::Holding(Holding { confirmed, age, pending: None, own: now.own || settles, asked, ..now })
                    }
                    _ => {
                        dropped(fence);
                        Process::Gone
                    }
                }
            }
            (Request::Release { .. }, Process::Releasing { .. }) => Process::Waiting { quiet: 0, fresh: false },
            (Request::Bump { fence, .. }, Process::Bumping { age, .. }) if mine(fence + 1) && !carried_out => {
                let own = row.is_none_or(|row| row.open == who + 1 || row.open == 0);
                Process::Holding(Holding { fence: fence + 1, beat: 0, confirmed: 0, age, pending: None, own, asked: false })
            }
            (Request::Bump { .. }, Process::Bumping { .. }) => Process::Gone,
            (_, other) => other,
        };
        self.marks |= marks;
        self.processes[who as usize] = next;
    }

    fn land(&mut self, who: usize, model: &Lease<N>) {
        let Some((fence, _)) = self.calls[who].take() else { return };
        if model.variant == Variant::FreezesFenced && fence < self.touched {
            return;
        }
        let late = fence < self.top;
        self.mark(mark::LATE, late);
        self.mark(mark::OVERTAKEN, fence < self.touched);
        if model.variant.freezes() {
            self.touched = self.touched.max(fence);
            self.mark(mark::MISSED, late && self.unchecked.is_none());
        }
    }
}

impl<const N: usize> Lease<N> {
    /// The local proof: enough is left of the lease for a call to start, land and be over.
    pub fn passes_guard(&self, process: &Process) -> bool {
        matches!(process, Process::Holding(now) if now.age + self.spans.guard <= self.spans.lease)
    }

    fn may_take(&self, state: &State<N>, who: u8, quiet: u8) -> bool {
        let row = state.table.row;
        let ripe = quiet >= self.spans.lease + self.spans.grace;
        // The processes are alike, so they are numbered in the order in which they first act.
        let alike = self.gains_every.is_none() && !self.freezes;
        let in_turn = !alike || who == 0 || !matches!(state.processes[who as usize - 1], Process::Waiting { fresh: true, .. });
        let frozen = state.table.frozen && who != ROLLBACK;
        in_turn && !frozen && row.is_none_or(|row| row.fence < self.grants && (!row.held || ripe))
    }

    /// The acts of one process.
    fn acts(&self, state: &State<N>, who: u8, actions: &mut Vec<Action>) {
        let process = &state.processes[who as usize];
        match process {
            Process::Waiting { quiet, .. } => {
                if self.may_take(state, who, *quiet) {
                    actions.push(Action::Take(who));
                }
                return;
            }
            Process::Taking { .. } if !self.clocks_only => actions.push(Action::GiveUp(who)),
            Process::Holding(now) => self.acts_of_holder(state, who, now, actions),
            Process::Gone => return,
            Process::Taking { .. } | Process::Bumping { .. } | Process::Releasing { .. } => {}
        }
        if !self.clocks_only {
            actions.push(Action::Crash(who));
        }
    }

    fn acts_of_holder(&self, state: &State<N>, who: u8, now: &Holding, actions: &mut Vec<Action>) {
        let guarded = self.passes_guard(&state.processes[who as usize]);
        let (calling, settling) = (state.calls[who as usize].is_some(), now.pending.is_some_and(|(_, settles)| settles));
        if self.variant == Variant::ClockStops {
            actions.push(Action::Tick(1 << who));
        }
        if now.beat < self.beats && !settling && !now.asked {
            actions.push(Action::Beat(who));
            if !now.own {
                actions.push(Action::Settle(who));
            }
        }
        if self.variant == Variant::FromResend && now.pending.is_some() {
            actions.push(Action::Resend(who));
        }
        if !self.clocks_only && !settling && (!calling || self.variant == Variant::HandsOverEarly && now.asked) {
            if !now.asked {
                actions.push(Action::Release(who, true));
            }
            if self.opens {
                actions.push(Action::Release(who, false));
            }
        }
        if guarded && !calling && !now.asked {
            actions.push(Action::Call(who));
        }
        let horizon = if self.variant == Variant::FreezesHasty { self.spans.call } else { self.spans.horizon };
        if guarded && state.unchecked.is_some_and(|age| age > horizon) {
            actions.push(Action::Check(who));
        }
    }

    fn act(&self, state: &mut State<N>, who: u8, action: Action) {
        let process = state.processes[who as usize];
        state.processes[who as usize] = match (action, process) {
            (Action::Take(_), _) => {
                let (fence, beat, open) = state.table.row.map_or((0, None, 0), |row| (row.fence, row.held.then_some(row.beat), row.open));
                state.send(Request::Take { by: who, fence, beat, open });
                Process::Taking { fence, beat, open, age: 0 }
            }
            (Action::GiveUp(_), Process::Taking { fence, age, .. }) => {
                state.send(Request::Bump { by: who, fence });
                Process::Bumping { fence, age }
            }
            (Action::Beat(_) | Action::Settle(_), Process::Holding(now)) => {
                let (beat, settles) = (now.beat + 1, matches!(action, Action::Settle(_)));
                state.send(Request::Beat { by: who, fence: now.fence, beat, after: now.confirmed, settles });
                Process::Holding(Holding { beat, pending: Some((0, settles)), ..now })
            }
            (Action::Resend(_), Process::Holding(now)) => {
                Process::Holding(Holding { pending: now.pending.map(|(_, settles)| (0, settles)), ..now })
            }
            (Action::Release(_, ended), Process::Holding(now)) => {
                state.send(Request::Release { by: who, fence: now.fence, ended });
                Process::Releasing { fence: now.fence }
            }
            (Action::Call(_), Process::Holding(now)) => {
                state.calls[who as usize] = Some((now.fence, 0));
                process
            }
            (Action::Check(_), _) => {
                state.unchecked = None;
                process
            }
            (Action::Crash(_), _) => Process::Gone,
            (_, process) => process,
        };
    }
}

impl<const N: usize> Model for Lease<N> {
    type State = State<N>;
    type Action = Action;

    fn init_states(&self) -> Vec<State<N>> {
        let mut processes = [Process::Waiting { quiet: 0, fresh: true }; N];
        let mut table = Table { row: None, frozen: false, unended: 0 };
        if self.clocks_only {
            let first = Request::Take { by: N as u8 - 1, fence: 0, beat: None, open: 0 };
            table = table.after(first, self.variant, self.opens).unwrap_or(table);
            let holding = Holding { fence: 1, beat: 0, confirmed: 0, age: 0, pending: None, own: true, asked: false };
            processes[N - 1] = Process::Holding(holding);
        }
        vec![State {
            table,
            sent: Vec::new(),
            processes,
            calls: [None; N],
            top: table.fence(),
            touched: 0,
            unchecked: None,
            phase: 0,
            marks: 0,
        }]
    }

    fn actions(&self, state: &State<N>, actions: &mut Vec<Action>) {
        actions.push(Action::Tick(0));
        for who in 0..N as u8 {
            self.acts(state, who, actions);
            if state.calls[who as usize].is_some() {
                actions.push(Action::Land(who));
            }
        }
        for request in &state.sent {
            if self.seeks != 0 || state.table.after(*request, self.variant, self.opens).is_some() {
                actions.push(Action::Arrive(*request, false));
            }
            if state.awaited(*request) {
                actions.push(Action::Arrive(*request, true));
            }
        }
        if self.halts && state.table.row.is_some_and(|row| row.held && !row.halt) {
            actions.push(Action::Ask);
        }
        if self.freezes {
            actions.push(Action::Freeze(!state.table.frozen));
        }
    }

    fn next_state(&self, last: &State<N>, action: Action) -> Option<State<N>> {
        let mut state = last.clone();
        match action {
            Action::Tick(asleep) => state.tick(asleep, self),
            Action::Arrive(request, heard) => state.arrive(request, heard, self),
            Action::Land(who) => state.land(who as usize, self),
            Action::Ask => {
                let open = state.table.row.map_or(0, |row| row.open);
                state.send(Request::Halt { open });
            }
            Action::Freeze(frozen) => state.table.frozen = frozen,
            Action::Take(who) | Action::GiveUp(who) | Action::Beat(who) | Action::Settle(who) | Action::Resend(who) => {
                self.act(&mut state, who, action);
            }
            Action::Release(who, _) | Action::Call(who) | Action::Check(who) | Action::Crash(who) => self.act(&mut state, who, action),
        }
        if self.seeks == 0 {
            let mut sent = std::mem::take(&mut state.sent);
            sent.retain(|request| state.table.may_yet_change(*request, self.variant) || state.awaited(*request));
            state.sent = sent;
        }
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::of(self)
    }
}
