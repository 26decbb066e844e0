//! `[image]`: what the unified image is made from.

use std::collections::BTreeMap;
use std::path::Path;

use super::document::{Entry, Value};
use super::problem::Problem;
use super::section::Section;
use super::{entries, forms, keys, kind};
use crate::model::{Builder, EnvironmentName, Repository, Source};

/// The table; `environments` are the names there are, `file` is the configuration file.
pub(super) fn read(root: &Section<'_>, environments: &[String], file: &Path) -> Option<Builder> {
    let image = root.table("image");
    let base = image.need("base", "\"ami-…\"", kind::like("an AMI id, ami-0123456789abcdef0", |text| forms::id("ami-", text)));
    let instance_type = image.need("instance-type", "\"m7i.large\"", kind::like("an instance type, m7i.large", forms::instance_type));
    let setup = image.want("setup", kind::filled);
    let time_limit = image.or("time-limit", "60m", kind::span(300..=86_400));
    let example = environments.first().map_or_else(|| "\"staging\"".into(), |name| format!("\"{name}\""));
    let environment = image.need::<EnvironmentName>("environment", &example, kind::defined("environment", environments));
    let sections = image.each("repositories");
    if sections.is_empty() {
        image.missing("repositories.NAME", "{ url = \"https://…\" }");
    }
    let mut repositories = Some(BTreeMap::new());
    for (entry, section) in sections {
        match (name(&section, entry), repository(section, file), &mut repositories) {
            (Some(name), Some(repository), Some(all)) => drop(all.insert(name, repository)),
            _ => repositories = None,
        }
    }
    image.finish();
    Some(Builder {
        base: base?.value,
        instance_type: instance_type?.value,
        setup: setup.map(|spot| spot.value),
        time_limit: time_limit?.value,
        environment: environment?.value,
        repositories: repositories?,
    })
}

/// A key that is a name of adstage's.
pub(super) fn name<T: std::str::FromStr<Err = crate::model::NameError>>(section: &Section<'_>, entry: &Entry) -> Option<T> {
    let problem = |error| {
        let what = format!("`{}` in [{}] cannot be a name", entry.key, entry.home);
        section.note(Problem::new("bad-name", what, entry.key_span.clone(), format!("{error}")));
    };
    entry.key.parse().map_err(problem).ok()
}

fn repository(section: Section<'_>, file: &Path) -> Option<Repository> {
    let (url, path) = (section.want("url", kind::filled), section.want("path", kind::filled));
    let reference = section.or("ref", "main", kind::like("a branch, tag or commit", forms::reference));
    let build = section.want("build", kind::filled);
    let source = match (url, path) {
        (Some(url), None) => Some(Source::Url(url.value)),
        (None, Some(path)) => {
            let folder = file.parent().unwrap_or(Path::new("/")).join(path.value);
            Some(Source::Path(normal(&folder)))
        }
        (Some(url), Some(path)) => {
            let problem = Problem::new("conflict", format!("a repository has one source {}", section.place()), path.span, "and a path");
            section.note(problem.context(url.span, "a url").help("remove one of them"));
            None
        }
        (None, None) => {
            if section.entry("url").or(section.entry("path")).is_none() {
                section.missing("url", "\"https://…\"");
            }
            None
        }
    };
    section.finish();
    Some(Repository { source: source?, reference: reference?.value, build: build.map(|spot| spot.value) })
}

/// The folder without `.` and `..`, so that the same place always has the same text (it goes into the hash of a bake's inputs).
fn normal(path: &Path) -> String {
    let mut parts = std::path::PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::CurDir => {}
            std::path::Component::ParentDir => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.to_string_lossy().into_owned()
}

/// The names of the repositories there are.
pub(super) fn repositories(top: &[Entry]) -> Vec<String> {
    let image = top.iter().find(|entry| entry.key == "image" && matches!(entry.node.value, Value::Table(_)));
    image.map(|entry| keys(entries(&entry.node), "repositories")).unwrap_or_default()
}
