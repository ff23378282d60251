//! What a call costs, and what a connection and a stream take, as their number grows.

use std::fmt::Write;
use std::fs;
use std::process::Command;

use bench_kit::report::Report;

use crate::pairs::{self, Pair};
use crate::process::{self, Cpus, Running};
use crate::rounds::{self, Plan, Spread};
use crate::size::private;
use crate::{Outcome, machine, option, plot, table};

const CONNECTIONS: [u64; 5] = [1, 10, 100, 1_000, 5_000];
const STREAMS: [u64; 6] = [1, 10, 100, 1_000, 10_000, 100_000];

/// What grows.
struct Growth {
    name: &'static str,
    numbers: &'static [u64],
    /// The argument that says how many.
    arg: &'static str,
    /// Whether they are held while another one works, so that their memory can be told.
    held: bool,
}

const GROWTHS: [Growth; 4] = [
    Growth {
        name: "one call at a time beside idle connections",
        numbers: &CONNECTIONS,
        arg: "--idle-conns",
        held: true,
    },
    Growth {
        name: "one call at a time on each connection",
        numbers: &CONNECTIONS,
        arg: "--conns",
        held: false,
    },
    Growth {
        name: "one call at a time beside idle streams",
        numbers: &STREAMS,
        arg: "--idle-streams",
        held: true,
    },
    Growth {
        name: "calls in flight on one connection",
        numbers: &STREAMS,
        arg: "--inflight",
        held: false,
    },
];

pub fn run(args: &[String]) -> Outcome<()> {
    pairs::check_profile()?;
    let names = option(args, "--pairs").unwrap_or("ours-tokio,ours-blocking,raw");
    let wanted = |pair: &Pair| names.split(',').any(|name| name == pair.name);
    let descriptors = process::raise_descriptors();
    let mut csv = "pair,what,number,cpu µs per call,calls per second,bytes each\n".to_owned();
    let (mut costs, mut sizes) = (Vec::new(), Vec::new());
    let head = "| pair | what | number | CPU µs per call | calls per second | bytes each |\n\
                |---|---|--:|--:|--:|--:|";
    let mut page = format!("{}.\n\n{head}\n", machine::describe());
    print!("{page}");
    for pair in pairs::all().into_iter().filter(wanted) {
        pair.build("small", &["server", "client"])?;
        for growth in &GROWTHS {
            if pair.name == "raw" && growth.arg != "--conns" {
                continue;
            }
            let (mut cost, mut size) = (Vec::new(), Vec::new());
            for number in growth.numbers {
                if growth.arg.ends_with("conns") && number + 100 > descriptors {
                    eprintln!("not {number} connections: a process has {descriptors} descriptors");
                    continue;
                }
                if pair.name == "ours-blocking" && *number > most_with_threads(growth.arg) {
                    continue;
                }
                let (micros, rate) = measure(pair, growth, *number)?;
                let bytes = match growth.held {
                    true => Some(bytes(pair, growth, *number)?),
                    false => None,
                };
                cost.push((*number as f64, micros));
                size.extend(bytes.map(|bytes| (*number as f64, bytes.max(1.0))));
                let bytes = bytes.map_or(String::new(), |bytes| format!("{bytes:.0}"));
                let micros = table::short_ratio(micros);
                let (name, what, shown) = (pair.name, growth.name, table::big(rate));
                let line = format!("| {name} | {what} | {number} | {micros} | {shown} | {bytes} |");
                println!("{line}");
                let _ = writeln!(page, "{line}");
                let _ = writeln!(csv, "{name},{what},{number},{micros},{rate:.0},{bytes}");
            }
            let name = format!("{}: {}", pair.name, growth.name);
            costs.push((name.clone(), cost));
            if growth.held {
                sizes.push((name, size));
            }
        }
    }
    let dir = pairs::results()?;
    fs::write(dir.join("scale.csv"), csv)?;
    fs::write(dir.join("scale.md"), page)?;
    let svg = plot::lines("CPU time per call, both sides, µs", "number", &costs);
    fs::write(dir.join("scale-cpu.svg"), svg)?;
    let svg = plot::lines("Bytes of the server's for each", "number", &sizes);
    fs::write(dir.join("scale-memory.svg"), svg)?;
    println!("\nwritten to {}/scale*", dir.display());
    Ok(())
}

/// How many there can be where whoever waits is a thread.
fn most_with_threads(arg: &str) -> u64 {
    match arg {
        "--idle-conns" => u64::MAX,
        // Each has a thread of the server's, which has 64 of them.
        "--idle-streams" => 60,
        // Each has a thread of the client's.
        _ => 1_000,
    }
}

fn arguments(growth: &Growth, number: u64) -> Vec<String> {
    let most = ["--max-streams", "200000"];
    let args = [growth.arg, &number.to_string()].map(str::to_owned);
    most.map(str::to_owned).into_iter().chain(args).collect()
}

/// CPU time per call in microseconds, and calls per second.
fn measure(pair: Pair, growth: &Growth, number: u64) -> Outcome<(f64, f64)> {
    let plan = Plan {
        rounds: 3,
        seconds: 1.0,
        warmup: 0.3,
        cpus: Cpus::Same,
    };
    let args = arguments(growth, number);
    let reports = (0..plan.rounds).map(|_| rounds::once(pair, &args, &plan));
    let reports = reports.collect::<Outcome<Vec<Report>>>()?;
    let cpu = |report: &Report| -> f64 {
        let sides = [
            "client_user_us",
            "client_system_us",
            "server_user_us",
            "server_system_us",
        ];
        sides.iter().map(|side| report.get(side)).sum()
    };
    let median = |of: &dyn Fn(&Report) -> f64| {
        Spread::of(reports.iter().map(of)).map_or(f64::NAN, |spread| spread.median)
    };
    Ok((median(&cpu), median(&|report| report.get("rate"))))
}

/// What each of those that are held takes of the server's memory.
fn bytes(pair: Pair, growth: &Growth, number: u64) -> Outcome<f64> {
    let server = Running::server(pair, Cpus::Same, &arguments(growth, number))?;
    let hold = |args: &[String]| -> Outcome<Running> {
        let mut client: Command = pair.command("client")?;
        client.arg("--socket").arg(&server.socket);
        client.args(["--mode", "idle"]).args(args);
        Running::start(client, Cpus::Same, server.socket.clone())
    };
    drop(hold(&[])?);
    let before = private(server.pid())?;
    let held = hold(&arguments(growth, number)[2..])?;
    let after = private(server.pid())?;
    drop(held);
    Ok((after - before) / number as f64)
}
