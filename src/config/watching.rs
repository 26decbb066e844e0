//! How visitors come to a new release, and what it is held to: `shift`, `alarms`, `on-trouble` and `limits` of `[env.NAME.deploy]`.

use super::document::{Node, Value};
use super::kind::{self, Wrong};
use super::section::{Section, Spot};
use crate::model::{Limits, OnTrouble, Seconds, Shift, Watching};

/// A watch between two shifts is long enough to see something.
const SHORTEST: u64 = 10;

/// Reads them; `watch` is for shifts that do not say how long they are watched.
pub(super) fn read(section: &Section<'_>, watch: Option<&Spot<Seconds>>) -> Option<Watching> {
    let watch = watch.map_or(Seconds(0), |watch| watch.value);
    let shifts = match section.entry("shift") {
        Some(_) => section.want("shift", |node| shifts(node, watch)).map(|spot| spot.value),
        None => Some(Vec::new()),
    };
    let alarms = match section.entry("alarms") {
        Some(_) => section.want("alarms", kind::list(kind::filled)).map(|spot| spot.value),
        None => Some(Vec::new()),
    };
    let words = &[("ask", OnTrouble::Ask), ("stay", OnTrouble::Stay), ("rollback", OnTrouble::Rollback)];
    let on_trouble = section.or("on-trouble", "ask", kind::choice(words));
    let limits = limits(section.table("limits"));
    Some(Watching { shifts: shifts?, limits: limits?, alarms: alarms?, on_trouble: on_trouble?.value })
}

fn limits(section: Section<'_>) -> Option<Limits> {
    let errors = section.or("errors", "1", kind::number::<u32>(0..=100));
    let slower = section.or("slower", "100", kind::number::<u32>(1..=10_000));
    let requests = section.or("requests", "100", kind::number::<u32>(1..=1_000_000));
    section.finish();
    Some(Limits { errors: errors?.value, slower: slower?.value, requests: requests?.value })
}

/// A list of tables, rising to 100.
fn shifts(node: &Node, watch: Seconds) -> Result<Vec<Shift>, Wrong> {
    let Value::List(nodes) = &node.value else { return Err(Wrong::kind("a list of shifts", node)) };
    let mut shifts: Vec<Shift> = Vec::new();
    for (at, node) in nodes.iter().enumerate() {
        let shift = shift(node, watch)?;
        if shifts.last().is_some_and(|last| last.percent >= shift.percent) {
            return Err(Wrong::value("must be more than the shift before").at(node));
        }
        let last = at + 1 == nodes.len();
        if !last && shift.watch.0 < SHORTEST {
            return Err(Wrong::value(format!("must be watched for {} or more before the next", Seconds(SHORTEST))).at(node));
        }
        shifts.push(shift);
    }
    match shifts.last() {
        Some(Shift { percent: 100, .. }) => Ok(shifts),
        _ => Err(Wrong::value("must end with { percent = 100 }")),
    }
}

fn shift(node: &Node, watch: Seconds) -> Result<Shift, Wrong> {
    let Value::Table(entries) = &node.value else {
        return Err(Wrong::kind("a table such as { percent = 10, watch = \"3m\" }", node).at(node));
    };
    if let Some(other) = entries.iter().find(|entry| !["percent", "watch"].contains(&entry.key.as_str())) {
        return Err(Wrong::value(format!("has `percent` and `watch`, no `{}`", other.key)).at(node));
    }
    let named = |name: &str| entries.iter().find(|entry| entry.key == name).map(|entry| &entry.node);
    let percent = named("percent").ok_or_else(|| Wrong::value("needs `percent`").at(node))?;
    let percent = kind::number::<u16>(1..=100)(percent).map_err(|wrong| wrong.at(percent))?;
    let watch = match named("watch") {
        Some(own) => kind::span(0..=86_400)(own).map_err(|wrong| wrong.at(own))?,
        None => watch,
    };
    Ok(Shift { percent, watch })
}
