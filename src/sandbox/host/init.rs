//! What a machine's first process does at boot: systemd's and cloud-init's part, as far as adstage leans on them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::roots;

/// A process to start at boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Start {
    /// For the console.
    pub name: String,
    pub program: PathBuf,
    pub arguments: Vec<String>,
    /// Again after a failure.
    pub restart: bool,
}

/// The units that are wanted by multi-user.target.
pub(super) fn units(root: &Path) -> io::Result<Vec<Start>> {
    let wants = root.join("etc/systemd/system/multi-user.target.wants");
    let Ok(entries) = fs::read_dir(&wants) else { return Ok(Vec::new()) };
    let mut links: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    links.retain(|path| path.extension().is_some_and(|end| end == "service"));
    links.sort();
    let read = |link: &PathBuf| Some((link.file_name()?.to_string_lossy().into_owned(), read_inside(root, link).ok()?));
    Ok(links.iter().filter_map(read).filter_map(|(name, text)| unit(root, name, &text)).collect())
}

/// A file whose link may be absolute, which means: from the machine's own root.
fn read_inside(root: &Path, path: &Path) -> io::Result<String> {
    match fs::read_link(path) {
        Ok(target) => fs::read_to_string(inside(root, &path.parent().unwrap_or(root).join(target))),
        Err(_) => fs::read_to_string(path),
    }
}

/// An absolute path as the machine means it, where the machine has it; else the computer's own.
fn inside(root: &Path, path: &Path) -> PathBuf {
    let own = path.strip_prefix("/").map(|relative| root.join(relative));
    own.ok().filter(|own| !path.starts_with(root) && own.exists()).unwrap_or_else(|| path.to_path_buf())
}

fn unit(root: &Path, name: String, text: &str) -> Option<Start> {
    let setting = |key: &str| text.lines().find_map(|line| line.trim().strip_prefix(key)?.trim_start().strip_prefix('='));
    let mut words = setting("ExecStart")?.split_whitespace().map(str::to_string);
    let program = inside(root, Path::new(&words.next()?));
    let restart = setting("Restart").is_some_and(|when| matches!(when.trim(), "always" | "on-failure"));
    Some(Start { name, program, arguments: words.collect(), restart })
}

/// User data that is a script, to run once in the life of an instance. Its interpreter is started by name: a file that has just been
/// written cannot always be executed while other processes are being started (`ETXTBSY`).
pub(super) fn user_data_script(root: &Path, user_data: &[u8]) -> io::Result<Option<Start>> {
    let Some(first) = user_data.strip_prefix(b"#!").and_then(|rest| rest.split(|byte| *byte == b'\n').next()) else {
        return Ok(None);
    };
    let first = String::from_utf8_lossy(first).into_owned();
    let mut words = first.split_whitespace().map(str::to_string);
    let Some(interpreter) = words.next() else { return Ok(None) };
    let folder = root.join("var/lib/cloud/instance/scripts");
    fs::create_dir_all(&folder)?;
    let script = folder.join("part-001");
    fs::write(&script, user_data)?;
    let arguments = words.chain([script.to_string_lossy().into_owned()]).collect();
    Ok(Some(Start { name: "user data".into(), program: inside(root, Path::new(&interpreter)), arguments, restart: false }))
}

/// True once the moment that `shutdown` wrote down has come.
pub(super) fn power_off_is_due(root: &Path) -> bool {
    let at = fs::read_to_string(root.join(roots::POWER_OFF)).ok().and_then(|text| text.trim().parse::<i64>().ok());
    at.is_some_and(|at| rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_sec >= at)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn wanted_units_start_from_the_machines_own_root() {
        let home = tempfile::tempdir().unwrap();
        let root = home.path();
        roots::make_base(root).unwrap();
        fs::create_dir_all(root.join("opt/adstage/bin")).unwrap();
        fs::write(root.join("opt/adstage/bin/adstage"), "").unwrap();
        let text = "[Service]\nExecStart=/opt/adstage/bin/adstage agent boot\nRestart=on-failure\n";
        fs::write(root.join("etc/systemd/system/one.service"), text).unwrap();
        fs::write(root.join("etc/systemd/system/not-wanted.service"), text).unwrap();
        symlink("/etc/systemd/system/one.service", root.join("etc/systemd/system/multi-user.target.wants/one.service")).unwrap();
        symlink("../one.service", root.join("etc/systemd/system/multi-user.target.wants/two.service")).unwrap();
        symlink("../gone.service", root.join("etc/systemd/system/multi-user.target.wants/gone.service")).unwrap();
        let arguments = vec!["agent".to_string(), "boot".to_string()];
        let start = Start { name: "one.service".into(), program: root.join("opt/adstage/bin/adstage"), arguments, restart: true };
        assert_eq!(units(root).unwrap(), [start.clone(), Start { name: "two.service".into(), ..start }]);
    }

    #[test]
    fn only_scripts_are_run() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(user_data_script(home.path(), b"{\"adstage\":1}").unwrap(), None);
        let start = user_data_script(home.path(), b"#!/usr/bin/env sh -e\ntrue\n").unwrap().unwrap();
        assert_eq!(start.program, Path::new("/usr/bin/env"));
        assert_eq!(start.arguments[..2], ["sh", "-e"]);
    }
}
