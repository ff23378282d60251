//! Results, as lines for people and as CSV for programs.

use std::fmt::Write;

use bench_kit::Mode;

use crate::process::Cpus;
use crate::rounds::{Measured, Spread};

/// What `bench-quick` prints above its lines.
pub const HEAD: &str = "| row | ours | raw | best rival | to raw | to rival | goal | |\n\
                        |---|--:|--:|--:|--:|--:|---|---|";

/// Whether something is as it is to be.
pub fn verdict(reached: bool) -> &'static str {
    if reached { "ok" } else { "**short**" }
}

/// A line for each of our pairs; and how many of them fall short.
pub fn lines(measured: &Measured) -> (String, usize) {
    let mut lines = String::new();
    let mut short = 0;
    let ours = measured.pairs.iter().filter(|(pair, _)| pair.is_ours());
    for (pair, _) in ours {
        let rival = measured.best_rival();
        let free = measured.cpus == Cpus::Free;
        let mut reached = measured.median(pair.name, "rate").is_some();
        let mut goals = Vec::new();
        for goal in measured.row.goals(pair.name, free) {
            let ratio = measured.ratio(pair.name, goal.of).map(|ratio| ratio.median);
            let got = ratio.map_or("–".to_owned(), short_ratio);
            goals.push(format!("≥ {} {} ({got})", short_ratio(goal.least), goal.of));
            reached &= ratio.is_some_and(|ratio| ratio >= goal.least);
        }
        short += usize::from(!reached);
        let rate = |name| measured.median(name, "rate").map_or("–".to_owned(), big);
        let ratio = |to| spread(measured.ratio(pair.name, to));
        let _ = writeln!(
            lines,
            "| {}: {} | {} | {} | {} | {} | {} | {} | {} |",
            pair.name.trim_start_matches("ours-"),
            measured.row.name,
            rate(pair.name),
            rate("raw"),
            rival.map_or("–".to_owned(), |(name, rate)| format!(
                "{} {name}",
                big(rate)
            )),
            ratio("raw"),
            rival.map_or("–".to_owned(), |(name, _)| ratio(name)),
            if goals.is_empty() {
                "–".to_owned()
            } else {
                goals.join(", ")
            },
            verdict(reached),
        );
    }
    (lines, short)
}

/// The details of each pair: rate, latency, CPU.
pub fn details(all: &[Measured]) -> String {
    let mut lines = "| row | pair | per second | p50 µs | p99 µs | client CPU µs | of it system \
                     | server CPU µs | of it system |\n|---|---|--:|--:|--:|--:|--:|--:|--:|\n"
        .to_owned();
    for measured in all {
        for (pair, _) in &measured.pairs {
            let median = |figure: &str| measured.median(pair.name, figure);
            // A stream's is that of thousands of messages; and some tell none.
            let one_way = matches!(measured.row.mode, Mode::ServerStream | Mode::ClientStream);
            let latency = |figure: &str| match median(figure) {
                Some(micros) if micros > 0.0 && !one_way => short_ratio(micros),
                _ => "–".to_owned(),
            };
            let cpu = |who: &str| {
                let user = median(&format!("{who}_user_us"))?;
                let system = median(&format!("{who}_system_us"))?;
                Some(format!(
                    "{} | {}",
                    short_ratio(user + system),
                    short_ratio(system)
                ))
            };
            let cpu = |who| cpu(who).unwrap_or_else(|| "– | –".to_owned());
            let _ = writeln!(
                lines,
                "| {} | {} | {} | {} | {} | {} | {} |",
                measured.row.name,
                pair.name,
                median("rate").map_or("–".to_owned(), big),
                latency("p50_us"),
                latency("p99_us"),
                cpu("client"),
                cpu("server"),
            );
        }
    }
    lines
}

const FIGURES: [&str; 7] = [
    "rate",
    "p50_us",
    "p99_us",
    "client_user_us",
    "client_system_us",
    "server_user_us",
    "server_system_us",
];

/// Everything that was measured, a line for each pair and round.
pub fn csv(all: &[Measured]) -> String {
    let mut lines = format!("row,cpus,pair,round,{}\n", FIGURES.join(","));
    for measured in all {
        for (pair, reports) in &measured.pairs {
            for (round, report) in reports.iter().enumerate() {
                let Some(report) = report else { continue };
                let figures = FIGURES.map(|figure| report.get(figure).to_string());
                let (row, cpus) = (measured.row.name, measured.cpus.name());
                let figures = figures.join(",");
                let _ = writeln!(lines, "\"{row}\",{cpus},{},{round},{figures}", pair.name);
            }
        }
    }
    lines
}

/// A number with three digits that count, and its thousands by a letter.
pub fn big(value: f64) -> String {
    match value {
        1e6.. => format!("{} M", short_ratio(value / 1e6)),
        1e3.. => format!("{} k", short_ratio(value / 1e3)),
        _ => short_ratio(value),
    }
}

/// A number with three digits that count.
pub fn short_ratio(value: f64) -> String {
    let text = match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        1.0.. => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    };
    match text.split_once('.') {
        Some(_) => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        None => text,
    }
}

fn spread(spread: Option<Spread>) -> String {
    spread.map_or(
        "–".to_owned(),
        |Spread {
             median,
             least,
             most,
         }| {
            let [median, least, most] = [median, least, most].map(short_ratio);
            format!("{median} ({least}–{most})")
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_long_as_they_are_exact() {
        assert_eq!(big(22_912_345.0), "22.9 M");
        assert_eq!(big(286_000.0), "286 k");
        assert_eq!(big(150.2), "150");
        assert_eq!(short_ratio(0.7512), "0.751");
        assert_eq!(short_ratio(10.0), "10");
        assert_eq!(short_ratio(0.0), "0");
    }
}
