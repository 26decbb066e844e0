//! How a bad ending is printed. For people in five parts, always in this order: what failed · because · evidence · what serves
//! visitors now · what to type next. For programs the same parts as JSON.

use serde_json::{Map, Value, json};

use super::color;
use crate::failure::{End, Failure};

/// The five parts.
pub(super) fn text(failure: &Failure) -> String {
    // Mistakes in a file are drawn like a compiler's: the drawings first, their number last.
    let drawings = failure.evidence.iter().filter(|_| failure.end == End::Config);
    let mut text: String = drawings.map(|drawing| format!("{}\n\n", drawing.trim_end())).collect();
    text += &format!("{} {}\n", color::bad("error:"), failure.what);
    for cause in &failure.because {
        text += &indented("  because  ", cause);
    }
    for line in failure.evidence.iter().filter(|_| failure.end != End::Config) {
        text += &indented("           ", line);
    }
    if let Some(serving) = &failure.serving {
        text += &format!("{} {serving}\n", color::bold("Now serving:"));
    }
    for (index, command) in failure.next.iter().enumerate() {
        let head = if index == 0 { color::bold("next:") } else { "     ".into() };
        text += &format!("{head}  {command}\n");
    }
    text
}

/// Later lines of a part stand under its first.
fn indented(head: &str, body: &str) -> String {
    let margin = format!("\n{}", " ".repeat(head.len()));
    format!("{}{}\n", color::dim(head), body.trim_end().replace('\n', &margin))
}

/// What GitHub shows at the top of the run: one line, its own characters escaped.
pub(super) fn annotation(failure: &Failure) -> String {
    let serving = failure.serving.as_ref().map(|serving| format!(". Now serving: {serving}")).unwrap_or_default();
    let text = format!("{}{serving}", failure.what).replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    format!("::error title=adstage::{text}\n")
}

/// The same for programs, with fields the command adds.
pub(super) fn json(failure: &Failure, attached: Map<String, Value>) -> String {
    let plain = |lines: &[String]| -> Vec<String> { lines.iter().map(|line| anstream::adapter::strip_str(line).to_string()).collect() };
    let error = json!({
        "code": failure.end.word(),
        "what": failure.what,
        "because": plain(&failure.because),
        "evidence": plain(&failure.evidence),
        "serving": failure.serving,
        "next": failure.next,
    });
    let mut whole = attached;
    whole.insert("error".into(), error);
    whole.insert("exit".into(), failure.end.code().into());
    format!("{:#}", Value::Object(whole))
}

/// A wrong command line when JSON was asked for: there is no report yet.
#[allow(clippy::print_stdout, reason = "no report can exist before the arguments are read")]
pub fn usage_json(failure: &Failure) {
    println!("{}", json(failure, Map::new()));
}
