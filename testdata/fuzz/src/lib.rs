//! What the fuzzer's targets share; each of them is a program in `bin`.
//!
//! A target has its input from libFuzzer, panics at what should not be, and writes the seeds
//! that it begins with itself: from what the repository has.

pub mod driver;
pub mod frames;
pub mod script;
pub mod seeds;

use std::time::Duration;

use ttrpc_runtime::Limits;

/// Small bounds, so that few bytes are enough to come to them.
pub fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.max_streams = 4;
    limits.inbox_bytes = 1000;
    limits.output_bytes = 1000;
    limits.backlog_bytes = 2000;
    limits.stray_frames = 8;
    limits.frame_timeout = Some(Duration::from_secs(5));
    limits
}
