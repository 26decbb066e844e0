//! What a command on a box printed, cut out of what the way there printed around it.
//!
//! Session Manager says hello and goodbye on stdout and keeps the exit code to itself, `ssh` passes the code on, a company's own wrapper may do
//! anything. So the command is sent in a script that prints a mark before it, and a mark with its exit code after it.

use super::quote;

/// Nobody waits for a mark in the middle of megabytes of greetings.
const LONGEST_GREETING: usize = 64 * 1024;

/// The marks of one command.
#[derive(Debug)]
pub(super) struct Marks {
    begin: String,
    end: String,
    held: Vec<u8>,
    begun: bool,
    code: Option<u8>,
}

impl Marks {
    /// `token` must not occur in what is printed.
    pub fn new(token: u64) -> Self {
        let (begin, end) = (format!("adstage-begin-{token:016x}"), format!("\nadstage-end-{token:016x} "));
        Self { begin, end, held: Vec::new(), begun: false, code: None }
    }

    /// One text for a POSIX shell on the other side, whatever shell hands it over: the command between its marks.
    pub fn script(&self, command: &[&str]) -> String {
        let words: Vec<String> = command.iter().map(|word| quote(word)).collect();
        let (begin, end) = (&self.begin, self.end.trim_start());
        let script =
            format!("printf '%s\\n' {begin}; ( {words} ); printf '\\n%s %s\\n' {end} $?", words = words.join(" "), end = end.trim_end());
        format!("sh -c {}", quote(&script))
    }

    /// Takes what was printed next, and gives back what of it is the command's.
    pub fn take(&mut self, printed: &[u8]) -> Vec<u8> {
        if self.code.is_some() {
            return Vec::new();
        }
        self.held.extend_from_slice(printed);
        if !self.begun {
            let Some(rest) = self.after_begin() else {
                let surplus = self.held.len().saturating_sub(LONGEST_GREETING);
                drop(self.held.drain(..surplus));
                return Vec::new();
            };
            drop(self.held.drain(..rest));
            self.begun = true;
        }
        self.until_end()
    }

    /// Where the line of the first mark ends. A terminal that repeats what is typed shows the mark too, but not at the end of a line.
    fn after_begin(&self) -> Option<usize> {
        let mark = self.begin.as_bytes();
        (0..self.held.len().saturating_sub(mark.len())).find_map(|at| {
            let rest = self.held[at..].strip_prefix(mark)?;
            let line = rest.strip_prefix(b"\r").unwrap_or(rest).strip_prefix(b"\n")?;
            Some(self.held.len() - line.len())
        })
    }

    fn until_end(&mut self) -> Vec<u8> {
        let mark = self.end.as_bytes();
        // What may still become the mark is kept back.
        let may_be = |at: &usize| self.held[*at..].starts_with(mark) || mark.starts_with(&self.held[*at..]);
        let Some(at) = (0..self.held.len()).filter(|at| self.held[*at] == b'\n').find(may_be) else {
            return std::mem::take(&mut self.held);
        };
        let code = self.held[at..]
            .strip_prefix(mark)
            .and_then(|rest| rest.split(|byte| *byte == b'\n').next().zip(rest.contains(&b'\n').then_some(())));
        if let Some((digits, ())) = code {
            let digits = String::from_utf8_lossy(digits);
            self.code = Some(digits.trim().parse().unwrap_or(u8::MAX));
        }
        self.held.drain(..at).collect()
    }

    /// What was printed before the command began, if it has not.
    pub fn greeting(&self) -> Option<String> {
        (!self.begun).then(|| String::from_utf8_lossy(&self.held).into_owned())
    }

    /// The command's exit code, once it has ended.
    pub fn code(&self) -> Option<u8> {
        self.code
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(text: &str, piece: usize) -> (String, Option<u8>) {
        let mut marks = Marks::new(7);
        let pieces = text.as_bytes().chunks(piece);
        let kept: Vec<u8> = pieces.flat_map(|piece| marks.take(piece)).collect();
        (String::from_utf8(kept).unwrap(), marks.code())
    }

    #[test]
    fn only_what_lies_between_the_marks_is_the_commands_however_it_arrives() {
        let (begin, end) = ("adstage-begin-0000000000000007", "adstage-end-0000000000000007");
        let whole = format!("Starting session\r\n{begin}\r\none\n\ntwo\nadstage-end-8\n\n{end} 3\n\nExiting session\n");
        for piece in [1, 2, 3, 7, 1000] {
            assert_eq!(printed(&whole, piece), ("one\n\ntwo\nadstage-end-8\n".to_string(), Some(3)), "in pieces of {piece}");
        }
        assert_eq!(printed(&format!("{begin}\n\n{end} 0\n"), 4), (String::new(), Some(0)));
        assert_eq!(printed(&format!("$ printf {begin};\n{begin}\nx"), 5), ("x".to_string(), None));
    }

    #[test]
    fn what_was_said_instead_is_kept() {
        let mut marks = Marks::new(7);
        assert_eq!(marks.take(b"TargetNotConnected: i-1 is not connected\n"), b"");
        assert_eq!(marks.greeting().as_deref(), Some("TargetNotConnected: i-1 is not connected\n"));
    }
}
