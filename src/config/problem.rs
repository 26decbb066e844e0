//! One mistake in the file, and how a file's mistakes are shown: like a compiler's, with line and caret.

use std::ops::Range;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Level, Patch, Renderer, Snippet};

/// A mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    /// Its kind, for searching: `unknown-key`.
    pub id: &'static str,
    pub what: String,
    pub span: Range<usize>,
    /// Stands under the caret.
    pub label: String,
    /// Another place that matters, and why.
    pub context: Option<(Range<usize>, String)>,
    pub help: Option<String>,
    /// What to write instead, and where; shown under the help.
    pub patch: Option<(Range<usize>, String)>,
}

impl Problem {
    pub fn new(id: &'static str, what: impl Into<String>, span: Range<usize>, label: impl Into<String>) -> Self {
        Self { id, what: what.into(), span, label: label.into(), context: None, help: None, patch: None }
    }

    pub fn context(mut self, span: Range<usize>, label: impl Into<String>) -> Self {
        self.context = Some((span, label.into()));
        self
    }

    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.help = Some(text.into());
        self
    }

    pub fn patch(mut self, span: Range<usize>, replacement: impl Into<String>) -> Self {
        self.patch = Some((span, replacement.into()));
        self
    }

    /// In colour; whoever prints it strips that where it is not wanted.
    pub fn render(&self, path: &str, source: &str) -> String {
        let mut snippet = Snippet::source(source).path(path);
        let caret = AnnotationKind::Primary.span(self.span.clone());
        snippet = snippet.annotation(if self.label.is_empty() { caret } else { caret.label(self.label.as_str()) });
        if let Some((span, label)) = &self.context {
            snippet = snippet.annotation(AnnotationKind::Context.span(span.clone()).label(label.as_str()));
        }
        let title = Level::ERROR.primary_title(self.what.as_str()).id(format!("config::{}", self.id));
        let mut groups = vec![title.element(snippet)];
        if let Some(help) = &self.help {
            let title = Level::HELP.secondary_title(help.as_str());
            groups.push(match &self.patch {
                Some((span, replacement)) => {
                    title.element(Snippet::source(source).path(path).patch(Patch::new(span.clone(), replacement.as_str())))
                }
                None => annotate_snippets::Group::with_title(title),
            });
        }
        Renderer::styled().decor_style(DecorStyle::Ascii).render(&groups)
    }
}
