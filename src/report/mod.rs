//! How adstage talks: sinks of the one event stream, results, failures, questions. The only place that prints.
//!
//! stdout is data, stderr is talk. With `--output json` stdout carries JSON and nothing else, in every command.

mod ask;
mod board;
mod color;
mod failure;
mod layout;
mod ndjson;
mod plain;
mod settings;
mod table;
mod times;
mod tty;

pub use color::{bold, dim};
pub use failure::usage_json;
pub use settings::{Color, Output, Progress, Settings};
pub use table::Table;
pub use times::{ago, took};

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::clock::{Clock, Moment};
use crate::failure::{End, Failure};
use crate::model::Event;

/// Takes events; handed to whoever has something to tell.
pub type Emit = Arc<dyn Fn(Event) + Send + Sync>;

/// A place text goes to.
type Stream = Box<dyn Write + Send>;

/// One way of showing the event stream.
trait Face: Send {
    /// Something happened.
    fn event(&mut self, event: &Event, now: Now);
    /// A line of talk outside the stream.
    fn line(&mut self, text: &str);
    /// Some time has passed.
    fn tick(&mut self, _now: Now) {}
    /// Nothing more will come.
    fn close(&mut self) {}
}

/// When something happened.
#[derive(Debug, Clone, Copy)]
struct Now {
    /// Since the command began.
    elapsed: Duration,
    /// For showing.
    wall: jiff::Timestamp,
}

/// The report of one command. Cheap to clone.
#[derive(Clone)]
pub struct Report {
    inner: Arc<Inner>,
}

struct Inner {
    output: Output,
    github: bool,
    tick: Duration,
    clock: Clock,
    began: Moment,
    state: Mutex<State>,
}

struct State {
    stdout: Stream,
    /// Shows events to the person; none with `-q`.
    face: Option<Box<dyn Face>>,
    /// `--events-file`.
    file: Option<Box<dyn Face>>,
    /// Where failures and warnings go when no face may speak.
    stderr: Stream,
    /// Fields a failing command adds to its JSON error.
    attached: Map<String, Value>,
}

impl Report {
    /// Opens every sink. If the events file cannot be made, that failure comes along with a report that can print it.
    pub fn new(settings: &Settings, clock: Clock) -> (Self, Option<Failure>) {
        settings::start_log(settings);
        let choice = settings.choice(&io::stderr());
        let stderr = move || -> Stream { Box::new(anstream::AutoStream::new(io::stderr(), choice)) };
        let face: Option<Box<dyn Face>> = match settings.shown() {
            Progress::Quiet => None,
            Progress::Ndjson => Some(Box::new(ndjson::Ndjson::new(Box::new(io::stderr())))),
            Progress::Tty => Some(Box::new(tty::Tty::new(choice != anstream::ColorChoice::Never))),
            Progress::Auto | Progress::Plain => Some(Box::new(plain::Plain::new(stderr(), settings.github, jiff::tz::TimeZone::system()))),
        };
        let (file, trouble) = match settings.events_file.as_ref().map(|path| (path, std::fs::File::create(path))) {
            None => (None, None),
            Some((_, Ok(file))) => (Some(Box::new(ndjson::Ndjson::new(Box::new(file))) as Box<dyn Face>), None),
            Some((path, Err(error))) => {
                let what = format!("the events file {} cannot be made", path.display());
                (None, Some(Failure::new(End::Unexpected, what).because(error)))
            }
        };
        let stdout = Box::new(anstream::AutoStream::new(io::stdout(), settings.choice(&io::stdout())));
        let state = State { stdout, face, file, stderr: stderr(), attached: Map::new() };
        let began = clock.moment();
        // Only a terminal is redrawn; elsewhere a second is fine enough for the heartbeat.
        let tick = Duration::from_millis(if settings.shown() == Progress::Tty { 200 } else { 1_000 });
        let inner = Inner { output: settings.output, github: settings.github, tick, clock, began, state: Mutex::new(state) };
        (Self { inner: Arc::new(inner) }, trouble)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Now {
        Now { elapsed: self.inner.clock.since(self.inner.began), wall: self.inner.clock.wall() }
    }

    /// True with `--output json`.
    pub fn json(&self) -> bool {
        self.inner.output == Output::Json
    }

    /// How long the command has run.
    pub fn elapsed(&self) -> Duration {
        self.now().elapsed
    }

    /// Something happened.
    pub fn emit(&self, event: &Event) {
        let now = self.now();
        let mut state = self.state();
        let State { face, file, .. } = &mut *state;
        face.iter_mut().chain(file).for_each(|face| face.event(event, now));
    }

    /// [`Report::emit`], to hand on.
    pub fn emitter(&self) -> Emit {
        let report = self.clone();
        Arc::new(move |event| report.emit(&event))
    }

    /// A line of talk, on stderr; nothing with `-q`.
    pub fn say(&self, text: impl AsRef<str>) {
        if let Some(face) = &mut self.state().face {
            face.line(text.as_ref());
        }
    }

    /// The result of the command: this value with `--output json`, this text without, on stdout.
    pub fn result(&self, value: &impl Serialize, text: impl FnOnce() -> String) -> Result<(), Failure> {
        let text = match self.inner.output {
            Output::Json => serde_json::to_string_pretty(value).map_err(anyhow::Error::from)?,
            Output::Text => text(),
        };
        self.write_result(&text)
    }

    /// A table as the result: columns on a terminal, tab-separated values in a pipe.
    pub fn result_table(&self, value: &impl Serialize, table: &Table, note: &str) -> Result<(), Failure> {
        self.result(value, || match io::stdout().is_terminal() {
            true => format!("{}{note}", table.columns(layout::terminal_width())),
            false => table.tsv(),
        })
    }

    fn write_result(&self, text: &str) -> Result<(), Failure> {
        let mut state = self.state();
        let newline = if text.ends_with('\n') || text.is_empty() { "" } else { "\n" };
        match write!(state.stdout, "{text}{newline}").and_then(|()| state.stdout.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Failure::new(End::Unexpected, "the result cannot be written to stdout").because(error))
            }
            // Whoever closed the pipe (`| head`) has seen enough.
            _ => Ok(()),
        }
    }

    /// Output of another program's, passed on to stdout as it comes. Whoever closed the pipe has seen enough.
    pub fn pass(&self, bytes: &[u8]) {
        let mut stdout = io::stdout().lock();
        let _ = stdout.write_all(bytes).and_then(|()| stdout.flush());
    }

    /// The same on stderr.
    pub fn pass_error(&self, bytes: &[u8]) {
        let _ = io::stderr().lock().write_all(bytes);
    }

    /// If the command fails, its JSON error also holds these fields.
    pub fn attach(&self, fields: Map<String, Value>) {
        self.state().attached.extend(fields);
    }

    /// The fields attached so far.
    pub fn attached(&self) -> Map<String, Value> {
        self.state().attached.clone()
    }

    /// Prints how the command ended badly: for people on stderr, with `--output json` as one object on stdout.
    pub fn failure(&self, failure: &Failure) {
        self.close();
        let attached = std::mem::take(&mut self.state().attached);
        if self.json() {
            // Nobody is left to tell if this write fails too; the exit code still says it.
            let _ = self.write_result(&failure::json(failure, attached));
            return;
        }
        let text = failure::text(failure);
        let annotation = if self.inner.github { failure::annotation(failure) } else { String::new() };
        let _ = write!(self.state().stderr, "{text}{annotation}");
    }

    /// Lets the faces show the passing of time, for as long as `work` takes.
    pub async fn alive<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = self.inner.clock.sleep(self.inner.tick) => {
                    let now = self.now();
                    if let Some(face) = &mut self.state().face {
                        face.tick(now);
                    }
                }
            }
        }
    }

    /// Stops redrawing; what is on the screen stays.
    pub fn close(&self) {
        let mut state = self.state();
        let State { face, file, .. } = &mut *state;
        face.iter_mut().chain(file).for_each(|face| face.close());
    }
}

#[cfg(test)]
mod tests;
