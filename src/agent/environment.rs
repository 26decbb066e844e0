//! The agent's door to environment variables.

use std::ffi::OsString;
use std::path::PathBuf;

/// What the agent was started in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surroundings {
    /// `ADSTAGE_ROOT`: where `/` is.
    pub root: PathBuf,
    /// `AWS_EC2_METADATA_SERVICE_ENDPOINT`, which the SDKs heed too.
    pub metadata_endpoint: String,
    /// `PATH`.
    pub path: OsString,
}

impl Surroundings {
    /// Reads them.
    pub fn read() -> Self {
        #[allow(clippy::disallowed_methods, reason = "this is the door")]
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let endpoint = variable("AWS_EC2_METADATA_SERVICE_ENDPOINT").and_then(|value| value.into_string().ok());
        Self {
            root: variable("ADSTAGE_ROOT").map_or_else(|| PathBuf::from("/"), PathBuf::from),
            metadata_endpoint: endpoint.unwrap_or_else(|| "http://169.254.169.254".into()),
            path: variable("PATH").unwrap_or_else(|| "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into()),
        }
    }
}
