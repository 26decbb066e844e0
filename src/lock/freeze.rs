//! `FREEZE`: a person's lock. It never beats, is never taken over and never waited for. Its row stays, like every other: a freeze that was
//! lifted says so, and its end has passed.

use super::audit::{self, Deed};
use super::resend::Sender;
use super::row::{Identity, key};
use crate::aws::dynamodb::{Item, Key, Malformed, Reader, Value, Write};
use crate::aws::{Dynamodb, Error};
use crate::clock::Clock;
use crate::model::{FORMAT, FreezeRecord, Scope, sk};

/// What became of a freeze.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Freezing {
    /// It holds from now on.
    Frozen,
    /// It is frozen already, and not by this: that one must be lifted first.
    Already(FreezeRecord),
}

/// True until its end, by AWS's clock.
pub fn in_force(freeze: &FreezeRecord, now: jiff::Timestamp) -> bool {
    freeze.until.as_ref().and_then(|until| until.parse::<jiff::Timestamp>().ok()).is_none_or(|until| until >= now)
}

/// `FREEZE` as a record.
pub fn parse_freeze(item: &Item) -> Result<FreezeRecord, Malformed> {
    let row = Reader::new(item);
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

/// `FREEZE` as it holds or held; none if there never was one or somebody lifted it.
pub(super) fn standing(item: &Item) -> Result<Option<FreezeRecord>, Malformed> {
    let lifted = Reader::new(item).text_if_any("lifted")?.is_some();
    if lifted { Ok(None) } else { parse_freeze(item).map(Some) }
}

/// Freezes a scope. A freeze whose end has passed is replaced; one that holds only if it is exactly this one (`instead_of`).
pub async fn freeze(
    db: &Dynamodb,
    clock: &Clock,
    scope: &Scope,
    who: &Identity,
    record: &FreezeRecord,
    instead_of: Option<&FreezeRecord>,
) -> Result<Freezing, Error> {
    let (mut sender, now) = (Sender::new(db.clone(), clock.clone(), &scope.table, &who.owner), db.now());
    let over = "attribute_not_exists(pk) OR #until < :now";
    let mut write =
        Write::put(freeze_item(scope, record)?).name("#until", "until").value(":now", now.as_second().max(0).cast_unsigned()).only_if(over);
    if let Some(old) = instead_of {
        let same = format!("{over} OR (who = :who AND made = :made AND reason = :reason)");
        write = write.only_if(same).value(":who", old.who.as_str()).value(":made", old.made.as_str());
        write = write.value(":reason", old.reason.as_str());
    }
    let audit = audit::row(scope, Deed::Freeze, audit::by(who), &record.reason, freeze_item(scope, record)?, now);
    match audit::send(&mut sender, &[write, audit]).await? {
        None => Ok(Freezing::Frozen),
        Some(reasons) => {
            let old = reasons.first().and_then(|reason| reason.old.as_ref());
            let found = old.map(parse_freeze).transpose()?;
            found.map(Freezing::Already).ok_or_else(|| Reader::new(&Item::new()).malformed("FREEZE came and went meanwhile").into())
        }
    }
}

/// Lifts the freeze it finds, only that one, and says which. None: it is not frozen.
pub async fn unfreeze(db: &Dynamodb, clock: &Clock, scope: &Scope, who: &Identity) -> Result<Option<FreezeRecord>, Error> {
    let mut sender = Sender::new(db.clone(), clock.clone(), &scope.table, &who.owner);
    loop {
        let Some(item) = db.get(&scope.table, &key(scope, sk::FREEZE)).await? else { return Ok(None) };
        let Some(record) = standing(&item)? else { return Ok(None) };
        let now = db.now();
        let audit = audit::row(scope, Deed::Unfreeze, audit::by(who), &record.reason, item.clone(), now);
        let lift = lift(key(scope, sk::FREEZE), &item, &now.to_string());
        // Refused: somebody else froze or lifted it since we looked.
        if audit::send(&mut sender, &[lift, audit]).await?.is_none() {
            return Ok(Some(record));
        }
    }
}

/// Ends exactly the freeze that was read.
pub(super) fn lift(key: Key, seen: &Item, at: &str) -> Write {
    let mut write = Write::update(key, "SET lifted = :at, #until = :past, v = :v")
        .name("#until", "until")
        .value(":at", at)
        .value(":past", 0u64)
        .value(":v", FORMAT);
    let mut same = Vec::new();
    for (number, name) in ["who", "reason", "made", "until"].into_iter().enumerate() {
        let placeholder = if name == "until" { "#until".to_string() } else { format!("#same{number}") };
        write = write.name(&placeholder, name);
        match seen.get(name) {
            None => same.push(format!("attribute_not_exists({placeholder})")),
            Some(value) => {
                let wanted = format!(":same{number}");
                same.push(format!("{placeholder} = {wanted}"));
                write = write.value(&wanted, value.clone());
            }
        }
    }
    write.only_if(format!("{} AND attribute_not_exists(lifted)", same.join(" AND ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope() -> Scope {
        Scope { table: "adstage".into(), pk: "shop#staging".into() }
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
