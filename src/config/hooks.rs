//! `[env.NAME.hooks]` and other commands of the company's with a deadline.

use super::kind;
use super::section::Section;
use crate::model::{Hooks, TimedCommand};

/// A command may take this long, in seconds.
const SPAN: std::ops::RangeInclusive<u64> = 1..=7_200;

/// The hooks of an environment.
pub(super) fn read(section: Section<'_>) -> Option<Hooks> {
    let before_deploy = command(&section, "before-deploy", "5m");
    let verify = command(&section, "verify", "5m");
    let after_cutover = command(&section, "after-cutover", "5m");
    // The lock is held meanwhile.
    let on_failure = command(&section, "on-failure", "1m");
    section.finish();
    Some(Hooks { before_deploy: before_deploy?, verify: verify?, after_cutover: after_cutover?, on_failure: on_failure? })
}

/// A command with its deadline. The inner `None`: there is none; the outer: something is wrong with it.
pub(super) fn command(section: &Section<'_>, key: &'static str, within: &str) -> Option<Option<TimedCommand>> {
    if section.entry(key).is_none() {
        return Some(None);
    }
    let table = section.table(key);
    let run = table.need("run", "\"bin/command\"", kind::filled);
    let within = table.or("within", within, kind::span(SPAN));
    table.finish();
    Some(Some(TimedCommand { run: run?.value, within: within?.value }))
}
