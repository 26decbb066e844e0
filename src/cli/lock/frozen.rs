//! A freeze in words.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::model::{FreezeRecord, Seconds};

/// `by maya until Mon 2026-11-23 08:00 (in 2d 4h): "year-end close"`.
pub fn said(freeze: &FreezeRecord, now: Timestamp, zone: &TimeZone) -> String {
    format!("by {} {}: \"{}\"", freeze.who, end(freeze, now, zone), freeze.reason)
}

/// `until Mon 2026-11-23 08:00 (in 2d 4h)`.
pub fn end(freeze: &FreezeRecord, now: Timestamp, zone: &TimeZone) -> String {
    let Some(until) = freeze.until.as_ref().and_then(|until| until.parse::<Timestamp>().ok()) else {
        return "until somebody lifts it".into();
    };
    let left = Seconds(u64::try_from(until.duration_since(now).as_secs()).unwrap_or_default());
    format!("until {} (in {left})", until.to_zoned(zone.clone()).strftime("%a %Y-%m-%d %H:%M"))
}
