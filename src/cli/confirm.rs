//! The operator's yes. Nothing to answer, y/N, or the environment's name typed: the environment's `confirm` says which. Without a
//! terminal the flag that answers is named, and nothing is begun.

use tokio::sync::oneshot;

use super::Global;
use crate::failure::{End, Failure};
use crate::model::{Confirm, Environment};
use crate::steps::Consult;

/// What is to be confirmed.
pub struct Question<'q> {
    /// `deploy r42`, for the refusal.
    pub doing: &'q str,
    /// The whole command without its answer, `adstage deploy production`.
    pub command: &'q str,
    /// What to ask for.
    pub level: Confirm,
    /// What Enter alone means (where it may mean anything).
    pub default: bool,
}

impl Global {
    /// Whoever is at the terminal, to be asked while something runs; nobody without one. A question that is not answered stays on the
    /// screen, and what is typed then is not read as an answer to anything else: nothing else is asked after it.
    pub fn consult(&self) -> Consult {
        if !self.report.can_ask() {
            return Consult::default();
        }
        let report = self.report.clone();
        Consult::with(move |question| {
            let (report, question) = (report.clone(), question.to_string());
            let (sender, answer) = oneshot::channel();
            // A thread of its own: the command ends while it may still wait for a line.
            std::thread::spawn(move || sender.send(report.ask(&question, false).unwrap_or(false)));
            answer
        })
    }

    /// Returns only if the answer is yes.
    pub fn confirm(&self, environment: &Environment, question: &Question<'_>) -> Result<(), Failure> {
        let name = environment.name.as_str();
        match self.options.confirm.as_deref() {
            Some(typed) if typed == name => return Ok(()),
            Some(typed) => {
                let what = format!("`--confirm {typed}` does not name {name}: nothing was begun");
                return Err(Failure::new(End::Refused, what));
            }
            None => {}
        }
        match question.level {
            Confirm::None => Ok(()),
            Confirm::Yes if self.options.yes => Ok(()),
            Confirm::Yes if self.report.can_ask() => {
                match self.report.ask(&format!("{}?", capitalised(question.doing)), question.default)? {
                    true => Ok(()),
                    false => Err(declined()),
                }
            }
            Confirm::Name if self.report.can_ask() => {
                let typed = self.report.ask_to_type("Type the environment's name to go on, Ctrl-C to leave all as it is:")?;
                if typed == name { Ok(()) } else { Err(declined().because(format!("`{typed}` is not `{name}`"))) }
            }
            Confirm::Yes => Err(unanswered(question, "a yes", "--yes")),
            Confirm::Name => Err(unanswered(question, "its name", &format!("--confirm {name}"))),
        }
    }
}

fn declined() -> Failure {
    Failure::new(End::Refused, "nothing was begun")
}

fn unanswered(question: &Question<'_>, wanted: &str, flag: &str) -> Failure {
    let what = format!("to {} needs {wanted}, and nobody is here to ask: nothing was begun", question.doing);
    Failure::new(End::Refused, what).next(format!("{} {flag}", question.command))
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
