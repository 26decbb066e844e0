//! Locks of what several environments share, such as a listener. They have no beat of their own: one is held exactly while the lease it
//! names (`lease_pk`, its `LOCK`) is held at `op_fence`. So whoever loses the lease loses all of it at once, and a whole set is taken in the
//! one transaction that takes the lease: nobody holds a part and waits for the rest.

use std::collections::BTreeMap;
use std::time::Duration;

use super::audit::{self, Deed};
use super::lapse::{Watch, lapsed};
use super::row::{Identity, key, parse_lock};
use super::transactions::{Lease, Stamp, break_open};
use crate::aws::dynamodb::{Item, Key, Malformed, Query, Reader, Value, Write};
use crate::aws::{Dynamodb, Error};
use crate::clock::Clock;
use crate::model::{Broken, FORMAT, LockRecord, LockState, OperationId, Resource, Scope, sk};

/// `LOCK#<resource>` as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shared {
    /// What it locks.
    pub resource: Resource,
    /// Grows with each holder.
    pub fence: u64,
    /// Who has it, or had it and vanished.
    pub holder: Option<Holding>,
}

/// The lease that something shared belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    /// Partition of the lease.
    pub lease_pk: String,
    /// The operation.
    pub operation: OperationId,
    /// The lease's fence then.
    pub fence: u64,
}

/// A lease that stands in the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocker {
    /// What is wanted of it; none: the lease itself.
    pub resource: Option<Resource>,
    /// The partition of the lease.
    pub scope: Scope,
    /// The lease.
    pub lock: Box<LockRecord>,
    /// For how long nothing was heard of its holder, as observed here.
    pub quiet: Duration,
}

fn parse(item: &Item) -> Result<Shared, Malformed> {
    let row = Reader::new(item);
    row.version_at_most(FORMAT)?;
    let name = row.text("sk")?;
    let resource = name.strip_prefix(sk::SHARED).ok_or_else(|| row.malformed("is no lock of something shared"))?;
    let holder = match row.text("st")?.as_str() {
        "free" => None,
        "held" => {
            let (lease_pk, operation) = (row.text("lease_pk")?, OperationId(row.text("op")?));
            Some(Holding { lease_pk, operation, fence: row.number("op_fence")? })
        }
        other => return Err(row.malformed(format_args!("`st` is {other:?}, neither free nor held"))),
    };
    Ok(Shared { resource: Resource(resource.to_string()), fence: row.number("fence")?, holder })
}

fn item(lease: &Lease, resource: &Resource, fence: u64) -> Item {
    let own: [(&str, Value); 8] = [
        ("pk", lease.scope.shared().pk.into()),
        ("sk", sk::shared(resource).into()),
        ("v", FORMAT.into()),
        ("st", "held".into()),
        ("fence", fence.into()),
        ("lease_pk", lease.scope.pk.as_str().into()),
        ("op", lease.operation.0.as_str().into()),
        ("op_fence", lease.fence.into()),
    ];
    own.map(|(name, value)| (name.to_string(), value)).into()
}

/// Everything the app's environments share that was ever locked, by strong reads.
pub async fn read_shared(db: &Dynamodb, scope: &Scope) -> Result<Vec<Shared>, Error> {
    let shared = scope.shared();
    let rows = db.query(&shared.table, &Query::prefix(&shared.pk, sk::SHARED)).await?;
    Ok(rows.iter().map(parse).collect::<Result<_, _>>()?)
}

/// What is known of the leases of other environments, over several looks.
#[derive(Debug, Default)]
pub(super) struct Neighbours {
    watches: BTreeMap<String, Watch>,
}

/// What one look showed of the things that are wanted.
#[derive(Debug)]
pub(super) struct Sight {
    wanted: Vec<(Resource, Option<Shared>)>,
    /// Leases of other environments that wanted things belong to.
    leases: BTreeMap<String, Neighbour>,
}

#[derive(Debug)]
struct Neighbour {
    lock: Option<LockRecord>,
    quiet: Duration,
}

impl Neighbours {
    /// Looks at what is wanted, and at the leases it belongs to.
    pub async fn look(&mut self, db: &Dynamodb, clock: &Clock, scope: &Scope, wanted: &[Resource]) -> Result<Sight, Error> {
        if wanted.is_empty() {
            return Ok(Sight { wanted: Vec::new(), leases: BTreeMap::new() });
        }
        let rows = read_shared(db, scope).await?;
        let row = |resource: &Resource| rows.iter().find(|row| row.resource == *resource).cloned();
        let wanted: Vec<_> = wanted.iter().map(|resource| (resource.clone(), row(resource))).collect();
        let mut leases = BTreeMap::new();
        for holding in wanted.iter().filter_map(|(_, row)| row.as_ref()?.holder.as_ref()) {
            if holding.lease_pk == scope.pk || leases.contains_key(&holding.lease_pk) {
                continue;
            }
            let found = db.get(&scope.table, &Key::new(&holding.lease_pk, sk::LOCK)).await?;
            let lock = found.as_ref().map(parse_lock).transpose()?;
            let watch = self.watches.entry(holding.lease_pk.clone()).or_insert_with(|| Watch::new(clock));
            let quiet = lock.as_ref().map_or(Duration::ZERO, |lock| watch.see(lock));
            leases.insert(holding.lease_pk.clone(), Neighbour { lock, quiet });
        }
        Ok(Sight { wanted, leases })
    }
}

impl Sight {
    /// The lease that this thing belongs to, if that is another environment's and still held.
    fn held(&self, row: Option<&Shared>) -> Option<(&LockRecord, Duration)> {
        let holding = row?.holder.as_ref()?;
        let neighbour = self.leases.get(&holding.lease_pk)?;
        let lock = neighbour.lock.as_ref()?;
        // A fence belongs to one holder, once.
        (lock.state == LockState::Held && lock.fence == holding.fence).then_some((lock, neighbour.quiet))
    }

    /// Every lease that stands in the way. Not our own: whoever may take that, may take all that belongs to it.
    pub fn blockers(&self, scope: &Scope) -> Vec<Blocker> {
        let blocker = |(resource, row): &(Resource, Option<Shared>)| {
            let (lock, quiet) = self.held(row.as_ref())?;
            let lease_pk = row.as_ref()?.holder.as_ref()?.lease_pk.clone();
            let scope = Scope { table: scope.table.clone(), pk: lease_pk };
            let blocker = Blocker { resource: Some(resource.clone()), scope, lock: Box::new(lock.clone()), quiet };
            (!may_end(lock, quiet)).then_some(blocker)
        };
        self.wanted.iter().filter_map(blocker).collect()
    }

    /// Another environment's lease that something wanted belonged to was broken, and its holder may not know yet; the one to be waited for
    /// longest.
    pub fn broken(&self) -> Option<&Broken> {
        let locks = self.leases.values().filter_map(|neighbour| neighbour.lock.as_ref());
        locks.filter(|lock| lock.state == LockState::Free).filter_map(|lock| lock.broken.as_ref()).min_by_key(|broken| broken.answered)
    }

    /// Takes all that is wanted for this lease, under the conditions that prove that nobody has it any more. A lease of another
    /// environment that has lapsed is ended with it: its holder loses everything at once or nothing.
    pub fn take(&self, lease: &Lease, stamp: Stamp) -> Vec<Write> {
        let mut writes: Vec<_> = self.wanted.iter().map(|(resource, row)| take(lease, resource, row.as_ref())).collect();
        for (pk, neighbour) in &self.leases {
            let scope = Scope { table: lease.scope.table.clone(), pk: pk.clone() };
            let belongs = |row: &Shared| row.holder.as_ref().is_some_and(|holding| holding.lease_pk == *pk);
            let rows = || self.wanted.iter().filter_map(|(_, row)| row.as_ref()).filter(|row| belongs(row));
            match rows().find_map(|row| self.held(Some(row))) {
                Some((lock, quiet)) if may_end(lock, quiet) => writes.extend(end_lapsed(&scope, lock, neighbour.quiet, &lease.who, stamp)),
                _ => writes.push(unchanged(&scope, neighbour.lock.as_ref())),
            }
        }
        writes
    }
}

/// A lease of another environment that may be ended: nobody renews it, and this binary knows what it says.
fn may_end(lock: &LockRecord, quiet: Duration) -> bool {
    lapsed(lock, quiet) && lock.newer.is_none()
}

pub(super) fn take(lease: &Lease, resource: &Resource, seen: Option<&Shared>) -> Write {
    let write = Write::put(item(lease, resource, seen.map_or(1, |seen| seen.fence + 1)));
    let Some(seen) = seen else { return write.only_if("attribute_not_exists(pk)") };
    let write = write.name("#st", "st").value(":f", seen.fence);
    match &seen.holder {
        None => write.only_if("#st = :free AND fence = :f").value(":free", "free"),
        Some(holding) => write
            .only_if("#st = :held AND fence = :f AND lease_pk = :pk AND op_fence = :of")
            .value(":held", "held")
            .value(":pk", holding.lease_pk.as_str())
            .value(":of", holding.fence),
    }
}

/// The lease is not the one that something belonged to, and still as it was read.
pub(super) fn unchanged(scope: &Scope, seen: Option<&LockRecord>) -> Write {
    let key = key(scope, sk::LOCK);
    let Some(seen) = seen else { return Write::check(key, "attribute_not_exists(pk)") };
    let state = match seen.state {
        LockState::Free => "free",
        LockState::Held => "held",
    };
    Write::check(key, "fence = :f AND #st = :st").name("#st", "st").value(":f", seen.fence).value(":st", state)
}

/// Ends a lease that has lapsed, as its own next comer would, only that nobody takes it.
fn end_lapsed(scope: &Scope, seen: &LockRecord, quiet: Duration, who: &Identity, stamp: Stamp) -> [Write; 2] {
    let why = format!("no renewal for {} s, and what it shared was wanted", quiet.as_secs());
    let broken = Broken { who: who.who.clone(), why: why.clone(), at: stamp.text(), answered: false };
    let mut write = break_open(scope, seen, &broken).value(":b", seen.beat);
    write.condition = write.condition.map(|condition| format!("{condition} AND beat = :b"));
    [write, audit::row(scope, Deed::Lapse, audit::by(who), &why, super::row::lock_item(scope, seen), stamp.0)]
}

/// Turns it over to another operation of the same holder.
pub(super) fn pass_on(lease: &Lease, resource: &Resource, next: &OperationId) -> Write {
    ours(lease, resource, "SET #op = :next").value(":next", next.0.as_str())
}

/// Gives it back.
pub(super) fn give_back(lease: &Lease, resource: &Resource) -> Write {
    ours(lease, resource, "SET #st = :free REMOVE lease_pk, #op, op_fence").name("#st", "st").value(":free", "free")
}

fn ours(lease: &Lease, resource: &Resource, expression: &str) -> Write {
    Write::update(key(&lease.scope.shared(), sk::shared(resource)), expression)
        .only_if("lease_pk = :pk AND #op = :op AND op_fence = :of")
        .name("#op", "op")
        .value(":pk", lease.scope.pk.as_str())
        .value(":op", lease.operation.0.as_str())
        .value(":of", lease.fence)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sight(locks: &[(LockState, Option<bool>)]) -> Sight {
        let lock = |(index, (state, answered)): (usize, &(LockState, Option<bool>))| {
            let broken = answered.map(|answered| Broken { who: "ada".into(), why: "it hangs".into(), at: String::new(), answered });
            let lock = LockRecord { state: *state, broken, ..LockRecord::default() };
            (index.to_string(), Neighbour { lock: Some(lock), quiet: Duration::ZERO })
        };
        Sight { wanted: Vec::new(), leases: locks.iter().enumerate().map(lock).collect() }
    }

    #[test]
    fn whoever_takes_what_a_broken_neighbour_had_waits_for_the_slowest() {
        let answered = |locks: &[_]| sight(locks).broken().map(|broken| broken.answered);
        assert_eq!(answered(&[(LockState::Free, None), (LockState::Held, Some(false))]), None, "nothing to wait for");
        assert_eq!(answered(&[(LockState::Free, None), (LockState::Free, Some(true))]), Some(true));
        assert_eq!(answered(&[(LockState::Free, Some(true)), (LockState::Free, Some(false))]), Some(false));
    }
}
