//! `adstage agent inspect`: what is really on this box, whoever did it.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use http::Method;
use serde_json::Value;

use super::checkout::Tree;
use super::environment::Surroundings;
use super::health::Answering;
use super::http::ask;
use super::layout::Layout;
use crate::failure::{End, Failure};
use crate::model::{Inspection, RepositoryName, ServiceName};

/// The agent asks every service before it answers, and gives each two seconds.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Files that are named of each repository.
const NAMED: usize = 100;

/// Looks at the repositories, and asks the agent about the services.
pub async fn inspect(surroundings: &Surroundings) -> Result<Inspection, Failure> {
    let layout = Layout::new(&surroundings.root);
    let (mut commits, mut dirty) = (BTreeMap::new(), BTreeMap::new());
    for (name, tree) in trees(&layout) {
        let cannot = |why: String| Failure::new(End::Unexpected, format!("{name} cannot be looked at")).because(why);
        let mut files = tree.dirty().await.map_err(cannot)?;
        commits.insert(name.clone(), tree.head().await.map_err(cannot)?);
        files.truncate(NAMED);
        if !files.is_empty() {
            dirty.insert(name, files);
        }
    }
    Ok(Inspection { commits, dirty, services: services(&layout).await })
}

/// Every repository there is.
pub(super) fn trees(layout: &Layout) -> Vec<(RepositoryName, Tree)> {
    let entries = fs::read_dir(layout.repositories()).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| RepositoryName::new(entry.file_name().to_str()?).ok());
    let mut trees: Vec<_> = names.map(|name| (name.clone(), Tree::of(layout, &name))).filter(|(_, tree)| tree.exists()).collect();
    trees.sort_by(|(one, _), (other, _)| one.cmp(other));
    trees
}

/// Every service, and what ails it.
async fn services(layout: &Layout) -> BTreeMap<ServiceName, Option<String>> {
    let Some(answering) = Answering::read(layout) else { return BTreeMap::new() };
    let asked = ask(Method::GET, &answering.at, "/health", &[], TIMEOUT).await;
    let answer = asked.map_err(|error| format!("the agent does not answer: {error}"));
    let answer: Result<Value, String> = answer.and_then(|(_, body)| serde_json::from_slice(&body).map_err(|error| error.to_string()));
    let ails = |name: &ServiceName| match &answer {
        Err(why) => Some(why.clone()),
        Ok(body) => match &body["services"][name.as_str()] {
            told if told["up"] == true => None,
            told => Some(told["trouble"].as_str().unwrap_or("the agent does not know it").to_string()),
        },
    };
    answering.services.iter().map(|name| (name.clone(), ails(name))).collect()
}
