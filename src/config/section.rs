//! Reading a table: every key is asked for by name; what was never asked for is unknown. So the code that reads the settings *is* the
//! list of settings, and nothing has to be kept in step with it.

use std::cell::RefCell;
use std::ops::Range;

use super::document::{Entry, Node, Value};
use super::kind::Wrong;
use super::problem::Problem;
use crate::model::nearest;

/// A setting as it is in force.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Setting {
    /// `env.production.deploy.watch`.
    pub path: String,
    /// As it would be written.
    pub value: String,
    /// Its line in the file; none: built in.
    pub line: Option<usize>,
}

/// A value and where it stands; built-in ones stand where their table does.
#[derive(Debug, Clone)]
pub(super) struct Spot<T> {
    pub value: T,
    pub span: Range<usize>,
}

/// Everything noticed while reading.
#[derive(Debug)]
pub(super) struct Book<'f> {
    pub source: &'f str,
    pub problems: RefCell<Vec<Problem>>,
    pub settings: RefCell<Vec<Setting>>,
    /// Every key ever asked for, names replaced by `*`, and whether it was there. Read by the test of the example file.
    pub asked: RefCell<Vec<(String, bool)>>,
}

impl<'f> Book<'f> {
    pub fn new(source: &'f str) -> Self {
        Self { source, problems: RefCell::default(), settings: RefCell::default(), asked: RefCell::default() }
    }

    /// Notes a mistake, once: one in `[defaults]` is met again in every environment.
    pub fn note(&self, problem: Problem) {
        let mut problems = self.problems.borrow_mut();
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    }

    fn line(&self, at: usize) -> usize {
        self.source[..at.min(self.source.len())].matches('\n').count() + 1
    }

    /// The whole header line if this key stands in one (`[env.production]`), else the key alone.
    fn heading(&self, key: &Range<usize>) -> Range<usize> {
        let start = self.source[..key.start].rfind('\n').map_or(0, |at| at + 1);
        let end = self.source[key.end..].find('\n').map_or(self.source.len(), |at| key.end + at);
        let line = &self.source[start..end];
        match line.find(']') {
            Some(close) if line.starts_with('[') => start..start + close + 1,
            _ => key.clone(),
        }
    }
}

/// A table being read.
pub(super) struct Section<'b> {
    book: &'b Book<'b>,
    path: String,
    pattern: String,
    /// Where the table begins in the file; for one that is not there, where the table around it does.
    pub heading: Range<usize>,
    entries: &'b [Entry],
    asked: RefCell<Vec<&'static str>>,
}

impl<'b> Section<'b> {
    pub fn root(book: &'b Book<'b>, entries: &'b [Entry]) -> Self {
        let asked = RefCell::default();
        Self { book, path: String::new(), pattern: String::new(), heading: 0..0, entries, asked }
    }

    /// A table that was put together: an environment with the defaults under it.
    pub fn merged(book: &'b Book<'b>, name: &str, key_span: &Range<usize>, entries: &'b [Entry]) -> Self {
        let heading = book.heading(key_span);
        Self { book, path: format!("env.{name}"), pattern: "env.*".into(), heading, entries, asked: RefCell::default() }
    }

    fn joined(base: &str, key: &str) -> String {
        if base.is_empty() { key.to_string() } else { format!("{base}.{key}") }
    }

    /// `[env.production]`, or the file itself.
    pub fn place(&self) -> String {
        if self.path.is_empty() { "at the top".into() } else { format!("in [{}]", self.path) }
    }

    pub fn note(&self, problem: Problem) {
        self.book.note(problem);
    }

    /// The entry, remembering that the key exists.
    pub fn entry(&self, key: &'static str) -> Option<&'b Entry> {
        let found = self.entries.iter().find(|entry| entry.key == key);
        if !self.asked.borrow().contains(&key) {
            self.asked.borrow_mut().push(key);
        }
        self.book.asked.borrow_mut().push((Self::joined(&self.pattern, key), found.is_some()));
        found
    }

    fn remember(&self, key: &str, node: &Node, built_in: bool) {
        let line = (!built_in).then(|| self.book.line(node.span.start));
        self.book.settings.borrow_mut().push(Setting { path: Self::joined(&self.path, key), value: node.shown(), line });
    }

    /// The notebook this section writes to.
    pub fn book(&self) -> &'b Book<'b> {
        self.book
    }

    /// A value of a table whose keys are free, such as `variables`.
    pub fn value<T>(&self, entry: &Entry, read: impl Fn(&Node) -> Result<T, Wrong>) -> Option<Spot<T>> {
        self.judged_as(&format!("variables.{}", entry.key), entry, read)
    }

    fn judged<T>(&self, entry: &Entry, read: impl Fn(&Node) -> Result<T, Wrong>) -> Option<Spot<T>> {
        self.judged_as(&entry.key, entry, read)
    }

    fn judged_as<T>(&self, path: &str, entry: &Entry, read: impl Fn(&Node) -> Result<T, Wrong>) -> Option<Spot<T>> {
        match read(&entry.node) {
            Ok(value) => {
                self.remember(path, &entry.node, false);
                Some(Spot { value, span: entry.node.span.clone() })
            }
            Err(wrong) => {
                self.note(wrong.problem(&entry.key, &entry.home, &entry.node.span));
                None
            }
        }
    }

    /// An optional setting.
    pub fn want<T>(&self, key: &'static str, read: impl Fn(&Node) -> Result<T, Wrong>) -> Option<Spot<T>> {
        self.judged(self.entry(key)?, read)
    }

    /// A setting that must be there.
    pub fn need<T>(&self, key: &'static str, example: &str, read: impl Fn(&Node) -> Result<T, Wrong>) -> Option<Spot<T>> {
        let Some(entry) = self.entry(key) else {
            self.missing(key, example);
            return None;
        };
        self.judged(entry, read)
    }

    /// A setting with a built-in value, written as it would be in the file.
    pub fn or<T>(&self, key: &'static str, built_in: &str, read: impl Fn(&Node) -> Result<T, Wrong>) -> Option<Spot<T>> {
        if let Some(entry) = self.entry(key) {
            return self.judged(entry, read);
        }
        let value = built_in.parse().map_or_else(|_| Value::Text(built_in.to_string()), Value::Number);
        let node = Node { span: self.heading.clone(), value };
        self.remember(key, &node, true);
        read(&node).ok().map(|value| Spot { value, span: node.span })
    }

    pub fn missing(&self, key: &str, example: &str) {
        let what = format!("`{key}` is missing {}", self.place());
        let problem = Problem::new("missing-key", what, self.heading.clone(), format!("needs `{key}`"));
        self.note(problem.help(format!("add `{key} = {example}`")));
    }

    /// A table inside this one; an empty one if it is not there.
    pub fn table(&self, key: &'static str) -> Section<'b> {
        let (heading, entries) = self.open(self.entry(key));
        let (path, pattern) = (Self::joined(&self.path, key), Self::joined(&self.pattern, key));
        Section { book: self.book, path, pattern, heading, entries, asked: RefCell::default() }
    }

    fn open(&self, entry: Option<&'b Entry>) -> (Range<usize>, &'b [Entry]) {
        let Some(entry) = entry else { return (self.heading.clone(), &[]) };
        if let Value::Table(entries) = &entry.node.value {
            return (self.book.heading(&entry.key_span), entries);
        }
        let wrong = Wrong::kind("a table", &entry.node);
        self.note(wrong.problem(&entry.key, &entry.home, &entry.node.span));
        (entry.key_span.clone(), &[])
    }

    /// A table whose keys are names: each name with the section under it.
    pub fn each(&self, key: &'static str) -> Vec<(&'b Entry, Section<'b>)> {
        let (_, entries) = self.open(self.entry(key));
        let inner = |entry: &'b Entry| {
            let (heading, entries) = self.open(Some(entry));
            let path = format!("{}.{}", Self::joined(&self.path, key), entry.key);
            let pattern = format!("{}.*", Self::joined(&self.pattern, key));
            (entry, Section { book: self.book, path, pattern, heading, entries, asked: RefCell::default() })
        };
        entries.iter().map(inner).collect()
    }

    /// Reports every key nobody asked for.
    pub fn finish(self) {
        let asked = self.asked.borrow();
        for entry in self.entries.iter().filter(|entry| !asked.contains(&entry.key.as_str())) {
            let place = if entry.home.is_empty() { "at the top".into() } else { format!("in [{}]", entry.home) };
            let what = format!("unknown key `{}` {place}", entry.key);
            let problem = Problem::new("unknown-key", what, entry.key_span.clone(), "not a key adstage knows");
            let problem = match nearest(&entry.key, asked.iter().copied()) {
                Some(near) => problem.help(format!("did you mean `{near}`?")).patch(entry.key_span.clone(), near),
                None => problem.help(format!("the keys here are {}", asked.join(", "))),
            };
            self.book.note(problem);
        }
    }
}
