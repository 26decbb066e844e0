//! `adstage completions`.

use crate::typed::typed;

#[test]
fn every_shell_gets_a_script_that_knows_the_subcommands() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let said = typed(folder.path(), &format!("completions {shell}"));
        assert_eq!((said.code, said.stderr.as_str()), (0, ""), "{shell}");
        assert!(said.stdout.contains("completions") && said.stdout.contains("lock-timeout"), "{shell}");
    }
    assert_eq!(typed(folder.path(), "completions tcsh").code, 2);
}
