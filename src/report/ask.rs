//! Questions, one line each, only when stdin and stderr are both terminals. The terminal stays in its usual mode, so Ctrl-C works as
//! everywhere and nothing has to be put right after it.

use std::io::{self, BufRead, IsTerminal, Write};

use super::{Report, color};
use crate::failure::{End, Failure};

impl Report {
    /// True if somebody is there to answer.
    pub fn can_ask(&self) -> bool {
        io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    /// Yes or no; Enter alone means `default`.
    pub fn ask(&self, question: &str, default: bool) -> Result<bool, Failure> {
        let choices = if default { "[Y/n]" } else { "[y/N]" };
        loop {
            match self.read_answer(&format!("{question} {choices} "))?.to_ascii_lowercase().as_str() {
                "" => return Ok(default),
                "y" | "yes" => return Ok(true),
                "n" | "no" => return Ok(false),
                _ => {}
            }
        }
    }

    /// Anything typed.
    pub fn ask_to_type(&self, question: &str) -> Result<String, Failure> {
        self.read_answer(&format!("{question} "))
    }

    fn read_answer(&self, prompt: &str) -> Result<String, Failure> {
        let unreadable = |error: io::Error| Failure::new(End::Refused, "no answer could be read").because(error);
        self.close();
        {
            // Not held while somebody thinks: what goes on meanwhile is shown.
            let mut state = self.state();
            write!(state.stderr, "{}", color::bold(prompt)).and_then(|()| state.stderr.flush()).map_err(unreadable)?;
        }
        let mut answer = String::new();
        if io::stdin().lock().read_line(&mut answer).map_err(unreadable)? == 0 {
            return Err(Failure::new(End::Refused, "the question was not answered; nothing was begun"));
        }
        Ok(answer.trim().to_string())
    }
}
