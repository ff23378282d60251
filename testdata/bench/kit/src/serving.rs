//! The command line of servers. It is as small as it can be, because what it takes is in
//! the sizes that are measured.

use std::io::Write;

/// What follows `--name` on the command line.
pub fn option(name: &str) -> Option<String> {
    let mut args = std::env::args();
    args.find(|arg| arg == name)?;
    args.next()
}

/// The path of the socket to serve on.
pub fn socket() -> String {
    option("--socket").unwrap_or_default()
}

/// Tells whoever has started this server that it can be connected to.
pub fn ready() {
    let mut out = std::io::stdout();
    // Where nobody listens to that nobody waits for it.
    let _ = out.write_all(b"ready\n");
    let _ = out.flush();
}
