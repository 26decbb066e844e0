//! Root folders: what stands for a disk. An image is one that nobody runs.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::Path;

/// What an empty machine has of its own; every program comes from this computer.
const FOLDERS: [&str; 8] = ["dev", "etc/systemd/system/multi-user.target.wants", "opt", "root", "run", "tmp", "usr/sbin", "var/lib"];

/// Where `shutdown` writes when the power goes off: seconds since 1970.
pub(super) const POWER_OFF: &str = "run/poweroff";

/// Stands for shutdown(8): says when the power goes off, and leaves the deed to whoever runs the machine.
const SHUTDOWN: &str = r#"#!/bin/sh
# shutdown [-h|-P|-r] [now|+MINUTES], shutdown -c
at=+1
for word in "$@"; do
  case "$word" in
    -c) exec rm -f "$ADSTAGE_ROOT/run/poweroff" ;;
    now) at=+0 ;;
    +*) at=$word ;;
  esac
done
mkdir -p "$ADSTAGE_ROOT/run"
echo $(( $(date +%s) + 60 * ${at#+} )) >"$ADSTAGE_ROOT/run/poweroff.new" && mv "$ADSTAGE_ROOT/run/poweroff.new" "$ADSTAGE_ROOT/run/poweroff"
"#;

/// Programs an agent puts on the image. They are replaced as a whole, never written to, and large: copies of a root share them.
const SHARED: &str = "opt/adstage/bin";

/// Contents that belong to a boot, not to the disk an image is made of.
const OF_THE_BOOT: [&str; 3] = ["dev/console", "run", "var/log/adstage"];

/// An empty machine at `root`.
pub(super) fn make_base(root: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o755);
    FOLDERS.iter().try_for_each(|folder| builder.create(root.join(folder)))?;
    fs::set_permissions(root.join("tmp"), Permissions::from_mode(0o1777))?;
    fs::write(root.join("dev/console"), "")?;
    fs::write(root.join("usr/sbin/shutdown"), SHUTDOWN)?;
    fs::set_permissions(root.join("usr/sbin/shutdown"), Permissions::from_mode(0o755))
}

/// A copy of a root without what belongs to its last boot, ready for the next. `to` appears at once and whole, or not at all.
pub(super) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let partial = to.with_extension("partial");
    remove(&partial)?;
    fs::create_dir_all(to.parent().unwrap_or(to))?;
    copy_folder(from, &partial, Path::new(""))?;
    make_base(&partial)?;
    fs::rename(&partial, to)
}

fn copy_folder(from: &Path, to: &Path, inside: &Path) -> io::Result<()> {
    let mode = fs::metadata(from)?.permissions();
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target, inside) = (entry.path(), to.join(entry.file_name()), inside.join(entry.file_name()));
        if OF_THE_BOOT.iter().any(|left_out| inside == Path::new(left_out)) {
            continue;
        }
        let kind = entry.file_type()?;
        let copied = if kind.is_dir() {
            copy_folder(&source, &target, &inside)
        } else if kind.is_symlink() {
            fs::read_link(&source).and_then(|leads_to| symlink(leads_to, &target))
        } else if kind.is_file() && inside.starts_with(SHARED) {
            fs::hard_link(&source, &target).or_else(|_| fs::copy(&source, &target).map(drop))
        } else if kind.is_file() {
            fs::copy(&source, &target).map(drop)
        } else {
            Ok(()) // Sockets and pipes are nothing without the processes at their ends.
        };
        match copied {
            // A machine captured while it runs goes on changing its files.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
    }
    // Last, since a folder may forbid writing into it.
    fs::set_permissions(to, mode)
}

/// Removes a folder with all that is in it, whatever its modes; fine if it is not there.
pub(super) fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            allow_removal(folder)?;
            fs::remove_dir_all(folder)
        }
        other => other,
    }
}

fn allow_removal(folder: &Path) -> io::Result<()> {
    fs::set_permissions(folder, Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            allow_removal(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_keeps_modes_and_links_and_leaves_the_boot_behind() {
        let home = tempfile::tempdir().unwrap();
        let (one, other) = (home.path().join("one"), home.path().join("other"));
        make_base(&one).unwrap();
        fs::create_dir_all(one.join("opt/adstage/bin")).unwrap();
        fs::create_dir_all(one.join("var/log/adstage")).unwrap();
        fs::write(one.join("opt/adstage/bin/adstage"), "program").unwrap();
        fs::write(one.join("opt/data"), "kept").unwrap();
        fs::set_permissions(one.join("opt/data"), Permissions::from_mode(0o444)).unwrap();
        symlink("data", one.join("opt/link")).unwrap();
        fs::write(one.join("dev/console"), "login:").unwrap();
        fs::write(one.join("run/poweroff"), "1").unwrap();
        fs::write(one.join("var/log/adstage/web.log"), "…").unwrap();
        fs::create_dir(one.join("opt/closed")).unwrap();
        fs::write(one.join("opt/closed/file"), "in").unwrap();
        fs::set_permissions(one.join("opt/closed"), Permissions::from_mode(0o555)).unwrap();

        copy(&one, &other).unwrap();
        let mode = |path: &str| fs::metadata(other.join(path)).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode("opt/data"), mode("usr/sbin/shutdown"), mode("tmp"), mode("opt/closed")), (0o444, 0o755, 0o1777, 0o555));
        assert_eq!(fs::read_link(other.join("opt/link")).unwrap(), Path::new("data"));
        assert_eq!(fs::read_to_string(other.join("dev/console")).unwrap(), "");
        assert!(!other.join("run/poweroff").exists() && !other.join("var/log/adstage").exists());
        fs::write(other.join("opt/adstage/bin/new"), "mine alone").unwrap();
        assert!(!one.join("opt/adstage/bin/new").exists());
        remove(&one).unwrap();
        remove(&one).unwrap();
        assert_eq!(fs::read_to_string(other.join("opt/closed/file")).unwrap(), "in");
    }
}
