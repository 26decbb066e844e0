//! The door to environment variables: read once, here, into a plain value that tests can make up.

use std::ffi::OsString;
use std::path::PathBuf;

/// What the process was started in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// `ADSTAGE_CONFIG`.
    pub config: Option<PathBuf>,
    /// `ADSTAGE_PROFILE`, else `AWS_PROFILE`.
    pub profile: Option<String>,
    /// Credentials were given to this very process (keys or a web identity), as CI does.
    pub ambient_credentials: bool,
    /// `ADSTAGE_OUTPUT`.
    pub output: Option<String>,
    /// `ADSTAGE_PROGRESS`.
    pub progress: Option<String>,
    /// `ADSTAGE_SANDBOX_HOME`, else the sandbox's folder in the user's state folder.
    pub sandbox_home: Option<PathBuf>,
    /// adstage's folder in the user's state folder.
    pub state: Option<PathBuf>,
    /// `NO_COLOR` is set and not empty.
    pub no_color: bool,
    /// `TERM` is `dumb`.
    pub dumb: bool,
    /// Runs on GitHub Actions.
    pub github: bool,
    /// Runs in some CI.
    pub ci: bool,
    /// Link to the CI run, if it can be told.
    pub run_url: Option<String>,
    /// Login name.
    pub user: Option<String>,
}

impl Surroundings {
    /// Reads them.
    pub fn read() -> Self {
        let state = path("XDG_STATE_HOME").or_else(|| Some(path("HOME")?.join(".local/state"))).map(|state| state.join("adstage"));
        let run_url = match (text("GITHUB_SERVER_URL"), text("GITHUB_REPOSITORY"), text("GITHUB_RUN_ID")) {
            (Some(server), Some(repository), Some(run)) => Some(format!("{server}/{repository}/actions/runs/{run}")),
            _ => text("CI_JOB_URL").or_else(|| text("BUILD_URL")),
        };
        Self {
            config: path("ADSTAGE_CONFIG"),
            profile: text("ADSTAGE_PROFILE").or_else(|| text("AWS_PROFILE")),
            ambient_credentials: text("AWS_ACCESS_KEY_ID").or_else(|| text("AWS_WEB_IDENTITY_TOKEN_FILE")).is_some(),
            output: text("ADSTAGE_OUTPUT"),
            progress: text("ADSTAGE_PROGRESS"),
            sandbox_home: path("ADSTAGE_SANDBOX_HOME").or_else(|| Some(state.as_ref()?.join("sandbox"))),
            state,
            no_color: text("NO_COLOR").is_some(),
            dumb: text("TERM").is_some_and(|value| value == "dumb"),
            github: text("GITHUB_ACTIONS").is_some_and(|value| value == "true"),
            ci: text("CI").is_some_and(|value| value != "false"),
            run_url,
            user: text("USER").or_else(|| text("LOGNAME")).or_else(|| text("GITHUB_ACTOR")),
        }
    }
}

/// What the sandbox's machines start with. They use this computer's programs, so they keep its environment, without what would lead out
/// of the sandbox (credentials, endpoints), or into the repository somebody stands in, and without what an instance decides by itself.
pub fn for_machines() -> Vec<(OsString, OsString)> {
    let leads_astray =
        |name: &str| ["AWS_", "ADSTAGE_", "GIT_"].iter().any(|prefix| name.starts_with(prefix)) || ["HOST", "PORT"].contains(&name);
    std::env::vars_os().filter(|(name, _)| !name.to_str().is_some_and(leads_astray)).collect()
}

/// A variable that is set, not empty, and text.
fn text(name: &str) -> Option<String> {
    #[allow(clippy::disallowed_methods, reason = "this is the door")]
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn path(name: &str) -> Option<PathBuf> {
    #[allow(clippy::disallowed_methods, reason = "this is the door")]
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}
