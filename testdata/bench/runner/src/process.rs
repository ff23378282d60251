//! The processes under test: started, pinned, asked, stopped.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bench_kit::report::Report;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::Outcome;
use crate::pairs::Pair;

/// Where processes run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cpus {
    /// All on one CPU: what is seen is work, not the time that a sleeping CPU takes to wake.
    Same,
    /// Wherever the system puts them.
    Free,
}

impl Cpus {
    pub fn name(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Free => "free",
        }
    }

    /// Starts a process there. It inherits where this thread runs.
    pub fn spawn(self, command: &mut Command) -> Outcome<Child> {
        let before = sched_getaffinity(None)?;
        if self == Self::Same {
            let last = (0..CpuSet::MAX_CPU).rev().find(|cpu| before.is_set(*cpu));
            let mut one = CpuSet::new();
            one.set(last.unwrap_or(0));
            sched_setaffinity(None, &one)?;
        }
        let spawned = command.spawn();
        sched_setaffinity(None, &before)?;
        spawned.map_err(|error| format!("{command:?}: {error}").into())
    }
}

/// A path for a socket that nobody else uses.
pub fn socket() -> Outcome<PathBuf> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let dir = std::env::temp_dir().join(format!("ttrpc-bench-{}", std::process::id()));
    fs::create_dir_all(&dir)?;
    Ok(dir.join(format!("{}.sock", NEXT.fetch_add(1, Ordering::Relaxed))))
}

/// Removes what [`socket`] has made.
pub fn clean_up() {
    let dir = std::env::temp_dir().join(format!("ttrpc-bench-{}", std::process::id()));
    let _ = fs::remove_dir_all(dir);
}

/// A process that says `ready` and then runs until it is dropped.
pub struct Running {
    child: Child,
    /// Where it serves.
    pub socket: PathBuf,
}

impl Running {
    /// Starts a pair's server.
    pub fn server(pair: Pair, cpus: Cpus, args: &[String]) -> Outcome<Self> {
        let socket = socket()?;
        let mut command = pair.command("server")?;
        command.arg("--socket").arg(&socket).args(args);
        Self::start(command, cpus, socket)
    }

    /// Starts a process and waits until it says `ready`.
    pub fn start(mut command: Command, cpus: Cpus, socket: PathBuf) -> Outcome<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = cpus.spawn(&mut command)?;
        let mut line = String::new();
        if let Some(out) = child.stdout.take() {
            BufReader::new(out).read_line(&mut line)?;
        }
        let running = Self { child, socket };
        if line != "ready\n" {
            return Err(format!("{command:?} says {line:?} instead of ready").into());
        }
        Ok(running)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its child process: that of a tracer's.
    pub fn traced(&self) -> Outcome<i32> {
        let path = format!("/proc/{0}/task/{0}/children", self.pid());
        let children = fs::read_to_string(path)?;
        Ok(children
            .trim()
            .parse()
            .map_err(|_| "a tracer that traces nothing")?)
    }

    /// Ends a tracer by ending what it traces, so that it tells what it has seen.
    pub fn finish_traced(mut self) -> Outcome<()> {
        let traced = rustix::process::Pid::from_raw(self.traced()?).ok_or("no process")?;
        rustix::process::kill_process(traced, rustix::process::Signal::TERM)?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a client to its end; gives what it tells.
pub fn client(mut command: Command, cpus: Cpus, limit: Duration) -> Outcome<Report> {
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = cpus.spawn(&mut command)?;
    let begun = Instant::now();
    let status = loop {
        match child.try_wait()? {
            Some(status) => break status,
            None if begun.elapsed() > limit => {
                child.kill()?;
                child.wait()?;
                return Err(format!("{command:?} did not end in {limit:?}").into());
            }
            None => thread::sleep(Duration::from_millis(20)),
        }
    };
    let mut line = String::new();
    if let Some(mut out) = child.stdout.take() {
        out.read_to_string(&mut line)?;
    }
    match Report::parse(&line) {
        Some(report) if status.success() => Ok(report),
        _ => Err(format!("{command:?}: {status}: {line:?}").into()),
    }
}

/// Permits as many descriptors as the system lets a process have; gives their number.
pub fn raise_descriptors() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    let now = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => maximum,
        Err(_) => current,
    };
    now.unwrap_or(u64::MAX)
}
