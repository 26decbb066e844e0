//! The event stream for programs: one JSON object per line, with the version of the form, a number and the time. Fields are only ever
//! added.

use std::io::Write;

use serde_json::{Value, json};

use super::{Face, Now, Stream};
use crate::model::{Event, Mark};

/// See the module.
pub(super) struct Ndjson {
    stream: Stream,
    seq: u64,
}

impl Ndjson {
    /// Writes there.
    pub fn new(stream: Stream) -> Self {
        Self { stream, seq: 0 }
    }

    fn write(&mut self, event: &Event, ts: Option<jiff::Timestamp>) {
        let mut line = json!({ "v": 1, "seq": self.seq });
        if let (Value::Object(line), Ok(Value::Object(fields))) = (&mut line, serde_json::to_value(event)) {
            line.extend(ts.map(|ts| ("ts".to_string(), format!("{ts:.3}").into())));
            line.extend(fields);
        }
        self.seq += 1;
        let _ = writeln!(self.stream, "{line}").and_then(|()| self.stream.flush());
    }
}

impl Face for Ndjson {
    fn event(&mut self, event: &Event, now: Now) {
        self.write(event, Some(now.wall));
    }

    fn line(&mut self, text: &str) {
        self.write(&Event::Said { mark: Mark::Note, text: anstream::adapter::strip_str(text).to_string() }, None);
    }
}
