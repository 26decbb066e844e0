//! `adstage agent` as somebody might type it who should not: the agent itself is tested on its instances.

use crate::typed::typed;

#[test]
fn an_act_it_does_not_know_is_wrong_usage() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(typed(folder.path(), "agent stop").code, 2);
}
