//! A span of time as an operator writes it (`"5m"`, `"90s"`), kept in whole seconds.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Whole seconds. Printed the way people say it: `45s`, `4m 12s`, `2h`, `2d 4h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seconds(pub u64);

impl Seconds {
    /// The same span for the standard library's clocks.
    pub fn duration(self) -> Duration {
        Duration::from_secs(self.0)
    }
}

impl From<Duration> for Seconds {
    fn from(span: Duration) -> Self {
        Self(span.as_secs())
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, hours, minutes, seconds) = (self.0 / 86_400, self.0 / 3_600 % 24, self.0 / 60 % 60, self.0 % 60);
        // Two units are as much as anybody reads.
        let parts = [(days, "d"), (hours, "h"), (minutes, "m"), (seconds, "s")];
        let mut shown = parts.iter().skip_while(|(n, _)| *n == 0).take(2).filter(|(n, _)| *n > 0).peekable();
        if shown.peek().is_none() {
            return f.write_str("0s");
        }
        let words: Vec<String> = shown.map(|(n, unit)| format!("{n}{unit}")).collect();
        f.write_str(&words.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::Seconds;

    #[test]
    fn reads_like_speech() {
        let said = |n: u64| Seconds(n).to_string();
        assert_eq!([said(0), said(45), said(252), said(7_200), said(187_200), said(3_601)], ["0s", "45s", "4m 12s", "2h", "2d 4h", "1h"]);
    }
}
