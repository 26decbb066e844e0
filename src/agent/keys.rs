//! Who may log in to a machine: the `authorized_keys` of its people. Whoever is let onto a box is not thereby let onto every machine of an
//! image made from it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;

use super::clean::files;
use super::layout::Layout;

/// Below each home.
const FILES: &[&str] = &[".ssh/authorized_keys", ".ssh/authorized_keys2"];

/// The lines of each such file there is, by its path on the machine.
pub(super) type Keys = BTreeMap<String, Vec<String>>;

/// Where people's homes are.
pub(super) fn homes(layout: &Layout) -> Vec<PathBuf> {
    let mut homes = files(&layout.of_the_machine("home"), |_| true);
    homes.push(layout.of_the_machine("root"));
    homes
}

/// The keys there are now.
pub(super) fn found(layout: &Layout) -> Keys {
    let all = homes(layout).into_iter().flat_map(|home| FILES.iter().map(move |file| home.join(file)));
    let read = |path: PathBuf| Some((layout.on_the_machine(&path), lines(&fs::read(&path).ok()?)));
    all.filter_map(read).collect()
}

/// Takes out every line that is not among the known ones. Says which files it changed; those that end up with nothing are gone.
pub(super) fn keep_only(known: &Keys, layout: &Layout) -> io::Result<Vec<PathBuf>> {
    let mut changed = Vec::new();
    for (file, now) in found(layout) {
        let of_image = known.get(&file).map(Vec::as_slice).unwrap_or_default();
        let kept: Vec<&str> = now.iter().filter(|line| of_image.contains(line)).map(String::as_str).collect();
        if kept.len() == now.len() {
            continue;
        }
        let path = layout.of_the_machine(file.trim_start_matches('/'));
        if kept.is_empty() {
            fs::remove_file(&path)?
        } else {
            fs::write(&path, kept.join("\n") + "\n")?
        }
        changed.push(path);
    }
    Ok(changed)
}

fn lines(text: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(text).lines().map(str::to_string).collect()
}
