//! Reminds people of their own review boxes that end soon. A command that looks at boxes leaves a note on this computer, and every command
//! reads it when it ends: no call is made for it, so a box that somebody else extended meanwhile is reminded of once too often.

use std::fs;
use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::cli::Global;
use crate::model::{AppName, BoxName, Event, Mark, ReviewBox, Seconds};

/// From when on it is worth a line.
const SOON: SignedDuration = SignedDuration::from_hours(1);

/// One of one's own boxes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    app: AppName,
    name: BoxName,
    /// RFC 3339.
    expires: Timestamp,
}

/// Leaves a note of what `who` has of the app's boxes, in place of the last one. That it cannot be written is nobody's trouble.
pub fn note(global: &Global, app: &AppName, who: &str, boxes: &[ReviewBox]) {
    let own = boxes.iter().filter_map(|found| {
        let there = found.instance.as_ref().filter(|there| there.owner == who)?;
        Some(Note { app: app.clone(), name: found.name.clone(), expires: there.expires.parse().ok()? })
    });
    let before = read(global);
    let after: Vec<Note> = before.iter().filter(|note| note.app != *app).cloned().chain(own).collect();
    if after != before
        && let Err(error) = write(global, &after)
    {
        tracing::debug!(%error, "no note of one's own boxes");
    }
}

/// A noted box lives until another time, or is gone.
pub fn correct(global: &Global, app: &AppName, name: &BoxName, expires: Option<Timestamp>) {
    let one = |note: &Note| (&note.app, &note.name) == (app, name);
    let mut notes = read(global);
    match expires {
        Some(expires) => notes.iter_mut().filter(|note| one(note)).for_each(|note| note.expires = expires),
        None => notes.retain(|note| !one(note)),
    }
    if let Err(error) = write(global, &notes) {
        tracing::debug!(%error, "no note of one's own boxes");
    }
}

/// One line for every box of one's own that ends within the hour.
pub fn remind(global: &Global) {
    let now = global.clock.wall();
    for Note { name, expires, .. } in read(global) {
        let left = expires.duration_since(now);
        if left > SignedDuration::ZERO && left <= SOON {
            let minutes = Seconds(u64::try_from(left.as_secs()).unwrap_or_default() / 60 * 60);
            let next = global.typed(&format!("adstage review extend {name} --ttl 8h"));
            let text = format!("your review box {name} ends in {minutes}; to keep it: {next}");
            global.report.emit(&Event::Said { mark: Mark::Warning, text });
        }
    }
}

/// The sandbox's boxes are noted with the sandbox.
fn file(global: &Global) -> Option<PathBuf> {
    let surroundings = &global.surroundings;
    let folder = if global.options.sandbox { &surroundings.sandbox_home } else { &surroundings.state };
    Some(folder.as_ref()?.join("own-boxes.json"))
}

/// No note, or one that cannot be read, is none.
fn read(global: &Global) -> Vec<Note> {
    let text = file(global).and_then(|file| fs::read(file).ok());
    text.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

/// As a whole or not at all: other commands read it at the same time.
fn write(global: &Global, notes: &[Note]) -> anyhow::Result<()> {
    let Some(file) = file(global) else { return Ok(()) };
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    let partial = file.with_extension(format!("{}.part", std::process::id()));
    fs::write(&partial, serde_json::to_vec(notes)?)?;
    Ok(fs::rename(partial, file)?)
}
