//! What a value may be: each function here reads one, or says what is wrong with it.

use std::fmt::Display;
use std::ops::{Range, RangeInclusive};
use std::str::FromStr;

use super::document::{Entry, Node, Value};
use super::problem::Problem;
use crate::model::{NameError, Seconds, SecretReference, nearest};

/// Why a value is not what it should be.
#[derive(Debug)]
pub(super) struct Wrong {
    id: &'static str,
    label: String,
    help: Option<String>,
    /// What to write instead.
    patch: Option<String>,
    /// The part of it that is wrong, if not the whole.
    at: Option<Range<usize>>,
}

impl Wrong {
    pub fn value(label: impl Display) -> Self {
        Self { id: "bad-value", label: label.to_string(), help: None, patch: None, at: None }
    }

    pub fn kind(wanted: &str, found: &Node) -> Self {
        Self { id: "wrong-type", ..Self::value(format!("must be {wanted}, but this is {}", found.kind())) }
    }

    /// It is this part of the value.
    pub fn at(self, part: &Node) -> Self {
        Self { at: self.at.or_else(|| Some(part.span.clone())), ..self }
    }

    fn near(mut self, near: Option<&str>) -> Self {
        if let Some(near) = near {
            self.help = Some(format!("did you mean `{near}`?"));
            self.patch = Some(format!("\"{near}\""));
        }
        self
    }

    pub fn problem(self, key: &str, home: &str, span: &Range<usize>) -> Problem {
        let place = if home.is_empty() { String::new() } else { format!(" in [{home}]") };
        let what = match self.id {
            "wrong-type" => format!("`{key}`{place} has the wrong type"),
            _ => format!("invalid value for `{key}`{place}"),
        };
        let span = self.at.unwrap_or_else(|| span.clone());
        let mut problem = Problem::new(self.id, what, span.clone(), self.label);
        problem.help = self.help;
        problem.patch = self.patch.map(|patch| (span, patch));
        problem
    }
}

type Read<T> = Result<T, Wrong>;

/// Any text.
pub(super) fn text(node: &Node) -> Read<String> {
    match &node.value {
        Value::Text(text) => Ok(text.clone()),
        Value::Number(number) => {
            let quoted = format!("\"{number}\"");
            Err(Wrong { help: Some("quote it".into()), patch: Some(quoted), ..Wrong::kind("text", node) })
        }
        _ => Err(Wrong::kind("text", node)),
    }
}

/// Text with something in it.
pub(super) fn filled(node: &Node) -> Read<String> {
    let text = text(node)?;
    if text.trim().is_empty() { Err(Wrong::value("must not be empty")) } else { Ok(text) }
}

/// Text of a form.
pub(super) fn like(form: &'static str, fits: fn(&str) -> bool) -> impl Fn(&Node) -> Read<String> {
    move |node| {
        let text = text(node)?;
        if fits(&text) { Ok(text) } else { Err(Wrong::value(format!("must look like {form}"))) }
    }
}

/// A reference to a secret.
pub(super) fn reference(node: &Node) -> Read<SecretReference> {
    text(node)?.parse().map_err(Wrong::value)
}

/// A name of adstage's.
pub(super) fn name<T: FromStr<Err = NameError>>(node: &Node) -> Read<T> {
    text(node)?.parse().map_err(Wrong::value)
}

/// One of the names defined elsewhere in the file.
pub(super) fn defined<'k, T: FromStr<Err = NameError>>(what: &'k str, known: &'k [String]) -> impl Fn(&Node) -> Read<T> + 'k {
    move |node| {
        let text = text(node)?;
        if known.contains(&text) {
            return text.parse().map_err(Wrong::value);
        }
        let near = nearest(&text, known.iter().map(String::as_str));
        Err(Wrong { id: "dangling-name", ..Wrong::value(format!("there is no {what} `{text}`")) }.near(near))
    }
}

/// One of a few words.
pub(super) fn choice<T: Copy>(words: &'static [(&'static str, T)]) -> impl Fn(&Node) -> Read<T> {
    move |node| {
        let text = text(node)?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        let all: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let wrong = || Wrong::value(format!("must be one of {}", all.join(", "))).near(nearest(&text, all.iter().copied()));
        found.ok_or_else(wrong)
    }
}

/// `true` or `false`.
pub(super) fn flag(node: &Node) -> Read<bool> {
    match node.value {
        Value::Flag(flag) => Ok(flag),
        _ => Err(Wrong::kind("true or false", node)),
    }
}

/// A whole number.
pub(super) fn number<T: TryFrom<i64>>(range: RangeInclusive<i64>) -> impl Fn(&Node) -> Read<T> {
    move |node| {
        let Value::Number(number) = node.value else { return Err(Wrong::kind("a whole number", node)) };
        let wrong = || Wrong::value(format!("must be from {} to {}", range.start(), range.end()));
        if !range.contains(&number) {
            return Err(wrong());
        }
        T::try_from(number).map_err(|_| wrong())
    }
}

/// A span of time, in whole seconds.
pub(super) fn span(range: RangeInclusive<u64>) -> impl Fn(&Node) -> Read<Seconds> {
    move |node| {
        let Value::Text(text) = &node.value else {
            return Err(Wrong::kind("a time such as \"30s\" or \"5m\"", node));
        };
        let seconds = super::timespan(text).map_err(Wrong::value)?;
        if range.contains(&seconds.0) {
            return Ok(seconds);
        }
        Err(Wrong::value(format!("must be from {} to {}", Seconds(*range.start()), Seconds(*range.end()))))
    }
}

/// A list of such, none twice.
pub(super) fn list<T: PartialEq>(item: impl Fn(&Node) -> Read<T>) -> impl Fn(&Node) -> Read<Vec<T>> {
    move |node| {
        let Value::List(nodes) = &node.value else { return Err(Wrong::kind("a list", node)) };
        let mut items = Vec::new();
        for node in nodes {
            let at = |wrong: Wrong| Wrong { at: wrong.at.or(Some(node.span.clone())), ..wrong };
            let read = item(node).map_err(at)?;
            if items.contains(&read) {
                return Err(at(Wrong::value("is in the list twice")));
            }
            items.push(read);
        }
        Ok(items)
    }
}

/// The arguments of a command, at least one; the same may come again.
pub(super) fn arguments(node: &Node) -> Read<Vec<String>> {
    match &node.value {
        Value::List(items) if !items.is_empty() => items.iter().map(filled).collect(),
        _ => Err(Wrong::kind("a list of arguments, at least one", node)),
    }
}

/// A list with something in it.
pub(super) fn some<T: PartialEq>(item: impl Fn(&Node) -> Read<T>) -> impl Fn(&Node) -> Read<Vec<T>> {
    let all = list(item);
    move |node| match all(node)? {
        empty if empty.is_empty() => Err(Wrong::value("must hold at least one")),
        filled => Ok(filled),
    }
}

/// A table with keys of its own choosing.
pub(super) fn table(entry: &Entry) -> Result<(), Problem> {
    match entry.node.value {
        Value::Table(_) => Ok(()),
        _ => Err(Wrong::kind("a table", &entry.node).problem(&entry.key, &entry.home, &entry.node.span)),
    }
}
