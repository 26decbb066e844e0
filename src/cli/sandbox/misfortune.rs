//! `adstage sandbox shortage` and `reclaim`: what AWS does to everybody some day, on the day one chooses.

use std::time::Duration;

use anyhow::Context;
use clap::ValueEnum;
use serde::Deserialize;
use serde_json::Value;

use super::{Global, Home, Place, running};
use crate::config;
use crate::failure::{End, Failure};
use crate::model::{ReleaseNumber, Seconds, ServiceName, instances};
use crate::sandbox::control;

/// Let capacity run short in the sandbox, as AWS's sometimes does
///
///   adstage sandbox shortage spot --for 10m               no more spot for ten minutes
///   adstage sandbox shortage spot m7i.large --left 3      three more of one type, until it is ended
///   adstage sandbox shortage on-demand --end              as many as anybody wants again
///
/// Instances that run already stay. In every account and Region of the sandbox.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Shortage {
    /// What runs short
    #[arg(value_enum)]
    market: Market,
    /// Only this instance type [default: all of them]
    #[arg(value_name = "TYPE")]
    kind: Option<String>,
    /// So many can still be had
    #[arg(long, value_name = "N", default_value_t = 0)]
    left: u32,
    /// It ends by itself after this long [default: when it is ended]
    #[arg(long = "for", value_name = "TIME", value_parser = config::timespan)]
    span: Option<Seconds>,
    /// End it
    #[arg(long, conflicts_with_all = ["left", "span"])]
    end: bool,
    #[command(flatten)]
    place: Place,
}

/// Take spot instances back in the sandbox: each gets its notice first, then it is gone
///
///   adstage sandbox reclaim production web --percent 30
///   adstage sandbox reclaim production web --release r3      all of one release's
///
/// The notice is two minutes, as AWS's; where the sandbox is quick it is twelve seconds.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Reclaim {
    /// The environment
    environment: String,
    /// The service
    service: ServiceName,
    /// So many percent of its spot instances, rounded up
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u8).range(1..=100))]
    percent: u8,
    /// Only of this release [default: of all that run]
    #[arg(long, value_name = "RELEASE")]
    release: Option<ReleaseNumber>,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Market {
    Spot,
    OnDemand,
}

impl Market {
    fn word(self) -> &'static str {
        match self {
            Self::Spot => "spot",
            Self::OnDemand => "on-demand",
        }
    }
}

/// Tells the sandbox in this folder to do something.
async fn order(home: &Home, path: &str) -> Result<Value, Failure> {
    let record = running(home)?;
    Ok(control(&record.endpoint, http::Method::POST, path).await.context("the sandbox does not answer")?)
}

pub(super) async fn shortage(args: &Shortage, global: &Global) -> Result<(), Failure> {
    let kind = args.kind.as_ref();
    let unknown = || Failure::new(End::Refused, format!("the sandbox has no instance type `{}`", kind.map_or("", String::as_str)));
    if kind.is_some_and(|kind| !kind.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'))) {
        return Err(unknown());
    }
    let mut path = format!("/_sandbox/shortage?market={}", args.market.word());
    path.extend(kind.map(|kind| format!("&type={kind}")));
    path.extend((!args.end).then(|| format!("&left={}", args.left)));
    path.extend(args.span.map(|span| format!("&seconds={}", span.0)));
    let shortages = order(&args.place.home(global)?, &path).await?;
    if shortages.is_null() {
        return Err(unknown().next("adstage sandbox shortage --help"));
    }
    global.report.result(&serde_json::json!({ "shortages": shortages }), || args.said())
}

impl Shortage {
    fn said(&self) -> String {
        let what = self.kind.as_ref().map_or_else(|| self.market.word().to_string(), |kind| format!("{} {kind}", self.market.word()));
        if self.end {
            return format!("As much {what} can be had as anybody wants.");
        }
        let kind = self.kind.as_ref().map(|kind| format!(" {kind}")).unwrap_or_default();
        let how_long = self.span.map_or_else(|| ", until it is ended".to_string(), |span| format!(" for {span}"));
        let left = if self.left == 0 { "No more".to_string() } else { format!("Only {} more", self.left) };
        format!("{left} {what} can be had{how_long}. To end it: adstage sandbox shortage {}{kind} --end", self.market.word())
    }
}

/// What the sandbox answers.
#[derive(Deserialize)]
struct Reclaimed {
    reclaimed: Vec<String>,
    of: u32,
    seconds: u64,
}

pub(super) async fn reclaim(args: &Reclaim, global: &Global) -> Result<(), Failure> {
    // A name that is a name, so that a slip of the finger is told from a fleet without spot.
    let environment = &global.environment(&args.environment)?.name;
    let mut path = format!("/_sandbox/reclaim?environment={environment}&service={}&percent={}", args.service, args.percent);
    path.extend(args.release.map(|release| format!("&release={release}")));
    let answer = order(&args.place.home(global)?, &path).await?;
    let told: Reclaimed = serde_json::from_value(answer.clone()).map_err(anyhow::Error::from)?;
    if told.reclaimed.is_empty() {
        let of = args.release.map(|release| format!("-{release}")).unwrap_or_default();
        let what = format!("{}{of} in {environment} has no spot instance that runs in the sandbox", args.service);
        return Err(Failure::new(End::Refused, what).next(format!("adstage --sandbox status {environment}")));
    }
    global.report.result(&answer, || {
        let span = Seconds::from(Duration::from_secs(told.seconds));
        let count = instances(u32::try_from(told.reclaimed.len()).unwrap_or(u32::MAX));
        format!("AWS takes back {count} of {} in {span}:\n  {}", told.of, told.reclaimed.join("\n  "))
    })
}
