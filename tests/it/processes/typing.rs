//! A command as somebody types it, while it runs: its process can be signalled, its events read, and all it said stays in files, also when
//! it is killed.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::workshop::Said;

/// The place of a deploy none of whose stages began.
pub const BEFORE: &str = "before the first step";

/// A process of ours. Dropped, it is killed: this one, by its id.
pub struct Running {
    child: Child,
    ended: Option<ExitStatus>,
    files: PathBuf,
}

impl Running {
    /// Starts it; what it says goes to files with this stem.
    pub fn start(mut command: Command, files: PathBuf) -> Self {
        fs::create_dir_all(files.parent().unwrap()).unwrap();
        let file = |end: &str| File::create(files.with_extension(end)).unwrap();
        command.arg("--events-file").arg(files.with_extension("events"));
        let child = command.stdout(file("out")).stderr(file("err")).spawn().unwrap();
        Self { child, ended: None, files }
    }

    pub fn signal(&self, signal: Signal) {
        assert!(self.ended.is_none(), "nobody is there any more to be told {signal:?}");
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// True once it has ended.
    pub fn is_over(&mut self) -> bool {
        self.ended = self.ended.or_else(|| self.child.try_wait().unwrap());
        self.ended.is_some()
    }

    /// Every event so far.
    pub fn events(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.files.with_extension("events")).unwrap_or_default();
        // The last line may be half written.
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// The stages that began so far.
    pub fn stages(&self) -> Vec<String> {
        let began = |event: &Value| (event["type"] == "stage-started").then(|| event["stage"].as_str().unwrap().to_string());
        self.events().iter().filter_map(began).collect()
    }

    /// Where it is, in the words of its events.
    pub fn place(&self) -> String {
        let mut place = BEFORE.to_string();
        for event in self.events() {
            let stage = event["stage"].as_str().unwrap_or_default();
            match event["type"].as_str().unwrap() {
                "stage-started" => place = stage.to_string(),
                "unwind-started" => place = "going back".to_string(),
                "result" => place = "after the end".to_string(),
                _ => {}
            }
        }
        place
    }

    /// Waits for its end. The code of one that a signal ended is that signal's number, negative.
    pub fn end(mut self) -> Said {
        use std::os::unix::process::ExitStatusExt;
        let status = self.ended.unwrap_or_else(|| self.child.wait().unwrap());
        self.ended = Some(status);
        let text = |end: &str| fs::read_to_string(self.files.with_extension(end)).unwrap();
        let code = status.code().unwrap_or_else(|| -status.signal().unwrap());
        Said { code, stdout: text("out"), stderr: text("err") }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.ended.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
