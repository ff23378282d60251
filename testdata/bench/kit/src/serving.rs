//! The command line of servers. It is as small as it can be, because what it takes is in
//! the sizes that are measured.

use std::sync::atomic::{AtomicBool, Ordering};

/// What follows `--name` on the command line.
fn option(name: &str) -> Option<String> {
    let mut args = std::env::args_os();
    args.find(|arg| arg == name)?;
    args.next()?.into_string().ok()
}

/// The number that follows `--name`.
pub fn number(name: &str) -> Option<usize> {
    option(name)?.parse().ok()
}

/// The path of the socket to serve on.
pub fn socket() -> String {
    option("--socket").unwrap_or_default()
}

/// Tells whoever has started this server that it can be connected to.
pub fn ready() {
    // By its file, which takes a buffer and a lock less than std's own way. Where nobody
    // listens to that nobody waits for it.
    let _ = std::fs::write("/dev/stdout", "ready\n");
}

/// Whether a server in this process can be connected to.
static LISTENING: AtomicBool = AtomicBool::new(false);

/// What a server calls that is in one process with its client, instead of [`ready`]: its
/// socket's file is there before anybody listens on it.
pub(crate) fn listens() {
    LISTENING.store(true, Ordering::Release);
}

pub(crate) fn is_listening() -> bool {
    LISTENING.load(Ordering::Acquire)
}
