//! Progress on a terminal: one live line for the stage that runs, with lines under it for what is not yet well; what is done scrolls
//! up as plain text. No alternate screen, so nothing is lost.

use std::io::{self, Write};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::board::{Board, Running};
use super::{Face, Now, color, layout};
use crate::model::{Event, Mark, Seconds};

const SPINNER: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
/// More would push the stage's own line off a small screen.
const MOST_DETAILS: usize = 8;

/// See the module.
pub(super) struct Tty {
    bars: MultiProgress,
    /// The live lines: the stage, then what is not yet well.
    live: Vec<ProgressBar>,
    board: Board,
    colored: bool,
}

impl Tty {
    /// On stderr.
    pub fn new(colored: bool) -> Self {
        let bars = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        Self { bars, live: Vec::new(), board: Board::default(), colored }
    }

    fn plain_if_wanted(&self, line: &str) -> String {
        if self.colored { line.to_string() } else { anstream::adapter::strip_str(line).to_string() }
    }

    fn scroll(&self, line: &str) {
        let line = self.plain_if_wanted(line);
        // A terminal that went away is no reason to stop a deploy. Above live lines only the bars can write; without any, a plain write
        // leaves the cursor where the next program expects it.
        let _ = match self.live.is_empty() {
            true => writeln!(io::stderr(), "{line}"),
            false => self.bars.println(line),
        };
    }

    /// Makes the live lines be these.
    fn redraw(&mut self, lines: &[String]) {
        while self.live.len() > lines.len() {
            if let Some(bar) = self.live.pop() {
                bar.finish_and_clear();
                self.bars.remove(&bar);
            }
        }
        while self.live.len() < lines.len() {
            let bar = self.bars.add(ProgressBar::new_spinner());
            self.live.push(bar.with_style(style()));
        }
        for (bar, line) in self.live.iter().zip(lines) {
            bar.set_message(self.plain_if_wanted(line));
        }
    }
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_spinner())
}

/// The line of a stage that is over.
fn done(mark: &str, stage: &str, text: &str, took: Seconds, width: usize) -> String {
    layout::ends(&format!(" {mark} {stage:<10} {text}"), &took.to_string(), width)
}

/// The lines of a stage that runs.
fn live(running: &Running, now: Duration, width: usize) -> Vec<String> {
    let spinner = SPINNER[(now.as_millis() / 200) as usize % SPINNER.len()];
    let head = format!(" {spinner} {:<10} {}", running.stage, running.text);
    let mut lines = vec![layout::ends(&head, &color::dim(&running.took(now).to_string()), width)];
    lines.extend(running.details.iter().take(MOST_DETAILS).map(|line| color::dim(&layout::cut(&format!("     {line}"), width))));
    if running.details.len() > MOST_DETAILS {
        lines.push(color::dim(&format!("     and {} more", running.details.len() - MOST_DETAILS)));
    }
    lines
}

/// What an event leaves on the screen for good.
fn scrolled(event: &Event, width: usize) -> Vec<String> {
    match event {
        Event::Hello { app, environment, account, region, caller, .. } => {
            let place = environment.as_ref().map(|name| format!(" → {name}")).unwrap_or_default();
            vec![format!("{}   account {account} · {region} · as {caller}", color::bold(&format!("{app}{place}"))), String::new()]
        }
        Event::Plan { lines } => lines.iter().map(|line| format!("  {line}")).chain([String::new()]).collect(),
        Event::StageFinished { stage, text, took } => vec![done(&color::good("✔"), stage, text, *took, width)],
        Event::StageFailed { stage, text, took } => vec![done(&color::bad("✘"), stage, text, *took, width)],
        Event::UnwindFinished { text, took } => vec![done(&color::good("✔"), "undo", text, *took, width)],
        Event::Said { mark: Mark::Note, text } => vec![text.clone()],
        Event::Said { mark: Mark::Warning, text } => vec![format!(" {} {text}", color::careful("!"))],
        // The command itself prints its result.
        Event::Result { .. } | Event::StageStarted { .. } | Event::StageProgress { .. } | Event::UnwindStarted { .. } => Vec::new(),
    }
}

impl Face for Tty {
    fn event(&mut self, event: &Event, now: Now) {
        self.board.follow(event, now.elapsed);
        if self.board.running.is_none() {
            self.redraw(&[]);
        }
        let width = layout::terminal_width();
        scrolled(event, width).iter().for_each(|line| self.scroll(line));
        self.tick(now);
    }

    fn line(&mut self, text: &str) {
        text.lines().for_each(|line| self.scroll(line));
    }

    fn tick(&mut self, now: Now) {
        if let Some(running) = &self.board.running {
            let lines = live(running, now.elapsed, layout::terminal_width());
            self.redraw(&lines);
        }
    }

    fn close(&mut self) {
        self.redraw(&[]);
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn a_stage_is_one_line_with_its_troubles_under_it() {
        let mut board = Board::default();
        let second = Duration::from_secs;
        board.follow(&Event::StageStarted { stage: "await".into(), steps: vec!["3 of 3 healthy in web-r42".into()] }, second(10));
        let progress = Event::StageProgress {
            stage: "await".into(),
            text: "web 2/3 healthy · worker 1/1".into(),
            details: vec!["i-0a91c  unhealthy: Target.ResponseCodeMismatch, 503".into(), "x".repeat(90)],
        };
        board.follow(&progress, second(40));
        let mut screen = live(board.running.as_ref().unwrap(), second(82), 70);
        let took = Seconds(72);
        let finished = Event::StageFinished { stage: "await".into(), text: "web 3/3 · worker 1/1 healthy".into(), took };
        screen.extend(scrolled(&finished, 70));
        screen.extend(scrolled(&Event::StageFailed { stage: "cut over".into(), text: "y".repeat(80), took }, 70));
        screen.extend(scrolled(&Event::Said { mark: Mark::Warning, text: "the lease was nearly lost".into() }, 70));
        assert_snapshot!(anstream::adapter::strip_str(&screen.join("\n")), @r"
    ⠋ await      web 2/3 healthy · worker 1/1                      1m 12s
        i-0a91c  unhealthy: Target.ResponseCodeMismatch, 503
        xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…
    ✔ await      web 3/3 · worker 1/1 healthy                      1m 12s
    ✘ cut over   yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy…  1m 12s
    ! the lease was nearly lost
    ");
    }
}
