//! When a freeze ends, as people say it: `2h`, `18:00`, `Mon 08:00`, or a date.

use jiff::civil::{DateTime, Time, Weekday};
use jiff::fmt::strtime::BrokenDownTime;
use jiff::tz::TimeZone;
use jiff::{Span, SpanRelativeTo, Timestamp};

/// The moment that is meant, seen from `now`; times of day and dates without an offset are the operator's own (`zone`).
pub fn until(text: &str, now: Timestamp, zone: &TimeZone) -> Result<Timestamp, String> {
    let end = moment(text, now, zone).ok_or("is not a time; times look like 2h, 18:00, \"Mon 08:00\" or 2026-12-01T08:00:00Z")?;
    if end <= now { Err(format!("is over: it is {} already", zone.to_datetime(now).strftime("%a %H:%M"))) } else { Ok(end) }
}

fn moment(text: &str, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
    let local = |time: DateTime| zone.to_timestamp(time).ok();
    if let Ok(span) = text.parse::<Span>() {
        return now.checked_add(span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?).ok();
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    if let Ok(broken) = BrokenDownTime::parse("%a %H:%M", text) {
        return local(on(broken.weekday()?, broken.to_time().ok()?, zone.to_datetime(now)));
    }
    // Before the time of day, which would be read out of a date, too.
    if let Ok(time) = text.parse::<DateTime>() {
        return local(time);
    }
    let (time, today) = (text.parse::<Time>().ok()?, zone.to_datetime(now));
    let next = if time > today.time() { today.date() } else { today.date().tomorrow().ok()? };
    local(next.to_datetime(time))
}

/// The next such day with that time; today only while the time is still to come.
fn on(day: Weekday, time: Time, now: DateTime) -> DateTime {
    match now.weekday() == day && time > now.time() {
        true => now.date().to_datetime(time),
        false => now.date().nth_weekday(1, day).unwrap_or(now.date()).to_datetime(time),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_people_say_it() {
        // A Sunday, 14:00 in Berlin.
        let now: Timestamp = "2026-11-22T13:00:00Z".parse().unwrap();
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        let said = |text: &str| until(text, now, &zone).map(|end| end.to_string());
        let ends = |text: &str| said(text).unwrap();
        assert_eq!(ends("2h"), "2026-11-22T15:00:00Z");
        assert_eq!(ends("1d 30m"), "2026-11-23T13:30:00Z");
        assert_eq!(ends("18:00"), "2026-11-22T17:00:00Z");
        assert_eq!(ends("09:00"), "2026-11-23T08:00:00Z", "tomorrow: today's is over");
        assert_eq!(ends("Mon 08:00"), "2026-11-23T07:00:00Z");
        assert_eq!(ends("Sun 18:00"), "2026-11-22T17:00:00Z");
        assert_eq!(ends("Sun 08:00"), "2026-11-29T07:00:00Z");
        assert_eq!(ends("2026-12-01T08:00:00Z"), "2026-12-01T08:00:00Z");
        assert_eq!(ends("2026-12-01 08:00"), "2026-12-01T07:00:00Z");
        assert_eq!(said("2026-11-01T08:00:00Z").unwrap_err(), "is over: it is Sun 14:00 already");
        assert!(said("tomorrow").unwrap_err().starts_with("is not a time"));
    }
}
