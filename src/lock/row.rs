//! The row `LOCK` as a value. Attribute names and types are a contract with every other binary that reads the table.

use std::time::Duration;

use crate::aws::dynamodb::{Item, Key, Malformed, Reader, Value};
use crate::lock::constants::LEASE;
use crate::model::{Broken, FORMAT, LockRecord, LockState, OperationId, Resource, Scope, sk};

/// Who acts, and from where: what the blocked engineer is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// ULID of this process: the lock's owner.
    pub owner: String,
    /// The person, or the CI job.
    pub who: String,
    /// The machine's name.
    pub host: String,
    /// `laptop`, or the address of the CI run.
    pub via: String,
    /// The caller's ARN.
    pub arn: String,
    /// Version of this binary.
    pub cli: String,
}

/// The key of a row of this scope.
pub(super) fn key(scope: &Scope, sk: impl Into<String>) -> Key {
    Key::new(&scope.pk, sk)
}

/// `LOCK` as a record. A row of a newer format is read as far as it is understood ([`LockRecord::newer`]).
pub fn parse_lock(item: &Item) -> Result<LockRecord, Malformed> {
    let row = Reader::new(item);
    let state = match row.text("st")?.as_str() {
        "free" => LockState::Free,
        "held" => LockState::Held,
        other => return Err(row.malformed(format_args!("`st` is {other:?}, neither free nor held"))),
    };
    let halt = match row.map_if_any("halt")? {
        Some(map) => Some((Reader::new(map).text("who")?, Reader::new(map).text("why")?)),
        None => None,
    };
    let broken = row.map_if_any("broken")?.map(parse_broken).transpose()?;
    let shared: Vec<String> = row.decoded_if_any("shared")?.unwrap_or_default();
    let shown = |name: &str| Ok::<_, Malformed>(row.text_if_any(name)?.unwrap_or_default());
    let newer = match row.number_if_any("v")? {
        Some(version) if version > FORMAT => Some(shown("cli")?),
        _ => None,
    };
    Ok(LockRecord {
        state,
        fence: row.number("fence")?,
        beat: row.number("beat")?,
        owner: row.text_if_any("owner")?,
        operation: row.text_if_any("op")?.map(OperationId),
        open: row.text_if_any("open")?.map(OperationId),
        lease_ms: row.number("lease_ms")?,
        who: shown("who")?,
        host: shown("host")?,
        via: shown("via")?,
        arn: shown("arn")?,
        doing: shown("doing")?,
        stage: shown("stage")?,
        percent: row.number_if_any("pct")?,
        since: shown("since")?,
        eta_s: row.number_if_any("eta_s")?,
        cli: shown("cli")?,
        halt,
        shared: shared.into_iter().map(Resource).collect(),
        broken,
        newer,
    })
}

fn parse_broken(map: &Item) -> Result<Broken, Malformed> {
    let map = Reader::new(map);
    let answered = map.decoded("answered")?;
    Ok(Broken { who: map.text("who")?, why: map.text("why")?, at: map.text("at")?, answered })
}

/// A record as `LOCK`, whole. Absent stays absent: the conditions ask `attribute_not_exists`.
pub fn lock_item(scope: &Scope, record: &LockRecord) -> Item {
    let mut item: Item = [
        ("pk", Value::from(scope.pk.as_str())),
        ("sk", sk::LOCK.into()),
        ("v", FORMAT.into()),
        ("st", state(record.state).into()),
        ("fence", record.fence.into()),
        ("beat", record.beat.into()),
        ("lease_ms", record.lease_ms.into()),
    ]
    .map(|(name, value)| (name.to_string(), value))
    .into();
    let mut optional = |name: &str, value: Option<Value>| value.map(|value| item.insert(name.to_string(), value));
    optional("owner", record.owner.as_deref().map(Value::from));
    optional("op", record.operation.as_ref().map(|id| id.0.as_str().into()));
    optional("open", record.open.as_ref().map(|id| id.0.as_str().into()));
    optional("pct", record.percent.map(Value::from));
    optional("eta_s", record.eta_s.map(Value::from));
    optional("halt", record.halt.as_ref().map(|(who, why)| halt_value(who, why)));
    optional("broken", record.broken.as_ref().map(broken_value));
    let shared = record.shared.iter().map(|resource| resource.0.as_str().into()).collect();
    optional("shared", (!record.shared.is_empty()).then_some(Value::List(shared)));
    let shown = [
        ("who", &record.who),
        ("host", &record.host),
        ("via", &record.via),
        ("arn", &record.arn),
        ("doing", &record.doing),
        ("stage", &record.stage),
        ("since", &record.since),
        ("cli", &record.cli),
    ];
    for (name, text) in shown {
        optional(name, (!text.is_empty()).then(|| text.as_str().into()));
    }
    item
}

fn state(state: LockState) -> &'static str {
    match state {
        LockState::Free => "free",
        LockState::Held => "held",
    }
}

pub(super) fn halt_value(who: &str, why: &str) -> Value {
    Value::Map([("who".to_string(), who.into()), ("why".to_string(), why.into())].into())
}

pub(super) fn broken_value(broken: &Broken) -> Value {
    let text = [("who", &broken.who), ("why", &broken.why), ("at", &broken.at)];
    let mut map: Item = text.map(|(name, text)| (name.to_string(), text.as_str().into())).into();
    map.insert("answered".to_string(), broken.answered.into());
    Value::Map(map)
}

/// What the blocked are shown of an operation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Doing<'a> {
    pub text: &'a str,
    /// How long it takes about, in seconds.
    pub eta_s: Option<u64>,
}

/// The row as a new holder of this operation writes it.
pub(super) fn held_by(who: &Identity, operation: &OperationId, doing: Doing<'_>, fence: u64, since: String) -> LockRecord {
    LockRecord {
        state: LockState::Held,
        fence,
        owner: Some(who.owner.clone()),
        operation: Some(operation.clone()),
        open: Some(operation.clone()),
        lease_ms: LEASE.as_millis() as u64,
        who: who.who.clone(),
        host: who.host.clone(),
        via: who.via.clone(),
        arn: who.arn.clone(),
        doing: doing.text.to_string(),
        since,
        eta_s: doing.eta_s,
        cli: who.cli.clone(),
        ..LockRecord::default()
    }
}

/// How long the lease of this row lasts, by the row's own word.
pub(super) fn lease(record: &LockRecord) -> Duration {
    Duration::from_millis(record.lease_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope() -> Scope {
        Scope { table: "adstage".into(), pk: "shop#staging".into() }
    }

    fn full() -> LockRecord {
        LockRecord {
            state: LockState::Held,
            fence: 7,
            beat: 12,
            owner: Some("01OWNER".into()),
            operation: Some(OperationId("01OP".into())),
            open: Some(OperationId("01OPEN".into())),
            lease_ms: 60_000,
            who: "ada".into(),
            host: "ada-laptop".into(),
            via: "laptop".into(),
            arn: "arn:aws:sts::111122223333:assumed-role/deploy/ada".into(),
            doing: "deploying r42".into(),
            stage: "await".into(),
            percent: Some(40),
            since: "2026-11-22T10:00:00Z".into(),
            eta_s: Some(120),
            cli: "0.1.0".into(),
            halt: Some(("grace".into(), "rollback".into())),
            shared: vec![Resource::listener("shop-staging", 443), Resource("image".into())],
            broken: Some(Broken { who: "joe".into(), why: "hangs".into(), at: "2026-11-22T10:01:00Z".into(), answered: true }),
            newer: None,
        }
    }

    /// Name and type of every attribute of the `LOCK` row, `pk` and `sk` included.
    const ATTRIBUTES: [(&str, &str); 23] = [
        ("pk", "S"),
        ("sk", "S"),
        ("v", "N"),
        ("st", "S"),
        ("fence", "N"),
        ("beat", "N"),
        ("owner", "S"),
        ("op", "S"),
        ("open", "S"),
        ("halt", "M"),
        ("lease_ms", "N"),
        ("who", "S"),
        ("host", "S"),
        ("via", "S"),
        ("arn", "S"),
        ("doing", "S"),
        ("stage", "S"),
        ("pct", "N"),
        ("since", "S"),
        ("eta_s", "N"),
        ("cli", "S"),
        ("shared", "L"),
        ("broken", "M"),
    ];

    #[test]
    fn every_attribute_of_the_lock_has_its_name_and_type() {
        let item = lock_item(&scope(), &full());
        assert_eq!(item.len(), ATTRIBUTES.len());
        for (name, wanted) in ATTRIBUTES {
            let found = match &item[name] {
                Value::S(_) => "S",
                Value::N(_) => "N",
                Value::Map(_) => "M",
                Value::List(_) => "L",
                other => panic!("{name} is {other:?}"),
            };
            assert_eq!(found, wanted, "{name}");
        }
    }

    #[test]
    fn every_attribute_survives_the_round_trip_and_is_really_read() {
        let item = lock_item(&scope(), &full());
        assert_eq!(parse_lock(&item).unwrap(), full());
        for (name, _) in ATTRIBUTES.iter().filter(|(name, _)| !["pk", "sk", "v"].contains(name)) {
            let mut without = item.clone();
            without.remove(*name);
            assert_ne!(parse_lock(&without).ok(), Some(full()), "{name} is not read");
            let mut other_type = item.clone();
            other_type.insert(name.to_string(), Value::Bool(true));
            assert!(parse_lock(&other_type).is_err(), "{name} is read in any type");
        }
    }

    #[test]
    fn absent_stays_absent() {
        let free = LockRecord { fence: 3, lease_ms: 60_000, ..LockRecord::default() };
        let item = lock_item(&scope(), &free);
        assert!(!item.contains_key("open") && !item.contains_key("owner"));
        assert_eq!(parse_lock(&item).unwrap(), free);
    }

    #[test]
    fn a_row_of_a_newer_format_is_read_as_far_as_it_is_understood() {
        let mut item = lock_item(&scope(), &full());
        item.extend([("v".to_string(), Value::from(FORMAT + 1)), ("quorum".to_string(), 3u64.into())]);
        assert_eq!(parse_lock(&item).unwrap(), LockRecord { newer: Some("0.1.0".into()), ..full() });
    }
}
