//! The user a backing store runs as. Only root can make anything run as somebody else: an agent that is not runs it as itself.

use std::fs;
use std::path::Path;

use tokio::process::Command;

use super::service::Store;

/// Where a machine's own users are.
const USERS: &str = "/etc/passwd";

/// One line of that file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    user: String,
    uid: u32,
    gid: u32,
    home: String,
}

impl Account {
    /// Whom this store is to run as, if that is not the agent itself.
    pub fn of(store: &Store) -> Result<Option<Self>, String> {
        let Some(user) = store.user.as_ref().filter(|_| rustix::process::geteuid().is_root()) else { return Ok(None) };
        let users = fs::read_to_string(USERS).map_err(|error| format!("{USERS}: {error}"))?;
        Self::find(&users, user).map(Some).ok_or_else(|| format!("this machine has no user `{user}`"))
    }

    fn find(users: &str, user: &str) -> Option<Self> {
        let mut lines = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
        let fields = lines.find(|fields| fields.first() == Some(&user))?;
        let number = |at: usize| fields.get(at)?.parse().ok();
        Some(Self { user: user.into(), uid: number(2)?, gid: number(3)?, home: fields.get(5)?.to_string() })
    }

    /// Makes the command run as this user.
    pub fn apply(&self, command: &mut Command) {
        command.uid(self.uid).gid(self.gid).env("HOME", &self.home).env("USER", &self.user).env("LOGNAME", &self.user);
    }

    /// Gives a folder to this user.
    pub fn own(&self, folder: &Path) -> std::io::Result<()> {
        std::os::unix::fs::chown(folder, Some(self.uid), Some(self.gid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_the_whole_name() {
        let users =
            "root:x:0:0:root:/root:/bin/sh\npostgres-old:x:7:7::/:\npostgres:x:101:104:PostgreSQL,,,:/var/lib/postgresql:/bin/bash\n";
        let found = Account::find(users, "postgres").unwrap();
        assert_eq!((found.uid, found.gid, found.home.as_str()), (101, 104, "/var/lib/postgresql"));
        assert_eq!(Account::find(users, "redis"), None);
    }
}
