//! Columns for people, tab-separated values for pipes.

use super::{color, layout};

/// A table. The last column takes what room is left.
#[derive(Debug, Clone, Default)]
pub struct Table {
    head: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// With these columns.
    pub fn new(head: &[&'static str]) -> Self {
        Self { head: head.to_vec(), rows: Vec::new() }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// True without rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// One line per row, tabs between cells, no head: for `cut` and `awk`.
    pub fn tsv(&self) -> String {
        let clean = |cell: &String| anstream::adapter::strip_str(cell).to_string().replace(['\t', '\n'], " ");
        self.rows.iter().map(|row| row.iter().map(clean).collect::<Vec<_>>().join("\t") + "\n").collect()
    }

    /// Aligned under its head, no line wider than `limit`.
    pub fn columns(&self, limit: usize) -> String {
        let head: Vec<String> = self.head.iter().map(|name| color::dim(name)).collect();
        let lines = || std::iter::once(&head).chain(&self.rows);
        let widest = |column: usize| lines().filter_map(|row| row.get(column)).map(|cell| layout::width(cell)).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.head.len()).map(widest).collect();
        lines().map(|row| layout::cut(line(row, &widths).trim_end(), limit) + "\n").collect()
    }
}

fn line(row: &[String], widths: &[usize]) -> String {
    let padded = |(cell, width): (&String, &usize)| format!("{cell}{}", " ".repeat(width.saturating_sub(layout::width(cell))));
    row.iter().zip(widths).map(padded).collect::<Vec<_>>().join("  ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_for_people_and_tabs_for_pipes() {
        let mut table = Table::new(&["RELEASE", "STATE", "NOTE"]);
        table.row(["r411".into(), color::bold("serving"), "rollback from r412, which showed too many errors".into()]);
        table.row(["r9".into(), "gone".into(), String::new()]);
        let shown = anstream::adapter::strip_str(&table.columns(40)).to_string();
        insta::assert_snapshot!(shown, @r"
    RELEASE  STATE    NOTE
    r411     serving  rollback from r412, w…
    r9       gone
    ");
        assert_eq!(table.tsv(), "r411\tserving\trollback from r412, which showed too many errors\nr9\tgone\t\n");
    }
}
