//! Moments in the journal, as people say them.

use jiff::Timestamp;

use crate::model::Seconds;

/// `6m ago`; the text itself if it is no time.
pub fn ago(at: &str, now: Timestamp) -> String {
    match at.parse::<Timestamp>() {
        Ok(then) => format!("{} ago", coarse(between(then, now))),
        Err(_) => at.to_string(),
    }
}

/// How long something took; none while it is not over.
pub fn took(began: &str, ended: Option<&str>) -> Option<Seconds> {
    Some(between(began.parse().ok()?, ended?.parse().ok()?))
}

fn between(then: Timestamp, now: Timestamp) -> Seconds {
    Seconds(u64::try_from(now.duration_since(then).as_secs()).unwrap_or_default())
}

/// One unit is enough for a moment long past.
fn coarse(span: Seconds) -> String {
    span.to_string().split(' ').next().unwrap_or("0s").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_people_say_it() {
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        assert_eq!(ago("2026-11-22T11:53:10Z", now), "6m ago");
        assert_eq!(ago("2026-11-19T11:53:10Z", now), "3d ago");
        // Another machine's clock may be ahead.
        assert_eq!(ago("2026-11-22T12:00:05Z", now), "0s ago");
        assert_eq!(took("2026-11-22T11:00:00Z", Some("2026-11-22T11:04:12Z")).unwrap().to_string(), "4m 12s");
        assert_eq!(took("2026-11-22T11:00:00Z", None), None);
    }
}
