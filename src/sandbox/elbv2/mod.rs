//! Under construction.
/// State.
#[derive(Default)]
pub(super) struct Elbv2;
