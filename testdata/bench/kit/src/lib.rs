//! What the pairs of the benchmark share, so that each measures the same by the same means.
//!
//! A pair is a server and a client, two programs. What a pair adds is how its own
//! implementation serves and calls: [`asynchronous::Caller`] or [`blocking::Caller`].
//! Command line, load, clock, counters and the line of JSON are here.

pub mod allocations;
mod args;
#[cfg(feature = "tokio")]
pub mod asynchronous;
pub mod blocking;
mod clock;
pub mod cold;
mod cpu;
pub mod report;
pub mod serving;
mod tally;

pub use args::{Args, Mode};
pub use clock::Clock;
pub use cpu::{Cpu, USER_HZ};
pub use tally::Lap;
