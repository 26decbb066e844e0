//! What a builder is told to put on the image, the script that tells it, and what the image remembers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::userdata::fits;
use super::{RepositoryName, Seconds, Source, UserDataError};

/// What `adstage agent provision` reads: every repository at its commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProvisionSpec {
    /// Every repository of the image, by name.
    pub repositories: BTreeMap<RepositoryName, ProvisionRepository>,
}

/// One repository to clone and build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProvisionRepository {
    /// Where to clone it from.
    pub source: Source,
    /// The commit, in full.
    pub commit: String,
    /// Shell command run in its folder after checkout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<String>,
}

/// What an image remembers of itself, in `/opt/adstage/manifest.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the adstage that made it.
    pub adstage: String,
    /// Commit of each repository.
    pub commits: BTreeMap<RepositoryName, String>,
}

impl ProvisionSpec {
    /// The builder's user data: a script that lights the fuse (the machine shuts itself down after `time_limit` even if nobody comes
    /// back for it), runs the image's `setup`, and hands over to `adstage agent provision`. The same for the same values.
    pub fn script(&self, setup: Option<&str>, time_limit: Seconds) -> Result<String, UserDataError> {
        let json = serde_json::to_string(self).map_err(|error| UserDataError::NotOurs(error.to_string()))?;
        let minutes = time_limit.0.div_ceil(60).max(1);
        let mut script = format!(
            "#!/bin/sh\n\
             shutdown -h +{minutes}\n\
             state=\"${{ADSTAGE_ROOT:-}}/var/lib/adstage\"\n\
             mkdir -p \"$state\"\n\
             {FAILED}\
             {}",
            heredoc("$state/provision.json", &json)
        );
        if let Some(setup) = setup {
            script.push_str(&heredoc("$state/setup", setup));
            script.push_str("sh \"$state/setup\" >\"$state/setup.log\" 2>&1 || failed \"setup exited with $?\" \"$state/setup.log\"\n");
        }
        script.push_str(
            "command -v adstage >/dev/null || failed \"adstage is not on the base image: install it in image.setup\" /dev/null\n\
             exec adstage agent provision\n",
        );
        fits(script)
    }
}

/// Until adstage is installed, the script itself must say on the console that it failed, in the agent's words.
const FAILED: &str = r#"failed() {
  tail=$(tail -n 20 "$2" | tr -d '\000-\010\013-\037' | tr '\t' ' ' | cut -c 1-300 | sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/.*/"&"/' | paste -s -d , -)
  line="adstage-agent {\"event\":\"provision-failed\",\"what\":\"$1\",\"tail\":[$tail]}"
  printf '\n%s\n' "$line" >>"${ADSTAGE_ROOT:-}/dev/console"
  exit 1
}
"#;

/// Writes `text` to a file, whatever it holds: the end mark is one that it does not hold.
fn heredoc(file: &str, text: &str) -> String {
    let mut end = String::from("ADSTAGE_END");
    while text.contains(&end) {
        end.push('_');
    }
    format!("cat >\"{file}\" <<'{end}'\n{text}\n{end}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> ProvisionSpec {
        let source = Source::Url("https://example.com/storefront.git".into());
        let repository = ProvisionRepository { source, commit: "4f2c".repeat(10), build: Some("make".into()) };
        ProvisionSpec { repositories: BTreeMap::from([(RepositoryName::new("storefront").unwrap(), repository)]) }
    }

    #[test]
    fn the_fuse_is_lit_before_anything_can_hang() {
        let script = spec().script(Some("apt-get install -y jq"), Seconds(3_600)).unwrap();
        let at = |text: &str| script.find(text).unwrap();
        assert!(script.starts_with("#!/bin/sh\nshutdown -h +60\n"), "{script}");
        assert!(at("apt-get") < at("exec adstage agent provision"));
        assert!(spec().script(None, Seconds(61)).unwrap().contains("shutdown -h +2\n"));
    }

    #[test]
    fn no_text_can_end_its_own_document() {
        assert_eq!(heredoc("f", "a\nADSTAGE_END\nb"), "cat >\"f\" <<'ADSTAGE_END_'\na\nADSTAGE_END\nb\nADSTAGE_END_\n");
    }

    #[test]
    fn reads_back_what_it_wrote() {
        let json = serde_json::to_string(&spec()).unwrap();
        assert!(
            json.starts_with(r#"{"repositories":{"storefront":{"source":{"url":"https://example.com/storefront.git"},"commit":"#),
            "{json}"
        );
        assert_eq!(serde_json::from_str::<ProvisionSpec>(&json).unwrap(), spec());
    }
}
