//! Progress without a terminal: append-only, one line per change, a heartbeat in 30 s of silence. On GitHub the plan is folded.

use std::io::Write;
use std::time::Duration;

use jiff::tz::TimeZone;

use super::board::Board;
use super::{Face, Now, Stream, color, layout};
use crate::model::{Event, Mark};

/// Longer silence makes people (and CI systems) think the process hangs.
const SILENCE: Duration = Duration::from_secs(30);

/// Several steps that change in one moment are one line.
const BREATH: Duration = Duration::from_secs(1);

/// A line of a log; what does not fit is in the plan above or in the evidence below.
const WIDE: usize = 160;

/// See the module.
pub(super) struct Plain {
    stream: Stream,
    github: bool,
    zone: TimeZone,
    board: Board,
    spoke: Duration,
    /// Progress not yet told.
    pending: Option<(String, String)>,
}

impl Plain {
    /// Writes there; `github` folds and annotates.
    pub fn new(stream: Stream, github: bool, zone: TimeZone) -> Self {
        Self { stream, github, zone, board: Board::default(), spoke: Duration::ZERO, pending: None }
    }

    /// A reader that went away (a closed pipe) is no reason to stop a deploy.
    fn write(&mut self, text: &str) {
        let _ = writeln!(self.stream, "{text}");
    }

    fn staged(&mut self, now: Now, stage: &str, text: &str) {
        let time = now.wall.to_zoned(self.zone.clone()).strftime("%H:%M:%S").to_string();
        let number = format!("#{}", self.board.count);
        let line = format!("{} {number:<3} {stage:<9} {text}", color::dim(&time));
        self.write(&layout::cut(&line, WIDE));
        self.spoke = now.elapsed;
        self.pending = None;
    }

    fn breathe(&mut self, now: Now) {
        if now.elapsed.saturating_sub(self.spoke) >= BREATH
            && let Some((stage, text)) = self.pending.take()
        {
            self.staged(now, &stage, &text);
        }
    }

    fn plan(&mut self, lines: &[String]) {
        if self.github {
            self.write("::group::plan");
        }
        lines.iter().for_each(|line| self.write(line));
        if self.github {
            self.write("::endgroup::");
        }
    }
}

impl Face for Plain {
    fn event(&mut self, event: &Event, now: Now) {
        let unchanged = matches!((event, &self.board.running), (Event::StageProgress { text, details, .. }, Some(running))
            if running.text == *text && running.details == *details);
        self.board.follow(event, now.elapsed);
        match event {
            Event::Hello { tool, command, app, environment, account, region, caller } => {
                let place = environment.as_ref().map(|name| format!(" → {name}")).unwrap_or_default();
                self.write(&format!("adstage {tool} {command} {app}{place}, account {account}, {region}, as {caller}"));
            }
            Event::Plan { lines } => self.plan(lines),
            // The plan says what its steps are.
            Event::StageStarted { .. } => {}
            Event::StageProgress { .. } if unchanged => {}
            Event::StageProgress { stage, text, details } => {
                let details = if details.is_empty() { String::new() } else { format!("  [{}]", details.join(", ")) };
                self.pending = Some((stage.clone(), format!("{text}{details}")));
                self.breathe(now);
            }
            Event::StageFinished { stage, text, took } => self.staged(now, stage, &format!("{} {took}, {text}", color::good("ok"))),
            Event::StageFailed { stage, text, took } => self.staged(now, stage, &format!("{} after {took}: {text}", color::bad("failed"))),
            Event::UnwindStarted { reason } => self.staged(now, "undo", &format!("going back: {reason}")),
            Event::UnwindFinished { text, took } => self.staged(now, "undo", &format!("{} {took}, {text}", color::good("ok"))),
            Event::Said { mark: Mark::Note, text } => self.write(text),
            Event::Said { mark: Mark::Warning, text } => self.write(&format!("{} {text}", color::careful("warning:"))),
            // The command itself prints its result.
            Event::Result { .. } => {}
        }
    }

    fn line(&mut self, text: &str) {
        self.write(text);
    }

    fn tick(&mut self, now: Now) {
        self.breathe(now);
        let Some(running) = self.board.running.clone().filter(|_| now.elapsed.saturating_sub(self.spoke) >= SILENCE) else { return };
        let waiting = if running.details.is_empty() { running.text.clone() } else { running.details.join(", ") };
        let colon = if waiting.is_empty() { "" } else { ": " };
        self.staged(now, &running.stage, &format!("still at it, {}{colon}{waiting}", running.took(now.elapsed)));
    }
}
