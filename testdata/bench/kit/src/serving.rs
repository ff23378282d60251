//! The command line of servers. It is as small as it can be, because what it takes is in
//! the sizes that are measured.

use std::fs::File;
use std::io::Write;
use std::mem::ManuallyDrop;
use std::os::fd::FromRawFd;
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
#[allow(unsafe_code)]
pub fn ready() {
    // By its descriptor, which takes a buffer and a lock less than std's own way, and no code
    // that opens files.
    // SAFETY: whoever starts the process has opened it, and nobody closes it.
    let mut stdout = ManuallyDrop::new(unsafe { File::from_raw_fd(1) });
    // Where nobody listens to that nobody waits for it.
    let _ = stdout.write_all(b"ready\n");
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
