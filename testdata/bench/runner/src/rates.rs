//! Calls and messages per second.

use std::fs;

use crate::goals::{ROWS, Row};
use crate::pairs::{self, Pair};
use crate::process::Cpus;
use crate::rounds::{self, Measured, Plan};
use crate::{Outcome, flag, machine, option, plot, table};

pub fn run(args: &[String]) -> Outcome<()> {
    let quick = flag(args, "--quick");
    let number = |name, default: f64| option(args, name).map_or(Ok(default), str::parse);
    let plan = Plan {
        rounds: number("--rounds", if quick { 3.0 } else { 5.0 })? as usize,
        seconds: number("--seconds", 1.0)?,
        warmup: number("--warmup", 0.2)?,
        cpus: match option(args, "--cpus") {
            None | Some("same") => Cpus::Same,
            Some("free") => Cpus::Free,
            Some(other) => return Err(format!("--cpus {other}: expected same or free").into()),
        },
    };
    let rows: Vec<&'static Row> = match option(args, "--rows") {
        Some(numbers) => numbers
            .split(',')
            .filter_map(|number| ROWS.get(number.parse::<usize>().ok()?.checked_sub(1)?))
            .collect(),
        // Where single calls are made on two CPUs, it is their waking up that is measured.
        None if plan.cpus == Cpus::Free => ROWS.iter().filter(|row| row.is_parallel()).collect(),
        None => ROWS.iter().filter(|row| row.quick || !quick).collect(),
    };
    let pairs = chosen(args, quick, plan.cpus)?;

    println!("{}\n", machine::describe());
    println!("{}", table::HEAD);
    let mut all = Vec::new();
    let (mut text, mut short) = (String::new(), 0);
    for row in rows {
        let measured = rounds::measure(row, &pairs, &plan);
        let (lines, fell_short) = table::lines(&measured);
        print!("{lines}");
        text += &lines;
        short += fell_short;
        all.push(measured);
    }
    write(&all, &text, &plan)?;
    println!("\n{short} short");
    Ok(())
}

/// The pairs to be measured, built.
fn chosen(args: &[String], quick: bool, cpus: Cpus) -> Outcome<Vec<Pair>> {
    pairs::check_profile()?;
    let wanted = |pair: &Pair| match option(args, "--pairs") {
        Some(names) => names.split(',').any(|name| name == pair.name),
        // Go's is far from being the best rival, and waits for its own build.
        None => !(quick && pair.name == "go") && (cpus == Cpus::Free || !pair.multi_thread),
    };
    let pairs: Vec<_> = pairs::all().into_iter().filter(wanted).collect();
    if !quick && !pairs::on_path("go") {
        eprintln!("no `go` on the path: without the Go implementation");
    }
    for pair in &pairs {
        eprintln!("building {}", pair.name);
        pair.build("small", &["server", "client"])?;
    }
    Ok(pairs)
}

/// Writes table, CSV and plot.
fn write(all: &[Measured], lines: &str, plan: &Plan) -> Outcome<()> {
    let dir = pairs::results()?;
    let name = format!("rates-{}", plan.cpus.name());
    let how = match plan.cpus {
        Cpus::Same => "Both processes on one CPU",
        Cpus::Free => "Both processes on all CPUs",
    };
    let page = format!(
        "{}. {how}; medians of {} rounds of {} s; in parentheses the spread of the rounds.\n\n\
         {}\n{lines}\n{}",
        machine::describe(),
        plan.rounds,
        plan.seconds,
        table::HEAD,
        table::details(all),
    );
    fs::write(dir.join(format!("{name}.md")), page)?;
    fs::write(dir.join(format!("{name}.csv")), table::csv(all))?;
    let groups: Vec<_> = all
        .iter()
        .map(|measured| {
            let rate = |(pair, _): &(Pair, _)| {
                Some((pair.name.to_owned(), measured.median(pair.name, "rate")?))
            };
            let bars = measured.pairs.iter().filter_map(rate).collect();
            (measured.row.name.to_owned(), bars)
        })
        .collect();
    let svg = plot::bars("Calls or messages per second", &groups);
    fs::write(dir.join(format!("{name}.svg")), svg)?;
    println!("\nwritten to {}/{name}.*", dir.display());
    Ok(())
}
