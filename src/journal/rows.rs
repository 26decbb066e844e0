//! The rows `HEAD`, `RELEASE#…` and `OP#…` as values and back. Every row carries its format version `v`.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::entry::{outcome_word, parse_outcome};
use crate::aws::dynamodb::{Item, Key, Malformed, Reader, Value, Write};
use crate::model::{
    FORMAT, Head, ImageId, OperationId, OperationKind, OperationRecord, Outcome, Release, ReleaseNumber, ReleaseRecord, Scope, ServiceName,
    Verdict, sk,
};
use crate::plan::Plan;

fn key(scope: &Scope, sk: impl Into<String>) -> Key {
    Key::new(&scope.pk, sk)
}

fn unencodable(row: &str) -> impl Fn(serde_json::Error) -> Malformed {
    move |error| Malformed { row: row.to_string(), problem: error.to_string() }
}

/// `OP#<ulid>` as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// What is shown of it.
    pub record: OperationRecord,
    /// Fence of the holder that may write to it.
    pub fence: u64,
    /// Number of its newest event.
    pub seq: u64,
    /// What was asked, as typed.
    pub request: String,
    /// Version of the adstage that began it.
    pub cli: String,
    /// Hash of its plan.
    pub plan_hash: Option<String>,
    plan: Option<String>,
}

impl Operation {
    /// Its plan, if it has one and this binary knows every step in it.
    pub fn plan(&self) -> Result<Option<Plan>, Malformed> {
        let Some(text) = &self.plan else { return Ok(None) };
        let unknown = |error: serde_json::Error| Malformed {
            row: sk::operation(&self.record.id),
            problem: format!("its plan was made by adstage {} and cannot be read by this one: {error}", self.cli),
        };
        serde_json::from_str(text).map(Some).map_err(unknown)
    }

    /// True if this is the plan the row was written with, to the last letter: whatever this version would leave out of it or add to it
    /// gives another hash.
    pub fn holds(&self, plan: &Plan) -> bool {
        let again = serde_json::to_string(plan).map(|text| plan_hash(&text));
        again.is_ok_and(|again| self.plan_hash.as_ref() == Some(&again))
    }
}

/// The body of `OP#<ulid>`: everything but the key, the fence and the event number, which the writer of the lock adds. A resume needs the
/// plan, its hash and the version that made it.
pub fn operation(record: &OperationRecord, request: &str, cli: &str, plan: Option<&Plan>) -> Result<Item, Malformed> {
    let row = sk::operation(&record.id);
    let mut item: Item = [
        ("kind", Value::encode(&record.kind).map_err(unencodable(&row))?),
        ("by", record.by.as_str().into()),
        ("at", record.at.as_str().into()),
        ("stage", record.stage.as_str().into()),
        ("request", request.into()),
        ("cli", cli.into()),
    ]
    .map(|(name, value): (_, Value)| (name.to_string(), value))
    .into();
    for (name, release) in [("release", record.release), ("previous", record.previous)] {
        if let Some(release) = release {
            item.insert(name.to_string(), release.to_string().into());
        }
    }
    if let Some(plan) = plan {
        let text = serde_json::to_string(plan).map_err(unencodable(&row))?;
        item.insert("plan_hash".to_string(), plan_hash(&text).into());
        item.insert("plan".to_string(), text.into());
    }
    if let Some(outcome) = record.ended {
        item.extend(ended(outcome, record.reason.as_deref(), record.ended_at.as_deref().unwrap_or_default()));
    }
    Ok(item)
}

fn plan_hash(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// The attributes of `OP#<ulid>` that say it ended.
pub fn ended(outcome: Outcome, reason: Option<&str>, at: &str) -> Item {
    let mut item: Item = [("ended".to_string(), outcome_word(outcome).into()), ("ended_at".to_string(), at.into())].into();
    if let Some(reason) = reason {
        item.insert("reason".to_string(), reason.into());
    }
    item
}

/// An item that is an `OP#<ulid>` row.
pub fn parse_operation(item: &Item) -> Result<Operation, Malformed> {
    Reader::new(item).understood(FORMAT, read_operation)
}

fn read_operation(row: &Reader<'_>) -> Result<Operation, Malformed> {
    let name = row.text("sk")?;
    let id = name.strip_prefix(sk::OPERATIONS).ok_or_else(|| row.malformed("is no operation"))?;
    let ended = row.text_if_any("ended")?;
    let record = OperationRecord {
        id: OperationId(id.to_string()),
        kind: row.decoded::<OperationKind>("kind")?,
        release: release_number(row, "release")?,
        previous: release_number(row, "previous")?,
        by: row.text("by")?,
        at: row.text("at")?,
        ended_at: row.text_if_any("ended_at")?,
        ended: ended.map(|word| parse_outcome(row, &word)).transpose()?,
        stage: row.text_if_any("stage")?.unwrap_or_default(),
        reason: row.text_if_any("reason")?,
    };
    Ok(Operation {
        record,
        fence: row.number("fence")?,
        seq: row.number("seq")?,
        request: row.text_if_any("request")?.unwrap_or_default(),
        cli: row.text_if_any("cli")?.unwrap_or_default(),
        plan_hash: row.text_if_any("plan_hash")?,
        plan: row.text_if_any("plan")?,
    })
}

fn release_number(row: &Reader<'_>, name: &str) -> Result<Option<ReleaseNumber>, Malformed> {
    let Some(text) = row.text_if_any(name)? else { return Ok(None) };
    text.parse().map(Some).map_err(|error| row.malformed(format_args!("`{name}` {error}")))
}

/// The number the next release gets.
pub fn next_release(head: Option<&Head>) -> ReleaseNumber {
    ReleaseNumber(head.map_or(1, |head| head.next.max(1)))
}

/// Creates a release: its row, where there is none, and `HEAD.next` counted on from exactly this number. Both or neither, so numbers
/// have no gaps and nobody gets one twice.
pub fn create_release(scope: &Scope, record: &ReleaseRecord, fence: u64) -> Result<Vec<Write>, Malformed> {
    let number = record.release.number;
    let same = "#next = :n AND fence <= :f";
    let condition = if number.0 == 1 { format!("attribute_not_exists(pk) OR ({same})") } else { same.to_string() };
    let update =
        "SET #next = :following, fence = :f, v = :v, serving = if_not_exists(serving, :none), #before = if_not_exists(#before, :none)";
    let head = Write::update(key(scope, sk::HEAD), update)
        .only_if(condition)
        .name("#next", "next")
        .name("#before", "before")
        .value(":n", number.0)
        .value(":following", number.0 + 1)
        .value(":f", fence)
        .value(":v", FORMAT)
        .value(":none", Item::new());
    Ok(vec![Write::put_new(release_item(scope, record)?), head])
}

/// Says what was meant to serve from now on, and what served before.
pub fn serve(
    scope: &Scope,
    serving: &BTreeMap<ServiceName, ReleaseNumber>,
    before: &BTreeMap<ServiceName, ReleaseNumber>,
    fence: u64,
) -> Write {
    let map = |releases: &BTreeMap<ServiceName, ReleaseNumber>| -> Item {
        releases.iter().map(|(service, release)| (service.to_string(), release.to_string().into())).collect()
    };
    Write::update(key(scope, sk::HEAD), "SET serving = :serving, #before = :before, fence = :f, v = :v, #next = if_not_exists(#next, :one)")
        .only_if("attribute_not_exists(pk) OR fence <= :f")
        .name("#next", "next")
        .name("#before", "before")
        .value(":serving", map(serving))
        .value(":before", map(before))
        .value(":f", fence)
        .value(":v", FORMAT)
        .value(":one", 1u64)
}

/// Says when the weights are still to be looked at ([`Head::check_after`]); empty: not any more. A transaction that writes `HEAD` anyway
/// takes [`and_checked`].
pub fn checked(scope: &Scope, left: &[u64], fence: u64) -> Write {
    let write = Write::update(key(scope, sk::HEAD), "").only_if("attribute_exists(pk) AND fence <= :f").value(":f", fence);
    and_checked(write, left)
}

/// Adds it to another write of `HEAD`, such as [`serve`]: a transaction touches a row once.
pub fn and_checked(head: Write, left: &[u64]) -> Write {
    let left = left.iter().map(|time| Value::from(*time)).collect();
    head.and_set([("check_after".to_string(), Value::List(left))].into())
}

/// `HEAD`.
pub fn parse_head(item: &Item) -> Result<Head, Malformed> {
    Reader::new(item).understood(FORMAT, |row| {
        let next = u32::try_from(row.number("next")?).map_err(|error| row.malformed(format_args!("`next`: {error}")))?;
        let releases = |name: &str| Ok::<_, Malformed>(row.decoded_if_any(name)?.unwrap_or_default());
        let check_after = row.decoded_if_any("check_after")?.unwrap_or_default();
        Ok(Head { serving: releases("serving")?, before: releases("before")?, fence: row.number("fence")?, next, check_after })
    })
}

fn release_item(scope: &Scope, record: &ReleaseRecord) -> Result<Item, Malformed> {
    let release = &record.release;
    let row = sk::release(release.number);
    let mut item: Item = [
        ("pk", Value::from(scope.pk.as_str())),
        ("sk", row.as_str().into()),
        ("v", FORMAT.into()),
        ("number", release.number.0.into()),
        ("image", release.image.0.as_str().into()),
        ("image_name", release.image_name.as_str().into()),
        ("commits", Value::encode(&release.commits).map_err(unencodable(&row))?),
        ("services", Value::encode(&release.services).map_err(unencodable(&row))?),
        ("by", record.by.as_str().into()),
        ("at", record.at.as_str().into()),
        ("op", record.operation.0.as_str().into()),
    ]
    .map(|(name, value)| (name.to_string(), value))
    .into();
    let (word, reason) = verdict_parts(&record.verdict);
    item.insert("verdict".to_string(), word.into());
    if let Some(reason) = reason {
        item.insert("reason".to_string(), reason.into());
    }
    Ok(item)
}

fn verdict_parts(verdict: &Verdict) -> (&'static str, Option<&str>) {
    match verdict {
        Verdict::Untried => ("untried", None),
        Verdict::Good => ("good", None),
        Verdict::Bad { reason } => ("bad", Some(reason)),
    }
}

/// Says what is thought of a release.
pub fn judge(scope: &Scope, number: ReleaseNumber, verdict: &Verdict) -> Write {
    let (word, reason) = verdict_parts(verdict);
    Write::update(key(scope, sk::release(number)), "SET verdict = :verdict, reason = :reason")
        .only_if("attribute_exists(pk)")
        .value(":verdict", word)
        .value(":reason", reason.map_or(Value::Null, Value::from))
}

/// An item that is a `RELEASE#…` row.
pub fn parse_release(item: &Item) -> Result<ReleaseRecord, Malformed> {
    Reader::new(item).understood(FORMAT, read_release)
}

fn read_release(row: &Reader<'_>) -> Result<ReleaseRecord, Malformed> {
    let number = u32::try_from(row.number("number")?).map_err(|error| row.malformed(format_args!("`number`: {error}")))?;
    let verdict = match row.text("verdict")?.as_str() {
        "untried" => Verdict::Untried,
        "good" => Verdict::Good,
        "bad" => Verdict::Bad { reason: row.text_if_any("reason")?.unwrap_or_default() },
        other => return Err(row.malformed(format_args!("`verdict` is {other:?}"))),
    };
    Ok(ReleaseRecord {
        release: Release {
            number: ReleaseNumber(number),
            image: ImageId(row.text("image")?),
            image_name: row.text("image_name")?,
            commits: row.decoded("commits")?,
            services: row.decoded("services")?,
        },
        verdict,
        by: row.text("by")?,
        at: row.text("at")?,
        operation: OperationId(row.text("op")?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::dynamodb::Deed;
    use crate::model::{HealthCheck, Seconds, ServiceSpec};

    fn scope() -> Scope {
        Scope { table: "adstage".into(), pk: "shop#staging".into() }
    }

    fn release(number: u32) -> ReleaseRecord {
        let health = HealthCheck { interval: Seconds(5), timeout: Seconds(2), healthy_count: 2, unhealthy_count: 2 };
        let web = ServiceSpec {
            repository: "storefront".parse().unwrap(),
            run: "bin/web".into(),
            port: Some(8001),
            health_path: "/up".into(),
            variables: [("GREETING".to_string(), "hello".to_string())].into(),
            secrets: BTreeMap::new(),
            release_command: None,
            instance_type: "m7i.large".into(),
            other_types: vec![],
            scaling: None,
            health,
            drain: Seconds(30),
            grace: Seconds(20),
            held: false,
        };
        ReleaseRecord {
            release: Release {
                number: ReleaseNumber(number),
                image: ImageId("ami-1".into()),
                image_name: "shop-ab12".into(),
                commits: [("storefront".parse().unwrap(), "c0ffee".to_string())].into(),
                services: [("web".parse().unwrap(), web)].into(),
            },
            verdict: Verdict::Good,
            by: "ada".into(),
            at: "2026-11-22T10:00:00Z".into(),
            operation: OperationId("01OP".into()),
        }
    }

    #[test]
    fn a_release_survives_the_round_trip_with_its_configuration() {
        for verdict in [Verdict::Untried, Verdict::Good, Verdict::Bad { reason: "rolled back".into() }] {
            let record = ReleaseRecord { verdict, ..release(42) };
            let item = release_item(&scope(), &record).unwrap();
            assert_eq!(item["sk"], "RELEASE#000042".into());
            assert_eq!(parse_release(&item).unwrap(), record);
        }
    }

    #[test]
    fn an_operation_survives_the_round_trip_with_its_plan() {
        let record = OperationRecord {
            id: OperationId("01OP".into()),
            kind: OperationKind::Rollback,
            release: Some(ReleaseNumber(41)),
            previous: Some(ReleaseNumber(42)),
            by: "ada".into(),
            at: "2026-11-22T10:00:00Z".into(),
            ended_at: Some("2026-11-22T10:09:00Z".into()),
            ended: Some(Outcome::RolledBack),
            stage: "settle".into(),
            reason: Some("it was slow".into()),
        };
        let mut item = operation(&record, "adstage rollback staging", "0.1.0", None).unwrap();
        item.extend(
            [("pk", scope().pk.into()), ("sk", "OP#01OP".into()), ("fence", 3u64.into()), ("seq", 9u64.into())]
                .map(|(name, value): (&str, Value)| (name.to_string(), value)),
        );
        let read = parse_operation(&item).unwrap();
        assert_eq!((&read.record, read.fence, read.seq, read.plan().unwrap()), (&record, 3, 9, None));
        item.insert("plan".into(), "{\"kind\":\"teleport\"}".into());
        let complaint = parse_operation(&item).unwrap().plan().unwrap_err().to_string();
        assert!(complaint.contains("made by adstage 0.1.0"), "{complaint}");
    }

    #[test]
    fn the_first_release_may_create_the_head_and_later_ones_must_find_it() {
        let condition = |number| create_release(&scope(), &release(number), 5).unwrap()[1].condition.clone().unwrap();
        assert_eq!(condition(1), "attribute_not_exists(pk) OR (#next = :n AND fence <= :f)");
        assert_eq!(condition(2), "#next = :n AND fence <= :f");
        assert_eq!((next_release(None), next_release(Some(&Head { next: 7, ..Head::default() }))), (ReleaseNumber(1), ReleaseNumber(7)));
    }

    #[test]
    fn the_head_survives_the_round_trip() {
        let serving = [("web".parse().unwrap(), ReleaseNumber(42))].into();
        let before = [("web".parse().unwrap(), ReleaseNumber(41))].into();
        let write = serve(&scope(), &serving, &before, 8);
        assert!(matches!(write.deed, Deed::Update(..)));
        let item: Item = [("serving", ":serving"), ("before", ":before"), ("fence", ":f"), ("next", ":one"), ("v", ":v")]
            .map(|(name, value)| (name.to_string(), write.values[value].clone()))
            .into();
        assert_eq!(parse_head(&item).unwrap(), Head { serving, before, fence: 8, next: 1, check_after: Vec::new() });
    }

    #[test]
    fn when_to_look_again_is_kept_and_dropped_with_or_without_anything_else() {
        let write = checked(&scope(), &[1_795_000_930], 8);
        let item: Item = [("next", 1u64.into()), ("fence", 8u64.into()), ("check_after", write.values[":set0"].clone())]
            .map(|(name, value): (&str, Value)| (name.to_string(), value))
            .into();
        assert_eq!(parse_head(&item).unwrap().check_after, [1_795_000_930]);
        let both = and_checked(serve(&scope(), &BTreeMap::new(), &BTreeMap::new(), 8), &[]);
        let Deed::Update(_, expression) = &both.deed else { panic!("an update") };
        assert!(expression.starts_with("SET #set2 = :set2, serving = :serving"), "{expression}");
        assert_eq!((both.names["#set2"].as_str(), &both.values[":set2"]), ("check_after", &Value::List(Vec::new())));
    }
}
