//! The fuse of an instance that must not outlive its purpose: at its deadline it shuts itself down, even if nobody comes back for it,
//! and the launch asked for a shutdown to terminate it. A builder's own script lights one; a proof's user data is no script.

use tokio::process::Command;

use super::console::Console;
use super::environment::Surroundings;
use super::imds::{Imds, ImdsError};
use crate::model::tag;

/// Lights the fuse if the instance's tags ask for one.
pub(super) async fn light(imds: &Imds, surroundings: &Surroundings, console: &Console) -> Result<(), ImdsError> {
    let lifetime = imds.tag(tag::LIFETIME).await?;
    let Some(minutes) = lifetime.as_deref().and_then(minutes) else { return Ok(()) };
    let mut shutdown = Command::new("shutdown");
    let asked = shutdown.args(["-h", &format!("+{minutes}")]).env("PATH", &surroundings.path).output().await;
    // A machine that cannot be told to end is still worth its purpose; whoever launched it terminates it in the end.
    match asked {
        Ok(answer) if answer.status.success() => {}
        Ok(answer) => console.say(&format!("shutdown refused: {}", String::from_utf8_lossy(&answer.stderr).trim())),
        Err(error) => console.say(&format!("shutdown cannot be run: {error}")),
    }
    Ok(())
}

/// Seconds, as `shutdown` wants them: whole minutes, at least one.
fn minutes(lifetime: &str) -> Option<u64> {
    lifetime.parse::<u64>().ok().map(|seconds| seconds.div_ceil(60).max(1))
}

#[cfg(test)]
mod tests {
    use super::minutes;

    #[test]
    fn a_fuse_burns_whole_minutes() {
        assert_eq!([minutes("1"), minutes("60"), minutes("61"), minutes("soon")], [Some(1), Some(1), Some(2), None]);
    }
}
