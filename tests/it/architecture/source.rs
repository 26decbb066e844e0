//! Rust source as the rules want it: without comments, strings and characters, line for line.

use std::path::{Path, PathBuf};

/// One source file.
pub struct Source {
    /// Its path below the package, `src/lock/mod.rs`.
    pub path: String,
    /// Its code with comments and literals blanked out; lines stay where they are.
    pub code: String,
}

impl Source {
    /// A file with this text.
    pub fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_string(), code: blank(text) }
    }

    /// Every Rust file below this folder.
    pub fn all(folder: &str) -> Vec<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut found = Vec::new();
        walk(&root.join(folder), &mut found);
        found.sort();
        let read = |path: PathBuf| {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
            Self::new(&name, &std::fs::read_to_string(&path).unwrap())
        };
        found.into_iter().map(read).collect()
    }

    /// The top-level module it belongs to: `lock` for `src/lock/mod.rs`, `clock` for `src/clock.rs`.
    pub fn module(&self) -> &str {
        let below = self.path.strip_prefix("src/").unwrap_or(&self.path);
        below.split(['/', '.']).next().unwrap_or(below)
    }

    /// True if the whole file is a test module.
    pub fn is_test(&self) -> bool {
        !self.path.starts_with("src/") || self.path.ends_with("/tests.rs") || self.path.contains("/tests/")
    }

    /// The code up to its test module.
    pub fn production(&self) -> &str {
        match (self.is_test(), self.code.find("#[cfg(test)]\nmod ")) {
            (true, _) => "",
            (false, Some(end)) => &self.code[..end],
            (false, None) => &self.code,
        }
    }
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Replaces every character of comments, strings and character literals by a space; line ends stay.
pub fn blank(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out: String = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = literal_end(&chars, at);
        if end == at {
            out.push(chars[at]);
            at += 1;
        } else {
            out.extend(chars[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    out
}

/// Where the comment or literal that begins at `at` ends; `at` itself if none begins there.
fn literal_end(chars: &[char], at: usize) -> usize {
    let next = |offset: usize| chars.get(at + offset).copied().unwrap_or(' ');
    let in_word = at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_');
    match chars[at] {
        '/' if next(1) == '/' => chars[at..].iter().position(|c| *c == '\n').map_or(chars.len(), |length| at + length),
        '/' if next(1) == '*' => block_comment_end(chars, at),
        '"' => string_end(chars, at + 1),
        'b' if next(1) == '"' && !in_word => string_end(chars, at + 2),
        'r' if !in_word && (next(1) == '"' || next(1) == '#') => raw_string_end(chars, at, at + 1),
        'b' if !in_word && next(1) == 'r' && (next(2) == '"' || next(2) == '#') => raw_string_end(chars, at, at + 2),
        '\'' if next(1) == '\\' => (at + 3..chars.len()).find(|end| chars[*end] == '\'').map_or(chars.len(), |end| end + 1),
        // Anything else between two quotes is a character; a quote without a second one two further on is a lifetime.
        '\'' if next(2) == '\'' => at + 3,
        _ => at,
    }
}

fn block_comment_end(chars: &[char], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0);
    while at + 1 < chars.len() {
        match (chars[at], chars[at + 1]) {
            ('/', '*') => (depth, at) = (depth + 1, at + 2),
            ('*', '/') => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    chars.len()
}

fn string_end(chars: &[char], mut at: usize) -> usize {
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

fn raw_string_end(chars: &[char], start: usize, hashes_at: usize) -> usize {
    let hashes = chars[hashes_at..].iter().take_while(|c| **c == '#').count();
    // `r#type` is a name, not a string.
    if chars.get(hashes_at + hashes) != Some(&'"') {
        return start;
    }
    let closes = |at: usize| chars[at] == '"' && chars[at + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes;
    (hashes_at + hashes + 1..chars.len()).find(|at| closes(*at)).map_or(chars.len(), |at| at + 1 + hashes)
}

/// The functions of this code: line, name, lines from `fn` to the closing brace.
pub fn functions(code: &str) -> Vec<(usize, String, usize)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let name: String = code[at + 3..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let (Some(open), semicolon) = (code[at..].find('{'), code[at..].find(';')) else { continue };
        if name.is_empty() || semicolon.is_some_and(|semicolon| semicolon < open) {
            continue;
        }
        let mut depth = 0;
        let body = code[at + open..].char_indices().find(|(_, c)| {
            depth += i32::from(*c == '{') - i32::from(*c == '}');
            depth == 0
        });
        let end = at + open + body.map_or(0, |(length, _)| length);
        found.push((code[..at].matches('\n').count() + 1, name, code[at..=end].lines().count()));
    }
    found
}

/// True if the code holds these words, not merely a longer one that begins or ends alike.
pub fn says(code: &str, words: &str) -> bool {
    let inside = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let (first, last) = (inside(words.chars().next()), inside(words.chars().next_back()));
    code.match_indices(words).any(|(at, _)| {
        let (before, after) = (code[..at].chars().next_back(), code[at + words.len()..].chars().next());
        let longer = (first && inside(before)) || (last && inside(after));
        !longer
    })
}

/// Top-level modules that this code names, by `crate::x`, `crate::{x, y::z}` or a `super::` chain that climbs to the root. `depth` is how
/// many modules deep the file is.
pub fn named_modules(code: &str, depth: usize) -> Vec<String> {
    let chain = "super::".repeat(depth);
    let roots = ["crate::".to_string(), chain];
    let mut found = Vec::new();
    for root in roots.iter().filter(|root| !root.is_empty()) {
        for (at, _) in code.match_indices(root.as_str()) {
            let before = code[..at].chars().next_back().unwrap_or(' ');
            if before.is_alphanumeric() || before == '_' || before == ':' {
                continue;
            }
            let rest = &code[at + root.len()..];
            match rest.strip_prefix('{') {
                Some(group) => found.extend(group_heads(group)),
                None => found.push(head(rest)),
            }
        }
    }
    found.retain(|name| !name.is_empty() && name != "super" && name != "self");
    found
}

fn head(text: &str) -> String {
    text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// The first name of each item of a brace group whose opening brace is already gone.
fn group_heads(group: &str) -> Vec<String> {
    let (mut depth, mut heads) = (0, vec![head(group)]);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => heads.push(head(&group[at + 1..])),
            _ => {}
        }
    }
    heads
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_strings_and_characters_are_no_code() {
        let text = "a /* b /* c */ d */ e // f\n\"g \\\" h\" i r#\"j \" k\"# l 'm' '\\'' n<'o> b\"p\" r#type 'q: loop";
        let words: Vec<_> = blank(text).split_whitespace().map(str::to_string).collect();
        assert_eq!(words, ["a", "e", "i", "l", "n<'o>", "r#type", "'q:", "loop"]);
        assert_eq!(blank("x\n\"a\nb\"\ny").lines().count(), 4);
    }

    #[test]
    fn every_way_to_name_a_module_is_seen() {
        let code = "use crate::aws::Error; use crate::{model::{A, B}, lock}; fn f() { crate::plan::x() } pub(in crate::steps) mod y;";
        assert_eq!(named_modules(code, 2), ["aws", "model", "lock", "plan", "steps"]);
        assert_eq!(named_modules("use super::super::cli::X;", 2), ["cli"]);
        assert_eq!(named_modules("use super::cli::X;", 1), ["cli"]);
        assert_eq!(named_modules("use super::sibling::X;", 2), Vec::<String>::new());
        assert_eq!(named_modules("$crate::aws::X", 2), ["aws"]);
    }

    #[test]
    fn words_are_whole() {
        assert!(says("x.await?", ".await") && !says("x.awaits()", ".await"));
        assert!(says("async fn", "async") && !says("asynchronous", "async") && !says("my_async", "async"));
    }

    #[test]
    fn functions_are_measured_to_their_last_brace() {
        let found = functions("fn a() {\n if x {\n }\n}\ntrait T { fn b(); }\nfn c() {}");
        assert_eq!(found, [(1, "a".to_string(), 4), (6, "c".to_string(), 1)]);
    }
}
