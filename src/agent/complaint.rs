//! When a running service's bad answer is worth a line on the console. The console is small and kept for long, so a service that
//! starts slowly is given a moment, each answer is told once, and one that changes with every look is told ever more rarely.

use std::time::Duration;

/// A service that is bad for less is just starting, or was just busy.
const LASTING: Duration = Duration::from_secs(2);

const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// What was heard of one service, and told of it. All times count from any one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Complaint {
    bad_since: Option<Duration>,
    /// The answer last told, and when.
    told: Option<(String, Duration)>,
    /// Lines since it was last well.
    lines: u32,
}

impl Complaint {
    /// Notes what was found: a bad answer, or none. True if that is to be told now.
    pub fn note(&mut self, answer: Option<&str>, now: Duration) -> bool {
        let Some(answer) = answer else {
            *self = Self::default();
            return false;
        };
        let since = *self.bad_since.get_or_insert(now);
        let pause = (FIRST_PAUSE * 2_u32.pow(self.lines.saturating_sub(1).min(8))).min(LONGEST_PAUSE);
        let new = self.told.as_ref().is_none_or(|(told, at)| told != answer && now.saturating_sub(*at) >= pause);
        let tell = new && now.saturating_sub(since) >= LASTING;
        if tell {
            self.told = Some((answer.to_string(), now));
            self.lines += 1;
        }
        tell
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(complaint: &mut Complaint, answers: &[(u64, Option<&str>)]) -> Vec<u64> {
        let noted = answers.iter().filter(|(second, answer)| complaint.note(*answer, Duration::from_secs(*second)));
        noted.map(|(second, _)| *second).collect()
    }

    #[test]
    fn an_answer_that_lasts_is_told_once() {
        let bad = |second| (second, Some("503"));
        assert_eq!(told(&mut Complaint::default(), &[bad(0), bad(1), bad(2), bad(3), bad(60)]), [2]);
        assert_eq!(told(&mut Complaint::default(), &[bad(0), bad(1), (2, None), bad(3), bad(4), bad(5)]), [5]);
    }

    #[test]
    fn another_answer_is_told_too_and_so_is_the_same_after_a_recovery() {
        let mut complaint = Complaint::default();
        assert_eq!(told(&mut complaint, &[(0, Some("no answer")), (2, Some("no answer")), (8, Some("503")), (9, Some("503"))]), [2, 8]);
        assert_eq!(told(&mut complaint, &[(10, None), (11, Some("503")), (13, Some("503"))]), [13]);
    }

    #[test]
    fn an_answer_that_is_never_the_same_does_not_fill_the_console() {
        let texts: Vec<String> = (0..3_600).map(|second| format!("503 at {second}")).collect();
        let answers: Vec<_> = texts.iter().enumerate().map(|(second, text)| (second as u64, Some(text.as_str()))).collect();
        assert_eq!(told(&mut Complaint::default(), &answers)[..5], [2, 7, 17, 37, 77]);
        assert!(told(&mut Complaint::default(), &answers).len() < 20);
    }
}
