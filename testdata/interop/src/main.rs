//! The protocol's cases, against other implementations in both directions.
//!
//! ```text
//! ttrpc-interop [--rivals] [CASE]       runs the cases, those whose name has CASE in it
//! ttrpc-interop serve SOCKET            is our server, for the cases
//! ttrpc-interop serve-blocking SOCKET   is that of our blocking flavour
//! ```
//!
//! A case is a function in [`cases`]. What it is tried on is a client or a server of one
//! of the [`peers`]; a client in another language is a [`puppet`], and the one of our
//! blocking flavour has a [`bridge`]. What comes out are tables of cases and peers.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use crate::outcome::{Case, Failure, Outcome};
use crate::peers::{Flavour, Pair, Peer, Script, Target, is_on_path};
use crate::report::Table;

mod bridge;
mod caller;
mod cases;
mod console;
mod frames;
mod hex;
mod messages;
mod outcome;
mod peers;
mod process;
/// What was generated from the .proto files.
mod protos {
    #![allow(missing_docs, clippy::unwrap_used)] // The messages', by rust-protobuf.
    include!(concat!(env!("OUT_DIR"), "/mod.rs"));
}
mod puppet;
mod report;
mod serve;

/// The module files of the Go peer: one for each version that it is built with.
const GO_MODULES: [&str; 2] = ["go.mod", "go-1.2.0.mod"];

/// How long a case may take altogether.
const CASE_TIMEOUT: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let ended = match args[..] {
        ["serve-blocking", socket] => serve::blocking::serve(Path::new(socket)).map(|()| true),
        _ => main_with_runtime(&args),
    };
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main(worker_threads = 2)]
async fn main_with_runtime(args: &[&str]) -> Outcome<bool> {
    match args {
        ["serve", socket] => {
            serve::asynchronous::serve(Path::new(socket)).await?;
            Ok(true)
        }
        [] => run(false, "").await,
        ["--rivals"] => run(true, "").await,
        ["--rivals", case] => run(true, case).await,
        [case] if !case.starts_with('-') => run(false, case).await,
        _ => Err(Failure::new(
            "expected `[--rivals] [CASE]`, `serve SOCKET` or `serve-blocking SOCKET`",
        )),
    }
}

/// Runs the cases whose names contain `only`; says whether none of ours failed.
async fn run(rivals: bool, only: &str) -> Outcome<bool> {
    let ours = Peer::ours(Flavour::Async)?;
    let blocking = Peer::ours(Flavour::Blocking)?;
    let mut others = Vec::new();
    let mut complete = true;
    if is_on_path("go") {
        for module in GO_MODULES {
            others.push(Peer::go(module).await?);
        }
    } else {
        println!(
            "There is no `go` on the path: the cases against Go are left out.\n\
             Get it from https://go.dev/dl or from your distribution (1.25 or newer)."
        );
        // Where it is to be proven, leaving it out is no proof.
        complete = std::env::var_os("CI").is_none();
    }
    if rivals {
        others.extend(Peer::rivals().await?);
    }

    let runner = Runner {
        dir: Scratch::new()?,
        only: only.replace([' ', '-'], "_"),
    };
    let all: Vec<_> = [&ours, &blocking].into_iter().chain(&others).collect();
    let others: Vec<_> = others.iter().collect();
    let other_flavour: Vec<_> = [&ours].into_iter().chain(others.iter().copied()).collect();
    let tables = [
        runner.calls("calls", &ours, &others).await,
        runner
            .calls("calls, blocking", &blocking, &other_flavour)
            .await,
        runner.frames_to_server(&all).await,
        runner.frames_to_client(&all).await,
    ];
    let failures: usize = tables.iter().map(Table::failures).sum();
    for table in tables {
        print!("{}", table.render());
    }
    match failures {
        0 if complete => println!("\nAll cases pass."),
        0 => println!("\nAll cases pass, but in CI those against Go have to be there."),
        failures => println!("\nFailed: {failures}"),
    }
    Ok(complete && failures == 0)
}

/// Tries cases on peers.
struct Runner {
    dir: Scratch,
    only: String,
}

impl Runner {
    fn wanted<P>(&self, cases: Vec<Case<P>>) -> Vec<Case<P>> {
        let wanted = |case: &Case<P>| case.name.contains(&self.only);
        cases.into_iter().filter(wanted).collect()
    }

    /// Calls: one of ours with itself, and with each of the others in both directions.
    async fn calls(&self, title: &'static str, ours: &Peer, others: &[&Peer]) -> Table {
        let cases = self.wanted(cases::calls());
        let mut table = Table::new(title, cases.iter().map(|case| case.name));
        let to_others = others.iter().map(|other| (ours, *other));
        let from_others = others.iter().map(|other| (*other, ours));
        let pairs = [(ours, ours)].into_iter().chain(to_others);
        for (client, server) in pairs.chain(from_others) {
            let name = format!("{} → {}", client.name, server.name);
            table.column(name, counts(client) && counts(server));
            for case in &cases {
                let target = Target::start(server, &self.dir.0).await;
                let pair = target.map(|server| Pair {
                    client: client.clone(),
                    server,
                });
                let complaints = |pair: &Pair| pair.server.complaints();
                try_case(&mut table, case, pair, complaints).await;
            }
        }
        table
    }

    async fn frames_to_server(&self, servers: &[&Peer]) -> Table {
        let cases = self.wanted(cases::frames_to_server());
        let mut table = Table::new("frames to a server", cases.iter().map(|case| case.name));
        for server in servers {
            table.column(server.name.clone(), counts(server));
            for case in &cases {
                let target = Target::start(server, &self.dir.0).await;
                try_case(&mut table, case, target, Target::complaints).await;
            }
        }
        table
    }

    async fn frames_to_client(&self, clients: &[&Peer]) -> Table {
        let cases = self.wanted(cases::frames_to_client());
        let mut table = Table::new("frames to a client", cases.iter().map(|case| case.name));
        for client in clients {
            table.column(client.name.clone(), counts(client));
            for case in &cases {
                let script = Script::new(Peer::clone(client), &self.dir.0);
                try_case(&mut table, case, script, |_| String::new()).await;
            }
        }
        table
    }
}

/// Whether failures of this peer are failures here: what we are compatible with.
fn counts(peer: &Peer) -> bool {
    peer.kind != peers::Kind::Rival
}

/// Tries a case, and writes down what came of it.
async fn try_case<P>(
    table: &mut Table,
    case: &Case<P>,
    on: Outcome<P>,
    complaints: impl Fn(&P) -> String,
) {
    match on {
        Err(failure) => table.cell(Err(failure), ""),
        Ok(on) => {
            let running = tokio::time::timeout(CASE_TIMEOUT, (case.run)(&on)).await;
            let outcome = running.unwrap_or_else(|_| {
                Err(Failure::new(format!(
                    "it hangs: no end after {CASE_TIMEOUT:?}"
                )))
            });
            table.cell(outcome, &complaints(&on));
        }
    }
}

/// A directory for sockets, removed in the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Outcome<Self> {
        let name = format!("ttrpc-interop-{}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&dir)?;
        Ok(Self(dir))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
