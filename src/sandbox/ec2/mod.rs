//! Under construction.
/// State.
#[derive(Default)]
pub(super) struct Ec2;
