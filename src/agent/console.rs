//! The agent's voice: the machine's console.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

use super::layout::Layout;
use crate::model::ConsoleLine;

/// Writes lines to the console, each in one piece.
#[derive(Debug, Clone)]
pub(super) struct Console {
    path: PathBuf,
}

impl Console {
    pub fn of(layout: &Layout) -> Self {
        Self { path: layout.console() }
    }

    /// A line for programs.
    pub fn mark(&self, line: &ConsoleLine) {
        self.write(&line.render());
        tracing::info!("{}", line.describe());
    }

    /// A line for people.
    pub fn say(&self, text: &str) {
        self.write(&format!("adstage: {text}"));
        tracing::info!("{text}");
    }

    fn write(&self, line: &str) {
        // An instance whose console is broken must serve all the same.
        let opened = OpenOptions::new().append(true).open(&self.path);
        if let Err(error) = opened.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes())) {
            tracing::warn!("cannot write to {}: {error}", self.path.display());
        }
    }
}
