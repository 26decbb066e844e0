//! The proof instance is not needed any more.

use super::bake_machine::Machine;
use super::{Cx, Done};

pub(super) async fn run(cx: &Cx, bake: &str) -> Done {
    Machine::proof(bake).terminate(cx).await?;
    Ok("proof instance terminated".to_string())
}
