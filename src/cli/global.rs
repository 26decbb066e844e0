//! The options every subcommand takes, and what they make: one report, one configuration, one connection.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context;
use clap::ValueEnum;

use super::environment::Surroundings;
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::failure::{End, Failure};
use crate::model::{Environment, Seconds};
use crate::report::{Color, Output, Progress, Report, Settings};

/// Options every subcommand takes.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Global options")]
pub struct Options {
    /// The configuration file [default: the nearest adstage.toml, upwards from here]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Talk to the sandbox on this machine instead of AWS
    #[arg(long, global = true)]
    pub sandbox: bool,
    /// AWS profile [default: AWS_PROFILE, then the environment's own]
    #[arg(long, global = true, value_name = "NAME")]
    pub profile: Option<String>,
    /// How results are printed on stdout [default: text]
    #[arg(long, global = true, value_name = "FORMAT", value_enum)]
    pub output: Option<Output>,
    /// How progress is told on stderr [default: auto]
    #[arg(long, global = true, value_name = "HOW", value_enum)]
    pub progress: Option<Progress>,
    /// Also write every event to this file, one JSON object per line
    #[arg(long, global = true, value_name = "FILE")]
    pub events_file: Option<PathBuf>,
    /// Print results and errors only
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Tell more: every AWS call; twice for debugging
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// When to use colour [default: auto]
    #[arg(long, global = true, value_name = "WHEN", value_enum)]
    pub color: Option<Color>,
    /// Answer yes to y/N questions; never stands in for a typed name
    #[arg(short, long, global = true)]
    pub yes: bool,
    /// Answer every question, if the environment has this name
    #[arg(long, global = true, value_name = "NAME")]
    pub confirm: Option<String>,
    /// Wait this long for somebody else's lock (`15m`); never for a person's freeze
    #[arg(long, global = true, value_name = "TIME", value_parser = timespan)]
    pub lock_timeout: Option<Duration>,
    /// Once at work, go on this long while DynamoDB does not answer, changing nothing [default: 10m]
    #[arg(long, global = true, value_name = "TIME", value_parser = timespan)]
    pub hold: Option<Duration>,
}

/// What every subcommand is given.
pub struct Global {
    /// What was typed.
    pub options: Options,
    /// What the process was started in.
    pub surroundings: Surroundings,
    /// The only way to speak.
    pub report: Report,
    /// Time.
    pub clock: Clock,
    config: OnceLock<Config>,
    /// The exit code of a command that was run for the operator.
    passed: AtomicU8,
}

impl Global {
    /// Sets up speech. The one failure possible here (an events file that cannot be made) is printed before it is returned.
    pub fn new(options: Options, surroundings: Surroundings) -> Result<Self, Failure> {
        let clock = Clock::real();
        let settings = Settings {
            output: options.output.or_else(|| chosen(surroundings.output.as_deref())).unwrap_or_default(),
            progress: options.progress.or_else(|| chosen(surroundings.progress.as_deref())).unwrap_or_default(),
            color: options.color.unwrap_or_default(),
            events_file: options.events_file.clone(),
            quiet: options.quiet,
            verbose: options.verbose,
            dumb: surroundings.dumb,
            github: surroundings.github,
            no_color: surroundings.no_color,
        };
        let (report, trouble) = Report::new(&settings, clock.clone());
        if let Some(failure) = trouble {
            report.failure(&failure);
            return Err(failure);
        }
        Ok(Self { options, surroundings, report, clock, config: OnceLock::new(), passed: AtomicU8::new(0) })
    }
}

impl Global {
    /// The configuration, read when first asked for.
    pub fn config(&self) -> Result<&Config, Failure> {
        if let Some(config) = self.config.get() {
            return Ok(config);
        }
        let config = config::load(&self.config_path()?)?;
        Ok(self.config.get_or_init(|| config))
    }

    /// The file that would be read.
    pub fn config_path(&self) -> Result<PathBuf, Failure> {
        if let Some(path) = self.options.config.as_ref().or(self.surroundings.config.as_ref()) {
            return Ok(path.clone());
        }
        let here = std::env::current_dir().context("the current folder cannot be read")?;
        config::find(&here).ok_or_else(|| {
            let what = format!("there is no {} here or in any folder above", config::FILE);
            Failure::new(End::Config, what).because(format!("looked from {} upwards", here.display())).next("adstage help config")
        })
    }

    /// A command as it must be typed to reach the same account again: with `--sandbox` if we are in it.
    pub fn typed(&self, command: &str) -> String {
        let local = ["adstage sandbox", "adstage help", "adstage --sandbox"].iter().any(|start| command.starts_with(start));
        match command.strip_prefix("adstage ") {
            Some(rest) if self.options.sandbox && !local => format!("adstage --sandbox {rest}"),
            _ => command.to_string(),
        }
    }

    /// This command ends as another one did that it ran for the operator.
    pub fn pass_on(&self, code: u8) {
        self.passed.store(code, Ordering::Relaxed);
    }

    /// The exit code if nothing failed here.
    pub fn passed_on(&self) -> ExitCode {
        ExitCode::from(self.passed.load(Ordering::Relaxed))
    }

    /// Prints how the command ended badly. That a plan has changes is no bad ending: the plan was the answer.
    pub fn failed(&self, mut failure: Failure) -> ExitCode {
        if failure.end != End::Changes {
            failure.next.iter_mut().for_each(|command| *command = self.typed(command));
            self.report.failure(&failure);
        }
        ExitCode::from(failure.end.code())
    }

    /// `--hold`.
    pub fn hold(&self) -> Duration {
        self.options.hold.unwrap_or(crate::lock::constants::HOLD)
    }

    /// Every environment in the account and Region of this one, which is one of them.
    pub fn neighbours(&self, environment: &Environment) -> Result<Vec<&Environment>, Failure> {
        let here = |other: &&Environment| other.account == environment.account && other.region == environment.region;
        Ok(self.config()?.environments.values().filter(here).collect())
    }

    /// The environment of this name.
    pub fn environment(&self, name: &str) -> Result<Arc<Environment>, Failure> {
        self.config()?.environment(name).cloned().map(Arc::new)
    }
}

/// A wrong command line: clap's own text and exit code 2, or JSON if that was asked for. Help and the version end 0.
pub fn usage(error: &clap::Error, surroundings: &Surroundings) -> ExitCode {
    let asked = std::env::args().collect::<Vec<_>>().join(" ");
    let json = asked.contains("--output json") || asked.contains("--output=json") || surroundings.output.as_deref() == Some("json");
    if error.use_stderr() && json {
        let rendered = error.render().to_string();
        let what = rendered.lines().next().unwrap_or_default().trim_start_matches("error: ");
        crate::report::usage_json(&Failure::new(End::Usage, what).next("adstage help"));
    } else if error.print().is_err() {
        return ExitCode::from(End::Unexpected.code());
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

/// The variant a variable names; one that names none is as if unset, since help must never depend on it.
fn chosen<T: ValueEnum>(text: Option<&str>) -> Option<T> {
    T::from_str(text?, true).ok()
}

/// `90s`, `15m`, `1h 30m`.
fn timespan(text: &str) -> Result<Duration, String> {
    config::timespan(text).map(Seconds::duration)
}
