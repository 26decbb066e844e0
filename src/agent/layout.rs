//! Where things lie on an image and on an instance.

use std::path::{Path, PathBuf};

use crate::model::{BackingName, RepositoryName, ServiceName};

/// Every path the agent knows, below one root.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    root: PathBuf,
}

impl Layout {
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// What a builder is to put on the image.
    pub fn spec(&self) -> PathBuf {
        self.root.join("var/lib/adstage/provision.json")
    }

    /// What the image remembers of itself.
    pub fn manifest(&self) -> PathBuf {
        self.root.join("opt/adstage/manifest.json")
    }

    /// Programs every service finds first.
    pub fn programs(&self) -> PathBuf {
        self.root.join("opt/adstage/bin")
    }

    /// A repository's checkout.
    pub fn repository(&self, name: &RepositoryName) -> PathBuf {
        self.root.join("opt/adstage/repositories").join(name.as_str())
    }

    /// What cloning and building a repository printed; stays on the image.
    pub fn build_log(&self, name: &RepositoryName) -> PathBuf {
        self.root.join(format!("opt/adstage/builds/{name}.log"))
    }

    /// The machine's console.
    pub fn console(&self) -> PathBuf {
        self.root.join("dev/console")
    }

    /// Output of a service the agent holds itself.
    pub fn service_log(&self, name: &ServiceName) -> PathBuf {
        self.root.join(format!("var/log/adstage/{name}.log"))
    }

    /// Process group of a service the agent holds itself.
    pub fn service_pid(&self, name: &ServiceName) -> PathBuf {
        self.root.join(format!("run/adstage/{name}.pid"))
    }

    /// Everything services and stores the agent holds itself ever wrote.
    pub fn service_logs(&self) -> PathBuf {
        self.root.join("var/log/adstage")
    }

    /// Every repository's checkout.
    pub fn repositories(&self) -> PathBuf {
        self.root.join("opt/adstage/repositories")
    }

    /// A backing store's data.
    pub fn backing(&self, name: &BackingName) -> PathBuf {
        self.backing_stores().join(name.as_str())
    }

    /// Every backing store's data.
    pub fn backing_stores(&self) -> PathBuf {
        self.root.join("var/lib/adstage/backing")
    }

    /// What a review box remembers of its boots.
    pub fn memory(&self) -> PathBuf {
        self.root.join("var/lib/adstage/box.json")
    }

    /// What this instance knows of the release command of a service.
    pub fn release_command(&self, name: &ServiceName) -> PathBuf {
        self.root.join(format!("var/lib/adstage/release-command.{name}.json"))
    }

    /// What the release command of a service printed.
    pub fn release_command_log(&self, name: &ServiceName) -> PathBuf {
        self.root.join(format!("var/log/adstage/{name}-release.log"))
    }

    /// When the fuse burns down, as last known in this boot.
    pub fn deadline(&self) -> PathBuf {
        self.root.join("run/adstage/expires")
    }

    /// Where the agent of this boot answers, and for what.
    pub fn answering(&self) -> PathBuf {
        self.root.join("run/adstage/answering.json")
    }

    /// Any file that is not the agent's own.
    pub fn of_the_machine(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// What the machine itself calls a path.
    pub fn on_the_machine(&self, path: &Path) -> String {
        format!("/{}", path.strip_prefix(&self.root).unwrap_or(path).display())
    }

    /// Units that stay with the disk.
    pub fn units(&self) -> PathBuf {
        self.root.join("etc/systemd/system")
    }

    /// Units that are gone after a reboot; exists only where systemd runs.
    pub fn units_of_this_boot(&self) -> PathBuf {
        self.root.join("run/systemd/system")
    }
}
