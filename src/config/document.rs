//! The text as a tree in which everything knows where it stands in the file.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::problem::Problem;

/// A value and where it is.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub span: Range<usize>,
    pub value: Value,
}

#[derive(Debug, Clone)]
pub(super) enum Value {
    Text(String),
    Number(i64),
    Flag(bool),
    List(Vec<Node>),
    Table(Vec<Entry>),
    /// What no setting of adstage is: the text says what it is called.
    Other(&'static str),
}

/// A key with its value.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub key: String,
    pub key_span: Range<usize>,
    /// The table it was written in: `defaults.deploy`, even when it is read as part of an environment.
    pub home: String,
    pub node: Node,
}

impl Node {
    /// What it is, for people.
    pub fn kind(&self) -> &'static str {
        match self.value {
            Value::Text(_) => "text",
            Value::Number(_) => "a number",
            Value::Flag(_) => "true or false",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
            Value::Other(kind) => kind,
        }
    }

    /// As it would be written.
    pub fn shown(&self) -> String {
        match &self.value {
            Value::Text(text) => toml::Value::from(text.as_str()).to_string(),
            Value::Number(number) => number.to_string(),
            Value::Flag(flag) => flag.to_string(),
            Value::List(items) => format!("[{}]", items.iter().map(Self::shown).collect::<Vec<_>>().join(", ")),
            Value::Table(entries) => {
                let parts: Vec<String> = entries.iter().map(|entry| format!("{} = {}", entry.key, entry.node.shown())).collect();
                format!("{{ {} }}", parts.join(", "))
            }
            Value::Other(kind) => (*kind).to_string(),
        }
    }
}

/// The whole file as one table; every syntax error if there is one.
pub(super) fn parse(text: &str) -> Result<Node, Vec<Problem>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        let span = table.span();
        return Ok(Node { span, value: Value::Table(entries(table.into_inner(), "")) });
    }
    let end = text.len();
    let problem = |error: &toml::de::Error| Problem::new("syntax", error.message(), error.span().unwrap_or(end..end), "");
    Err(errors.iter().map(problem).collect())
}

fn entries(table: DeTable<'_>, home: &str) -> Vec<Entry> {
    let mut entries: Vec<Entry> = table
        .into_iter()
        .map(|(key, value)| {
            let key_span = key.span();
            let key = key.into_inner().into_owned();
            let path = if home.is_empty() { key.clone() } else { format!("{home}.{key}") };
            let span = value.span();
            let node = Node { span, value: convert(value.into_inner(), &path) };
            Entry { key, key_span, home: home.to_string(), node }
        })
        .collect();
    entries.sort_by_key(|entry| entry.key_span.start);
    entries
}

fn convert(value: DeValue<'_>, path: &str) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Integer(number) => {
            let parsed = i64::from_str_radix(number.as_str(), number.radix()).ok();
            parsed.map_or(Value::Other("a number that is too large"), Value::Number)
        }
        DeValue::Float(_) => Value::Other("a fraction"),
        DeValue::Boolean(flag) => Value::Flag(flag),
        DeValue::Datetime(_) => Value::Other("a date"),
        DeValue::Array(items) => {
            Value::List(items.into_iter().map(|item| Node { span: item.span(), value: convert(item.into_inner(), path) }).collect())
        }
        DeValue::Table(table) => Value::Table(entries(table, path)),
    }
}

/// `over` laid over `base`: tables merge key by key, everything else replaces. No key is exempt.
pub(super) fn merge(base: &[Entry], over: &[Entry]) -> Vec<Entry> {
    let mut merged: Vec<Entry> = Vec::new();
    for entry in base {
        match over.iter().find(|other| other.key == entry.key) {
            None => merged.push(entry.clone()),
            Some(other) => {
                let mut other = other.clone();
                if let (Value::Table(base), Value::Table(over)) = (&entry.node.value, &other.node.value) {
                    other.node.value = Value::Table(merge(base, over));
                }
                merged.push(other);
            }
        }
    }
    merged.extend(over.iter().filter(|entry| !base.iter().any(|other| other.key == entry.key)).cloned());
    merged.sort_by_key(|entry| entry.key_span.start);
    merged
}
