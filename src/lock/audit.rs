//! What people do to a lock from outside goes down in the same transaction: who, from where, why, and the row as it was.

use jiff::Timestamp;

use super::constants::ACQUIRE;
use super::resend::{Sender, Sent};
use super::row::Identity;
use crate::aws::Error;
use crate::aws::dynamodb::{Item, Reason, Write};
use crate::model::{FORMAT, Scope, sk};

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    Break,
    Repair,
    Freeze,
    Unfreeze,
    /// A lease that had lapsed was ended, because it stood in the way of somebody from another environment.
    Lapse,
}

impl Deed {
    fn word(self) -> &'static str {
        match self {
            Self::Break => "break",
            Self::Repair => "repair",
            Self::Freeze => "freeze",
            Self::Unfreeze => "unfreeze",
            Self::Lapse => "lapse",
        }
    }
}

/// The attributes of an audit row that say who did it.
pub(super) fn by(who: &Identity) -> Item {
    let text = [("who", &who.who), ("host", &who.host), ("via", &who.via), ("arn", &who.arn), ("cli", &who.cli), ("owner", &who.owner)];
    text.map(|(name, text)| (name.to_string(), text.as_str().into())).into()
}

/// `AUDIT#<ulid>`, where `row` is what was there before. The name is new every time: a refusal that shows the row is our own doing.
pub(super) fn row(scope: &Scope, deed: Deed, by: Item, why: &str, row: Item, at: Timestamp) -> Write {
    let id = ulid::Ulid::from_parts(at.as_millisecond().max(0).cast_unsigned(), fastrand::u128(..));
    let mut item = by;
    item.extend([
        ("pk".to_string(), scope.pk.as_str().into()),
        ("sk".to_string(), sk::audit(&id.to_string()).into()),
        ("v".to_string(), FORMAT.into()),
        ("did".to_string(), deed.word().into()),
        ("why".to_string(), why.into()),
        ("at".to_string(), at.to_string().into()),
        ("row".to_string(), row.into()),
    ]);
    Write::put_new(item)
}

/// Sends what a person does, the audit row last. `None`: done. Otherwise why not, one reason per write.
pub(super) async fn send(sender: &mut Sender, writes: &[Write]) -> Result<Option<Vec<Reason>>, Error> {
    let id = writes.last().map(|audit| audit.key().sk).unwrap_or_default();
    let token = super::transactions::token(&[&"act", &id]);
    match sender.transact(writes, &token, ACQUIRE).await {
        Sent::Applied(_) => Ok(None),
        Sent::Refused(reasons) => {
            let ours = reasons.last().is_some_and(|audit| audit.refused);
            Ok((!ours).then_some(reasons))
        }
        Sent::Failed(error) | Sent::Unknown(error) => Err(error),
    }
}
