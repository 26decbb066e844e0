//! What the story is played on: a sandbox of its own, the practice app's folder, the visitors, and the account kept of every act.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use tokio::process::Command;

use super::folder::Folder;
use super::visitors::{Tally, Visitors};
use crate::cli::Global;
use crate::clock::{Clock, Moment};
use crate::failure::{End, Failure};
use crate::report::{Report, Table, bold};

/// How a command of the story must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ends {
    /// Exit 0.
    Well,
    /// Exit 7: failed cleanly.
    RolledBack,
    /// Exit 9: deployed, and the watch found trouble.
    Trouble,
}

impl Ends {
    fn code(self) -> i32 {
        match self {
            Self::Well => 0,
            Self::RolledBack => i32::from(End::RolledBack.code()),
            Self::Trouble => i32::from(End::Trouble.code()),
        }
    }
}

struct Act {
    name: String,
    took: Duration,
    tally: Option<Tally>,
}

/// The stage and what happened on it.
pub(super) struct Stage {
    pub(super) folder: Folder,
    /// The release whose own errors are part of the story, once it is out.
    pub(super) the_bad_release: Option<&'static str>,
    home: PathBuf,
    program: PathBuf,
    report: Report,
    clock: Clock,
    visitors: Option<Visitors>,
    acts: Vec<Act>,
    began: Moment,
}

impl Stage {
    /// Starts a sandbox and writes the practice app.
    pub(super) async fn set(dir: Option<PathBuf>, global: &Global) -> Result<Self, Failure> {
        let clock = Clock::real();
        let home = dir.unwrap_or_else(|| std::env::temp_dir().join(format!("adstage-demo-{}", std::process::id())));
        if home.exists() {
            let what = format!("{} exists already", home.display());
            return Err(Failure::new(End::Refused, what).next("adstage sandbox demo --dir ANOTHER"));
        }
        let folder = Folder::create(home.join("shop"))?;
        let program = std::env::current_exe().context("cannot tell where adstage itself is")?;
        let began = clock.moment();
        let report = global.report.clone();
        let stage = Self { folder, the_bad_release: None, home, program, report, clock, visitors: None, acts: Vec::new(), began };
        stage.type_command(&["sandbox", "start", "--detach"], Ends::Well).await?;
        Ok(stage)
    }

    /// A sentence between acts.
    pub(super) fn title(&self, text: &str) {
        self.report.say("");
        self.report.say(bold(text));
    }

    /// Types one command, with `--sandbox`, and keeps account of it.
    pub(super) async fn act(&mut self, name: &str, ends: Ends, args: &[&str]) -> Result<(), Failure> {
        let began = self.clock.moment();
        let typed: Vec<&str> = std::iter::once("--sandbox").chain(args.iter().copied()).collect();
        let ended = self.type_command(&typed, ends).await;
        self.note(name, self.clock.since(began));
        ended
    }

    /// The image baked last goes straight to production: nobody has seen it in staging, so it is named.
    pub(super) async fn deploy_newest(&mut self, name: &str, ends: Ends) -> Result<(), Failure> {
        let images = self.asks(&["--sandbox", "image", "list", "--output", "json"]).await?;
        let image = images[0]["name"].as_str().context("`image list` names no image")?.to_string();
        self.act(name, ends, &["deploy", "production", "--image", &image, "--confirm", "production"]).await
    }

    /// Nothing is typed; visitors go on.
    pub(super) async fn quiet(&mut self, name: &str, span: Duration) {
        self.report.say(format!("({name}, {} s)", span.as_secs()));
        self.clock.sleep(span).await;
        self.note(name, span);
    }

    /// The last quiet span: requests that were on their way when it began are let finish, then the visitors leave.
    pub(super) async fn settle(&mut self, name: &str, span: Duration) {
        self.report.say(format!("({name}, {} s)", span.as_secs()));
        self.clock.sleep(span).await;
        if let Some(visitors) = self.visitors.take() {
            let tally = Some(visitors.finish().await);
            self.acts.push(Act { name: name.to_string(), took: span, tally });
        }
    }

    /// Lets visitors in, through production's load balancer.
    pub(super) async fn open_the_doors(&mut self) -> Result<(), Failure> {
        self.visitors = Some(Visitors::start(&self.url().await?));
        Ok(())
    }

    /// An act on the account; two in a row of one name are one line.
    fn note(&mut self, name: &str, took: Duration) {
        let tally = self.visitors.as_ref().map(Visitors::take);
        match self.acts.last_mut() {
            Some(last) if last.name == name && last.tally.is_none() => last.took += took,
            _ => self.acts.push(Act { name: name.to_string(), took, tally }),
        }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(args).current_dir(self.folder.path()).env("ADSTAGE_SANDBOX_HOME", self.home.join("sandbox"));
        command
    }

    async fn type_command(&self, args: &[&str], ends: Ends) -> Result<(), Failure> {
        self.report.say("");
        self.report.say(bold(&format!("$ adstage {}", args.join(" "))));
        let status = self.command(args).stdin(Stdio::null()).status().await.context("cannot run adstage")?;
        if status.code() == Some(ends.code()) {
            return Ok(());
        }
        let what = format!("the demo expected exit {} of `adstage {}` and got {status}", ends.code(), args.join(" "));
        Err(Failure::new(End::Unexpected, what).because("its own words are above"))
    }

    /// A command's answer to programs; nobody sees it typed.
    async fn asks(&self, args: &[&str]) -> Result<serde_json::Value, Failure> {
        let output = self.command(args).output().await.context("cannot run adstage")?;
        Ok(serde_json::from_slice(&output.stdout).with_context(|| format!("`adstage {}` did not answer in JSON", args.join(" ")))?)
    }

    /// Production's URL, from `sandbox status`.
    async fn url(&self) -> Result<String, Failure> {
        let status = self.asks(&["sandbox", "status", "--output", "json"]).await?;
        let balancers = status["load_balancers"].as_array().map(Vec::as_slice).unwrap_or_default();
        let production = balancers.iter().find(|balancer| balancer["name"] == "shop-production");
        let url = production.and_then(|balancer| balancer["url"].as_str());
        Ok(url.context("`sandbox status` names no load balancer shop-production")?.to_string())
    }

    /// Prints the account; an error if a visitor was failed.
    pub(super) fn judge(&self) -> Result<(), Failure> {
        let mut table = Table::new(&["ACT", "TOOK", "SERVED", "FAILED", "R4'S OWN ERRORS"]);
        let (mut served, mut failed, mut own, mut samples) = (0, 0, 0, Vec::new());
        for act in &self.acts {
            let counts = act.tally.as_ref().map(|tally| [tally.served, self.failed(tally), self.own_errors(tally)]);
            let cells = counts.map_or_else(|| ["–", "–", "–"].map(String::from), |counts| counts.map(|count| count.to_string()));
            table.row([act.name.clone(), format!("{:.1}s", act.took.as_secs_f64())].into_iter().chain(cells));
            let [more_served, more_failed, more_own] = counts.unwrap_or_default();
            (served, failed, own) = (served + more_served, failed + more_failed, own + more_own);
            samples.extend(act.tally.iter().flat_map(|tally| tally.samples.iter().cloned()));
        }
        let seconds = self.clock.since(self.began).as_secs_f64();
        table.row(["in all".into(), format!("{seconds:.1}s"), served.to_string(), failed.to_string(), own.to_string()]);
        self.report.say("");
        let account = serde_json::json!({ "seconds": seconds, "served": served, "failed": failed, "own_errors": own });
        self.report.result(&account, || table.columns(100))?;
        if failed > 0 {
            let what = format!("{failed} requests failed that a healthy fleet could have served");
            return Err(samples.iter().fold(Failure::new(End::Unexpected, what), Failure::evidence));
        }
        if served == 0 || own == 0 {
            return Err(Failure::new(End::Unexpected, "no visitor came, or none met r4's bug, so this run proves nothing"));
        }
        self.report.say(format!("\n{served} requests served, 0 failed. r4's own {own} errors ended with the rollback."));
        Ok(())
    }

    /// Errors the story means to have.
    fn own_errors(&self, tally: &Tally) -> u64 {
        self.the_bad_release.and_then(|release| tally.own_errors.get(release)).copied().unwrap_or_default()
    }

    /// Every other error, whoever made it.
    fn failed(&self, tally: &Tally) -> u64 {
        tally.failed + tally.own_errors.values().sum::<u64>() - self.own_errors(tally)
    }

    /// What to type next, while the sandbox runs on.
    pub(super) fn say_how_to_poke(&self) {
        let home = self.home.join("sandbox");
        for line in [
            "The sandbox runs on. To poke at it:".to_string(),
            format!("  cd {}", self.folder.path().display()),
            format!("  export ADSTAGE_SANDBOX_HOME={}", home.display()),
            "  adstage sandbox status                    the load balancers' addresses, every instance".into(),
            "  adstage --sandbox status production       what visitors get, and what is warm".into(),
            "  adstage --sandbox history production      every release and how it ended".into(),
            "  adstage sandbox stop                      ends it, and every process of it".into(),
        ] {
            self.report.say(line);
        }
    }

    /// Stops the sandbox and removes everything.
    pub(super) async fn strike(mut self) -> Result<(), Failure> {
        self.visitors = None;
        let mut stop = self.command(&["sandbox", "stop"]);
        let status = stop.stdout(Stdio::null()).stderr(Stdio::null()).status().await.context("cannot run adstage")?;
        if !status.success() {
            return Err(Failure::new(End::Unexpected, format!("`adstage sandbox stop` ended with {status}")));
        }
        std::fs::remove_dir_all(&self.home).with_context(|| format!("cannot remove {}", self.home.display()))?;
        self.report.say("Stopped and cleaned up. Run it with --keep to poke at it afterwards.");
        Ok(())
    }
}
