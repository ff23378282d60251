//! Instructions and allocations of a call, held against those that are committed.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use crate::pairs::{self, Pair};
use crate::work::{self, Case};
use crate::{Outcome, callgrind, flag, machine};

/// How much more than committed is let pass.
const TOLERANCE: f64 = 0.02;

/// What of a figure is no more than noise.
const NOISE: f64 = 0.05;

/// How often a case is measured, at most, before it is taken for more than committed: how much
/// of a stream is read at once depends on how two threads happen to run. What is committed is
/// the most of that.
const TRIES: usize = 3;

/// What is counted of a pair.
fn cases(pair: Pair) -> Vec<Case> {
    let stream = |name, mode| Case::new(name, &["--mode", mode, "--messages", "500"], 5_000);
    let mut bidi = Case::new("bidi 64 B, 128 in flight", &["--mode", "bidi"], 6_400);
    bidi.args.extend(["--inflight", "128"].map(str::to_owned));
    let mut cases = vec![
        Case::unary(64, 1),
        Case {
            calls: 500,
            ..Case::unary(64 << 10, 1)
        },
        stream("server stream 64 B", "server-stream"),
        stream("client stream 64 B", "client-stream"),
        Case::new("bidi 64 B, ping-pong", &["--mode", "bidi"], 2_000),
        Case::unary(64, 128),
    ];
    // Of threads in parallel it depends on how they happen to run.
    if pair.name != "ours-blocking" {
        cases.push(bidi);
    }
    cases
}

/// The figures of a case, in the order of the file's columns.
type Figures = [f64; 3];
const COLUMNS: [&str; 3] = ["instructions", "allocations", "bytes allocated"];

fn file() -> PathBuf {
    pairs::source().join("guard.csv")
}

pub fn run(args: &[String]) -> Outcome<()> {
    if !pairs::on_path("valgrind") {
        return Err("no `valgrind` on the path: `apt-get install valgrind` or the like".into());
    }
    pairs::check_profile()?;
    let update = flag(args, "--update");
    let with = format!("{} {}", machine::compiler(), machine::architecture());
    let mut text = format!("# {with}\npair,case,{}\n", COLUMNS.join(","));
    let committed = fs::read_to_string(file()).unwrap_or_default();
    let committed_with = committed
        .lines()
        .next()
        .unwrap_or("# ")
        .trim_start_matches("# ");
    let mut more = Vec::new();
    let pick = if update { f64::max } else { f64::min };
    let ours = |pair: &Pair| pair.is_ours() && !pair.multi_thread;
    for pair in pairs::all().into_iter().filter(ours) {
        pair.build("counted", &["work"])?;
        for case in cases(pair) {
            let line = format!("{},\"{}\"", pair.name, case.name);
            let before = figures_of(&committed, &line);
            let passes = |figures| before.is_some_and(|b| compare(&line, b, figures).is_empty());
            let mut figures = measure(pair, &case)?;
            for _ in 1..TRIES {
                if passes(figures) && !update {
                    break;
                }
                let again = measure(pair, &case)?;
                figures = std::array::from_fn(|n| pick(figures[n], again[n]));
            }
            let [instructions, allocations, bytes] = figures;
            println!(
                "{line}: {instructions:.0} instructions, {allocations:.2} allocations of {bytes:.0} bytes"
            );
            let _ = writeln!(text, "{line},{instructions:.1},{allocations:.3},{bytes:.1}");
            match before {
                Some(before) => more.extend(compare(&line, before, figures)),
                None => more.push(format!("{line} has no committed figures")),
            }
        }
    }
    if update {
        fs::write(file(), text)?;
        println!("written to {}: say in the commit why", file().display());
        return Ok(());
    }
    if more.is_empty() {
        println!(
            "no figure is more than {:.0} % above the committed one",
            TOLERANCE * 100.0
        );
        return Ok(());
    }
    if committed_with != with {
        more.push(format!(
            "the figures were taken with {committed_with}, and this is {with}: if nothing else \
             has changed, that may be all"
        ));
    }
    more.push("`make guard-update` takes these figures over; say in the commit why".to_owned());
    Err(more.join("\n").into())
}

fn measure(pair: Pair, case: &Case) -> Outcome<Figures> {
    let counted = callgrind::per_call(pair, case)?;
    let (allocations, bytes) = work::allocated(pair, case)?;
    Ok([counted.own, allocations, bytes])
}

/// The committed figures of the line that begins so.
fn figures_of(committed: &str, beginning: &str) -> Option<Figures> {
    let line = committed
        .lines()
        .find_map(|line| line.strip_prefix(beginning))?;
    let mut figures = line.trim_start_matches(',').split(',');
    let mut next = || figures.next()?.parse().ok();
    Some([next()?, next()?, next()?])
}

/// What has become more.
fn compare(line: &str, before: Figures, now: Figures) -> Vec<String> {
    let each = std::iter::zip(COLUMNS, std::iter::zip(before, now));
    each.filter(|(_, (before, now))| *now > before * (1.0 + TOLERANCE) + NOISE)
        .map(|(column, (before, now))| {
            let percent = (now / before - 1.0) * 100.0;
            format!("{line}: {column} went from {before:.2} to {now:.2}, {percent:+.1} %")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_is_told_and_less_is_not() {
        let committed = "# rustc 1 x\npair,case,a,b,c\nours,\"unary\",1000.0,3.000,512.0\n";
        let before = figures_of(committed, "ours,\"unary\"").unwrap();
        assert_eq!(before, [1000.0, 3.0, 512.0]);
        assert!(compare("l", before, [1019.0, 3.01, 300.0]).is_empty());
        let more = compare("l", before, [1021.0, 4.0, 512.0]);
        assert_eq!(more.len(), 2);
        assert!(more[1].contains("allocations went from 3.00 to 4.00, +33.3 %"));
    }
}
