//! The forms of AWS's own names and ids.

/// `ami-` and 8 or 17 hexadecimal digits; the same for every other resource id.
pub(super) fn id(prefix: &str, text: &str) -> bool {
    let hex = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    text.strip_prefix(prefix).is_some_and(|digits| matches!(digits.len(), 8 | 17) && hex(digits))
}

/// Twelve digits.
pub(super) fn account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// `eu-central-1`, `us-gov-west-1`.
pub(super) fn region(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let letters = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase());
    match parts.split_last() {
        Some((number, words)) => words.len() >= 2 && words.iter().all(letters) && !number.is_empty() && number.parse::<u8>().is_ok(),
        None => false,
    }
}

/// `m7i.large`, `u-6tb1.metal`.
pub(super) fn instance_type(text: &str) -> bool {
    let word = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    text.split_once('.').is_some_and(|(family, size)| word(family) && word(size))
}

/// 1 to 128 characters IAM allows in a name.
pub(super) fn iam_name(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+=,.@_-".contains(&byte))
}

/// A user of a Linux machine (*useradd(8)*).
pub(super) fn user(text: &str) -> bool {
    let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
    first && text.len() <= 32 && text.bytes().all(allowed)
}

/// 1 to 32 letters, digits and inner hyphens, not starting with `internal-` (*CreateLoadBalancer*, Name).
pub(super) fn load_balancer(text: &str) -> bool {
    let allowed = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    (1..=32).contains(&text.len()) && allowed && !text.starts_with('-') && !text.ends_with('-') && !text.starts_with("internal-")
}

/// 3 to 255 letters, digits, `_`, `.`, `-` (DynamoDB's naming rules).
pub(super) fn table(text: &str) -> bool {
    (3..=255).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

/// An ACM (or IAM server) certificate.
pub(super) fn certificate(text: &str) -> bool {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    matches!(parts.as_slice(), ["arn", partition, "acm" | "iam", _, owner, rest]
        if partition.starts_with("aws") && account(owner) && (rest.starts_with("certificate/") || rest.starts_with("server-certificate/")))
}

/// An absolute path a load balancer can ask for.
pub(super) fn url_path(text: &str) -> bool {
    text.starts_with('/') && text.len() <= 1024 && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// A path pattern of a rule: at most 128 characters (*Listener rules for your Application Load Balancer*).
pub(super) fn path_pattern(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.$/~\"'@:+&*?".contains(&byte);
    text.starts_with('/') && text.len() <= 128 && text.bytes().all(allowed)
}

/// A host name of a rule, which may hold `*` and `?`.
pub(super) fn host(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-.*?".contains(&byte);
    (1..=128).contains(&text.len()) && text.bytes().all(allowed) && text.contains('.')
}

/// A name a shell can use.
pub(super) fn variable(text: &str) -> bool {
    let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    first && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// A branch, tag or commit, by the rules of `git check-ref-format` that matter to a command line.
pub(super) fn reference(text: &str) -> bool {
    let bad = |c: char| c.is_whitespace() || c.is_control() || "~^:?*[\\".contains(c);
    !text.is_empty() && !text.starts_with('-') && !text.contains("..") && !text.contains(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_aws() {
        assert!(id("ami-", "ami-00000000000000001") && id("sg-", "sg-1a2b3c4d"));
        assert!(!id("ami-", "ami-0000000000000000G") && !id("ami-", "subnet-1a2b3c4d"));
        assert!(region("eu-central-1") && region("us-gov-west-1") && !region("eu-central") && !region("Frankfurt"));
        assert!(instance_type("m7i.large") && instance_type("u-6tb1.112xlarge") && !instance_type("large"));
        assert!(load_balancer("shop-staging") && !load_balancer("internal-shop") && !load_balancer("shop_staging"));
        assert!(certificate("arn:aws:acm:eu-central-1:111122223333:certificate/12345678-1234") && !certificate("arn:aws:acm:x"));
        assert!(variable("PORT_2") && !variable("2PORT") && !variable("A-B") && !variable(""));
        assert!(reference("feature/x-1.2") && !reference("--upload-pack=x") && !reference("a b"));
        assert!(host("*.example.com") && !host("localhost_x") && path_pattern("/admin/*") && !path_pattern("admin"));
    }
}
