//! The transactions of the lock, as values: who may write what under which condition. Each reads like a row of
//! a table. Nothing here talks to anybody.

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::constants::EVENTS_KEPT;
use super::row::{Doing, Identity, broken_value, held_by, key, lock_item};
use crate::aws::dynamodb::{Item, Value, Write};
use crate::model::{Broken, FORMAT, LockRecord, LockState, OperationId, Resource, Scope, sk};

/// A holder's proof: the row is held, by me, under my fence, and this beat is newer than any before. `beat < :n` makes a late copy of an
/// older write harmless.
const MINE: &str = "fence = :f AND #owner = :me AND #st = :held AND beat < :n";

/// What the holder of a lock knows of it.
#[derive(Debug, Clone)]
pub(super) struct Lease {
    pub(super) scope: Scope,
    pub(super) who: Identity,
    pub(super) fence: u64,
    pub(super) beat: u64,
    pub(super) operation: OperationId,
    /// Number of the operation's newest event.
    pub(super) seq: u64,
    /// What it has beside the lock ([`super::shared`]).
    pub(super) shared: Vec<Resource>,
}

/// Times to stamp on rows; one reading per transaction, so that a resend has the same bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stamp(pub(super) Timestamp);

impl Stamp {
    pub(super) fn text(self) -> String {
        self.0.to_string()
    }

    fn expires(self) -> u64 {
        let end = self.0.as_second().saturating_add_unsigned(EVENTS_KEPT.as_secs());
        end.max(0) as u64
    }
}

/// The token of a transaction: the same for every resend of it, different for every other one. At most 36 characters are allowed.
pub(super) fn token(parts: &[&dyn std::fmt::Display]) -> String {
    let text: Vec<String> = parts.iter().map(ToString::to_string).collect();
    Sha256::digest(text.join("\n").as_bytes()).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// What tells this process's attempt to write an event from anybody else's: an owner writes a number once under a fence.
pub(super) fn nonce(owner: &str, fence: u64, seq: u64) -> String {
    format!("{owner}.{fence}.{seq}")
}

/// Event rows for these bodies, numbered from `first`.
pub(super) fn events(lease: &Lease, operation: &OperationId, first: u64, bodies: &[Item], stamp: Stamp) -> Vec<Write> {
    let numbered = bodies.iter().zip(first..);
    let row = |(body, seq): (&Item, u64)| {
        let mut item = body.clone();
        let envelope: [(&str, Value); 8] = [
            ("pk", lease.scope.pk.as_str().into()),
            ("sk", sk::event(operation, seq).into()),
            ("v", FORMAT.into()),
            ("seq", seq.into()),
            ("fence", lease.fence.into()),
            ("nonce", nonce(&lease.who.owner, lease.fence, seq).into()),
            ("at", stamp.text().into()),
            ("expires", stamp.expires().into()),
        ];
        item.extend(envelope.map(|(name, value)| (name.to_string(), value)));
        Write::put_new(item)
    };
    numbered.map(row).collect()
}

/// The row of a new operation, and its first event.
pub(super) fn begin_operation(lease: &Lease, operation: &OperationId, record: &Item, began: &Item, stamp: Stamp) -> Vec<Write> {
    let mut row = record.clone();
    let own: [(&str, Value); 5] = [
        ("pk", lease.scope.pk.as_str().into()),
        ("sk", sk::operation(operation).into()),
        ("v", FORMAT.into()),
        ("fence", lease.fence.into()),
        ("seq", 0u64.into()),
    ];
    row.extend(own.map(|(name, value)| (name.to_string(), value)));
    let mut writes = vec![Write::put_new(row)];
    writes.extend(events(lease, operation, 0, std::slice::from_ref(began), stamp));
    writes
}

/// A person's lock stops it, unless its end has come by AWS's clock.
pub(super) fn check_freeze(scope: &Scope, now: Timestamp) -> Write {
    Write::check(key(scope, sk::FREEZE), "attribute_not_exists(pk) OR #until < :now")
        .name("#until", "until")
        .value(":now", now.as_second().max(0) as u64)
}

/// A lock row that was restored or deleted cannot count again from 1.
pub(super) fn check_head(scope: &Scope, fence: u64) -> Write {
    Write::check(key(scope, sk::HEAD), "attribute_not_exists(pk) OR fence <= :f").value(":f", fence)
}

/// The same, and `HEAD` remembers when to look again whether the weights are what was meant.
pub(super) fn check_head_later(scope: &Scope, fence: u64, check_after: [u64; 2]) -> Write {
    Write::update(key(scope, sk::HEAD), "SET check_after = :later, v = :v")
        .only_if("attribute_exists(pk) AND fence <= :f")
        .value(":f", fence)
        .value(":later", Value::List(check_after.map(Value::from).into()))
        .value(":v", FORMAT)
}

/// The row as this lease begins. That it was broken stays in it until it is given back in order.
fn taken(lease: &Lease, doing: Doing<'_>, seen: Option<&LockRecord>, stamp: Stamp) -> LockRecord {
    let record = held_by(&lease.who, &lease.operation, doing, lease.fence, stamp.text());
    LockRecord { shared: lease.shared.clone(), broken: seen.and_then(|seen| seen.broken.clone()), ..record }
}

/// Takes a lock that nobody holds and that names no unfinished operation.
pub(super) fn take_free(lease: &Lease, doing: Doing<'_>, seen: Option<&LockRecord>, stamp: Stamp) -> Write {
    let seen_fence = seen.map_or(0, |seen| seen.fence);
    Write::put(lock_item(&lease.scope, &taken(lease, doing, seen, stamp)))
        .only_if("attribute_not_exists(pk) OR (#st = :free AND fence = :f AND attribute_not_exists(#open))")
        .name("#st", "st")
        .name("#open", "open")
        .value(":free", "free")
        .value(":f", seen_fence)
}

/// Takes a lock that names an unfinished operation: a lapsed lease only while nobody beats, a free one only while it names the same.
/// `open` stays.
pub(super) fn take_unfinished(lease: &Lease, doing: Doing<'_>, seen: &LockRecord, stamp: Stamp) -> Write {
    let write = Write::put(lock_item(&lease.scope, &taken(lease, doing, Some(seen), stamp))).name("#st", "st").value(":f", seen.fence);
    match seen.state {
        LockState::Held => write.only_if("#st = :held AND fence = :f AND beat = :b").value(":held", "held").value(":b", seen.beat),
        LockState::Free => write
            .only_if("#st = :free AND fence = :f AND #open = :o")
            .name("#open", "open")
            .value(":free", "free")
            .value(":o", lease.operation.0.as_str()),
    }
}

/// Raises the fence of the unfinished operation, so that its old holder's journal is closed to it. `lease.seq` is already the new event's.
pub(super) fn take_operation(lease: &Lease, seen_fence: u64) -> Write {
    Write::update(key(&lease.scope, sk::operation(&lease.operation)), "SET fence = :new, seq = :to")
        .only_if("fence = :f AND seq = :s")
        .value(":new", lease.fence)
        .value(":to", lease.seq)
        .value(":f", seen_fence)
        .value(":s", lease.seq - 1)
}

fn mine(lease: &Lease, expression: &str) -> Write {
    Write::update(key(&lease.scope, sk::LOCK), expression)
        .only_if(MINE)
        .name("#owner", "owner")
        .name("#st", "st")
        .value(":f", lease.fence)
        .value(":me", lease.who.owner.as_str())
        .value(":held", "held")
        .value(":n", lease.beat)
}

/// Renews the lease.
pub(super) fn beat(lease: &Lease) -> Write {
    mine(lease, "SET beat = :n")
}

/// Renews the lease and says where the operation is.
pub(super) fn beat_at_stage(lease: &Lease, stage: &str) -> Write {
    mine(lease, "SET beat = :n, #stage = :stage").name("#stage", "stage").value(":stage", stage)
}

/// Renews the lease and turns it over to another operation of the same holder.
pub(super) fn beat_for_next(lease: &Lease, next: &OperationId) -> Write {
    mine(lease, "SET beat = :n, #op = :op, #open = :op, #stage = :none REMOVE #halt")
        .name("#op", "op")
        .name("#open", "open")
        .name("#stage", "stage")
        .name("#halt", "halt")
        .value(":op", next.0.as_str())
        .value(":none", "")
}

/// Counts the operation's events on, from exactly where this holder left them.
pub(super) fn advance(lease: &Lease, by: u64, set: Item) -> Write {
    Write::update(key(&lease.scope, sk::operation(&lease.operation)), "SET seq = :to")
        .only_if("seq = :s AND fence = :f")
        .value(":to", lease.seq + by)
        .value(":s", lease.seq)
        .value(":f", lease.fence)
        .and_set(set)
}

/// Gives the lock back. `open` goes only if the operation ended; that it was broken, only when nothing of the old holder's can still be
/// under way.
pub(super) fn give_back(lease: &Lease, ended: bool, settled: bool) -> Write {
    let gone = [("", true), (", #open, #shared", ended), (", broken", settled)];
    let gone: String = gone.into_iter().filter_map(|(names, goes)| goes.then_some(names)).collect();
    let write = Write::update(key(&lease.scope, sk::LOCK), format!("SET #st = :free REMOVE #owner, #op, #halt{gone}"))
        .only_if("fence = :f AND #owner = :me")
        .name("#st", "st")
        .name("#owner", "owner")
        .name("#op", "op")
        .name("#halt", "halt")
        .value(":free", "free")
        .value(":f", lease.fence)
        .value(":me", lease.who.owner.as_str());
    if ended { write.name("#open", "open").name("#shared", "shared") } else { write }
}

/// Takes the lock from whoever holds it for this operation at this fence. Not from whoever beats only: a holder may be alive and hang.
/// `open` stays, and the fence closes the lock and the journal to the old holder.
pub(super) fn break_open(scope: &Scope, seen: &LockRecord, broken: &Broken) -> Write {
    let operation = seen.operation.as_ref().map(|id| id.0.as_str()).unwrap_or_default();
    Write::update(key(scope, sk::LOCK), "SET #st = :free, fence = :next, broken = :broken, v = :v REMOVE #owner, #op, #halt")
        .only_if("#op = :op AND fence = :f AND #st = :held")
        .name("#st", "st")
        .name("#owner", "owner")
        .name("#op", "op")
        .name("#halt", "halt")
        .value(":free", "free")
        .value(":held", "held")
        .value(":next", seen.fence + 1)
        .value(":f", seen.fence)
        .value(":op", operation)
        .value(":broken", broken_value(broken))
        .value(":v", FORMAT)
}

/// Makes the condition of an acquire that may still be under way false, before giving up.
pub(super) fn bump(scope: &Scope, seen: Option<&LockRecord>) -> Write {
    match seen {
        Some(seen) => Write::update(key(scope, sk::LOCK), "SET fence = :next")
            .only_if("fence = :f AND #st = :free")
            .name("#st", "st")
            .value(":next", seen.fence + 1)
            .value(":f", seen.fence)
            .value(":free", "free"),
        None => {
            let record = LockRecord { fence: 1, lease_ms: super::constants::LEASE.as_millis() as u64, ..LockRecord::default() };
            Write::put_new(lock_item(scope, &record))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::shared::{self, Holding, Shared};
    use super::*;
    use crate::aws::dynamodb::Deed;

    const DEPLOYING: Doing<'_> = Doing { text: "deploying", eta_s: None };

    fn lease() -> Lease {
        let who = Identity {
            owner: "01ME".into(),
            who: "ada".into(),
            host: "h".into(),
            via: "laptop".into(),
            arn: "arn".into(),
            cli: "0.1.0".into(),
        };
        let scope = Scope { table: "t".into(), pk: "shop#staging".into() };
        Lease {
            scope,
            who,
            fence: 7,
            beat: 3,
            operation: OperationId("01OP".into()),
            seq: 4,
            shared: vec![Resource("listener.a.80".into())],
        }
    }

    fn stamp() -> Stamp {
        Stamp("2026-11-22T10:00:00Z".parse().unwrap())
    }

    /// Attribute names that are no placeholders and that DynamoDB reserves.
    #[test]
    fn no_expression_names_a_reserved_word() {
        let reserved = [
            "shared", "who", "reason", "owner", "state", "open", "op", "stage", "halt", "until", "next", "before", "number", "at", "by",
            "type", "kind",
        ];
        let next = OperationId("01NEXT".into());
        let seen = LockRecord { fence: 6, ..LockRecord::default() };
        let thing = Resource("listener.a.80".into());
        let holder = Some(Holding { lease_pk: "shop#staging".into(), operation: next.clone(), fence: 3 });
        let free = Shared { resource: thing.clone(), fence: 3, holder: None };
        let broken = Broken { who: "joe".into(), why: "hangs".into(), at: String::new(), answered: false };
        let writes = [
            take_free(&lease(), DEPLOYING, Some(&seen), stamp()),
            take_unfinished(&lease(), DEPLOYING, &seen, stamp()),
            take_operation(&lease(), 6),
            beat(&lease()),
            beat_at_stage(&lease(), "await"),
            beat_for_next(&lease(), &next),
            advance(&lease(), 1, Item::new()),
            give_back(&lease(), true, true),
            give_back(&lease(), false, false),
            break_open(&lease().scope, &seen, &broken),
            check_head_later(&lease().scope, 7, [1, 2]),
            bump(&lease().scope, Some(&seen)),
            bump(&lease().scope, None),
            check_freeze(&lease().scope, stamp().0),
            check_head(&lease().scope, 7),
            shared::take(&lease(), &thing, None),
            shared::take(&lease(), &thing, Some(&free)),
            shared::take(&lease(), &thing, Some(&Shared { holder, ..free.clone() })),
            shared::pass_on(&lease(), &thing, &next),
            shared::give_back(&lease(), &thing),
            shared::unchanged(&lease().scope, None),
            shared::unchanged(&lease().scope, Some(&seen)),
            super::super::halt::request(&lease().scope, &next, "ada", "why"),
            super::super::freeze::lift(key(&lease().scope, sk::FREEZE), &Item::new(), "now"),
            super::super::freeze::lift(key(&lease().scope, sk::FREEZE), &[("until".to_string(), 7u64.into())].into(), "now"),
            super::super::force::replace(&lease().scope, None, &seen),
            super::super::force::replace(&lease().scope, Some(&lock_item(&lease().scope, &seen)), &seen),
        ];
        for write in writes {
            let update = match &write.deed {
                Deed::Update(_, expression) => expression.clone(),
                _ => String::new(),
            };
            let text = format!("{update} {}", write.condition.unwrap_or_default());
            let words = text.split(|c: char| !(c.is_alphanumeric() || "#:_".contains(c)));
            for word in words {
                assert!(!reserved.contains(&word), "{word} in {text}");
                let defined = match word.chars().next() {
                    Some('#') => write.names.contains_key(word),
                    Some(':') => write.values.contains_key(word),
                    _ => true,
                };
                assert!(defined, "{word} is not defined for {text}");
            }
            for placeholder in write.names.keys().chain(write.values.keys()) {
                assert!(text.contains(placeholder.as_str()), "{placeholder} is not used in {text}");
            }
        }
    }

    #[test]
    fn tokens_fit_and_differ_by_every_part() {
        let (a, b) = (token(&[&"owner", &1]), token(&[&"owner", &2]));
        assert!(a != b && a.len() <= 36 && a == token(&[&"owner", &1]));
        assert_ne!(token(&[&"a", &"bc"]), token(&[&"ab", &"c"]));
    }

    #[test]
    fn events_are_numbered_and_can_expire_and_nothing_else_can() {
        let body: Item = [("type".to_string(), "note".into())].into();
        let rows = events(&lease(), &lease().operation, 5, &[body.clone(), body], stamp());
        assert_eq!(rows.iter().map(|row| row.key().sk).collect::<Vec<_>>(), ["OP#01OP#00000005", "OP#01OP#00000006"]);
        let Deed::Put(item) = &rows[0].deed else { panic!("a put") };
        assert_eq!(item["nonce"], "01ME.7.5".into());
        assert!(item.contains_key("expires"));
        let operation = begin_operation(&lease(), &lease().operation, &Item::new(), &Item::new(), stamp());
        let Deed::Put(item) = &operation[0].deed else { panic!("a put") };
        assert!(!item.contains_key("expires"));
        let Deed::Put(item) = take_free(&lease(), DEPLOYING, None, stamp()).deed else { panic!("a put") };
        assert!(!item.contains_key("expires"));
    }

    #[test]
    fn nothing_ever_deletes_the_lock() {
        let expression = |ended, settled| match give_back(&lease(), ended, settled).deed {
            Deed::Update(key, expression) if key.sk == "LOCK" => expression,
            other => panic!("{other:?}"),
        };
        assert_eq!(expression(true, true), "SET #st = :free REMOVE #owner, #op, #halt, #open, #shared, broken");
        assert_eq!(expression(false, false), "SET #st = :free REMOVE #owner, #op, #halt");
    }
}
