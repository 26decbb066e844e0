//! `adstage.toml` as a checked model. Every mistake in the file is reported at once, with line and caret.
//!
//! `document` gives the text as a tree with positions, `section` and `kind` read it, `image`, `service` and `environment` say which
//! settings there are, and the model types come out. `examples/adstage.toml` explains every setting.

mod document;
mod environment;
mod forms;
mod hooks;
mod image;
mod kind;
mod problem;
mod review;
mod scaling;
mod section;
mod service;
mod version;
mod watching;

pub use section::Setting;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::failure::{End, Failure};
use crate::model::{AppName, Builder, Environment, EnvironmentName, Review, Seconds, nearest};
use document::{Entry, Node, Value};
use problem::Problem;
use section::{Book, Section};

/// The name of the file.
pub const FILE: &str = "adstage.toml";

/// Everything the file says, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The file.
    pub path: PathBuf,
    /// The company's app.
    pub app: AppName,
    /// The DynamoDB table of locks and records.
    pub state_table: String,
    /// What the unified image is made from.
    pub builder: Builder,
    /// Every environment by name.
    pub environments: BTreeMap<EnvironmentName, Environment>,
    /// Review boxes, if there are to be any.
    pub review: Option<Review>,
    /// Every setting in force and where it stands.
    pub settings: Vec<Setting>,
}

impl Config {
    /// The environment of this name; the failure names the nearest one.
    pub fn environment(&self, name: &str) -> Result<&Environment, Failure> {
        if let Some(found) = self.environments.values().find(|environment| environment.name.as_str() == name) {
            return Ok(found);
        }
        let names: Vec<&str> = self.environments.keys().map(EnvironmentName::as_str).collect();
        let failure = Failure::new(End::Usage, format!("there is no environment `{name}` in {}", self.path.display()));
        Err(match nearest(name, names.iter().copied()) {
            Some(near) => failure.because(format!("did you mean `{near}`?")),
            None => failure.because(format!("it defines {}", names.join(", "))),
        })
    }
}

impl Config {
    /// Review boxes; the failure says what to add.
    pub fn review(&self) -> Result<&Review, Failure> {
        let missing = || Failure::new(End::Config, format!("{} has no [review]", self.path.display()));
        let how = "review boxes need a table of their own: [review] with environment, domain and security-groups";
        self.review.as_ref().ok_or_else(|| missing().because(how))
    }
}

/// The nearest `adstage.toml`: in this folder or one above it.
pub fn find(start: &Path) -> Option<PathBuf> {
    start.ancestors().map(|folder| folder.join(FILE)).find(|path| path.is_file())
}

/// Reads and checks a file.
pub fn load(path: &Path) -> Result<Config, Failure> {
    let unreadable = |error: std::io::Error| Failure::new(End::Config, format!("{} cannot be read", path.display())).because(error);
    let path = std::path::absolute(path).map_err(unreadable)?;
    let text = std::fs::read_to_string(&path).map_err(unreadable)?;
    parse(&text, &path)
}

/// Checks a text as if it were the file at `path` (absolute: relative folders in it are relative to its folder).
pub fn parse(text: &str, path: &Path) -> Result<Config, Failure> {
    let book = Book::new(text);
    let config = document::parse(text).and_then(|document| match read(&book, &document, path) {
        Some(config) if book.problems.borrow().is_empty() => Ok(config),
        _ => Err(book.problems.take()),
    });
    config.map_err(|problems| failure(problems, text, path))
}

fn failure(mut problems: Vec<Problem>, text: &str, path: &Path) -> Failure {
    problems.sort_by_key(|problem| problem.span.start);
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    let count = if problems.len() == 1 { "one mistake".into() } else { format!("{} mistakes", problems.len()) };
    let failure = Failure::new(End::Config, format!("{} has {count}", path.display()));
    problems.iter().fold(failure, |failure, problem| failure.evidence(problem.render(&name, text)))
}

fn read(book: &Book<'_>, document: &Node, path: &Path) -> Option<Config> {
    let top = entries(document);
    let root = Section::root(book, top);
    if let Some(required) = root.want("required-version", version::requirement)
        && let Some(problem) = version::unmet(&required)
    {
        // A newer adstage may know keys that this one would call mistakes: they would only hide the one that matters.
        book.problems.replace(vec![problem]);
        return None;
    }
    let app = root.need::<AppName>("app", "\"shop\"", kind::name);
    let state_table = root.or("state-table", "adstage", kind::like("a DynamoDB table name: 3 to 255 letters, digits, _ . -", forms::table));
    let names: Vec<String> = keys(top, "env");
    let builder = image::read(&root, &names, path);
    let repositories = image::repositories(top);
    let services = service::read(&root, &repositories);
    let shared = environment::Shared { app: app.as_ref(), state_table: state_table.as_ref(), services: &services };
    let environments = read_environments(&root, &shared);
    let around = review::Around { app: app.as_ref(), environments: environments.as_ref(), names: &names, services: &services };
    let review = review::read(&root, &around);
    root.finish();
    let settings = book.settings.take();
    let path = path.to_path_buf();
    let (app, state_table) = (app?.value, state_table?.value);
    Some(Config { path, app, state_table, builder: builder?, environments: environments?, review: review?, settings })
}

/// Every environment with the defaults under it.
fn read_environments(root: &Section<'_>, shared: &environment::Shared<'_>) -> Option<BTreeMap<EnvironmentName, Environment>> {
    let defaults = root.entry("defaults").map(|entry| table_of(root, entry)).unwrap_or_default();
    let Some(all) = root.entry("env") else {
        root.missing("env.NAME", "{ … }");
        return None;
    };
    let mut environments = Some(BTreeMap::new());
    let all = table_of(root, all);
    for entry in all {
        let merged = document::merge(defaults, table_of(root, entry));
        let read = environment::read(root.book(), entry, &merged, shared);
        match (read, &mut environments) {
            (Some(environment), Some(map)) => drop(map.insert(environment.name.clone(), environment)),
            _ => environments = None,
        }
    }
    let environments = environments?;
    environment::check_together(root.book(), all, &environments);
    Some(environments)
}

fn table_of<'d>(root: &Section<'_>, entry: &'d Entry) -> &'d [Entry] {
    if let Err(problem) = kind::table(entry) {
        root.note(problem);
    }
    entries(&entry.node)
}

fn entries(node: &Node) -> &[Entry] {
    match &node.value {
        Value::Table(entries) => entries,
        _ => &[],
    }
}

/// The keys of a table at the top.
fn keys(top: &[Entry], table: &str) -> Vec<String> {
    let found = top.iter().find(|entry| entry.key == table);
    found.map(|entry| entries(&entry.node).iter().map(|entry| entry.key.clone()).collect()).unwrap_or_default()
}

/// `90s`, `15m`, `1h 30m`, `2d`: a span of time in whole seconds.
pub fn timespan(text: &str) -> Result<Seconds, String> {
    let not_one = |_| "is not a time; times look like 90s, 15m, 1h30m or 2d".to_string();
    let span: jiff::Span = text.parse().map_err(not_one)?;
    // A day is 24 hours, whatever the clocks of a country do.
    let span = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).map_err(not_one)?;
    match u64::try_from(span.as_secs()) {
        Ok(seconds) if span.subsec_nanos() == 0 => Ok(Seconds(seconds)),
        Ok(_) => Err("must be whole seconds".into()),
        Err(_) => Err("must not be negative".into()),
    }
}

#[cfg(test)]
mod tests;
