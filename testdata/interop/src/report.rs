//! The table of cases and peers.

use std::fmt::Write;

use crate::outcome::{Outcome, Verdict};

/// A table of cases, a line each, and of peers, a column each.
pub struct Table {
    title: &'static str,
    cases: Vec<&'static str>,
    columns: Vec<Column>,
    notes: Vec<&'static str>,
}

struct Column {
    name: String,
    /// Whether a failure here is one of ours.
    counts: bool,
    cells: Vec<Cell>,
}

enum Cell {
    Pass,
    NotApplicable(usize),
    Fail(String),
}

impl Table {
    pub fn new(title: &'static str, cases: impl IntoIterator<Item = &'static str>) -> Self {
        Self {
            title,
            cases: cases.into_iter().collect(),
            columns: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Begins a column.
    pub fn column(&mut self, name: String, counts: bool) {
        self.columns.push(Column {
            name,
            counts,
            cells: Vec::new(),
        });
    }

    /// Adds the outcome of the next case to the last column; `complaints` is what the
    /// peers had to say.
    pub fn cell(&mut self, outcome: Outcome, complaints: &str) {
        let cell = match outcome {
            Ok(Verdict::Pass) => Cell::Pass,
            Ok(Verdict::NotApplicable(reason)) => {
                let note = self.notes.iter().position(|note| *note == reason);
                Cell::NotApplicable(note.unwrap_or_else(|| {
                    self.notes.push(reason);
                    self.notes.len() - 1
                }))
            }
            Err(failure) => Cell::Fail(format!("{failure}{complaints}")),
        };
        if let Some(column) = self.columns.last_mut() {
            if let Cell::Fail(reason) = &cell {
                // At once as well, for whoever waits for the table.
                let case = self.cases[column.cells.len()];
                eprintln!("FAIL {} | {case}: {reason}", column.name);
            }
            column.cells.push(cell);
        }
    }

    /// How many failures there are of ours.
    pub fn failures(&self) -> usize {
        self.columns
            .iter()
            .filter(|column| column.counts)
            .flat_map(|column| &column.cells)
            .filter(|cell| matches!(cell, Cell::Fail(_)))
            .count()
    }

    /// The table as text, with the reasons below.
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a string can't fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        let first = self.cases.iter().map(|case| case.len()).max();
        let first = first.unwrap_or_default().max(self.title.len());
        write!(text, "\n{:first$}", self.title)?;
        for column in &self.columns {
            write!(text, "  {}", column.name)?;
        }
        writeln!(text)?;
        for (row, case) in self.cases.iter().enumerate() {
            write!(text, "{:first$}", case.replace('_', " "))?;
            for column in &self.columns {
                let shown = match column.cells.get(row) {
                    None => String::new(),
                    Some(Cell::Pass) => "pass".to_owned(),
                    Some(Cell::NotApplicable(note)) => format!("n/a ({})", note + 1),
                    Some(Cell::Fail(_)) => "FAIL".to_owned(),
                };
                write!(
                    text,
                    "  {shown:width$}",
                    width = column.name.chars().count()
                )?;
            }
            text.truncate(text.trim_end().len());
            writeln!(text)?;
        }
        for (number, note) in self.notes.iter().enumerate() {
            writeln!(text, "({}) {note}", number + 1)?;
        }
        for column in &self.columns {
            for (case, cell) in self.cases.iter().zip(&column.cells) {
                if let Cell::Fail(reason) = cell {
                    let case = case.replace('_', " ");
                    writeln!(text, "FAIL {} | {case}: {reason}", column.name)?;
                }
            }
        }
        Ok(())
    }
}
