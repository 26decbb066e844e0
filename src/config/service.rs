//! `[services.NAME]`: each program of the company's, wherever it runs.

use std::collections::BTreeMap;

use super::document::Entry;
use super::image::name;
use super::kind;
use super::problem::Problem;
use super::section::{Section, Spot};
use super::{entries, forms, hooks};
use crate::model::{AGENT_PORT, RepositoryName, Seconds, SecretReference, ServiceName, TimedCommand};

/// A service before any environment.
pub(super) struct Base {
    /// As written.
    pub key: String,
    /// Whether a port is written, right or wrong.
    pub has_port: bool,
    /// What must be up before it starts on a review box, as written.
    pub needs: Option<Spot<Vec<String>>>,
    /// What it is, if nothing is wrong with it.
    pub parts: Option<Parts>,
}

/// What a service is.
pub(super) struct Parts {
    pub name: ServiceName,
    pub repository: RepositoryName,
    pub run: String,
    pub port: Option<u16>,
    pub health_path: String,
    pub variables: BTreeMap<String, String>,
    pub release_command: Option<TimedCommand>,
    pub grace: Seconds,
}

/// All of them, in the order of the file.
pub(super) fn read(root: &Section<'_>, repositories: &[String]) -> Vec<Base> {
    let sections = root.each("services");
    if sections.is_empty() {
        root.missing("services.NAME", "{ repository = \"…\", run = \"…\" }");
    }
    let mut ports: Vec<(Spot<u16>, String)> = Vec::new();
    let mut services = Vec::new();
    for (entry, section) in sections {
        let (base, port) = service(entry, section, repositories);
        if let Some(port) = port {
            if let Some((first, other)) = ports.iter().find(|(first, _)| first.value == port.value) {
                let what = format!("two services have port {}", port.value);
                let problem = Problem::new("duplicate-port", what, port.span.clone(), "the same port again");
                let problem = problem.context(first.span.clone(), format!("port of {other}"));
                root.note(problem.help("services can share an instance, so each needs a port of its own"));
            }
            ports.push((port, entry.key.clone()));
        }
        services.push(base);
    }
    services
}

fn service(entry: &Entry, section: Section<'_>, repositories: &[String]) -> (Base, Option<Spot<u16>>) {
    let name = name::<ServiceName>(&section, entry);
    let example = repositories.first().map_or_else(|| "\"…\"".into(), |name| format!("\"{name}\""));
    let repository = section.need::<RepositoryName>("repository", &example, kind::defined("repository", repositories));
    let run = section.need("run", "\"bin/start\"", kind::filled);
    let has_port = section.entry("port").is_some();
    let port = section.want("port", kind::number::<u16>(1..=65_535));
    if let Some(port) = port.as_ref().filter(|port| port.value == AGENT_PORT) {
        let problem = Problem::new("reserved-port", format!("port {AGENT_PORT} is taken"), port.span.clone(), "the agent answers here");
        section.note(problem.help("the agent on every instance answers health checks on this port; choose another"));
    }
    let health = if has_port {
        section.or("health", "/", kind::like("a path, /up", forms::url_path))
    } else {
        if let Some(stray) = section.entry("health") {
            let what = format!("`health` without a `port` {}", section.place());
            let problem = Problem::new("conflict", what, stray.key_span.clone(), "nothing to ask");
            section.note(problem.help("give the service a port, or remove this: a worker is well while its process runs"));
        }
        None
    };
    let needs = section.want("needs", kind::list(kind::filled));
    let grace = section.or("grace", "20s", kind::span(1..=3_600));
    let variables = variables(&section);
    let release_command = hooks::command(&section, "release-command", "10m");
    section.finish();
    let right = !has_port || (port.is_some() && health.is_some());
    let parts = match (name, repository, run, variables, release_command, grace) {
        (Some(name), Some(repository), Some(run), Some(variables), Some(release_command), Some(grace)) if right => Some(Parts {
            name,
            repository: repository.value,
            run: run.value,
            port: port.as_ref().map(|port| port.value),
            health_path: health.map_or_else(|| "/".into(), |health| health.value),
            variables,
            release_command,
            grace: grace.value,
        }),
        _ => None,
    };
    (Base { key: entry.key.clone(), has_port, needs, parts }, port)
}

/// `variables`: names and texts.
pub(super) fn variables(section: &Section<'_>) -> Option<BTreeMap<String, String>> {
    let Some(entry) = section.entry("variables") else { return Some(BTreeMap::new()) };
    if let Err(problem) = kind::table(entry) {
        section.note(problem);
        return None;
    }
    let mut variables = Some(BTreeMap::new());
    for variable in entries(&entry.node) {
        let value = section.value(variable, kind::text);
        let named = variable_name(&variable.key);
        if let Err(label) = &named {
            let what = format!("`{}` in [{}] cannot be a variable", variable.key, variable.home);
            section.note(Problem::new("bad-name", what, variable.key_span.clone(), label));
        }
        match (named, value, &mut variables) {
            (Ok(()), Some(value), Some(all)) => drop(all.insert(variable.key.clone(), value.value)),
            _ => variables = None,
        }
    }
    variables
}

/// `secrets`: names, and where the values are kept.
pub(super) fn secrets(section: &Section<'_>) -> Option<BTreeMap<String, SecretReference>> {
    let Some(entry) = section.entry("secrets") else { return Some(BTreeMap::new()) };
    if let Err(problem) = kind::table(entry) {
        section.note(problem);
        return None;
    }
    let mut secrets = Some(BTreeMap::new());
    for secret in entries(&entry.node) {
        let reference = section.value(secret, kind::reference);
        if let Err(label) = variable_name(&secret.key) {
            let what = format!("`{}` in [{}] cannot be a variable", secret.key, secret.home);
            section.note(Problem::new("bad-name", what, secret.key_span.clone(), label));
            secrets = None;
        }
        match (reference, &mut secrets) {
            (Some(reference), Some(all)) => drop(all.insert(secret.key.clone(), reference.value)),
            _ => secrets = None,
        }
    }
    secrets
}

fn variable_name(name: &str) -> Result<(), String> {
    if !forms::variable(name) {
        return Err("must be letters, digits and _, not starting with a digit".into());
    }
    // The agent sets these itself; a second opinion would silently lose.
    if matches!(name, "PORT" | "HOST") || name.starts_with("ADSTAGE_") {
        return Err("is set by adstage itself".into());
    }
    Ok(())
}
