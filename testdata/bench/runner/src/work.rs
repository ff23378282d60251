//! What a call takes that does not depend on the machine: system calls, allocations,
//! instructions.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use bench_kit::report::Report;

use crate::figures::Figures;
use crate::pairs::{self, Pair};
use crate::process::{self, Cpus, Running};
use crate::size::cpu_per_call;
use crate::{Outcome, callgrind};

const CPU_MICROS: f64 = 0.45;
const ALLOCATIONS: f64 = 3.0;
/// Bytes allocated for an echo, to the bytes that are echoed.
const ALLOCATED: f64 = 2.2;
/// User-space instructions of a call, with one and with 128 in flight.
const INSTRUCTIONS: [f64; 2] = [9_000.0, 4_000.0];

/// What is in flight.
const INFLIGHT: [usize; 2] = [1, 128];

/// Adds all of it, for the pairs that are programs of ours.
pub fn measure(pairs: &[Pair], figures: &mut Figures) -> Outcome<()> {
    let pairs: Vec<_> = pairs
        .iter()
        .copied()
        .filter(|pair| pair.package().is_some() && pair.name != "raw")
        .collect();
    for pair in &pairs {
        let goal = pair.is_ours().then_some(CPU_MICROS);
        let goal = goal.filter(|_| pair.name != "ours-blocking");
        let micros = cpu_per_call(*pair, 128)?;
        let what = "CPU time per call, 128 in flight, both sides";
        figures.add(what, pair.name, micros, "µs", goal);
    }
    if pairs::on_path("strace") {
        for pair in &pairs {
            system_calls(*pair, figures)?;
        }
    } else {
        eprintln!("no `strace` on the path: without system calls");
    }
    let valgrind = pairs::on_path("valgrind");
    if !valgrind {
        eprintln!("no `valgrind` on the path: without instructions");
    }
    for pair in &pairs {
        pair.build("counted", &["work"])?;
        allocations(*pair, figures)?;
        if valgrind {
            let goals = pair.is_ours().then_some(INSTRUCTIONS);
            instructions(*pair, goals, figures)?;
            if let Some(smallest) = pair.smallest() {
                instructions(smallest, None, figures)?;
            }
        }
    }
    Ok(())
}

fn instructions(pair: Pair, goals: Option<[f64; 2]>, figures: &mut Figures) -> Outcome<()> {
    for (at, inflight) in INFLIGHT.into_iter().enumerate() {
        let counted = callgrind::per_call(pair, &Case::unary(64, inflight))?;
        let what = format!("instructions per call, {inflight} in flight, both sides");
        figures.add(
            &what,
            pair.name,
            counted.all,
            "",
            goals.map(|most| most[at]),
        );
    }
    if pair.name.starts_with("ours-blocking") {
        let counted = callgrind::per_call(pair, &Case::thread_each(64, 128))?;
        let what = "instructions per call, 128 in flight, a thread for each, both sides";
        figures.add(what, pair.name, counted.all, "", None);
    }
    Ok(())
}

/// Work that is counted.
pub struct Case {
    pub name: String,
    pub args: Vec<String>,
    /// Calls or messages to be made.
    pub calls: u64,
}

impl Case {
    pub fn new(name: &str, args: &[&str], calls: u64) -> Self {
        Self {
            name: name.to_owned(),
            args: args.iter().copied().map(str::to_owned).collect(),
            calls,
        }
    }

    pub fn unary(size: usize, inflight: usize) -> Self {
        let (size, flying) = (size.to_string(), inflight.to_string());
        let args = ["--mode", "unary", "--size", &size, "--inflight", &flying];
        let name = format!("unary {size} B, {inflight} in flight");
        Self::new(&name, &args, if inflight == 1 { 2_000 } else { 6_400 })
    }

    /// The same where one thread could make all of them.
    pub fn thread_each(size: usize, inflight: usize) -> Self {
        let mut case = Self::unary(size, inflight);
        case.name += ", a thread for each call";
        case.args.extend(["--thread-each", "1"].map(str::to_owned));
        case
    }

    /// The command that serves and calls in one process.
    pub fn command(&self, pair: Pair, calls: u64) -> Outcome<Command> {
        let mut command = pair.command("work")?;
        command
            .arg("--socket")
            .arg(process::socket()?)
            .args(&self.args);
        command.args(["--calls", &calls.to_string()]);
        Ok(command)
    }
}

/// What a call allocates: how often, and how many bytes.
pub fn allocated(pair: Pair, case: &Case) -> Outcome<(f64, f64)> {
    let counted = |calls: u64| -> Outcome<Report> {
        let command = case.command(pair, calls)?;
        process::client(command, Cpus::Same, Duration::from_secs(60))
    };
    let (once, twice) = (counted(case.calls)?, counted(2 * case.calls)?);
    let each = |name| (twice.get(name) - once.get(name)) / case.calls as f64;
    Ok((each("allocations"), each("allocated")))
}

fn allocations(pair: Pair, figures: &mut Figures) -> Outcome<()> {
    for inflight in INFLIGHT {
        let (count, _) = allocated(pair, &Case::unary(64, inflight))?;
        let goal = pair.is_ours().then_some(ALLOCATIONS);
        let what = format!("allocations per call, {inflight} in flight, both sides");
        figures.add(&what, pair.name, count, "", goal);
    }
    let size = 64 << 10;
    let (_, bytes) = allocated(pair, &Case::unary(size, 1))?;
    let goal = pair.is_ours().then_some(ALLOCATED);
    let what = "bytes allocated for an echo of 64 KiB, to its payload";
    figures.add(what, pair.name, bytes / size as f64, "", goal);
    Ok(())
}

/// System calls per call, of each side, by their names.
fn system_calls(pair: Pair, figures: &mut Figures) -> Outcome<()> {
    for inflight in INFLIGHT {
        let calls = if inflight == 1 { 2_000 } else { 25_600 };
        for side in ["client", "server"] {
            let (once, twice) = (
                traced(pair, side, inflight, calls)?,
                traced(pair, side, inflight, 2 * calls)?,
            );
            let each = |name: &String| {
                let count = |counts: &BTreeMap<String, u64>| counts.get(name).copied().unwrap_or(0);
                (count(&twice) as f64 - count(&once) as f64) / calls as f64
            };
            let named = |name: &String| format!("{} {name}", crate::table::short_ratio(each(name)));
            let frequent = twice.keys().filter(|name| each(name) >= 0.01);
            let which = frequent.map(named).collect::<Vec<_>>().join(", ");
            let sum = twice.keys().map(each).sum();
            let what = format!("system calls per call, {inflight} in flight, {side} ({which})");
            let goal = match (pair.name, side, inflight) {
                ("ours-blocking", "client", 1) | ("ours-tokio", "server", 1) => Some(3.0),
                ("ours-blocking" | "ours-tokio", _, 128) => Some(0.1),
                _ => None,
            };
            // Both runs begin and end alike but for a few.
            figures.add(
                &what,
                pair.name,
                sum,
                "",
                goal.map(|goal: f64| goal + 0.005),
            );
        }
    }
    Ok(())
}

/// The system calls of one side while the client makes `calls` calls.
fn traced(pair: Pair, side: &str, inflight: usize, calls: u64) -> Outcome<BTreeMap<String, u64>> {
    let summary = process::socket()?.with_extension("strace");
    let tracer = |role: &str| -> Outcome<Command> {
        if role != side {
            return pair.command(role);
        }
        let mut command = Command::new("strace");
        command.args(["-f", "-c", "-o"]).arg(&summary);
        command.arg(pair.program(role)?);
        Ok(command)
    };
    let socket = process::socket()?;
    let mut server = tracer("server")?;
    server.arg("--socket").arg(&socket);
    let server = Running::start(server, Cpus::Same, socket)?;
    let mut client = tracer("client")?;
    client.arg("--socket").arg(&server.socket);
    client.args(["--mode", "unary", "--inflight", &inflight.to_string()]);
    client.args(["--calls", &calls.to_string()]);
    client.stderr(Stdio::null());
    process::client(client, Cpus::Same, Duration::from_secs(120))?;
    if side == "server" {
        server.finish_traced()?;
    }
    summary_of(&summary)
}

/// Reads what strace writes: lines that end with calls, sometimes errors, and the name.
fn summary_of(path: &Path) -> Outcome<BTreeMap<String, u64>> {
    let text = fs::read_to_string(path)?;
    let line = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        let name = words.last().filter(|name| **name != "total")?;
        let calls = words.get(3)?.parse().ok()?;
        Some(((*name).to_owned(), calls))
    };
    Ok(text.lines().filter_map(line).collect())
}
