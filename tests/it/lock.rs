//! `adstage lock`: what the operator sees of the lock and does about it, by the real binary. (The lease itself: `lease`.)

use insta::assert_snapshot;

use crate::typed::typed;

#[test]
fn without_a_running_sandbox_it_says_how_to_start_one() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("adstage.toml"), include_str!("../../examples/adstage.toml")).unwrap();
    assert_snapshot!(typed(folder.path(), "--sandbox lock show production"), @r"
    exit 4
    --- stdout
    --- stderr
    error: no sandbox is running here
    next:  adstage sandbox start --detach
    ");
}
