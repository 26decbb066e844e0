//! The folder a sandbox lives in, and who lives there: at most one sandbox at a time holds the lock, and says in `sandbox.json` where it
//! answers.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// A sandbox's folder, whether or not a sandbox runs in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    path: PathBuf,
}

/// What a running sandbox says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its process.
    pub pid: u32,
    /// When it started, RFC 3339.
    pub started: String,
    /// Where it answers: `http://127.0.0.1:PORT`.
    pub endpoint: String,
    /// What marks its machines' processes: the first part of `ADSTAGE_SANDBOX_MACHINE`.
    pub id: String,
}

/// The right to run a sandbox in a folder. It ends with this value, or with the process, however that ends.
#[derive(Debug)]
pub struct Occupied {
    home: Home,
    _lock: File,
}

impl Home {
    /// The folder; made when it is first needed.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What a sandbox in the background prints.
    pub fn log(&self) -> PathBuf {
        self.path.join("sandbox.log")
    }

    fn record_file(&self) -> PathBuf {
        self.path.join("sandbox.json")
    }

    fn open_lock(&self) -> io::Result<File> {
        fs::create_dir_all(&self.path)?;
        OpenOptions::new().create(true).append(true).open(self.path.join("lock"))
    }

    /// Takes the folder; `None` if a sandbox runs in it.
    pub fn occupy(&self) -> io::Result<Option<Occupied>> {
        let lock = self.open_lock()?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(Occupied { home: self.clone(), _lock: lock })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// True while a sandbox runs in it.
    pub fn is_occupied(&self) -> io::Result<bool> {
        if !self.path.exists() {
            return Ok(false);
        }
        match self.open_lock()?.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// What the sandbox that runs here says of itself; `None` if none runs, or one has only just begun to.
    pub fn record(&self) -> io::Result<Option<Record>> {
        if !self.is_occupied()? {
            return Ok(None);
        }
        match fs::read(self.record_file()) {
            Ok(text) => Ok(serde_json::from_slice(&text).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Occupied {
    /// The folder.
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// Says where the sandbox answers. Readers see all of it or nothing.
    pub fn announce(&self, record: &Record) -> io::Result<()> {
        let fresh = self.home.path.join("sandbox.json.new");
        let mut file = File::create(&fresh)?;
        file.write_all(serde_json::to_string_pretty(record)?.as_bytes())?;
        fs::rename(fresh, self.home.record_file())
    }

    /// Removes what an earlier sandbox that was killed left here: processes, root folders, its record.
    pub async fn sweep(&self) -> io::Result<()> {
        let _ = fs::remove_file(self.home.record_file());
        super::host::sweep(self.home.path.clone()).await
    }
}

impl Drop for Occupied {
    fn drop(&mut self) {
        // A record without a lock is known to be stale anyway.
        let _ = fs::remove_file(self.home.record_file());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_has_one_tenant_and_a_record_without_one_is_stale() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path().join("sandbox"));
        assert!(!home.is_occupied().unwrap());
        let record = Record { pid: 1, started: "2026-01-01T00:00:00Z".into(), endpoint: "http://127.0.0.1:1".into(), id: "1".into() };
        let tenant = home.occupy().unwrap().unwrap();
        assert_eq!(home.record().unwrap(), None);
        tenant.announce(&record).unwrap();
        assert!(home.occupy().unwrap().is_none());
        assert_eq!(home.record().unwrap(), Some(record));
        let left = fs::read(home.record_file()).unwrap();
        drop(tenant);
        fs::write(home.record_file(), left).unwrap();
        assert_eq!(home.record().unwrap(), None);
        assert!(home.occupy().unwrap().is_some());
    }
}
