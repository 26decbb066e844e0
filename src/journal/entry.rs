//! The closed list of what can be written into a journal. An entry is the body of an event row; the writer of the lock adds the number,
//! the fence, the nonce and the time, because only it knows them.

use crate::aws::dynamodb::{Item, Malformed, Reader, Value};
use crate::model::Outcome;

/// One step of a plan, as the journal names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepKey {
    /// The stage it belongs to.
    pub stage: String,
    /// The step's line.
    pub step: String,
}

impl StepKey {
    /// The step with this line in this stage.
    pub fn new(stage: impl ToString, step: impl ToString) -> Self {
        Self { stage: stage.to_string(), step: step.to_string() }
    }
}

/// What happened to a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// It is about to run; without an outcome after it: it may have run.
    Started {
        /// Which attempt, from 1; grows only after an event says the earlier attempt's resource is dead.
        attempt: u64,
        /// What it found.
        before: Option<String>,
        /// What it wants.
        after: Option<String>,
    },
    /// It is done.
    Succeeded {
        /// What was achieved, or what was found done already.
        found: Option<String>,
    },
    /// It is not done, or not wholly.
    Failed {
        /// Why.
        error: String,
    },
    /// It is about to be undone.
    UndoStarted,
    /// It is undone.
    UndoFinished {
        /// What was found, if there was nothing to undo.
        found: Option<String>,
    },
    /// It could not be undone.
    UndoFailed {
        /// Why.
        error: String,
    },
}

/// What was asked of an operation from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Go back, for good.
    Unwind,
    /// Another operation takes its place.
    Superseded,
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// The operation exists. Always the first event, and only that.
    Began {
        /// What it is, one line.
        text: String,
    },
    /// A step moved.
    Step(StepKey, Deed),
    /// Another process holds the lock for this operation now.
    TakenOver {
        /// Owner before.
        from: String,
        /// Owner now, and who that is.
        to: String,
        /// Why.
        why: String,
    },
    /// Somebody asked the holder to stop, and it did at a safe point.
    Halted {
        /// Who.
        by: String,
        /// Why.
        why: String,
    },
    /// Somebody decided its direction.
    Asked {
        /// What.
        what: Asked,
        /// Who.
        by: String,
    },
    /// What was thought of the release.
    Verdict {
        /// One line.
        text: String,
    },
    /// The weights were looked at once more after the lock was taken from somebody who had not let go.
    Horizon {
        /// A call of that somebody had landed late.
        zombie: bool,
        /// What was found, one line.
        text: String,
    },
    /// Worth knowing later.
    Note {
        /// One line.
        text: String,
    },
    /// It ended. Nothing follows.
    Ended {
        /// How.
        outcome: Outcome,
        /// Why, if it did not go well.
        reason: Option<String>,
    },
}

/// An event row: an entry and what the writer added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    /// Its number, from 0, without gaps.
    pub seq: u64,
    /// The fence it was written under; never falls.
    pub fence: u64,
    /// Wall time, for people; never for order.
    pub at: String,
    /// What tells one attempt to write it from another.
    pub nonce: String,
    /// What happened.
    pub entry: Entry,
}

/// Evidence beyond this is cut: an item may hold 400 KB, and nobody reads more.
const LONGEST: usize = 16 * 1024;

fn cut(text: &str) -> String {
    if text.len() <= LONGEST {
        return text.to_string();
    }
    let mut end = LONGEST;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}… (cut, {} bytes in all)", &text[..end], text.len())
}

impl Entry {
    /// A step is about to run.
    pub fn started(step: StepKey) -> Self {
        Self::Step(step, Deed::Started { attempt: 1, before: None, after: None })
    }

    /// The body of the event row.
    pub fn item(&self) -> Item {
        let mut item = Item::new();
        let mut put = |name: &str, text: &str| item.insert(name.to_string(), Value::S(cut(text)));
        put("type", self.kind());
        match self {
            Self::Began { text } | Self::Verdict { text } | Self::Note { text } | Self::Horizon { text, .. } => {
                put("text", text);
            }
            Self::Step(key, deed) => {
                put("stage", &key.stage);
                put("step", &key.step);
                deed_into(deed, &mut item);
            }
            Self::TakenOver { from, to, why } => {
                put("from", from);
                put("to", to);
                put("why", why);
            }
            Self::Halted { by, why } => {
                put("by", by);
                put("why", why);
            }
            Self::Asked { what, by } => {
                put("what", what.word());
                put("by", by);
            }
            Self::Ended { outcome, reason } => {
                put("outcome", outcome_word(*outcome));
                reason.as_deref().map(|reason| put("reason", reason));
            }
        }
        item
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Began { .. } => "began",
            Self::Step(_, Deed::Started { .. }) => "started",
            Self::Step(_, Deed::Succeeded { .. }) => "succeeded",
            Self::Step(_, Deed::Failed { .. }) => "failed",
            Self::Step(_, Deed::UndoStarted) => "undo-started",
            Self::Step(_, Deed::UndoFinished { .. }) => "undo-finished",
            Self::Step(_, Deed::UndoFailed { .. }) => "undo-failed",
            Self::TakenOver { .. } => "taken-over",
            Self::Halted { .. } => "halted",
            Self::Asked { .. } => "asked",
            Self::Verdict { .. } => "verdict",
            Self::Horizon { zombie: true, .. } => "zombie",
            Self::Horizon { zombie: false, .. } => "horizon",
            Self::Note { .. } => "note",
            Self::Ended { .. } => "ended",
        }
    }

    /// The entry in an event row.
    pub fn parse(item: &Item) -> Result<Self, Malformed> {
        let row = Reader::new(item);
        let text = |name: &str| row.text(name);
        let kind = text("type")?;
        Ok(match kind.as_str() {
            "began" => Self::Began { text: text("text")? },
            "taken-over" => Self::TakenOver { from: text("from")?, to: text("to")?, why: text("why")? },
            "halted" => Self::Halted { by: text("by")?, why: text("why")? },
            "asked" => Self::Asked { what: Asked::parse(&row)?, by: text("by")? },
            "verdict" => Self::Verdict { text: text("text")? },
            "zombie" => Self::Horizon { zombie: true, text: text("text")? },
            "horizon" => Self::Horizon { zombie: false, text: text("text")? },
            "note" => Self::Note { text: text("text")? },
            "ended" => Self::Ended { outcome: parse_outcome(&row, &text("outcome")?)?, reason: row.text_if_any("reason")? },
            _ => Self::Step(StepKey { stage: text("stage")?, step: text("step")? }, parse_deed(&row, &kind)?),
        })
    }
}

impl Asked {
    fn word(self) -> &'static str {
        match self {
            Self::Unwind => "unwind",
            Self::Superseded => "superseded",
        }
    }

    fn parse(row: &Reader<'_>) -> Result<Self, Malformed> {
        match row.text("what")?.as_str() {
            "unwind" => Ok(Self::Unwind),
            "superseded" => Ok(Self::Superseded),
            other => Err(row.malformed(format_args!("asked {other:?}, which this adstage does not know"))),
        }
    }
}

fn deed_into(deed: &Deed, item: &mut Item) {
    let mut put = |name: &str, text: Option<&String>| text.map(|text| item.insert(name.to_string(), Value::S(cut(text))));
    match deed {
        Deed::Started { attempt, before, after } => {
            put("before", before.as_ref());
            put("after", after.as_ref());
            item.insert("try".to_string(), (*attempt).into());
        }
        Deed::Succeeded { found } | Deed::UndoFinished { found } => {
            put("found", found.as_ref());
        }
        Deed::Failed { error } | Deed::UndoFailed { error } => {
            put("error", Some(error));
        }
        Deed::UndoStarted => {}
    }
}

fn parse_deed(row: &Reader<'_>, kind: &str) -> Result<Deed, Malformed> {
    Ok(match kind {
        "started" => Deed::Started { attempt: row.number("try")?, before: row.text_if_any("before")?, after: row.text_if_any("after")? },
        "succeeded" => Deed::Succeeded { found: row.text_if_any("found")? },
        "failed" => Deed::Failed { error: row.text("error")? },
        "undo-started" => Deed::UndoStarted,
        "undo-finished" => Deed::UndoFinished { found: row.text_if_any("found")? },
        "undo-failed" => Deed::UndoFailed { error: row.text("error")? },
        other => return Err(row.malformed(format_args!("is an event of type {other:?}, which this adstage does not know"))),
    })
}

/// An outcome as rows spell it; the same words as in JSON output.
pub fn outcome_word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Deployed => "deployed",
        Outcome::Refused => "refused",
        Outcome::Locked => "locked",
        Outcome::RolledBack => "rolled-back",
        Outcome::Stranded => "stranded",
        Outcome::Halted => "halted",
    }
}

pub(super) fn parse_outcome(row: &Reader<'_>, word: &str) -> Result<Outcome, Malformed> {
    let all = [Outcome::Deployed, Outcome::Refused, Outcome::Locked, Outcome::RolledBack, Outcome::Stranded, Outcome::Halted];
    let found = all.into_iter().find(|outcome| outcome_word(*outcome) == word);
    found.ok_or_else(|| row.malformed(format_args!("ended {word:?}, which this adstage does not know")))
}

impl Logged {
    /// The event in a row.
    pub fn parse(item: &Item) -> Result<Self, Malformed> {
        let row = Reader::new(item);
        row.version_at_most(crate::model::FORMAT)?;
        let (seq, fence) = (row.number("seq")?, row.number("fence")?);
        Ok(Self { seq, fence, at: row.text("at")?, nonce: row.text("nonce")?, entry: Entry::parse(item)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_entry() -> Vec<Entry> {
        let step = || StepKey::new("launch", "fleet web-r42, 3 instances");
        let some = |text: &str| Some(text.to_string());
        vec![
            Entry::Began { text: "deploy r42".into() },
            Entry::Step(step(), Deed::Started { attempt: 2, before: some("r41:100"), after: some("r42:100") }),
            Entry::started(step()),
            Entry::Step(step(), Deed::Succeeded { found: some("there already") }),
            Entry::Step(step(), Deed::Succeeded { found: None }),
            Entry::Step(step(), Deed::Failed { error: "no capacity".into() }),
            Entry::Step(step(), Deed::UndoStarted),
            Entry::Step(step(), Deed::UndoFinished { found: some("nothing") }),
            Entry::Step(step(), Deed::UndoFailed { error: "denied".into() }),
            Entry::TakenOver { from: "01A".into(), to: "01B".into(), why: "lapsed".into() },
            Entry::Halted { by: "grace".into(), why: "rollback".into() },
            Entry::Asked { what: Asked::Unwind, by: "ada".into() },
            Entry::Asked { what: Asked::Superseded, by: "ada".into() },
            Entry::Verdict { text: "bad".into() },
            Entry::Note { text: "slept".into() },
            Entry::Horizon { zombie: true, text: "r1:100".into() },
            Entry::Horizon { zombie: false, text: "as meant".into() },
            Entry::Ended { outcome: Outcome::RolledBack, reason: some("await") },
            Entry::Ended { outcome: Outcome::Deployed, reason: None },
        ]
    }

    #[test]
    fn every_entry_survives_the_round_trip() {
        for entry in every_entry() {
            assert_eq!(Entry::parse(&entry.item()).unwrap(), entry);
        }
    }

    #[test]
    fn an_unknown_type_is_an_error_not_a_skip() {
        let mut item = Entry::started(StepKey::new("launch", "x")).item();
        item.insert("type".into(), "teleported".into());
        assert!(Entry::parse(&item).unwrap_err().to_string().contains("teleported"));
    }

    #[test]
    fn evidence_is_cut_at_a_character() {
        let entry = Entry::Note { text: "ü".repeat(20_000) };
        let Value::S(text) = &entry.item()["text"] else { panic!("text") };
        assert!(text.len() < LONGEST + 100 && text.contains("40000 bytes in all"));
    }
}
