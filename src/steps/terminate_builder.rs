//! The builder is not needed any more.

use super::bake_machine::Machine;
use super::{Cx, Done};

pub(super) async fn run(cx: &Cx, bake: &str) -> Done {
    Machine::builder(bake).terminate(cx).await?;
    Ok("builder terminated".to_string())
}
