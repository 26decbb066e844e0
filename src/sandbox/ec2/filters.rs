//! Filters and pages of EC2's describes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::tags::Tags;
use crate::sandbox::wire::{AwsError, Node, Params, leaf};

/// A call's filters: all must match, by any of their values.
#[derive(Debug)]
pub(super) struct Filters(Vec<(String, Vec<String>)>);

impl Filters {
    /// Reads them; a name that is neither known nor about tags is refused, as EC2 does.
    pub fn read(params: &Params, known: &[&str]) -> Result<Self, AwsError> {
        let one = |filter: &Params| {
            let name = filter.required("Name")?;
            if !known.contains(&name) && !name.starts_with("tag:") && name != "tag-key" {
                return Err(AwsError::bad("InvalidParameterValue", format!("The filter '{name}' is invalid")));
            }
            Ok((name.to_string(), filter.texts("Value").into_iter().map(str::to_string).collect()))
        };
        params.list("Filter").into_iter().map(one).collect::<Result<_, _>>().map(Self)
    }

    /// True if something with these tags and facts (by filter name) passes.
    pub fn admit(&self, tags: &Tags, facts: impl Fn(&str) -> Vec<String>) -> bool {
        self.0.iter().all(|(name, wanted)| {
            let found = match name.strip_prefix("tag:") {
                Some(key) => tags.get(key).cloned().into_iter().collect(),
                None if name == "tag-key" => tags.keys().cloned().collect(),
                None => facts(name),
            };
            found.iter().any(|value| wanted.iter().any(|pattern| matches(pattern.as_bytes(), value.as_bytes())))
        })
    }
}

/// `*` any text, `?` any character, `\` takes the next literally.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern, text) {
        ([b'*', rest @ ..], _) => (0..=text.len()).any(|skip| matches(rest, &text[skip..])),
        ([b'?', rest @ ..], [_, text @ ..]) => matches(rest, text),
        ([b'\\', literal, rest @ ..], [first, text @ ..]) => literal == first && matches(rest, text),
        ([literal, rest @ ..], [first, text @ ..]) => literal == first && matches(rest, text),
        ([], []) => true,
        _ => false,
    }
}

/// The page of `rows` (each with its key, sorted) the call asks for, and the `nextToken` element if there are more.
pub(super) fn page<T>(params: &Params, rows: Vec<(String, T)>, least: i64, most: i64) -> Result<(Vec<T>, Option<Node>), AwsError> {
    let bad_token = || AwsError::bad("InvalidNextToken", "The token is not valid");
    let after = match params.get("NextToken").filter(|token| !token.is_empty()) {
        Some(token) => Some(BASE64.decode(token).ok().and_then(|key| String::from_utf8(key).ok()).ok_or_else(bad_token)?),
        None => None,
    };
    let size = params.number("MaxResults")?;
    if let Some(size) = size.filter(|size| !(least..=most).contains(size)) {
        let message = format!("Value ( {size} ) for parameter maxResults is invalid. Expecting a value between {least} and {most}.");
        return Err(AwsError::bad("InvalidParameterValue", message));
    }
    let size = size.and_then(|size| usize::try_from(size).ok()).unwrap_or(usize::MAX);
    let mut rows = rows.into_iter().filter(|(key, _)| after.as_ref().is_none_or(|after| key > after)).peekable();
    let (mut page, mut last) = (Vec::new(), String::new());
    while page.len() < size
        && let Some((key, row)) = rows.next()
    {
        (last, page) = (key, {
            page.push(row);
            page
        });
    }
    let next = rows.peek().map(|_| leaf("nextToken", BASE64.encode(last)));
    Ok((page, next))
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn wildcards_are_ec2s() {
        let hit = |pattern: &str, text: &str| matches(pattern.as_bytes(), text.as_bytes());
        assert!(hit("shop-*", "shop-web") && hit("*", "") && hit("r?", "r2") && hit("a\\*b", "a*b"));
        assert!(!hit("shop", "shop-web") && !hit("r?", "r42") && !hit("a\\*b", "axb"));
    }
}
