//! `adstage man`.

use crate::typed::typed;

#[test]
fn the_manual_is_roff_and_an_unknown_page_is_wrong_usage() {
    let folder = tempfile::tempdir().unwrap();
    let page = typed(folder.path(), "man config check");
    assert_eq!(page.code, 0);
    assert!(page.stdout.contains(".TH adstage-config-check"), "{page}");
    assert_eq!(typed(folder.path(), "man nonsense").code, 2);
}
