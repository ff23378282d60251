//! What is counted while a client runs: messages, and how long calls take.
//!
//! Each thread has a tally of its own, so that counting costs a few instructions and no
//! contention; the clock adds them up.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use crate::args::Args;

/// Latencies are counted in buckets of a sixteenth of their power of two: to 6 % exactly.
const BUCKETS: usize = 640;

struct Tally {
    messages: AtomicU64,
    latencies: [AtomicU64; BUCKETS],
}

static TALLIES: Mutex<Vec<&'static Tally>> = Mutex::new(Vec::new());

thread_local! {
    static TALLY: &'static Tally = {
        let tally: &'static Tally = Box::leak(Box::new(Tally {
            messages: AtomicU64::new(0),
            latencies: [const { AtomicU64::new(0) }; BUCKETS],
        }));
        TALLIES.lock().unwrap().push(tally);
        tally
    };
}

/// Adds to a counter that only this thread writes.
fn add(counter: &AtomicU64, n: u64) {
    counter.store(counter.load(Relaxed) + n, Relaxed);
}

fn bucket(nanos: u64) -> usize {
    if nanos < 16 {
        return nanos as usize;
    }
    let exponent = nanos.ilog2();
    let index = (exponent as usize - 3) * 16 + ((nanos >> (exponent - 4)) & 15) as usize;
    index.min(BUCKETS - 1)
}

/// The middle of a bucket, in microseconds.
fn micros(bucket: usize) -> f64 {
    let nanos = match bucket {
        0..16 => bucket as f64,
        _ => (16.5 + (bucket % 16) as f64) * f64::from(1u32 << (bucket / 16 - 1).min(31)),
    };
    nanos / 1000.0
}

/// Messages and latencies of all threads, at one time.
#[derive(Clone)]
pub(crate) struct Totals {
    pub(crate) messages: u64,
    latencies: Vec<u64>,
}

impl Totals {
    pub(crate) fn now() -> Self {
        let tallies = TALLIES.lock().unwrap();
        let sum = |of: &dyn Fn(&Tally) -> u64| tallies.iter().map(|tally| of(tally)).sum();
        Self {
            messages: sum(&|tally| tally.messages.load(Relaxed)),
            latencies: (0..BUCKETS)
                .map(|bucket| sum(&|tally| tally.latencies[bucket].load(Relaxed)))
                .collect(),
        }
    }

    pub(crate) fn since(&self, earlier: &Self) -> Self {
        Self {
            messages: self.messages - earlier.messages,
            latencies: std::iter::zip(&self.latencies, &earlier.latencies)
                .map(|(now, then)| now - then)
                .collect(),
        }
    }

    /// The latency, in microseconds, that this part of the calls stayed below.
    pub(crate) fn percentile(&self, part: f64) -> f64 {
        let all: u64 = self.latencies.iter().sum();
        let mut left = (all as f64 * part) as u64;
        for (bucket, count) in self.latencies.iter().enumerate() {
            if *count > left {
                return micros(bucket);
            }
            left -= count;
        }
        0.0
    }
}

/// One of the parallel loads of a client, which counts what it does.
pub struct Lap {
    left: u64,
    count: u64,
    /// Measure one call of so many.
    every: u64,
    begun: Instant,
}

impl Lap {
    /// A load that begins now.
    pub fn new(args: &Args) -> Self {
        // To read the clock costs as much as a tenth of a call among many.
        let every = if args.inflight == 1 { 1 } else { 8 };
        Self {
            left: args.share(),
            count: 0,
            every,
            begun: Instant::now(),
        }
    }

    /// Counts a call that has ended; says whether to make another one at once.
    pub fn call(&mut self) -> bool {
        self.count += 1;
        self.left -= 1;
        TALLY.with(|tally| add(&tally.messages, 1));
        if self.count % self.every == 0 {
            let now = Instant::now();
            let nanos = (now - self.begun).as_nanos() as u64;
            TALLY.with(|tally| add(&tally.latencies[bucket(nanos)], 1));
            self.begun = now;
        } else if (self.count + 1) % self.every == 0 {
            self.begun = Instant::now();
        }
        self.left > 0
    }

    /// Counts a message of a stream.
    pub fn message(&mut self) {
        self.count += 1;
        if self.count % 64 == 0 {
            TALLY.with(|tally| add(&tally.messages, 64));
        }
    }

    /// Counts many messages at once.
    pub fn messages(&mut self, n: u64) {
        TALLY.with(|tally| add(&tally.messages, n));
    }

    /// Counts a stream that has ended, with so many messages; says whether to open another.
    pub fn stream(&mut self, messages: u64) -> bool {
        let now = Instant::now();
        let nanos = (now - self.begun).as_nanos() as u64;
        TALLY.with(|tally| add(&tally.latencies[bucket(nanos)], 1));
        self.begun = now;
        self.left = self.left.saturating_sub(messages);
        self.left > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_as_exact_as_they_say() {
        for nanos in [1, 15, 16, 17, 999, 12_345, 7_777_777, 40_000_000_000] {
            let told = micros(bucket(nanos)) * 1000.0;
            let error = (told - nanos as f64).abs() / nanos as f64;
            assert!(error < 0.04, "{nanos} became {told}");
        }
    }
}
