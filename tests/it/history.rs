//! `adstage history` without an account to ask; with one it is part of the stories.

use crate::typed::typed;

#[test]
fn a_release_that_is_no_release_is_wrong_usage() {
    let folder = tempfile::tempdir().unwrap();
    let said = typed(folder.path(), "history production v1");
    assert_eq!(said.code, 2);
    assert!(said.stderr.contains("releases look like r42"), "{said}");
}
