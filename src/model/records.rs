//! Where the rows of the state table are: one partition per lock, one sort key per row (`pk`, `sk`, both text).

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{AppName, BoxName, Environment, EnvironmentName, OperationId, REVIEW, ReleaseNumber};

/// The newest format of a row that this binary reads, and the one it writes. 2: locks name what their holders share, and whether they were
/// broken; an older binary would take over without either.
pub const FORMAT: u64 = 2;

/// Something that several environments use and only one at a time may change: `listener.shop-staging.443`. Text, since it is a key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Resource(pub String);

impl Resource {
    /// A listener of a load balancer.
    pub fn listener(load_balancer: &str, port: u16) -> Self {
        Self(format!("listener.{load_balancer}.{port}"))
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The partition that one lock rules, and the table it is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// The state table.
    pub table: String,
    /// The partition key of every row.
    pub pk: String,
}

impl Scope {
    /// Where everything about an environment is.
    pub fn of(environment: &Environment) -> Self {
        Self::environment(&environment.state_table, &environment.app, &environment.name)
    }

    /// Everything about one environment: `shop#production`.
    pub fn environment(table: &str, app: &AppName, environment: &EnvironmentName) -> Self {
        Self { table: table.to_string(), pk: format!("{app}#{environment}") }
    }

    /// The baking of one image: `shop#image.<hash>`. An environment's name holds no dot, so the two never meet.
    pub fn bake(table: &str, app: &AppName, hash: &str) -> Self {
        Self { table: table.to_string(), pk: format!("{app}#image.{hash}") }
    }

    /// What is done with images that are there: `shop#image.all`, which is no hash.
    pub fn images(table: &str, app: &AppName) -> Self {
        Self { table: table.to_string(), pk: format!("{app}#image.all") }
    }

    /// One review box: `shop#review.blue`. As with images, the dot keeps it apart from environments.
    pub fn review(table: &str, app: &AppName, name: &BoxName) -> Self {
        Self { table: table.to_string(), pk: format!("{app}#{REVIEW}.{name}") }
    }

    /// The partition of what the app's environments share: `shop#shared`.
    pub fn shared(&self) -> Self {
        let app = self.pk.split_once('#').map_or(self.pk.as_str(), |(app, _)| app);
        Self { table: self.table.clone(), pk: format!("{app}#shared") }
    }

    /// What the partition is called among people: `production`, `image.ab12`.
    pub fn name(&self) -> &str {
        self.pk.split_once('#').map_or(self.pk.as_str(), |(_, name)| name)
    }
}

/// Sort keys.
pub mod sk {
    use super::{OperationId, ReleaseNumber, Resource};

    /// The one lease of a scope; never deleted.
    pub const LOCK: &str = "LOCK";
    /// A person's lock.
    pub const FREEZE: &str = "FREEZE";
    /// What was meant to serve.
    pub const HEAD: &str = "HEAD";
    /// Releases begin so.
    pub const RELEASES: &str = "RELEASE#";
    /// Operations and their events begin so.
    pub const OPERATIONS: &str = "OP#";

    /// Locks of what is shared begin so.
    pub const SHARED: &str = "LOCK#";
    /// What people did to a lock from outside begins so.
    pub const AUDITS: &str = "AUDIT#";

    /// The lock of something shared: `LOCK#listener.shop-staging.443`.
    pub fn shared(resource: &Resource) -> String {
        format!("{SHARED}{resource}")
    }

    /// What a person did to a lock: `AUDIT#<ulid>`.
    pub fn audit(id: &str) -> String {
        format!("{AUDITS}{id}")
    }

    /// One release: `RELEASE#000042`. Six digits, so that text order is number order.
    pub fn release(number: ReleaseNumber) -> String {
        format!("{RELEASES}{:06}", number.0)
    }

    /// One operation: `OP#<ulid>`. A ULID sorts by time, so the list of operations is its own history.
    pub fn operation(id: &OperationId) -> String {
        format!("{OPERATIONS}{id}")
    }

    /// What every event of an operation begins with.
    pub fn events(id: &OperationId) -> String {
        format!("{OPERATIONS}{id}#")
    }

    /// One event: `OP#<ulid>#00000007`.
    pub fn event(id: &OperationId, seq: u64) -> String {
        format!("{OPERATIONS}{id}#{seq:08}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_as_the_things_they_name() {
        assert!(sk::release(ReleaseNumber(9)) < sk::release(ReleaseNumber(10)));
        let id = OperationId("01JZ".into());
        assert!(sk::event(&id, 9) < sk::event(&id, 10));
        assert!(sk::event(&id, 0).starts_with(&sk::events(&id)));
        assert_eq!(sk::release(ReleaseNumber(42)), "RELEASE#000042");
        assert_eq!(sk::event(&id, 7), "OP#01JZ#00000007");
    }

    #[test]
    fn an_image_never_shares_a_partition_with_an_environment() {
        let app = AppName::new("shop").unwrap();
        assert_eq!(Scope::bake("t", &app, "ab12").pk, "shop#image.ab12");
        assert!(EnvironmentName::new("image.ab12").is_err());
    }

    #[test]
    fn what_is_shared_has_one_partition_per_app_and_rows_no_environment_has() {
        let scope = Scope::environment("t", &AppName::new("shop").unwrap(), &EnvironmentName::new("staging").unwrap());
        assert_eq!((scope.shared().pk.as_str(), scope.name()), ("shop#shared", "staging"));
        let row = sk::shared(&Resource::listener("shop-staging", 443));
        assert_eq!(row, "LOCK#listener.shop-staging.443");
        // Even an environment called `shared` keeps its own lock.
        assert!(row.as_str() > sk::LOCK && row != sk::LOCK);
    }
}
