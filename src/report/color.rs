//! Colour, which never carries meaning alone. Everything is written with colour and stripped where the stream wants none.

use anstyle::{AnsiColor, Style};

const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();
const CAREFUL: Style = AnsiColor::Yellow.on_default();
const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();

fn paint(style: Style, text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("{style}{text}{style:#}") }
}

/// Success.
pub(super) fn good(text: &str) -> String {
    paint(GOOD, text)
}

/// Failure.
pub(super) fn bad(text: &str) -> String {
    paint(BAD, text)
}

/// A warning.
pub(super) fn careful(text: &str) -> String {
    paint(CAREFUL, text)
}

/// Important.
pub fn bold(text: &str) -> String {
    paint(BOLD, text)
}

/// Less important.
pub fn dim(text: &str) -> String {
    paint(DIM, text)
}
