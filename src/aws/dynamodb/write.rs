//! One write, with the condition under which it may happen.

use std::collections::BTreeMap;

use super::value::{Item, Value};

/// The primary key of a row.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Partition key.
    pub pk: String,
    /// Sort key.
    pub sk: String,
}

impl Key {
    /// The row `sk` in the partition `pk`.
    pub fn new(pk: impl Into<String>, sk: impl Into<String>) -> Self {
        Self { pk: pk.into(), sk: sk.into() }
    }

    pub(super) fn item(&self) -> Item {
        [("pk".to_string(), self.pk.as_str().into()), ("sk".to_string(), self.sk.as_str().into())].into()
    }
}

/// What is done to one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// Write this item whole.
    Put(Item),
    /// Change some attributes: an update expression.
    Update(Key, String),
    /// Delete it.
    Delete(Key),
    /// Change nothing; only the condition matters (in a transaction).
    Check(Key),
}

/// One write to one row. Conditions and updates are DynamoDB expressions; attribute names that are reserved words go through
/// [`Write::name`] (`#st`), values through [`Write::value`] (`:f`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// What is done.
    pub deed: Deed,
    /// When it may be done; always if none.
    pub condition: Option<String>,
    /// `#placeholder` to attribute name.
    pub names: BTreeMap<String, String>,
    /// `:placeholder` to value.
    pub values: Item,
}

impl Write {
    fn new(deed: Deed) -> Self {
        Self { deed, condition: None, names: BTreeMap::new(), values: Item::new() }
    }

    /// Writes this item whole; it holds its own `pk` and `sk`.
    pub fn put(item: Item) -> Self {
        Self::new(Deed::Put(item))
    }

    /// Writes this item whole, where there is none yet.
    pub fn put_new(item: Item) -> Self {
        Self::put(item).only_if("attribute_not_exists(pk)")
    }

    /// Changes a row by an update expression.
    pub fn update(key: Key, expression: impl Into<String>) -> Self {
        Self::new(Deed::Update(key, expression.into()))
    }

    /// Sets these attributes of a row and leaves the others.
    pub fn set(key: Key, attributes: Item) -> Self {
        Self::update(key, "").and_set(attributes)
    }

    /// Deletes a row.
    pub fn delete(key: Key) -> Self {
        Self::new(Deed::Delete(key))
    }

    /// Refuses the whole transaction unless the condition holds.
    pub fn check(key: Key, condition: impl Into<String>) -> Self {
        Self::new(Deed::Check(key)).only_if(condition)
    }

    /// The condition.
    pub fn only_if(mut self, condition: impl Into<String>) -> Self {
        self.condition = Some(condition.into());
        self
    }

    /// Defines `#placeholder`.
    pub fn name(mut self, placeholder: &str, attribute: &str) -> Self {
        self.names.insert(placeholder.to_string(), attribute.to_string());
        self
    }

    /// Defines `:placeholder`.
    pub fn value(mut self, placeholder: &str, value: impl Into<Value>) -> Self {
        self.values.insert(placeholder.to_string(), value.into());
        self
    }

    /// Adds attributes to the `SET` of an update, whatever they are called: each gets a placeholder of its own.
    pub fn and_set(mut self, attributes: Item) -> Self {
        let Deed::Update(_, expression) = &mut self.deed else { return self };
        for (attribute, value) in attributes {
            let number = self.names.len();
            // SET comes first in every expression of ours, so adding at the front keeps a REMOVE behind it whole.
            let more = format!("#set{number} = :set{number}");
            *expression = match expression.strip_prefix("SET ") {
                Some(rest) => format!("SET {more}, {rest}"),
                None => format!("SET {more} {expression}").trim_end().to_string(),
            };
            self.names.insert(format!("#set{number}"), attribute);
            self.values.insert(format!(":set{number}"), value);
        }
        self
    }

    /// The row it is about.
    pub fn key(&self) -> Key {
        match &self.deed {
            Deed::Update(key, _) | Deed::Delete(key) | Deed::Check(key) => key.clone(),
            Deed::Put(item) => {
                let part = |name: &str| match item.get(name) {
                    Some(Value::S(text)) => text.clone(),
                    _ => String::new(),
                };
                Key { pk: part("pk"), sk: part("sk") }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_join_an_update_whatever_they_are_called() {
        let more: Item = [("stage".to_string(), "await".into()), ("state".to_string(), 1u64.into())].into();
        let write =
            Write::update(Key::new("p", "s"), "SET seq = :s REMOVE #halt").name("#halt", "halt").value(":s", 4u64).and_set(more.clone());
        let Deed::Update(_, expression) = &write.deed else { panic!("an update") };
        assert_eq!(expression, "SET #set2 = :set2, #set1 = :set1, seq = :s REMOVE #halt");
        assert_eq!((write.names["#set1"].as_str(), write.names["#set2"].as_str()), ("stage", "state"));
        let Deed::Update(_, alone) = Write::set(Key::new("p", "s"), more).deed else { panic!("an update") };
        assert_eq!(alone, "SET #set1 = :set1, #set0 = :set0");
        let Deed::Update(_, removes) = Write::update(Key::new("p", "s"), "REMOVE x").and_set([("a".into(), 1u64.into())].into()).deed
        else {
            panic!("an update")
        };
        assert_eq!(removes, "SET #set0 = :set0 REMOVE x");
    }

    #[test]
    fn a_put_knows_its_own_key() {
        let key = Key::new("shop#staging", "HEAD");
        assert_eq!(Write::put_new(key.item()).key(), key);
    }
}
