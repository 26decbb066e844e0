//! Items as plain values, and reading them: what a row lacks, or holds in the wrong type, is said by name.
//!
//! Types are part of the contract: a number written as N and read back as S would be "absent", and a lease that is absent never expires.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use aws_sdk_dynamodb::types::AttributeValue;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// An item, or a map inside one.
pub type Item = BTreeMap<String, Value>;

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Text.
    S(String),
    /// A number, as DynamoDB spells it.
    N(String),
    /// True or false.
    Bool(bool),
    /// A map.
    Map(Item),
    /// A list.
    List(Vec<Value>),
    /// Null.
    Null,
    /// A type adstage never writes (binary, a set), kept by name so that a reader can say what it found.
    Other(&'static str),
}

impl Value {
    /// Any serialisable value, structure and all.
    pub fn encode<T: Serialize>(value: &T) -> Result<Self, serde_json::Error> {
        serde_json::to_value(value).map(Self::from)
    }

    /// What [`Value::encode`] was given.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_value(serde_json::Value::from(self))
    }

    fn type_name(&self) -> &'static str {
        match self {
            Self::S(_) => "S",
            Self::N(_) => "N",
            Self::Bool(_) => "BOOL",
            Self::Map(_) => "M",
            Self::List(_) => "L",
            Self::Null => "NULL",
            Self::Other(name) => name,
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::S(text.to_string())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::S(text)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::N(number.to_string())
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::N(number.to_string())
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<Item> for Value {
    fn from(map: Item) -> Self {
        Self::Map(map)
    }
}

impl From<serde_json::Value> for Value {
    fn from(json: serde_json::Value) -> Self {
        match json {
            serde_json::Value::Null => Self::Null,
            serde_json::Value::Bool(value) => Self::Bool(value),
            serde_json::Value::Number(number) => Self::N(number.to_string()),
            serde_json::Value::String(text) => Self::S(text),
            serde_json::Value::Array(values) => Self::List(values.into_iter().map(Self::from).collect()),
            serde_json::Value::Object(map) => Self::Map(map.into_iter().map(|(key, value)| (key, Self::from(value))).collect()),
        }
    }
}

impl From<&Value> for serde_json::Value {
    fn from(value: &Value) -> Self {
        match value {
            Value::S(text) => Self::String(text.clone()),
            // DynamoDB's numbers are decimals of 38 digits; what does not fit a JSON number stays text and fails where it is read.
            Value::N(number) => number.parse().map_or_else(|_| Self::String(number.clone()), Self::Number),
            Value::Bool(value) => Self::Bool(*value),
            Value::Map(map) => Self::Object(map.iter().map(|(key, value)| (key.clone(), Self::from(value))).collect()),
            Value::List(values) => Self::Array(values.iter().map(Self::from).collect()),
            Value::Null | Value::Other(_) => Self::Null,
        }
    }
}

/// `None`: the value holds a type adstage never writes, so it must not be written back either.
pub(super) fn to_sdk(value: &Value) -> Option<AttributeValue> {
    Some(match value {
        Value::S(text) => AttributeValue::S(text.clone()),
        Value::N(number) => AttributeValue::N(number.clone()),
        Value::Bool(value) => AttributeValue::Bool(*value),
        Value::Map(map) => AttributeValue::M(item_to_sdk(map)?),
        Value::List(values) => AttributeValue::L(values.iter().map(to_sdk).collect::<Option<_>>()?),
        Value::Null => AttributeValue::Null(true),
        Value::Other(_) => return None,
    })
}

pub(super) fn item_to_sdk(item: &Item) -> Option<HashMap<String, AttributeValue>> {
    item.iter().map(|(name, value)| Some((name.clone(), to_sdk(value)?))).collect()
}

pub(super) fn from_sdk(value: AttributeValue) -> Value {
    match value {
        AttributeValue::S(text) => Value::S(text),
        AttributeValue::N(number) => Value::N(number),
        AttributeValue::Bool(value) => Value::Bool(value),
        AttributeValue::M(map) => Value::Map(item_from_sdk(map)),
        AttributeValue::L(values) => Value::List(values.into_iter().map(from_sdk).collect()),
        AttributeValue::Null(_) => Value::Null,
        AttributeValue::B(_) => Value::Other("B"),
        AttributeValue::Bs(_) => Value::Other("BS"),
        AttributeValue::Ns(_) => Value::Other("NS"),
        AttributeValue::Ss(_) => Value::Other("SS"),
        _ => Value::Other("unknown"),
    }
}

pub(super) fn item_from_sdk(item: HashMap<String, AttributeValue>) -> Item {
    item.into_iter().map(|(name, value)| (name, from_sdk(value))).collect()
}

/// A row that cannot be understood: which, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("row {row}: {problem}")]
pub struct Malformed {
    /// Its sort key.
    pub row: String,
    /// What is wrong.
    pub problem: String,
}

/// Reads an item's attributes, each in the type it must have.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    item: &'a Item,
}

impl<'a> Reader<'a> {
    /// A reader of this item.
    pub fn new(item: &'a Item) -> Self {
        Self { item }
    }

    /// A complaint about this row.
    pub fn malformed(&self, problem: impl fmt::Display) -> Malformed {
        let row = match self.item.get("sk") {
            Some(Value::S(sk)) => sk.clone(),
            _ => "(without a sort key)".to_string(),
        };
        Malformed { row, problem: problem.to_string() }
    }

    fn read<T>(&self, name: &str, want: &str, get: impl FnOnce(&'a Value) -> Option<T>) -> Result<Option<T>, Malformed> {
        match self.item.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match get(value) {
                Some(got) => Ok(Some(got)),
                None => Err(self.malformed(format_args!("`{name}` is a {}, not {want}", value.type_name()))),
            },
        }
    }

    fn required<T>(&self, name: &str, found: Option<T>) -> Result<T, Malformed> {
        found.ok_or_else(|| self.malformed(format_args!("`{name}` is missing")))
    }

    /// Text that may be absent.
    pub fn text_if_any(&self, name: &str) -> Result<Option<String>, Malformed> {
        self.read(name, "text", |value| match value {
            Value::S(text) => Some(text.clone()),
            _ => None,
        })
    }

    /// Text.
    pub fn text(&self, name: &str) -> Result<String, Malformed> {
        self.text_if_any(name).and_then(|found| self.required(name, found))
    }

    /// A whole number that may be absent.
    pub fn number_if_any(&self, name: &str) -> Result<Option<u64>, Malformed> {
        self.read(name, "a whole number", |value| match value {
            Value::N(number) => number.parse().ok(),
            _ => None,
        })
    }

    /// A whole number.
    pub fn number(&self, name: &str) -> Result<u64, Malformed> {
        self.number_if_any(name).and_then(|found| self.required(name, found))
    }

    /// A map that may be absent.
    pub fn map_if_any(&self, name: &str) -> Result<Option<&'a Item>, Malformed> {
        self.read(name, "a map", |value| match value {
            Value::Map(map) => Some(map),
            _ => None,
        })
    }

    /// An encoded value that may be absent.
    pub fn decoded_if_any<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Malformed> {
        let Some(value) = self.item.get(name) else { return Ok(None) };
        value.decode().map(Some).map_err(|error| self.malformed(format_args!("`{name}`: {error}")))
    }

    /// An encoded value.
    pub fn decoded<T: DeserializeOwned>(&self, name: &str) -> Result<T, Malformed> {
        self.decoded_if_any(name).and_then(|found| self.required(name, found))
    }

    /// Reads a row as far as this adstage understands it: one of a newer format that cannot be read says that this is why.
    pub fn understood<T>(&self, newest: u64, read: impl FnOnce(&Self) -> Result<T, Malformed>) -> Result<T, Malformed> {
        read(self).map_err(|problem| self.version_at_most(newest).err().unwrap_or(problem))
    }

    /// The row's format version must be at most `newest`: a newer adstage wrote it otherwise, and it may mean something else.
    pub fn version_at_most(&self, newest: u64) -> Result<(), Malformed> {
        match self.number_if_any("v")?.unwrap_or(1) {
            v if v <= newest => Ok(()),
            v => Err(self.malformed(format_args!("has format {v}; this adstage knows up to {newest}, a newer one is needed"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(pairs: &[(&str, Value)]) -> Item {
        pairs.iter().map(|(name, value)| (name.to_string(), value.clone())).collect()
    }

    #[test]
    fn every_type_survives_the_wire() {
        let deep = Value::List(vec![Value::Map(item(&[("a", 7u64.into()), ("b", Value::Null)])), Value::Bool(true), "text".into()]);
        assert_eq!(from_sdk(to_sdk(&deep).unwrap()), deep);
        assert_eq!(from_sdk(AttributeValue::Ss(vec!["a".into()])), Value::Other("SS"));
        assert_eq!(to_sdk(&Value::List(vec![Value::Other("B")])), None);
    }

    #[test]
    fn a_number_is_a_number_and_nothing_else() {
        let row = item(&[("sk", "LOCK".into()), ("lease_ms", Value::S("60000".into())), ("beat", Value::N("1.5".into()))]);
        let reader = Reader::new(&row);
        assert_eq!(reader.number("lease_ms").unwrap_err().to_string(), "row LOCK: `lease_ms` is a S, not a whole number");
        assert_eq!(reader.number("fence").unwrap_err().to_string(), "row LOCK: `fence` is missing");
        assert!(reader.number("beat").is_err());
        assert_eq!(reader.number_if_any("eta_s"), Ok(None));
    }

    #[test]
    fn encoded_values_come_back() {
        let map: BTreeMap<String, Vec<u32>> = [("a".to_string(), vec![1, 2])].into();
        assert_eq!(Value::encode(&map).unwrap().decode::<BTreeMap<String, Vec<u32>>>().unwrap(), map);
    }

    #[test]
    fn a_newer_row_is_refused_by_its_version() {
        let row = item(&[("sk", "HEAD".into()), ("v", 2u64.into())]);
        assert!(Reader::new(&row).version_at_most(1).unwrap_err().to_string().contains("a newer one is needed"));
        assert!(Reader::new(&row).version_at_most(2).is_ok());
        assert_eq!(Reader::new(&row).understood(1, |row| row.text("sk")), Ok("HEAD".to_string()));
        assert!(Reader::new(&row).understood(1, |row| row.text("serving")).unwrap_err().problem.contains("a newer one is needed"));
        assert_eq!(Reader::new(&row).understood(2, |row| row.text("serving")).unwrap_err().problem, "`serving` is missing");
    }
}
