//! CBOR (RFC 8949), as far as the `rpc-v2-cbor` protocol uses it: values in and out as JSON. A point in time is a number here; on the wire
//! it is tagged, which the names of fields tell.

use serde_json::{Map, Number, Value};

/// A whole document, if it is one.
pub(in crate::sandbox) fn decode(bytes: &[u8]) -> Option<Value> {
    let mut reader = Reader { bytes, at: 0 };
    let value = reader.value(0)?;
    (reader.at == bytes.len()).then_some(value)
}

/// A value as a document.
pub(in crate::sandbox) fn encode(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    write(value, false, &mut out);
    out
}

/// Deeper than this is no request.
const DEPTH: u32 = 32;

struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl Reader<'_> {
    fn take(&mut self, count: usize) -> Option<&[u8]> {
        let end = self.at.checked_add(count)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn number(&mut self, bytes: usize) -> Option<u64> {
        Some(self.take(bytes)?.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    }

    /// The argument of a head: none for an indefinite length.
    fn argument(&mut self, info: u8) -> Option<Option<u64>> {
        match info {
            0..=23 => Some(Some(u64::from(info))),
            24 => self.number(1).map(Some),
            25 => self.number(2).map(Some),
            26 => self.number(4).map(Some),
            27 => self.number(8).map(Some),
            31 => Some(None),
            _ => None,
        }
    }

    fn ends(&mut self) -> bool {
        let ends = self.bytes.get(self.at) == Some(&0xff);
        self.at += usize::from(ends);
        ends
    }

    fn value(&mut self, depth: u32) -> Option<Value> {
        let head = self.number(1)? as u8;
        let (major, info) = (head >> 5, head & 31);
        if depth > DEPTH {
            return None;
        }
        if major == 7 {
            return self.simple(info);
        }
        let argument = self.argument(info)?;
        match major {
            0 => Some(Value::from(argument?)),
            1 => Some(Value::from(-1 - i64::try_from(argument?).ok()?)),
            2 | 3 => Some(Value::from(String::from_utf8_lossy(self.take(usize::try_from(argument?).ok()?)?).into_owned())),
            4 => self.items(argument, depth).map(Value::Array),
            5 => {
                let pairs = self.items(argument.map(|count| count * 2), depth)?;
                let pair = |pair: &[Value]| Some((pair.first()?.as_str()?.to_string(), pair.get(1)?.clone()));
                pairs.chunks(2).map(pair).collect::<Option<Map<_, _>>>().map(Value::Object)
            }
            _ => self.value(depth + 1),
        }
    }

    fn items(&mut self, count: Option<u64>, depth: u32) -> Option<Vec<Value>> {
        let mut items = Vec::new();
        while count.map_or_else(|| !self.ends(), |count| (items.len() as u64) < count) {
            items.push(self.value(depth + 1)?);
        }
        Some(items)
    }

    fn simple(&mut self, info: u8) -> Option<Value> {
        match info {
            20 | 21 => Some(Value::Bool(info == 21)),
            22 | 23 => Some(Value::Null),
            26 => Some(float(f64::from(f32::from_bits(u32::try_from(self.number(4)?).ok()?)))),
            27 => Some(float(f64::from_bits(self.number(8)?))),
            _ => None,
        }
    }
}

fn float(number: f64) -> Value {
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}

fn head(major: u8, argument: u64, out: &mut Vec<u8>) {
    out.push(major << 5 | 27);
    out.extend(argument.to_be_bytes());
}

/// True for a field that holds points in time.
pub(in crate::sandbox) fn is_time(field: &str) -> bool {
    field.ends_with("Timestamp") || field.ends_with("Timestamps")
}

fn write(value: &Value, time: bool, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.push(0xf6),
        Value::Bool(is) => out.push(if *is { 0xf5 } else { 0xf4 }),
        Value::Number(number) => {
            if time {
                out.push(0xc1);
            }
            match number.as_u64() {
                Some(whole) => head(0, whole, out),
                None => {
                    out.push(0xfb);
                    out.extend(number.as_f64().unwrap_or_default().to_be_bytes());
                }
            }
        }
        Value::String(text) => {
            head(3, text.len() as u64, out);
            out.extend(text.as_bytes());
        }
        Value::Array(items) => {
            head(4, items.len() as u64, out);
            items.iter().for_each(|item| write(item, time, out));
        }
        Value::Object(fields) => {
            head(5, fields.len() as u64, out);
            for (name, value) in fields {
                head(3, name.len() as u64, out);
                out.extend(name.as_bytes());
                write(value, is_time(name), out);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let value = json!({ "Id": "q0_1", "Values": [1.5, 2.0], "Period": 60, "Timestamps": [1_795_000_000.0], "Deep": { "Flag": true, "None": null } });
        assert_eq!(decode(&encode(&value)), Some(value));
    }

    #[test]
    fn lengths_may_be_open_and_short() {
        // {_ "a": [1, -2], "t": 1(3)}
        let bytes = [0xbf, 0x61, b'a', 0x82, 0x01, 0x21, 0x61, b't', 0xc1, 0x03, 0xff];
        assert_eq!(decode(&bytes), Some(json!({ "a": [1, -2], "t": 3 })));
        assert_eq!(decode(&bytes[..5]), None);
    }
}
