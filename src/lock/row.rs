//! The rows `LOCK` and `FREEZE` as values. Attribute names and types are a contract with every other binary that reads the table.

use std::time::Duration;

use crate::aws::dynamodb::{Item, Key, Malformed, Reader, Value};
use crate::lock::constants::{FORMAT, LEASE};
use crate::model::{FreezeRecord, LockRecord, LockState, OperationId, Scope, sk};

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

/// `LOCK` as a record.
pub fn parse_lock(item: &Item) -> Result<LockRecord, Malformed> {
    let row = Reader::new(item);
    row.version_at_most(FORMAT)?;
    let state = match row.text("st")?.as_str() {
        "free" => LockState::Free,
        "held" => LockState::Held,
        other => return Err(row.malformed(format_args!("`st` is {other:?}, neither free nor held"))),
    };
    let halt = match row.map_if_any("halt")? {
        Some(map) => Some((Reader::new(map).text("who")?, Reader::new(map).text("why")?)),
        None => None,
    };
    let shown = |name: &str| Ok::<_, Malformed>(row.text_if_any(name)?.unwrap_or_default());
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
    })
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

fn halt_value(who: &str, why: &str) -> Value {
    Value::Map([("who".to_string(), who.into()), ("why".to_string(), why.into())].into())
}

/// The row as a new holder writes it.
pub(super) fn held_by(who: &Identity, operation: &OperationId, doing: &str, fence: u64, since: String) -> LockRecord {
    LockRecord {
        state: LockState::Held,
        fence,
        beat: 0,
        owner: Some(who.owner.clone()),
        operation: Some(operation.clone()),
        open: Some(operation.clone()),
        lease_ms: LEASE.as_millis() as u64,
        who: who.who.clone(),
        host: who.host.clone(),
        via: who.via.clone(),
        arn: who.arn.clone(),
        doing: doing.to_string(),
        stage: String::new(),
        percent: None,
        since,
        eta_s: None,
        cli: who.cli.clone(),
        halt: None,
    }
}

/// How long the lease of this row lasts, by the row's own word.
pub(super) fn lease(record: &LockRecord) -> Duration {
    Duration::from_millis(record.lease_ms)
}

/// `FREEZE` as a record.
pub fn parse_freeze(item: &Item) -> Result<FreezeRecord, Malformed> {
    let row = Reader::new(item);
    row.version_at_most(FORMAT)?;
    let until = match row.number_if_any("until")? {
        None => None,
        Some(seconds) => Some(time_of(seconds).ok_or_else(|| row.malformed("`until` is no time"))?),
    };
    Ok(FreezeRecord { who: row.text("who")?, reason: row.text("reason")?, made: row.text_if_any("made")?.unwrap_or_default(), until })
}

fn time_of(seconds: u64) -> Option<String> {
    jiff::Timestamp::from_second(i64::try_from(seconds).ok()?).ok().map(|time| time.to_string())
}

/// A record as `FREEZE`. The end is epoch seconds in the row (conditions compare it) and RFC 3339 everywhere else.
pub fn freeze_item(scope: &Scope, record: &FreezeRecord) -> Result<Item, Malformed> {
    let mut item: Item = [
        ("pk", Value::from(scope.pk.as_str())),
        ("sk", sk::FREEZE.into()),
        ("v", FORMAT.into()),
        ("who", record.who.as_str().into()),
        ("reason", record.reason.as_str().into()),
        ("made", record.made.as_str().into()),
    ]
    .map(|(name, value)| (name.to_string(), value))
    .into();
    if let Some(until) = &record.until {
        let time: jiff::Timestamp =
            until.parse().map_err(|error| Malformed { row: sk::FREEZE.to_string(), problem: format!("`until`: {error}") })?;
        item.insert("until".to_string(), (time.as_second().max(0) as u64).into());
    }
    Ok(item)
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
        }
    }

    /// Name and type of every attribute of the `LOCK` row, `pk` and `sk` included.
    const ATTRIBUTES: [(&str, &str); 21] = [
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
    fn a_freeze_ends_at_epoch_seconds_in_the_row() {
        let until = Some("2026-11-22T18:00:00Z".to_string());
        let freeze = FreezeRecord { who: "ada".into(), reason: "fair".into(), made: "2026-11-22T10:00:00Z".into(), until };
        let item = freeze_item(&scope(), &freeze).unwrap();
        assert_eq!(item["until"], Value::N("1795370400".into()));
        assert_eq!(parse_freeze(&item).unwrap(), freeze);
    }
}
