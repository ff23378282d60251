//! How long a server takes from its start to its first answer.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::args::Args;
use crate::report::Report;

/// A server that has just been started.
pub struct Cold {
    begun: Instant,
    server: Child,
}

impl Cold {
    /// Starts the server if that is what the client is told to do, and waits until it can
    /// be connected to.
    pub fn start(args: &Args) -> Option<Self> {
        let program = args.cold.as_ref()?;
        let mut command = Command::new(program);
        command.args(["--socket", &args.socket]);
        let begun = Instant::now();
        let mut server = command.stdout(Stdio::piped()).spawn().expect("no server");
        let mut line = String::new();
        let out = server.stdout.take().expect("no output");
        let read = BufReader::new(out).read_line(&mut line);
        assert!(
            read.is_ok() && line == "ready\n",
            "the server says {line:?}"
        );
        Some(Self { begun, server })
    }

    /// Tells how long it has been.
    pub fn answered(mut self) {
        let seconds = self.begun.elapsed().as_secs_f64();
        // It may have ended by itself.
        let _ = self.server.kill();
        let _ = self.server.wait();
        println!("{}", Report::default().with("cold_ms", seconds * 1e3));
    }
}
