//! What it takes to be there: bytes on disk and in memory, threads, crates, time to start.

use std::fs;
use std::process::Command;
use std::time::Duration;

use crate::figures::Figures;
use crate::pairs::{self, Pair};
use crate::process::{self, Cpus, Running};
use crate::rounds::{self, Plan, Spread};
use crate::work;
use crate::{Outcome, machine, option};

/// What a server of ours must not be above.
struct Most {
    pair: &'static str,
    binary_kb: f64,
    idle_kib: f64,
    crates: f64,
    crates_with_messages: f64,
}

const MOST: [Most; 2] = [
    Most {
        pair: "ours-tokio",
        binary_kb: 540.0,
        idle_kib: 560.0,
        crates: 12.0,
        crates_with_messages: 20.0,
    },
    Most {
        pair: "ours-blocking",
        binary_kb: 430.0,
        idle_kib: 470.0,
        crates: 6.0,
        crates_with_messages: 15.0,
    },
];

const BYTES_PER_CONNECTION: f64 = 1.2 * 1024.0;
const PEAK_MIB: f64 = 2.5;
/// To the bare frames' time.
const COLD_START: f64 = 1.15;

/// Connections that are held; and fewer where each has threads of its own.
const CONNECTIONS: u64 = 5000;
const CONNECTIONS_WITH_THREADS: u64 = 100;

/// How often a server is started.
const STARTS: usize = 21;

pub fn run(args: &[String]) -> Outcome<()> {
    pairs::check_profile()?;
    let wanted = |pair: &Pair| {
        let names = option(args, "--pairs");
        let named = names.is_none_or(|names| names.split(',').any(|name| name == pair.name));
        named && !pair.multi_thread
    };
    let pairs: Vec<_> = pairs::all().into_iter().filter(wanted).collect();
    for pair in &pairs {
        eprintln!("building {}", pair.name);
        pair.build("small", &["server", "client"])?;
    }
    let mut figures = Figures::new();
    for pair in &pairs {
        binary(*pair, &mut figures)?;
    }
    for pair in pairs.iter().filter_map(Pair::smallest) {
        eprintln!("building {}", pair.name);
        pair.build("smallest", &["server", "work"])?;
        binary(pair, &mut figures)?;
        idle(pair, &mut figures)?;
    }
    for pair in &pairs {
        crates(*pair, &mut figures)?;
    }
    for pair in pairs.iter().filter(|pair| pair.name != "raw") {
        memory(*pair, &mut figures)?;
    }
    for pair in &pairs {
        peak(*pair, &mut figures)?;
    }
    cold(&pairs, &mut figures)?;
    work::measure(&pairs, &mut figures)?;
    figures.write("size", &format!("{}.", machine::describe()))?;
    println!("{} short", figures.short());
    Ok(())
}

fn most(pair: Pair) -> Option<&'static Most> {
    let name = pair.name.trim_end_matches("-smallest");
    MOST.iter().find(|most| most.pair == name)
}

fn binary(pair: Pair, figures: &mut Figures) -> Outcome<()> {
    let kb = fs::metadata(pair.program("server")?)?.len() as f64 / 1000.0;
    let goal = most(pair).map(|most| most.binary_kb);
    figures.add("server's binary, stripped", pair.name, kb, "KB", goal);
    Ok(())
}

/// The crates that are linked: of ours the runtime's own, of others the whole server's.
fn crates(pair: Pair, figures: &mut Figures) -> Outcome<()> {
    let Some(most) = most(pair) else {
        if let Some(package) = pair.package() {
            let manifest = pairs::source().join("Cargo.toml");
            let package = format!("bench-{package}");
            let linked = linked(&manifest, &["--package", &package])?;
            let what = "crates linked into the server";
            figures.add(what, pair.name, linked, "", None);
        }
        return Ok(());
    };
    let manifest = pairs::repository().join("ttrpc-runtime/Cargo.toml");
    let flavour = pair.name.trim_start_matches("ours-");
    for (what, features, most) in [
        ("crates under the runtime", flavour.to_owned(), most.crates),
        (
            "crates under the runtime, with those of the messages",
            format!("{flavour},protobuf"),
            most.crates_with_messages,
        ),
    ] {
        let features = ["--no-default-features", "--features", &features];
        let linked = linked(&manifest, &features)?;
        figures.add(what, pair.name, linked, "", Some(most));
    }
    Ok(())
}

fn linked(manifest: &std::path::Path, args: &[&str]) -> Outcome<f64> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut tree = Command::new(cargo);
    tree.args([
        "tree",
        "--edges",
        "normal,no-proc-macro",
        "--prefix",
        "none",
    ]);
    tree.arg("--locked")
        .arg("--manifest-path")
        .arg(manifest)
        .args(args);
    let output = tree.output()?;
    if !output.status.success() {
        return Err(format!("{tree:?}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let name = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
    let mut names: Vec<_> = text.lines().map(name).collect();
    names.sort();
    names.dedup();
    let other = |name: &&String| !name.starts_with("bench-") && *name != "ttrpc-runtime";
    Ok(names
        .iter()
        .filter(other)
        .filter(|name| !name.is_empty())
        .count() as f64)
}

/// A server that nobody has connected to.
///
/// Where the system has put the program decides about 60 KiB: what counts is the median of some
/// starts.
fn idle(pair: Pair, figures: &mut Figures) -> Outcome<Running> {
    const STARTS: usize = 9;
    let mut taken = [0.0; STARTS];
    let mut last = None;
    for taken in &mut taken {
        // Two at a time would share what they have of the program.
        drop(last.take());
        let server = Running::server(pair, Cpus::Same, &[])?;
        *taken = private(server.pid())? / 1024.0;
        last = Some(server);
    }
    taken.sort_by(f64::total_cmp);
    let goal = most(pair).map(|most| most.idle_kib);
    let median = taken[STARTS / 2];
    figures.add("private memory, idle", pair.name, median, "KiB", goal);
    last.ok_or_else(|| "no server was started".into())
}

/// Idle, alone and with idle connections.
fn memory(pair: Pair, figures: &mut Figures) -> Outcome<()> {
    let server = idle(pair, figures)?;
    let threads = status(server.pid(), "Threads:")?;

    let mut conns = match pair.name {
        "ttrpc-blocking" => CONNECTIONS_WITH_THREADS,
        _ => CONNECTIONS,
    };
    let descriptors = process::raise_descriptors();
    if descriptors < conns + 100 {
        conns = descriptors.saturating_sub(100);
        eprintln!(
            "{conns} connections instead of {CONNECTIONS}: a process has {descriptors} descriptors"
        );
    }
    // What one connection makes the process take once and for all is not counted.
    drop(held(pair, &server, 1)?);
    std::thread::sleep(Duration::from_millis(100));
    let used = private(server.pid())?;
    let ours = pair.is_ours();
    figures.add(
        "private memory, idle after a call",
        pair.name,
        used / 1024.0,
        "KiB",
        None,
    );
    let client = held(pair, &server, conns)?;
    let each = (private(server.pid())? - used) / conns as f64;
    let what = format!("user-space bytes per idle connection, of {conns}");
    let goal = ours.then_some(BYTES_PER_CONNECTION);
    figures.add(&what, pair.name, each, "bytes", goal);
    let more = (status(server.pid(), "Threads:")? - threads) / conns as f64;
    let goal = ours.then_some(0.01);
    figures.add("threads per idle connection", pair.name, more, "", goal);
    drop(client);
    Ok(())
}

/// A client that holds connections.
fn held(pair: Pair, server: &Running, conns: u64) -> Outcome<Running> {
    let mut client = pair.command("client")?;
    client.arg("--socket").arg(&server.socket);
    client.args(["--mode", "idle", "--conns", &conns.to_string()]);
    Running::start(client, Cpus::Same, server.socket.clone())
}

/// The most that the server ever took, with 1,024 calls in flight.
fn peak(pair: Pair, figures: &mut Figures) -> Outcome<()> {
    let args = ["--mode", "unary", "--inflight", "1024", "--size", "64"].map(str::to_owned);
    let server = Running::server(pair, Cpus::Same, &args)?;
    let mut client = pair.command("client")?;
    client.arg("--socket").arg(&server.socket).args(&args);
    process::client(client, Cpus::Same, Duration::from_secs(30))?;
    let mib = status(server.pid(), "VmHWM:")? / 1024.0;
    let goal = pair.is_ours().then_some(PEAK_MIB);
    figures.add(
        "server's peak RSS, 1,024 in flight",
        pair.name,
        mib,
        "MiB",
        goal,
    );
    Ok(())
}

/// From the server's start to its first answer, pairs in turn.
fn cold(pairs: &[Pair], figures: &mut Figures) -> Outcome<()> {
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); pairs.len()];
    for _ in 0..STARTS {
        for (pair, times) in std::iter::zip(pairs, &mut times) {
            if pair.package().is_none() {
                continue;
            }
            let mut client = pair.command("client")?;
            client.arg("--socket").arg(process::socket()?);
            client.arg("--cold").arg(pair.program("server")?);
            let report = process::client(client, Cpus::Same, Duration::from_secs(10))?;
            times.push(report.get("cold_ms"));
        }
    }
    let median = |times: &Vec<f64>| Spread::of(times.iter().copied()).map(|s| s.median);
    let raw = std::iter::zip(pairs, &times).find(|(pair, _)| pair.name == "raw");
    let raw = raw.and_then(|(_, times)| median(times));
    for (pair, times) in std::iter::zip(pairs, &times) {
        let Some(ms) = median(times) else { continue };
        figures.add("cold start to first answer", pair.name, ms, "ms", None);
        if let Some(raw) = raw.filter(|_| pair.is_ours()) {
            let what = "cold start, to that of raw";
            figures.add(what, pair.name, ms / raw, "", Some(COLD_START));
        }
    }
    Ok(())
}

/// CPU time of a call, both sides, in microseconds.
pub fn cpu_per_call(pair: Pair, inflight: usize) -> Outcome<f64> {
    let args = ["--inflight".to_owned(), inflight.to_string()];
    let plan = Plan {
        rounds: 1,
        seconds: 2.0,
        warmup: 0.2,
        cpus: Cpus::Same,
    };
    let report = rounds::once(pair, &args, &plan)?;
    let parts = [
        "client_user_us",
        "client_system_us",
        "server_user_us",
        "server_system_us",
    ];
    Ok(parts.map(|part| report.get(part)).iter().sum())
}

/// Bytes that a process shares with nobody.
pub fn private(pid: u32) -> Outcome<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let private = text.lines().filter(|line| line.starts_with("Private_"));
    Ok(private.filter_map(number).sum::<f64>() * 1024.0)
}

fn status(pid: u32, name: &str) -> Outcome<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find(|line| line.starts_with(name));
    Ok(line
        .and_then(number)
        .ok_or_else(|| format!("no {name} of process {pid}"))?)
}

fn number(line: &str) -> Option<f64> {
    line.split_whitespace().nth(1)?.parse().ok()
}
