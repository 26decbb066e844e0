//! What was chosen about output, and what follows from it.

use std::io::{self, IsTerminal};
use std::path::PathBuf;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

/// How results are printed on stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Text,
    /// For programs: stdout carries JSON and nothing else.
    Json,
}

/// How progress is told on stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Progress {
    /// `tty` on a terminal, else `plain`.
    #[default]
    Auto,
    /// One live line per stage.
    Tty,
    /// Append-only, one line per change.
    Plain,
    /// One JSON object per event.
    Ndjson,
    /// Nothing.
    Quiet,
}

/// When to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Color {
    /// On terminals, unless NO_COLOR is set; on GitHub Actions, whose log viewer draws it.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What was chosen.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Form of results.
    pub output: Output,
    /// Form of progress.
    pub progress: Progress,
    /// Colour.
    pub color: Color,
    /// Where every event is also written.
    pub events_file: Option<PathBuf>,
    /// Results and errors only.
    pub quiet: bool,
    /// 0, 1: AWS calls, 2: debugging.
    pub verbose: u8,
    /// The terminal cannot move its cursor.
    pub dumb: bool,
    /// On GitHub Actions: the plan is folded, a failure is annotated, and colour is drawn although there is no terminal.
    pub github: bool,
    /// NO_COLOR is set.
    pub no_color: bool,
}

impl Settings {
    /// The face to show.
    pub(super) fn shown(&self) -> Progress {
        match self.progress {
            _ if self.quiet => Progress::Quiet,
            // Log lines between redraws would tear the picture.
            Progress::Auto | Progress::Tty if self.verbose > 0 => Progress::Plain,
            // Without a terminal, or on one that cannot move its cursor, redrawing shows nothing or a mess.
            Progress::Auto | Progress::Tty if self.dumb || !io::stderr().is_terminal() => Progress::Plain,
            Progress::Auto => Progress::Tty,
            chosen => chosen,
        }
    }

    /// Whether a stream gets colour.
    pub(super) fn choice<S: anstream::stream::RawStream>(&self, stream: &S) -> anstream::ColorChoice {
        match self.color {
            Color::Always => anstream::ColorChoice::Always,
            Color::Never => anstream::ColorChoice::Never,
            Color::Auto if self.github && !self.no_color => anstream::ColorChoice::Always,
            Color::Auto => anstream::AutoStream::choice(stream),
        }
    }
}

/// `-v`: every AWS call on stderr; `-vv`: all there is.
pub(super) fn start_log(settings: &Settings) {
    let filter = match settings.verbose {
        0 => return,
        1 => "adstage=debug",
        _ => "adstage=trace,aws_smithy_runtime=debug,aws_config=debug",
    };
    let log = tracing_subscriber::fmt().with_env_filter(EnvFilter::new(filter)).with_writer(io::stderr).with_target(false);
    // A second report in one process (a test) keeps the first one's log.
    let _ = log.with_ansi(false).try_init();
}
