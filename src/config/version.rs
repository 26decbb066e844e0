//! `required-version`: `">=0.9, <0.11"`, checked before anything else in the file.

use super::document::Node;
use super::kind::{self, Wrong};
use super::problem::Problem;
use super::section::Spot;

const MINE: &str = env!("CARGO_PKG_VERSION");

/// One comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Comparison {
    sign: &'static str,
    version: [u64; 3],
}

/// Comparisons that must all hold.
pub(super) fn requirement(node: &Node) -> Result<Vec<Comparison>, Wrong> {
    let text = kind::filled(node)?;
    text.split(',').map(|part| comparison(part.trim()).ok_or_else(|| Wrong::value("must look like \">=0.9, <0.11\""))).collect()
}

fn comparison(text: &str) -> Option<Comparison> {
    let sign = ["<=", ">=", "<", ">", "="].into_iter().find(|sign| text.starts_with(sign))?;
    Some(Comparison { sign, version: version(text[sign.len()..].trim())? })
}

fn version(text: &str) -> Option<[u64; 3]> {
    let mut version = [0; 3];
    let parts: Vec<&str> = text.split('.').collect();
    if parts.len() > 3 {
        return None;
    }
    for (place, part) in version.iter_mut().zip(parts) {
        *place = part.parse().ok()?;
    }
    Some(version)
}

/// The mistake, if this adstage is not the one required.
pub(super) fn unmet(required: &Spot<Vec<Comparison>>) -> Option<Problem> {
    let mine = version(MINE)?;
    let holds = |comparison: &Comparison| match comparison.sign {
        "<=" => mine <= comparison.version,
        ">=" => mine >= comparison.version,
        "<" => mine < comparison.version,
        ">" => mine > comparison.version,
        _ => mine == comparison.version,
    };
    if required.value.iter().all(holds) {
        return None;
    }
    let what = "this file is for another version of adstage";
    Some(Problem::new("required-version", what, required.span.clone(), format!("this is adstage {MINE}")))
}
