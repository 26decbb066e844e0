//! The fuse of an instance that must not outlive its purpose: at its deadline it shuts itself down, even if nobody comes back for it,
//! and the launch asked for a shutdown to terminate it. A builder's own script lights one; a proof's user data is no script. A review
//! box's is a tag that its owner may move: it is read again and again, and what was read last holds while the metadata service is silent.

use std::fs;
use std::time::Duration;

use jiff::Timestamp;
use tokio::process::Command;

use super::console::Console;
use super::environment::Surroundings;
use super::imds::{Imds, ImdsError};
use super::layout::Layout;
use crate::clock::Clock;
use crate::model::{ConsoleLine, tag};

/// How often the tag is read.
const LOOK: Duration = Duration::from_secs(60);

/// How long one look may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// So much later than the agent the machine itself would act, which is for when there is no agent any more.
const BACKSTOP_MINUTES: u64 = 2;

/// Lights the fuse if the instance's tags ask for one.
pub(super) async fn light(imds: &Imds, surroundings: &Surroundings, console: &Console) -> Result<(), ImdsError> {
    let lifetime = imds.tag(tag::LIFETIME).await?;
    let Some(minutes) = lifetime.as_deref().and_then(minutes) else { return Ok(()) };
    // A machine that cannot be told to end is still worth its purpose; whoever launched it terminates it in the end.
    if let Err(error) = shutdown(surroundings, &["-h", &format!("+{minutes}")]).await {
        console.say(&error);
    }
    Ok(())
}

async fn shutdown(surroundings: &Surroundings, arguments: &[&str]) -> Result<(), String> {
    match Command::new("shutdown").args(arguments).env("PATH", &surroundings.path).kill_on_drop(true).output().await {
        Ok(answer) if answer.status.success() => Ok(()),
        Ok(answer) => Err(format!("shutdown refused: {}", String::from_utf8_lossy(&answer.stderr).trim())),
        Err(error) => Err(format!("shutdown cannot be run: {error}")),
    }
}

/// Seconds, as `shutdown` wants them: whole minutes, at least one.
fn minutes(lifetime: &str) -> Option<u64> {
    lifetime.parse::<u64>().ok().map(|seconds| seconds.div_ceil(60).max(1))
}

/// A review box's fuse.
#[derive(Debug)]
pub(super) struct Fuse {
    surroundings: Surroundings,
    layout: Layout,
    console: Console,
    clock: Clock,
    session: Option<Imds>,
    /// The deadline last read.
    known: Option<Timestamp>,
    /// The one the machine itself acts on.
    scheduled: Option<Timestamp>,
    /// The last complaint, which is made once.
    said: Option<String>,
}

impl Fuse {
    pub fn new(surroundings: &Surroundings, layout: &Layout, console: &Console, clock: &Clock) -> Self {
        Self {
            surroundings: surroundings.clone(),
            layout: layout.clone(),
            console: console.clone(),
            clock: clock.clone(),
            session: None,
            known: remembered(layout),
            scheduled: None,
            said: None,
        }
    }

    /// True if an earlier agent of this boot has read a deadline.
    pub fn is_lit(&self) -> bool {
        self.known.is_some()
    }

    /// Burns until the deadline, wherever that is moved to, and then shuts the machine down: for ever, should it not go.
    pub async fn burn(mut self) {
        loop {
            if let Some(told) = self.told().await
                && self.known != Some(told)
            {
                self.known = Some(told);
                self.console.mark(&ConsoleLine::Expires { at: told.to_string() });
                self.remember(told);
            }
            let left = self.known.map(|at| self.left(at));
            match (left, self.known) {
                (Some(Duration::ZERO), Some(at)) => self.end(at).await,
                (Some(left), Some(at)) if self.scheduled != Some(at) => self.schedule(at, left).await,
                _ => {}
            }
            let pause = left.filter(|left| !left.is_zero()).unwrap_or(LOOK).min(LOOK);
            self.clock.sleep(pause).await;
        }
    }

    /// Until then. The deadline is a time of day that somebody was told, so nothing but the wall clock can say.
    fn left(&self, at: Timestamp) -> Duration {
        Duration::try_from(at.duration_since(self.clock.wall())).unwrap_or_default()
    }

    /// What the tag says now; nothing if there is none, or nobody to ask.
    async fn told(&mut self) -> Option<Timestamp> {
        let asked = async {
            let session = match self.session.take() {
                Some(session) => session,
                None => Imds::open(&self.surroundings.metadata_endpoint, &self.clock).await.ok()?,
            };
            let told = session.tag(tag::EXPIRES).await.ok().flatten();
            self.session = Some(session);
            told
        };
        let text = tokio::time::timeout(PATIENCE, asked).await.ok().flatten();
        let told = text.as_deref().and_then(|text| text.parse().ok());
        if told.is_none() && self.known.is_none() {
            self.complain(format!("nothing says when this box expires: it has no tag {} that is a time", tag::EXPIRES));
        }
        told
    }

    fn remember(&self, at: Timestamp) {
        let path = self.layout.deadline();
        let written = fs::create_dir_all(path.parent().unwrap_or(&path)).and_then(|()| fs::write(&path, at.to_string()));
        if let Err(error) = written {
            tracing::warn!("{}: {error}", path.display());
        }
    }

    /// Tells the machine to end by itself, a little later.
    async fn schedule(&mut self, at: Timestamp, left: Duration) {
        let minutes = left.as_secs().div_ceil(60) + BACKSTOP_MINUTES;
        // Some keep the earlier one otherwise; and where one is due within minutes, nobody may log in any more. None may be there.
        let _ = shutdown(&self.surroundings, &["-c"]).await;
        match shutdown(&self.surroundings, &["-h", &format!("+{minutes}")]).await {
            Ok(()) => self.scheduled = Some(at),
            Err(error) => self.complain(error),
        }
    }

    async fn end(&mut self, at: Timestamp) {
        let line = ConsoleLine::Expired { at: at.to_string() };
        if self.said.as_ref() != Some(&line.describe()) {
            self.said = Some(line.describe());
            self.console.mark(&line);
        }
        if let Err(error) = shutdown(&self.surroundings, &["-h", "now"]).await {
            self.complain(error);
        }
    }

    fn complain(&mut self, text: String) {
        if self.said.as_ref() != Some(&text) {
            self.console.say(&text);
            self.said = Some(text);
        }
    }
}

fn remembered(layout: &Layout) -> Option<Timestamp> {
    fs::read_to_string(layout.deadline()).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;
    use std::sync::{Arc, Mutex};

    use axum::Router;
    use axum::http::{HeaderMap, StatusCode};
    use axum::routing::{get, put};

    use super::*;

    #[test]
    fn a_fuse_burns_whole_minutes() {
        assert_eq!([minutes("1"), minutes("60"), minutes("61"), minutes("soon")], [Some(1), Some(1), Some(2), None]);
    }

    /// A metadata service whose answer about the deadline can be changed; none while there is no text. Its tokens hold for three answers.
    async fn metadata(tag: Arc<Mutex<Option<String>>>) -> String {
        let given = Arc::new(Mutex::new((0, 0)));
        let token = given.clone();
        let new_token = move || async move {
            let mut given = token.lock().unwrap();
            *given = (given.0 + 1, 3);
            given.0.to_string()
        };
        let tell = move |headers: HeaderMap| async move {
            let mut given = given.lock().unwrap();
            let held = headers.get("x-aws-ec2-metadata-token").is_some_and(|held| *held == *given.0.to_string());
            if !held || given.1 == 0 {
                return Err(StatusCode::UNAUTHORIZED);
            }
            given.1 -= 1;
            tag.lock().unwrap().clone().ok_or(StatusCode::SERVICE_UNAVAILABLE)
        };
        let path = "/latest/meta-data/tags/instance/adstage:expires";
        let router = Router::new().route("/latest/api/token", put(new_token)).route(path, get(tell));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        endpoint
    }

    fn machine(root: &Path, metadata_endpoint: String) -> Surroundings {
        let (programs, calls) = (root.join("programs"), root.join("calls"));
        fs::create_dir_all(root.join("dev")).unwrap();
        fs::create_dir_all(&programs).unwrap();
        fs::write(root.join("dev/console"), "").unwrap();
        fs::write(programs.join("shutdown"), format!("#!/bin/sh\necho \"$*\" >>'{}'\n", calls.display())).unwrap();
        fs::set_permissions(programs.join("shutdown"), fs::Permissions::from_mode(0o755)).unwrap();
        Surroundings { root: root.into(), metadata_endpoint, path: format!("{}:/usr/bin:/bin", programs.display()).into() }
    }

    async fn until(root: &Path, wanted: &str) -> String {
        let clock = Clock::real();
        let read = || fs::read_to_string(root.join("calls")).unwrap_or_default();
        for _ in 0..300 {
            if read().contains(wanted) {
                break;
            }
            clock.sleep(Duration::from_millis(50)).await;
        }
        let calls = read();
        assert!(calls.contains(wanted), "{calls}");
        calls
    }

    fn light_one(surroundings: &Surroundings, clock: &Clock) -> tokio::task::JoinHandle<()> {
        let layout = Layout::new(&surroundings.root);
        tokio::spawn(Fuse::new(surroundings, &layout, &Console::of(&layout), clock).burn())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_box_ends_at_the_deadline_its_owner_moved() {
        let root = tempfile::tempdir().unwrap();
        // A minute takes a tenth of a second.
        let clock = Clock::at_rate(600.0);
        let after = |minutes: i64| Some((clock.wall() + jiff::SignedDuration::from_secs(minutes * 60)).to_string());
        let tag = Arc::new(Mutex::new(after(20)));
        let surroundings = machine(root.path(), metadata(tag.clone()).await);
        let burning = light_one(&surroundings, &clock);
        assert!(until(root.path(), "-h +").await.starts_with("-c\n-h +22\n"));
        *tag.lock().unwrap() = after(60);
        let extended = clock.wall();
        until(root.path(), "-h +62\n").await;
        let calls = until(root.path(), "-h now").await;
        assert!(clock.wall().duration_since(extended) >= jiff::SignedDuration::from_secs(3_600), "not by the first deadline: {calls}");
        assert!(calls.starts_with("-c\n-h +22\n-c\n-h +62\n-h now\n"), "scheduled once each: {calls}");
        burning.abort();
        let console = fs::read_to_string(root.path().join("dev/console")).unwrap();
        let told = ConsoleLine::all_of(&console);
        assert!(matches!(told[..3], [ConsoleLine::Expires { .. }, ConsoleLine::Expires { .. }, ConsoleLine::Expired { .. }]), "{console}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_silent_metadata_service_neither_ends_a_box_nor_keeps_it() {
        let root = tempfile::tempdir().unwrap();
        let clock = Clock::at_rate(600.0);
        let at = clock.wall() + jiff::SignedDuration::from_secs(40 * 60);
        let tag = Arc::new(Mutex::new(Some(at.to_string())));
        let surroundings = machine(root.path(), metadata(tag.clone()).await);
        let burning = light_one(&surroundings, &clock);
        until(root.path(), "-h +42").await;
        *tag.lock().unwrap() = None;
        // Nor does an agent that starts anew in between.
        burning.abort();
        let burning = light_one(&surroundings, &clock);
        until(root.path(), "-h now").await;
        assert!(clock.wall() >= at);
        burning.abort();
    }
}
