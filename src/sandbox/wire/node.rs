//! An answer as a tree of XML elements.

use std::fmt::Display;

use quick_xml::Writer;
use quick_xml::events::{BytesEnd, BytesStart, BytesText, Event};

/// One element: a name with text, or with children.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sandbox) struct Node {
    name: String,
    content: Content,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Content {
    Text(String),
    Children(Vec<Node>),
}

/// An element with text.
pub(in crate::sandbox) fn leaf(name: &str, value: impl Display) -> Node {
    Node { name: name.to_string(), content: Content::Text(value.to_string()) }
}

/// An element with children.
pub(in crate::sandbox) fn branch(name: &str, children: impl IntoIterator<Item = Node>) -> Node {
    Node { name: name.to_string(), content: Content::Children(children.into_iter().collect()) }
}

/// A list: `<name><item>…</item><item>…</item></name>`; each item is given as its children. EC2 calls items `item`, the others `member`.
pub(in crate::sandbox) fn list(name: &str, item: &str, items: impl IntoIterator<Item = Vec<Node>>) -> Node {
    branch(name, items.into_iter().map(|children| branch(item, children)))
}

impl Node {
    /// Renames the element.
    pub fn named(mut self, name: &str) -> Self {
        self.name = name.to_string();
        self
    }

    /// Its child elements.
    pub fn into_children(self) -> Vec<Node> {
        match self.content {
            Content::Children(children) => children,
            Content::Text(_) => Vec::new(),
        }
    }

    /// The element as text, with an `xmlns` on the root.
    pub fn render(&self, xmlns: &str) -> String {
        let mut writer = Writer::new(Vec::new());
        // Writing to a Vec cannot fail.
        let _ = self.write(&mut writer, Some(xmlns));
        String::from_utf8(writer.into_inner()).unwrap_or_default()
    }

    fn write(&self, writer: &mut Writer<Vec<u8>>, xmlns: Option<&str>) -> std::io::Result<()> {
        let mut start = BytesStart::new(self.name.as_str());
        if let Some(xmlns) = xmlns.filter(|xmlns| !xmlns.is_empty()) {
            start.push_attribute(("xmlns", xmlns));
        }
        writer.write_event(Event::Start(start))?;
        match &self.content {
            Content::Text(text) => writer.write_event(Event::Text(BytesText::new(text)))?,
            Content::Children(children) => children.iter().try_for_each(|child| child.write(writer, None))?,
        }
        writer.write_event(Event::End(BytesEnd::new(self.name.as_str())))
    }
}
