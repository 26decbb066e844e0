//! Words: the known one nearest to a mistyped one, and how a few things are said everywhere.

/// The word that takes the fewest typing mistakes (a letter wrong, missing, extra, or two swapped) to become `typed`; none if that is
/// more than a third of its letters, because a far-fetched guess misleads. The beginning of just one word is that word.
pub fn nearest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let known: Vec<&str> = known.into_iter().collect();
    let mut begun = known.iter().filter(|word| typed.len() > 1 && word.starts_with(typed));
    if let (Some(only), None) = (begun.next(), begun.next()) {
        return Some(only);
    }
    let limit = (typed.chars().count() / 3).max(1);
    known.into_iter().map(|word| (mistakes(typed, word), word)).filter(|(count, _)| *count <= limit).min().map(|(_, word)| word)
}

/// Optimal string alignment distance.
fn mistakes(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let mut table = vec![vec![0; other.len() + 1]; one.len() + 1];
    for (i, row) in table.iter_mut().enumerate() {
        row[0] = i;
    }
    table[0] = (0..=other.len()).collect();
    for i in 1..=one.len() {
        for j in 1..=other.len() {
            let differs = usize::from(one[i - 1] != other[j - 1]);
            let mut least = (table[i - 1][j] + 1).min(table[i][j - 1] + 1).min(table[i - 1][j - 1] + differs);
            if i > 1 && j > 1 && one[i - 1] == other[j - 2] && one[i - 2] == other[j - 1] {
                least = least.min(table[i - 2][j - 2] + 1);
            }
            table[i][j] = least;
        }
    }
    table[one.len()][other.len()]
}

/// `1 instance`, `2 instances`.
pub fn instances(count: u32) -> String {
    format!("{count} instance{}", if count == 1 { "" } else { "s" })
}

/// A commit as people say it; anything else (a branch, a tag) as it is.
pub fn short(commit: &str) -> &str {
    let whole = commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    if whole { &commit[..7] } else { commit }
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn guesses_only_when_near() {
        let known = ["account", "region", "services", "confirm"];
        assert_eq!(nearest("regoin", known), Some("region"));
        assert_eq!(nearest("service", known), Some("services"));
        assert_eq!(nearest("acc", known), Some("account"));
        assert_eq!(nearest("zone", known), None);
        assert_eq!(nearest("x", known), None);
    }
}
