//! Text within a width. Colour codes take none.

use std::io;

/// Wider than this, the eye loses the line.
const WIDEST: usize = 100;

/// The width to write for.
pub(super) fn terminal_width() -> usize {
    let size = rustix::termios::tcgetwinsize(io::stderr()).ok().map(|size| usize::from(size.ws_col));
    size.filter(|width| *width >= 20).unwrap_or(80).min(WIDEST)
}

/// Columns a text takes.
pub(super) fn width(text: &str) -> usize {
    anstream::adapter::strip_str(text).map(|part| part.chars().count()).sum()
}

/// The text cut to a width, with `…` where something is missing; coloured text is left as it is if it fits and loses its colour if not.
pub(super) fn cut(text: &str, limit: usize) -> String {
    if width(text) <= limit {
        return text.to_string();
    }
    let plain = anstream::adapter::strip_str(text).to_string();
    plain.chars().take(limit.saturating_sub(1)).chain(['…']).collect()
}

/// One text at the left edge, another at the right.
pub(super) fn ends(left: &str, right: &str, limit: usize) -> String {
    let room = limit.saturating_sub(width(right) + 2);
    let left = cut(left, room);
    let gap = room.saturating_sub(width(&left)) + 2;
    format!("{left}{}{right}", " ".repeat(gap))
}
