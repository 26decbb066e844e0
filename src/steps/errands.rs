//! Commands that have to be run on a machine by whoever can get onto it. Steps know no ways onto machines: they ask, and the command line
//! that runs them answers.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

/// One command to be run.
#[derive(Debug)]
pub struct Errand {
    /// The command, word by word.
    pub words: Vec<String>,
    /// It may take this long.
    pub within: Duration,
    /// Takes the answer; the error says why it could not be run.
    pub done: oneshot::Sender<Result<Reply, String>>,
}

/// How it went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Exit code.
    pub code: u8,
    /// What it complained of.
    pub stderr: String,
}

/// Where errands are sent. The default goes nowhere.
#[derive(Debug, Clone, Default)]
pub struct Errands(Option<mpsc::Sender<Errand>>);

impl Errands {
    /// Both ends.
    pub fn open() -> (Self, mpsc::Receiver<Errand>) {
        let (sender, receiver) = mpsc::channel(1);
        (Self(Some(sender)), receiver)
    }

    pub(super) async fn run(&self, words: Vec<String>, within: Duration) -> Result<Reply, String> {
        let nobody = || "this command has no way onto the machine".to_string();
        let sender = self.0.as_ref().ok_or_else(nobody)?;
        let (done, answer) = oneshot::channel();
        sender.send(Errand { words, within, done }).await.map_err(|_| nobody())?;
        answer.await.map_err(|_| nobody())?
    }
}
