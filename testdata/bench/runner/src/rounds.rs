//! Pairs measured in turn, so that what else the machine does hits all of them alike.

use std::time::Duration;

use bench_kit::report::Report;

use crate::Outcome;
use crate::goals::Row;
use crate::pairs::Pair;
use crate::process::{self, Cpus, Running};

/// How long and how often.
#[derive(Clone, Copy)]
pub struct Plan {
    pub rounds: usize,
    pub seconds: f64,
    pub warmup: f64,
    pub cpus: Cpus,
}

/// What was measured of a row: a report for each pair and round.
pub struct Measured {
    pub row: &'static Row,
    pub cpus: Cpus,
    pub pairs: Vec<(Pair, Vec<Option<Report>>)>,
}

/// Measures a row.
pub fn measure(row: &'static Row, pairs: &[Pair], plan: &Plan) -> Measured {
    let free = plan.cpus == Cpus::Free;
    let takes_part = |pair: &&Pair| {
        (pair.streams || row.mode == bench_kit::Mode::Unary)
            && (free || !pair.multi_thread)
            && (!row.thread_each || pair.has_threads())
    };
    let mut pairs: Vec<_> = pairs
        .iter()
        .filter(takes_part)
        .map(|pair| (*pair, Vec::new()))
        .collect();
    for round in 0..plan.rounds {
        let first = round % pairs.len().max(1);
        pairs.rotate_left(first);
        for (pair, reports) in &mut pairs {
            let report = once(*pair, &row.args(), plan);
            if let Err(error) = &report {
                eprintln!("{}, {}: {error}", row.name, pair.name);
            }
            reports.push(report.ok());
        }
        pairs.rotate_right(first);
    }
    Measured {
        row,
        cpus: plan.cpus,
        pairs,
    }
}

/// Measures a pair once.
pub fn once(pair: Pair, args: &[String], plan: &Plan) -> Outcome<Report> {
    let server = Running::server(pair, plan.cpus, args)?;
    let mut client = pair.command("client")?;
    client.arg("--socket").arg(&server.socket).args(args);
    client.args(["--seconds", &plan.seconds.to_string()]);
    client.args(["--warmup", &plan.warmup.to_string()]);
    client.args(["--server-pid", &server.pid().to_string()]);
    let limit = Duration::from_secs_f64(30.0 + plan.seconds + plan.warmup);
    process::client(client, plan.cpus, limit)
}

impl Measured {
    fn reports(&self, pair: &str) -> &[Option<Report>] {
        let found = self.pairs.iter().find(|(other, _)| other.name == pair);
        found.map_or(&[], |(_, reports)| reports)
    }

    /// A figure of a pair: the median of its rounds.
    pub fn median(&self, pair: &str, figure: &str) -> Option<f64> {
        let reports = self.reports(pair).iter().flatten();
        Spread::of(reports.map(|report| report.get(figure))).map(|spread| spread.median)
    }

    /// The ratio of two pairs' rates, round by round.
    pub fn ratio(&self, of: &str, to: &str) -> Option<Spread> {
        let rounds = std::iter::zip(self.reports(of), self.reports(to));
        let ratios =
            rounds.filter_map(|(of, to)| Some(of.as_ref()?.get("rate") / to.as_ref()?.get("rate")));
        Spread::of(ratios)
    }

    /// The fastest rival.
    pub fn best_rival(&self) -> Option<(&'static str, f64)> {
        let rivals = self.pairs.iter().filter(|(pair, _)| pair.is_rival());
        rivals
            .filter_map(|(pair, _)| Some((pair.name, self.median(pair.name, "rate")?)))
            .max_by(|a, b| a.1.total_cmp(&b.1))
    }
}

/// A figure of several rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub median: f64,
    pub least: f64,
    pub most: f64,
}

impl Spread {
    /// None where there is nothing.
    pub fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<_> = values.filter(|value| value.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = match values.len() % 2 {
            0 => (values[middle - 1] + values[middle]) / 2.0,
            _ => values[middle],
        };
        Some(Self {
            median,
            least,
            most,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_that_of_what_there_is() {
        let spread = Spread::of([3.0, f64::NAN, 1.0, 2.0].into_iter()).unwrap();
        assert_eq!((spread.least, spread.median, spread.most), (1.0, 2.0, 3.0));
        assert_eq!(Spread::of([1.0, 2.0].into_iter()).unwrap().median, 1.5);
        assert_eq!(Spread::of(std::iter::empty()), None);
    }
}
