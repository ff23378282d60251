//! The last full run, kept in the repository.

use std::fs;

use crate::Outcome;
use crate::pairs;

const ABOUT: &str = "\
# Results

What the last full run gave; `make bench size scale bench-record` writes this page. How it is
measured, and what the pairs are, is in [README.md](README.md). Every goal is a ratio within
one round: the absolute figures are there to read the ratios, and are another machine's than
yours.
";

/// The parts of a run: what they are called, their pages and their plots.
const PARTS: [(&str, &str, &[&str]); 4] = [
    (
        "Rates, both processes on one CPU",
        "rates-same",
        &["rates-same"],
    ),
    ("Rates, all CPUs free", "rates-free", &["rates-free"]),
    ("Size, and work per call", "size", &[]),
    ("Scale", "scale", &["scale-cpu", "scale-memory"]),
];

/// Makes the page of what the other commands have left behind.
pub fn run() -> Outcome<()> {
    let results = pairs::results()?;
    let plots = pairs::source().join("results");
    fs::create_dir_all(&plots)?;
    let mut page = ABOUT.to_owned();
    for (title, name, figures) in PARTS {
        let path = results.join(format!("{name}.md"));
        let Ok(text) = fs::read_to_string(&path) else {
            eprintln!("{} is missing: it is left out", path.display());
            continue;
        };
        page += &format!("\n## {title}\n\n{}\n", text.trim_end());
        for figure in figures {
            let file = format!("{figure}.svg");
            fs::copy(results.join(&file), plots.join(&file))?;
            page += &format!("\n![{title}](results/{file})\n");
        }
    }
    let path = pairs::source().join("RESULTS.md");
    fs::write(&path, page)?;
    println!("written to {}", path.display());
    Ok(())
}
