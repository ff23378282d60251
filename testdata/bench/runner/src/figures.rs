//! Figures that are not rates, each beside what it is to be.

use std::fmt::Write;
use std::fs;

use crate::Outcome;
use crate::pairs;
use crate::table::{short_ratio, verdict};

/// One figure of one pair.
pub struct Figure {
    pub what: String,
    pub pair: &'static str,
    pub value: f64,
    pub unit: &'static str,
    /// What it must not be above, where that is said.
    pub most: Option<f64>,
}

/// Figures in the order that they were got, printed as they come.
pub struct Figures {
    all: Vec<Figure>,
}

const HEAD: &str = "| what | pair | figure | goal | |\n|---|---|--:|--:|---|";

impl Figures {
    pub fn new() -> Self {
        println!("{HEAD}");
        Self { all: Vec::new() }
    }

    pub fn add(
        &mut self,
        what: &str,
        pair: &'static str,
        value: f64,
        unit: &'static str,
        most: Option<f64>,
    ) {
        let figure = Figure {
            what: what.to_owned(),
            pair,
            value,
            unit,
            most,
        };
        println!("{}", figure.line());
        self.all.push(figure);
    }

    /// How many are more than they must be.
    pub fn short(&self) -> usize {
        self.all.iter().filter(|figure| !figure.reached()).count()
    }

    /// Writes them as a table and as CSV, under what is said about them.
    pub fn write(&self, name: &str, about: &str) -> Outcome<()> {
        let dir = pairs::results()?;
        let mut page = format!("{about}\n\n{HEAD}\n");
        let mut csv = "what,pair,figure,unit,most\n".to_owned();
        for figure in &self.all {
            let most = figure.most.map_or(String::new(), |most| most.to_string());
            let Figure {
                what,
                pair,
                value,
                unit,
                ..
            } = figure;
            let _ = writeln!(page, "{}", figure.line());
            let _ = writeln!(csv, "\"{what}\",{pair},{value},{unit},{most}");
        }
        fs::write(dir.join(format!("{name}.md")), page)?;
        fs::write(dir.join(format!("{name}.csv")), csv)?;
        println!("\nwritten to {}/{name}.*", dir.display());
        Ok(())
    }
}

impl Figure {
    fn reached(&self) -> bool {
        self.most.is_none_or(|most| self.value <= most)
    }

    fn line(&self) -> String {
        let goal = match self.most {
            Some(most) => format!("≤ {} {}", short_ratio(most), self.unit),
            None => "–".to_owned(),
        };
        let end = self.most.map_or("", |_| verdict(self.reached()));
        let value = short_ratio(self.value);
        let Self {
            what, pair, unit, ..
        } = self;
        format!("| {what} | {pair} | {value} {unit} | {goal} | {end} |")
    }
}
