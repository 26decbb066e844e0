//! Where the rows of the state table are: one partition per lock, one sort key per row (`pk`, `sk`, both text).

use super::{AppName, EnvironmentName, OperationId, ReleaseNumber};

/// The partition that one lock rules, and the table it is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// The state table.
    pub table: String,
    /// The partition key of every row.
    pub pk: String,
}

impl Scope {
    /// Everything about one environment: `shop#production`.
    pub fn environment(table: &str, app: &AppName, environment: &EnvironmentName) -> Self {
        Self { table: table.to_string(), pk: format!("{app}#{environment}") }
    }

    /// The baking of one image: `shop#image.<hash>`. An environment's name holds no dot, so the two never meet.
    pub fn bake(table: &str, app: &AppName, hash: &str) -> Self {
        Self { table: table.to_string(), pk: format!("{app}#image.{hash}") }
    }
}

/// Sort keys.
pub mod sk {
    use super::{OperationId, ReleaseNumber};

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
}
