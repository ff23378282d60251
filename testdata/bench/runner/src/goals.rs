//! The rows of the benchmark and what is to be reached in each.

use bench_kit::Mode;

/// One kind of work.
pub struct Row {
    pub name: &'static str,
    pub mode: Mode,
    pub conns: usize,
    pub inflight: usize,
    pub size: usize,
    /// Whether each call has a thread of its own: a row of those that have threads.
    pub thread_each: bool,
    /// Whether `bench-quick` does it.
    pub quick: bool,
    /// What the two flavours are to reach.
    pub tokio: &'static [Goal],
    pub blocking: &'static [Goal],
}

/// A ratio to another pair's rate, within one round.
#[derive(Clone, Copy)]
pub struct Goal {
    pub least: f64,
    pub of: &'static str,
}

const fn goal(least: f64, of: &'static str) -> Goal {
    Goal { least, of }
}

const RAW: &str = "raw";
const ASYNC: &str = "ttrpc-async";
const BLOCKING: &str = "ttrpc-blocking";
const TONIC: &str = "tonic";

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// A row without its goals.
const fn row(name: &'static str, mode: Mode, conns: usize, inflight: usize, size: usize) -> Row {
    Row {
        name,
        mode,
        conns,
        inflight,
        size,
        thread_each: false,
        quick: false,
        tokio: &[],
        blocking: &[],
    }
}

pub const ROWS: &[Row] = &[
    Row {
        quick: true,
        tokio: &[goal(0.75, RAW), goal(1.7, ASYNC)],
        blocking: &[goal(0.84, RAW), goal(3.5, BLOCKING)],
        ..row("unary 64 B, one at a time", Mode::Unary, 1, 1, 64)
    },
    Row {
        tokio: &[goal(7.0, ASYNC)],
        blocking: &[goal(3.0, BLOCKING)],
        ..row("unary 64 B, 16 in flight", Mode::Unary, 1, 16, 64)
    },
    Row {
        quick: true,
        tokio: &[goal(10.0, ASYNC), goal(0.1, RAW)],
        blocking: &[goal(3.0, BLOCKING)],
        ..row("unary 64 B, 128 in flight", Mode::Unary, 1, 128, 64)
    },
    Row {
        tokio: &[goal(12.0, ASYNC)],
        blocking: &[goal(4.0, BLOCKING)],
        ..row("unary 64 B, 1,024 in flight", Mode::Unary, 1, 1024, 64)
    },
    Row {
        tokio: &[goal(0.6, RAW), goal(1.8, ASYNC)],
        blocking: &[goal(5.0, BLOCKING)],
        ..row("unary 64 B, 128 connections × 1", Mode::Unary, 128, 1, 64)
    },
    Row {
        quick: true,
        tokio: &[goal(0.35, RAW), goal(3.8, ASYNC)],
        blocking: &[goal(2.0, BLOCKING)],
        ..row("unary 4 KiB, 128 in flight", Mode::Unary, 1, 128, 4 * KIB)
    },
    Row {
        tokio: &[goal(0.68, RAW), goal(3.3, ASYNC)],
        blocking: &[goal(0.75, RAW), goal(2.7, BLOCKING)],
        ..row("unary 64 KiB, one at a time", Mode::Unary, 1, 1, 64 * KIB)
    },
    Row {
        quick: true,
        tokio: &[goal(0.84, RAW), goal(6.0, ASYNC)],
        blocking: &[goal(0.9, RAW), goal(4.5, BLOCKING)],
        ..row("unary 1 MiB, one at a time", Mode::Unary, 1, 1, MIB)
    },
    Row {
        tokio: &[goal(0.88, RAW), goal(6.0, ASYNC)],
        blocking: &[goal(0.95, RAW), goal(6.0, BLOCKING)],
        ..row(
            "unary 4 MiB − 1 KiB, one at a time",
            Mode::Unary,
            1,
            1,
            4 * MIB - KIB,
        )
    },
    Row {
        quick: true,
        tokio: &[goal(1.0, TONIC), goal(17.0, ASYNC)],
        blocking: &[goal(1.0, TONIC), goal(17.0, ASYNC)],
        ..row("server stream, 64 B", Mode::ServerStream, 1, 1, 64)
    },
    Row {
        tokio: &[goal(0.7, RAW)],
        blocking: &[goal(0.78, RAW)],
        ..row("server stream, 64 KiB", Mode::ServerStream, 1, 1, 64 * KIB)
    },
    Row {
        tokio: &[goal(1.0, TONIC)],
        blocking: &[goal(1.3, TONIC)],
        ..row("client stream, 64 B", Mode::ClientStream, 1, 1, 64)
    },
    Row {
        tokio: &[goal(0.75, RAW)],
        blocking: &[goal(0.83, RAW)],
        ..row("bidi ping-pong, 64 B", Mode::Bidi, 1, 1, 64)
    },
    Row {
        tokio: &[goal(10.0, ASYNC)],
        blocking: &[goal(2.0, ASYNC)],
        ..row("bidi, 128 in flight", Mode::Bidi, 1, 128, 64)
    },
    thread_each("unary 64 B, 16 in flight, a thread for each call", 1, 16),
    thread_each("unary 64 B, 128 in flight, a thread for each call", 1, 128),
    thread_each(
        "unary 64 B, 1,024 in flight, a thread for each call",
        1,
        1024,
    ),
    thread_each(
        "unary 64 B, 128 connections × 1, a thread for each call",
        128,
        1,
    ),
];

/// What a flavour of threads does with calls that each have one.
const fn thread_each(name: &'static str, conns: usize, inflight: usize) -> Row {
    Row {
        thread_each: true,
        ..row(name, Mode::Unary, conns, inflight, 64)
    }
}

/// What a runtime on several threads is to reach against the one on one thread, where all
/// CPUs are free.
pub const MULTI_THREAD: Goal = goal(1.0 / 1.33, "ours-tokio");

impl Row {
    /// What one of our pairs is to reach on one CPU; with all CPUs free, what holds there
    /// too.
    pub fn goals(&self, pair: &str, free: bool) -> Vec<Goal> {
        let all = match pair {
            "ours-blocking" => self.blocking,
            _ => self.tokio,
        };
        if !free {
            return all.to_vec();
        }
        let ttrpc = |goal: &&Goal| goal.of.starts_with("ttrpc") && self.conns * self.inflight >= 16;
        let mut goals: Vec<_> = all.iter().filter(ttrpc).copied().collect();
        if pair == "ours-tokio-mt" {
            goals = if self.conns == 1 {
                vec![MULTI_THREAD]
            } else {
                vec![]
            };
        }
        goals
    }

    /// Whether there is more than one call at a time.
    pub fn is_parallel(&self) -> bool {
        self.inflight > 1 || self.conns > 1
    }

    /// The arguments of both programs of a pair.
    pub fn args(&self) -> Vec<String> {
        let thread_each = self.thread_each.then_some(["--thread-each", "1"]);
        let thread_each = thread_each.into_iter().flatten();
        ["--mode", self.mode.name()]
            .map(str::to_owned)
            .into_iter()
            .chain(["--conns".to_owned(), self.conns.to_string()])
            .chain(["--inflight".to_owned(), self.inflight.to_string()])
            .chain(["--size".to_owned(), self.size.to_string()])
            .chain(thread_each.map(str::to_owned))
            .collect()
    }
}
