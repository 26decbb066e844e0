//! A review box's instance is not needed any more; everything on it goes with it.

use super::bake_machine::Machine;
use super::{Cx, Done};
use crate::model::BoxName;

pub(super) async fn run(cx: &Cx, name: &BoxName) -> Done {
    Machine::review(name).terminate(cx).await?;
    Ok(format!("{name} is terminated"))
}
