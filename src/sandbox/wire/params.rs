//! Form fields (`TagSpecification.1.Tag.2.Key=…`) as a tree, one parser for EC2 and query protocols.

use std::collections::BTreeMap;

use super::AwsError;

/// A parameter: a value, children, or nothing. List members are children named `1`, `2`, … (query lists say `.member.1`; both read alike).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::sandbox) struct Params {
    value: Option<String>,
    children: BTreeMap<String, Params>,
}

impl Params {
    /// From the decoded fields of a form.
    pub fn from_fields(fields: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut root = Self::default();
        for (key, value) in fields {
            let mut at = &mut root;
            for part in key.split('.') {
                at = at.children.entry(part.to_string()).or_default();
            }
            at.value = Some(value);
        }
        root
    }

    /// From a JSON value: members of a list are numbered from 1.
    pub fn from_json(value: &serde_json::Value) -> Self {
        use serde_json::Value;
        match value {
            Value::Object(fields) => {
                Self { value: None, children: fields.iter().map(|(name, value)| (name.clone(), Self::from_json(value))).collect() }
            }
            Value::Array(items) => {
                let member = |(at, item): (usize, &Value)| ((at + 1).to_string(), Self::from_json(item));
                Self { value: None, children: items.iter().enumerate().map(member).collect() }
            }
            Value::Null => Self::default(),
            Value::String(text) => Self { value: Some(text.clone()), children: BTreeMap::new() },
            other => Self { value: Some(other.to_string()), children: BTreeMap::new() },
        }
    }

    /// A nested structure; empty if absent.
    pub fn child(&self, name: &str) -> &Params {
        static NONE: Params = Params { value: None, children: BTreeMap::new() };
        self.children.get(name).unwrap_or(&NONE)
    }

    /// Names of the children.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.children.keys().map(String::as_str)
    }

    /// Refuses what is not in `known`: a parameter that is ignored would be a silent yes.
    pub fn only(&self, of: &str, known: &[&str]) -> Result<(), AwsError> {
        match self.names().find(|name| !known.contains(name)) {
            Some(unknown) => Err(AwsError::unsupported(format!("the parameter {unknown} of {of}"))),
            None => Ok(()),
        }
    }

    /// Without some of the children: what an idempotency token compares.
    pub fn without(&self, names: &[&str]) -> Self {
        let children = self.children.iter().filter(|(name, _)| !names.contains(&name.as_str()));
        Self { value: self.value.clone(), children: children.map(|(name, child)| (name.clone(), child.clone())).collect() }
    }

    /// True if neither a value nor children were sent.
    pub fn is_absent(&self) -> bool {
        self.value.is_none() && self.children.is_empty()
    }

    /// This parameter's own text.
    pub fn text(&self) -> Option<&str> {
        self.value.as_deref()
    }

    /// A text parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.child(name).text()
    }

    /// A text parameter that must be there.
    pub fn required(&self, name: &str) -> Result<&str, AwsError> {
        self.get(name).ok_or_else(|| AwsError::bad("MissingParameter", format!("The request must contain the parameter {name}")))
    }

    /// A number.
    pub fn number(&self, name: &str) -> Result<Option<i64>, AwsError> {
        let bad = |text: &str| AwsError::bad("ValidationError", format!("{text:?} is not a number for {name}"));
        self.get(name).map(|text| text.parse().map_err(|_| bad(text))).transpose()
    }

    /// A flag.
    pub fn flag(&self, name: &str) -> Option<bool> {
        self.get(name).map(|text| text == "true")
    }

    /// The members of a list, in order.
    pub fn list(&self, name: &str) -> Vec<&Params> {
        let child = self.child(name);
        let holder = child.children.get("member").unwrap_or(child);
        let mut members: Vec<(u32, &Params)> =
            holder.children.iter().filter_map(|(key, member)| Some((key.parse().ok()?, member))).collect();
        members.sort_by_key(|(index, _)| *index);
        members.into_iter().map(|(_, member)| member).collect()
    }

    /// The texts of a list of texts.
    pub fn texts(&self, name: &str) -> Vec<&str> {
        self.list(name).into_iter().filter_map(Params::text).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Params;

    #[test]
    fn nested_lists_read_alike_in_both_protocols() {
        let fields = [
            ("Action", "RunInstances"),
            ("TagSpecification.1.Tag.2.Key", "b"),
            ("TagSpecification.1.Tag.1.Key", "a"),
            ("Actions.member.1.ForwardConfig.TargetGroups.member.1.Weight", "0"),
        ];
        let params = Params::from_fields(fields.map(|(key, value)| (key.to_string(), value.to_string())));
        let tags = params.list("TagSpecification")[0].list("Tag");
        assert_eq!(tags.iter().filter_map(|tag| tag.get("Key")).collect::<Vec<_>>(), ["a", "b"]);
        let groups = params.list("Actions")[0].child("ForwardConfig").list("TargetGroups");
        assert_eq!(groups[0].number("Weight"), Ok(Some(0)));
        assert!(params.child("Nothing").is_absent());
    }
}
